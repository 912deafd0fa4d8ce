"""Peaks of heatmaps beside MONAI's loop, a numpy sort, scikit-image, and one pass over the map."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import fastwsi
from benchmarks import nms_peers as peers
from benchmarks.measure import Entry, Role, time_call, time_on_gpu
from benchmarks.nms_peers import RADIUS, SIDE, Task
from fastwsi import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

MONAI_FLOOR, SORT_FLOOR = 300.0, 5.0
ONE_PASS_FLOOR = 0.50  # within twice the time of one pass
CELLS = SIDE * SIDE

MANY, MONAI_S, FEW = Task(0.10, "disc"), Task(0.10, "square_halfopen"), Task(0.001, "disc")
OURS = ("fastwsi, best", "fastwsi, baseline")
OTHERS = "finds local maxima, which is another and a shorter list; only the time compares"


def entry(task: Task, contender: str, role: Role, floor: float | None = None, note: str = "") -> Entry:
    return Entry(task.group, contender, role, CELLS, 4 * CELLS, floor, note)


def time_ours(benchmark: BenchmarkFixture, task: Task, contender: str, floor: float | None = None) -> None:
    level = "baseline" if contender.endswith("baseline") else fastwsi.build_info().simd_chosen
    role: Role = "peer" if contender.endswith("baseline") else "ours"
    heatmap = peers.smooth_map()
    with kernels.simd_level(level):
        assert peers.ours(heatmap, task) == expected(task)
        call = peers.fast_call(heatmap, task)
        time_call(benchmark, call, entry(task, contender, role, floor), rounds=30)


def expected(task: Task) -> peers.Points:
    """Ours of a half-open square is compared with MONAI's where that is timed; the discs with the sort's."""
    if task.shape != "disc":
        return peers.ours(peers.smooth_map(), task)
    return peers.sort_and_suppress(peers.smooth_map(), task.threshold)


@pytest.mark.parametrize("contender", [*OURS, "numpy, sort and suppress", "skimage peak_local_max"])
def test_many(benchmark: BenchmarkFixture, contender: str) -> None:
    heatmap = peers.smooth_map()
    if contender in OURS:
        return time_ours(benchmark, MANY, contender)
    if contender.startswith("numpy"):
        call: Callable[[], object] = partial(peers.sort_and_suppress, heatmap, MANY.threshold)
        return time_call(benchmark, call, entry(MANY, contender, "peer", SORT_FLOOR), rounds=5)
    call = peers.skimage_peaks(heatmap, MANY.threshold)
    return time_call(benchmark, call, entry(MANY, contender, "peer", note=OTHERS), rounds=3)


@pytest.mark.parametrize("contender", [*OURS, "MONAI PathologyProbNMS"])
def test_beside_monai(benchmark: BenchmarkFixture, contender: str) -> None:
    if contender in OURS:
        return time_ours(benchmark, MONAI_S, contender)
    heatmap, found = peers.smooth_map(), []
    call = peers.monai(heatmap, MONAI_S.threshold)
    line = entry(MONAI_S, contender, "peer", MONAI_FLOOR, "one round: it takes half a minute")
    time_call(benchmark, lambda: found.append(call()), line, rounds=1, warm_up=False)
    assert found[0] == peers.ours(heatmap, MONAI_S)
    return None


@pytest.mark.parametrize("contender", ["one pass (numpy max)", *OURS, "numpy, sort and suppress"])
def test_few(benchmark: BenchmarkFixture, contender: str) -> None:
    heatmap = peers.smooth_map()
    if contender in OURS:
        return time_ours(benchmark, FEW, contender, ONE_PASS_FLOOR if contender == OURS[0] else None)
    if contender.startswith("one"):
        return time_call(benchmark, partial(np.max, heatmap), entry(FEW, contender, "ceiling"), rounds=40)
    call = partial(peers.sort_and_suppress, heatmap, FEW.threshold)
    return time_call(benchmark, call, entry(FEW, contender, "peer"), rounds=7)


@pytest.mark.cuda
@pytest.mark.parametrize(
    "contender", ["fastwsi", "fastwsi, padded", "fastwsi on the CPU", "torch max_pool2d"]
)
@pytest.mark.parametrize("task", [MANY, FEW], ids=lambda task: task.group)
def test_gpu(benchmark: BenchmarkFixture, gpu: torch.device, task: Task, contender: str) -> None:
    heatmap = torch.from_numpy(peers.smooth_map()).to(gpu)
    threshold = task.threshold
    group = f"{task.group} on the GPU"
    if contender == "fastwsi on the CPU":
        call = peers.fast_call(peers.smooth_map(), task)
        return time_call(
            benchmark,
            call,
            Entry(group, contender, "peer", CELLS, 4 * CELLS, note="of a map in memory"),
            rounds=10,
        )
    if contender == "torch max_pool2d":
        call = partial(peers.max_pooling, heatmap, threshold)
        return time_on_gpu(benchmark, call, Entry(group, contender, "peer", CELLS, 4 * CELLS, note=OTHERS))
    found = kernels.nms(heatmap, RADIUS, threshold, task.shape)
    assert list(zip(found.x.tolist(), found.y.tolist(), strict=True)) == expected(task)
    padded = contender == "fastwsi, padded"
    call = partial(kernels.nms, heatmap, RADIUS, threshold, task.shape, padded=padded)
    note = "" if padded else "waits for the count at every call"
    return time_on_gpu(
        benchmark, call, Entry(group, contender, "ours", CELLS, 4 * CELLS, note=note), count=10
    )
