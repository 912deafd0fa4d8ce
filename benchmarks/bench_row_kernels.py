"""Row kernels beside torch's own operations in sequence, on slabs as a ResNet's stem and stages have them.

Every answer is checked against torch's before it is timed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from benchmarks.measure import Entry, time_call, time_on_gpu
from fastwsi.streaming import row_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture
    from torch import Tensor

BYTES = 4
FORMATS = {"rows": torch.contiguous_format, "channels last": torch.channels_last}
LARGE, SMALL = (1, 64, 128, 2048), (1, 256, 32, 128)  # past the caches, and a band that may lie in them
ROUNDS = {LARGE: 15, SMALL: 200}
GPU_FLOOR = 0.6  # of a copy's bandwidth
shapes = pytest.mark.parametrize("shape", [LARGE, SMALL], ids=str)
formats = pytest.mark.parametrize("layout", FORMATS)
contenders = pytest.mark.parametrize("ours", [True, False], ids=["fastwsi", "torch"])


def band(shape: tuple[int, ...], layout: str, seed: int) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=FORMATS[layout])


def entry(group: str, ours: bool, x: Tensor, arrays: float, floor: float | None) -> Entry:
    name, role = ("fastwsi", "ours") if ours else ("torch", "peer")
    moved = int(arrays * x.numel() * BYTES)
    return Entry(group, name, role, x.numel(), moved, None if ours else floor)  # type: ignore[arg-type]


def run(benchmark: BenchmarkFixture, call: Callable[[], object], line: Entry, shape: tuple[int, ...]) -> None:
    time_call(benchmark, call, line, rounds=ROUNDS[shape], iterations=1)


@pytest.mark.parametrize("contender", ["fastwsi", "fastwsi, new tensor", "torch"])
@formats
@shapes
def test_affine_act(benchmark: BenchmarkFixture, shape: tuple[int, ...], layout: str, contender: str) -> None:
    """As streaming calls it, into rows of a buffer that it keeps; torch's batch norm has to make a tensor."""
    x, residual = band(shape, layout, 1), band(shape, layout, 2)
    weight, bias, mean = (torch.randn(shape[1]) for _ in range(3))
    var = torch.rand(shape[1]) + 0.1
    scale, shift = row_kernels.batch_norm_terms(weight, bias, mean, var, 1e-5)

    def in_sequence() -> Tensor:
        return F.batch_norm(x, mean, var, weight, bias).add_(residual).relu_()

    fused = partial(row_kernels.affine_act, x, scale, shift, residual, "relu")
    calls = {
        "fastwsi": partial(fused, out=torch.empty_like(x)),
        "fastwsi, new tensor": fused,
        "torch": in_sequence,
    }
    assert torch.equal(calls[contender](), in_sequence())
    group = f"batch norm + residual + relu, {shape}, {layout}"
    line = entry(group, contender == "fastwsi", x, 3, 1.5 if contender == "torch" else None)
    run(benchmark, calls[contender], replace(line, contender=contender), shape)


@contenders
@formats
@shapes
def test_act_gate(benchmark: BenchmarkFixture, shape: tuple[int, ...], layout: str, ours: bool) -> None:
    """The gradient of relu to a given tensor, and its sum over each channel."""
    grad, value = band(shape, layout, 1), band(shape, layout, 2)
    out = torch.empty_like(grad)
    sums = torch.zeros(shape[1], dtype=torch.float64)

    def in_sequence() -> Tensor:
        torch.ops.aten.threshold_backward.grad_input(grad, value, 0, grad_input=out)
        return out.sum((0, 2, 3))

    def fused() -> Tensor:
        row_kernels.act_gate(grad, value, "relu", out=out, sums=sums)
        return sums

    torch.testing.assert_close(fused().float(), in_sequence(), rtol=1e-3, atol=1.0)
    line = entry(f"gradient of relu + sums, {shape}, {layout}", ours, grad, 3, 1.0)
    run(benchmark, fused if ours else in_sequence, line, shape)


