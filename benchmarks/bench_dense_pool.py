"""Dense average pooling beside torch's, and beside what torch can do of it in two passes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import fastwsi
from benchmarks.measure import Entry, Role, time_call, time_on_gpu
from fastwsi.kernels import dense_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

WINDOW, CHANNELS = 32, 64
TOLERANCE = 1e-6  # of the mean magnitude in the window, 0.8 for these values; torch's own sums are worse
TORCH_TOLERANCE = 1e-5
GPU_FLOOR = 0.60  # of copy bandwidth
BYTES = 4
NOTE = "the mean of means over blocks of stride x stride, two calls of avg_pool2d"


@dataclass(frozen=True)
class Case:
    side: int
    stride: int
    floor: float
    backward: bool = False
    channels_last: bool = False

    @property
    def group(self) -> str:
        what = "forward and backward" if self.backward else "forward"
        layout = ", channels last" if self.channels_last else ""
        shape = f"{CHANNELS} x {self.side} x {self.side} float32{layout}"
        return f"dense pool {what}, {shape}, window {WINDOW}, stride {self.stride} (a px is a value)"


CASES = [
    Case(632, 8, 25),
    Case(158, 2, 80),
    Case(316, 4, 12, backward=True),
    Case(632, 8, 0, channels_last=True),
]


def in_blocks(x: torch.Tensor, stride: int) -> torch.Tensor:
    return F.avg_pool2d(F.avg_pool2d(x, stride), WINDOW // stride, 1)


def poolings(stride: int) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    return {
        "fastwsi, best": partial(dense_pool, window=WINDOW, stride=stride),
        "fastwsi, baseline": partial(dense_pool, window=WINDOW, stride=stride),
        "torch avg_pool2d": partial(F.avg_pool2d, kernel_size=WINDOW, stride=stride),
        "torch, in blocks": partial(in_blocks, stride=stride),
    }


def features(case: Case, device: str | torch.device = "cpu") -> torch.Tensor:
    x = torch.randn(1, CHANNELS, case.side, case.side, generator=torch.Generator().manual_seed(0)).to(device)
    if case.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(case.backward)


def run(
    pool: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, grad: torch.Tensor | None
) -> torch.Tensor:
    if grad is None:
        return pool(x)
    (found,) = torch.autograd.grad(pool(x), x, grad)
    return found


def check(
    found: torch.Tensor, x: torch.Tensor, grad: torch.Tensor | None, case: Case, tolerance: float
) -> None:
    """Compare two channels with torch in float64."""
    exact_x = x.detach()[:, :2].double().requires_grad_(case.backward)
    exact_grad = None if grad is None else grad[:, :2].double()
    exact = run(partial(F.avg_pool2d, kernel_size=WINDOW, stride=case.stride), exact_x, exact_grad)
    error = (found.detach()[:, :2].double() - exact).abs().max().item()
    assert error <= tolerance, error


def entry(case: Case, contender: str, x: torch.Tensor, out: int, group: str) -> Entry:
    role: Role = "ours" if contender.startswith("fastwsi") else "peer"
    if contender == "fastwsi, baseline":
        role = "peer"
    floor = case.floor if contender == "torch avg_pool2d" and case.floor else None
    moved = (2 if case.backward else 1) * (x.numel() + out) * BYTES
    note = NOTE if contender == "torch, in blocks" else ""
    return Entry(group, contender, role, x.numel(), moved, floor, note)


@pytest.mark.parametrize("contender", list(poolings(1)))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.group)
def test_dense_pool(benchmark: BenchmarkFixture, case: Case, contender: str) -> None:
    x = features(case)
    pool = poolings(case.stride)[contender]
    outputs = F.avg_pool2d(x.detach(), WINDOW, case.stride)
    grad = torch.randn_like(outputs) if case.backward else None
    ours = contender.startswith("fastwsi")
    level = "baseline" if contender.endswith("baseline") else fastwsi.build_info().simd_chosen
    with fastwsi.kernels.simd_level(level):
        check(run(pool, x, grad), x, grad, case, TOLERANCE if ours else TORCH_TOLERANCE)
        rounds = 40 if ours else 7
        time_call(
            benchmark,
            partial(run, pool, x, grad),
            entry(case, contender, x, outputs.numel(), case.group),
            rounds=rounds,
        )


@pytest.mark.cuda
@pytest.mark.parametrize("contender", ["copy", "fastwsi, best", "torch avg_pool2d", "torch, in blocks"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.group)
def test_gpu_dense_pool(benchmark: BenchmarkFixture, gpu: torch.device, case: Case, contender: str) -> None:
    x = features(case, gpu)
    outputs = F.avg_pool2d(x.detach(), WINDOW, case.stride)
    grad = torch.randn_like(outputs) if case.backward else None
    group = f"{case.group} on the GPU"
    if contender == "copy":
        values = x.detach()
        to = torch.empty_like(values)
        line = Entry(group, contender, "ceiling", x.numel(), 2 * x.numel() * BYTES)
        return time_on_gpu(benchmark, partial(to.copy_, values), line)
    pool = poolings(case.stride)[contender]
    tolerance = TOLERANCE if contender.startswith("fastwsi") else TORCH_TOLERANCE
    check(run(pool, x, grad), x, grad, case, tolerance)
    line = entry(case, contender, x, outputs.numel(), group)
    if contender.startswith("fastwsi"):
        line = Entry(group, contender, "ours", line.pixels, line.bytes, GPU_FLOOR)
    elif line.floor:
        line = Entry(group, contender, "peer", line.pixels, line.bytes, None)
    return time_on_gpu(benchmark, partial(run, pool, x, grad), line)
