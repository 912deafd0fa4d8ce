"""scale_shift on a batch of network input, beside torch's fused operation and a plain copy."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchmarks.measure import Entry, Role, time_call, time_on_gpu
from fastwsi.kernels import area_resize, scale_shift

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

SHAPE = (16, 3, 512, 512)
GPU_SHAPE = (64, 3, 1024, 1024)
SCALE, SHIFT = [4.37, 4.46, 4.44], [-2.12, -2.04, -1.80]
COPY_FLOOR = 0.60
BYTES_PER_PIXEL = 2 * 3 * 4  # three float32 read and written


def contenders(x: torch.Tensor) -> dict[str, Callable[[], torch.Tensor]]:
    """The same work three ways, each into memory of its own; and a copy, which is no work at all."""
    scale = torch.tensor(SCALE, device=x.device).view(1, 3, 1, 1)
    shift = torch.tensor(SHIFT, device=x.device).view(1, 3, 1, 1)
    out = torch.full_like(x, torch.nan)
    return {
        "copy": partial(out.copy_, x),
        "fastwsi": partial(scale_shift, x, SCALE, SHIFT, out),
        "torch.addcmul": partial(torch.addcmul, shift, x, scale, out=out),
    }


def check(found: torch.Tensor, x: torch.Tensor) -> None:
    """Compare a slice with float64."""
    exact = x[0, :, :8].double().cpu() * torch.tensor(SCALE).view(3, 1, 1) + torch.tensor(SHIFT).view(3, 1, 1)
    torch.testing.assert_close(found[0, :, :8].double().cpu(), exact.double(), rtol=1e-6, atol=1e-6)


def entry(x: torch.Tensor, contender: str, floor: float | None = None) -> Entry:
    roles: dict[str, Role] = {"copy": "ceiling", "fastwsi": "ours"}
    pixels = x.numel() // 3
    where = " on the GPU" if x.is_cuda else ""
    group = f"scale and shift {' x '.join(map(str, x.shape))} float32{where}"
    return Entry(group, contender, roles.get(contender, "peer"), pixels, BYTES_PER_PIXEL * pixels, floor)


@pytest.mark.parametrize("contender", ["fastwsi", "torch.addcmul"])
def test_scale_shift(benchmark: BenchmarkFixture, contender: str) -> None:
    x = torch.randn(SHAPE)
    function = contenders(x)[contender]
    check(function(), x)
    time_call(benchmark, function, entry(x, contender), rounds=40)


@pytest.mark.cuda
@pytest.mark.parametrize("contender", ["copy", "fastwsi", "torch.addcmul"])
def test_gpu_scale_shift(benchmark: BenchmarkFixture, gpu: torch.device, contender: str) -> None:
    x = torch.randn(GPU_SHAPE, device=gpu)
    function = contenders(x)[contender]
    if contender != "copy":
        check(function(), x)
    floor = COPY_FLOOR if contender == "fastwsi" else None
    time_on_gpu(benchmark, function, entry(x, contender, floor))


@pytest.mark.parametrize("contender", ["fastwsi", "OpenCV"])
@pytest.mark.parametrize("side", [1980, 1024, 512, 100])
def test_area_resize(benchmark: BenchmarkFixture, side: int, contender: str) -> None:
    """Smaller by 1.03, 2, 4 and 20.5: OpenCV has code of its own for 2 and 4."""
    import cv2

    cv2.setNumThreads(1)
    image = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3), np.uint8)
    functions: dict[str, Callable[[], object]] = {
        "fastwsi": partial(area_resize, image, (side, side)),
        "OpenCV": partial(cv2.resize, image, (side, side), interpolation=cv2.INTER_AREA),
    }
    apart = np.abs(np.asarray(functions["fastwsi"]()).astype(int) - np.asarray(functions["OpenCV"]()))
    assert apart.max() <= 1
    role: Role = "ours" if contender == "fastwsi" else "peer"
    size = BYTES_PER_PIXEL // 8 * (2048**2 + side**2)
    entry = Entry(f"area means, 2048 x 2048 to {side} x {side}", contender, role, 2048**2, size)
    time_call(benchmark, functions[contender], entry, rounds=20)
