"""Options and fixtures for every test. Needs nothing but pytest, numpy and this package."""

from __future__ import annotations

import pytest


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
