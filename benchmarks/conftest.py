"""One thread for everything, the GPU where there is one, and the tables at the end.

Under ``--cuda`` this needs torch, numpy, pytest, pytest-benchmark and fastwsi, and nothing else.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import fastwsi
from benchmarks.report import lines_from, report

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = 1
LOAD = pytest.StashKey[float]()  # of the machine, before this run adds to it


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LOAD] = os.getloadavg()[0]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Pin torch and fastwsi; the BLAS libraries read their environment, which __main__ sets."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    fastwsi.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)
    fastwsi.set_num_threads(None)


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """The current GPU, or skip and say what is missing."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU that torch can use")
    if not fastwsi.build_info().cuda_compiled:
        pytest.skip("fastwsi was built without CUDA")
    if not fastwsi.cuda_available():
        pytest.skip("the NVIDIA driver is too old for the CUDA runtime in fastwsi")
    return torch.device("cuda", torch.cuda.current_device())


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for row in cpuinfo.read_text(encoding="utf-8").splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine(with_gpu: bool) -> dict[str, str]:
    """Return what the numbers depend on."""
    build = fastwsi.build_info()
    facts = {
        "processor": f"{processor()} ({os.cpu_count()} cores)",
        "threads": f"{THREADS} pinned",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "fastwsi": f"{build.version} ({build.simd_chosen})",
    }
    if with_gpu:
        facts["GPU"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return facts


@pytest.hookimpl(optionalhook=True)  # pytest-benchmark's, which may be missing
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info["fastwsi_benchmarks"] = machine(with_gpu=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    lines = lines_from(session.benchmarks) if session else []
    if not lines:
        return
    facts = machine(with_gpu=config.getoption("markexpr") == "cuda")
    facts["load before"] = f"{config.stash[LOAD]:.1f}"
    terminalreporter.section("fastwsi beside its peers")
    terminalreporter.write_line(", ".join(f"{name} {value}" for name, value in facts.items()))
    for row in report(lines):
        terminalreporter.write_line(row, bold=bool(row) and not row.startswith(" "))
