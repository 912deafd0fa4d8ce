"""Options and fixtures for every test. Needs nothing but pytest, numpy and this package."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: with threads of their own too they would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

with suppress(ImportError):
    from hypothesis import settings

    # No deadline: a first call may import torch's compiler, which takes seconds. The same examples every time
    # where CI is set, so that what passes once passes again; others everywhere else, to find what those miss.
    settings.register_profile(
        "fastwsi",
        deadline=None,
        derandomize=bool(os.environ.get("CI")),
        max_examples=int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "100")),
    )
    settings.load_profile("fastwsi")


@pytest.hookimpl(optionalhook=True)  # of a plugin that need not be there
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes ``-n auto`` starts: no more than pay, since each imports torch."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; --slow runs it"))


@pytest.fixture(autouse=True)
def _default_threads():
    """A test that sets the number of threads must not change it for the next one."""
    yield
    import fastwsi

    fastwsi.set_num_threads(None)