@contenders
@formats
@shapes
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_max_pool(
    benchmark: BenchmarkFixture, shape: tuple[int, ...], layout: str, ours: bool, backward: bool
) -> None:
    """Kernel 3, stride 2, the stem's; torch has the same windows over a symmetric pad."""
    x = band(shape, layout, 1)
    sizes = ((1, 1, 1, 1), (3, 3), (2, 2), (1, 1))
    y, index = row_kernels.max_pool(x, *sizes)
    expected, places = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    assert torch.equal(y, expected)
    grad = band(tuple(y.shape), layout, 3)
    into = torch.zeros_like(x)
    geometry = ([3, 3], [2, 2], [1, 1], [1, 1], False)

    def torch_backward() -> Tensor:
        return torch.ops.aten.max_pool2d_with_indices_backward(grad, x, *geometry, places)

    calls = {
        (True, False): lambda: row_kernels.max_pool(x, *sizes),
        (False, False): lambda: F.max_pool2d(x, 3, 2, 1, return_indices=True),
        (True, True): lambda: row_kernels.max_pool_backward(grad, index, *sizes, into.zero_()),
        (False, True): torch_backward,
    }
    assert torch.equal(calls[True, True](), torch_backward())  # type: ignore[arg-type]
    name = "backward" if backward else "forward"
    line = entry(f"max pool 3/2 {name}, {shape}, {layout}", ours, x, 1.3125, None if backward else 1.0)
    run(benchmark, calls[ours, backward], line, shape)


@pytest.mark.cuda
@pytest.mark.parametrize("contender", ["copy", "fastwsi", "torch"])
@pytest.mark.parametrize(
    "what", ["batch norm + residual + relu", "gradient of relu", "max pool", "its gradient"]
)
@formats
def test_gpu_row_kernels(
    benchmark: BenchmarkFixture, gpu: torch.device, layout: str, what: str, contender: str
) -> None:
    x, residual = band(LARGE, layout, 1).to(gpu), band(LARGE, layout, 2).to(gpu)
    sizes = ((1, 1, 1, 1), (3, 3), (2, 2), (1, 1))
    weight, mean, var = (torch.rand(LARGE[1], device=gpu) + 0.1 for _ in range(3))
    scale, shift = row_kernels.batch_norm_terms(weight, weight, mean, var, 1e-5)
    y, index = row_kernels.max_pool(x, *sizes)
    expected, places = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    geometry = ([3, 3], [2, 2], [1, 1], [1, 1], False)
    out = torch.empty_like(x)
    torch_max_pool_backward = torch.ops.aten.max_pool2d_with_indices_backward
    calls: dict[str, tuple[float, Callable[[], Tensor], Callable[[], Tensor]]] = {
        "batch norm + residual + relu": (
            3,
            lambda: row_kernels.affine_act(x, scale, shift, residual, "relu", out=out),
            lambda: F.batch_norm(x, mean, var, weight, weight).add_(residual).relu_(),
        ),
        "gradient of relu": (
            3,
            lambda: row_kernels.act_gate(x, residual, "relu", out=out),
            lambda: torch.ops.aten.threshold_backward.grad_input(x, residual, 0, grad_input=out),
        ),
        "max pool": (
            1.3125,
            lambda: row_kernels.max_pool(x, *sizes)[0],
            lambda: F.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
        ),
        "its gradient": (
            3.3125,  # zeros are written, read and written again
            lambda: row_kernels.max_pool_backward(expected, index, *sizes, out.zero_()),
            lambda: torch_max_pool_backward(expected, x, *geometry, places),
        ),
    }
    arrays, ours, theirs = calls[what]
    group = f"{what}, {LARGE}, {layout}, on the GPU"
    if contender == "copy":
        line = Entry(group, contender, "ceiling", x.numel(), 2 * x.numel() * BYTES)
        return time_on_gpu(benchmark, lambda: out.copy_(x), line)
    assert torch.equal(y, expected)
    torch.testing.assert_close(ours().clone(), theirs(), rtol=1e-5, atol=1e-5)
    line = entry(group, contender == "fastwsi", x, arrays, None)
    if contender == "fastwsi":
        line = replace(line, floor=GPU_FLOOR)
    return time_on_gpu(benchmark, ours if contender == "fastwsi" else theirs, line)
