"""The boundary on a GPU: streams, devices, no synchronisation, and scale_shift's twin."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fastwsi import _core, kernels
from gpu_arrays import to_host

SCALE, SHIFT = [2.0, -3.0, 0.5], [1.0, 0.0, -1.0]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 3, 1000, 1001), (0, 3, 4), (2, 3, 0)], ids=str)
def test_scale_shift_equals_the_cpu(to_gpu, shape, dtype):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    found = kernels.scale_shift(to_gpu(x), SCALE, SHIFT)
    np.testing.assert_allclose(
        to_host(found),
        kernels.scale_shift(x, SCALE, SHIFT),
        rtol=2e-3 if dtype == "float16" else 1e-6,
    )


def test_scale_shift_on_views_and_bfloat16():
    import torch

    x = torch.randn(4, 3, 20, 30, device="cuda")
    for view in (
        x[::2, :, 1:, ::3],
        x.transpose(2, 3),
        x.to(memory_format=torch.channels_last),
        x.bfloat16(),
    ):
        expected = kernels.scale_shift(view.cpu(), SCALE, SHIFT)
        torch.testing.assert_close(kernels.scale_shift(view, SCALE, SHIFT).cpu(), expected)


def test_gradient_and_compilation():
    import torch

    x = torch.randn(2, 3, 4, device="cuda", dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: kernels.scale_shift(v, SCALE, SHIFT), x)
    compiled = torch.compile(lambda v: kernels.scale_shift(v, SCALE, SHIFT), backend="aot_eager")
    torch.testing.assert_close(compiled(x.detach()), kernels.scale_shift(x.detach(), SCALE, SHIFT))


@pytest.mark.parametrize("exchange", [True, False])
def test_work_goes_to_the_callers_current_stream(exchange):
    """A value written late on a side stream must be seen by a kernel called on that stream."""
    import torch

    _core.use_exchange_api(exchange)
    try:
        stream = torch.cuda.Stream()
        x = torch.zeros(1, 3, 1 << 20, device="cuda")
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)
            x.fill_(1.0)
            y = kernels.scale_shift(x, SCALE, SHIFT)
        stream.synchronize()
        assert y[0, :, 0].tolist() == [3.0, -3.0, -0.5]
    finally:
        _core.use_exchange_api(True)


def test_cupys_current_stream_is_used():
    cupy = pytest.importorskip("cupy")
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        x = cupy.zeros((1, 3, 1 << 20), cupy.float32)
        x += 1
        y = kernels.scale_shift(x, SCALE, SHIFT)
    stream.synchronize()
    assert y[0, :, 0].get().tolist() == [3.0, -3.0, -0.5]


def test_calls_return_before_the_work_is_done():
    import torch

    images = torch.randint(0, 256, (4, 512, 512, 3), dtype=torch.uint8, device="cuda")
    moments = kernels.hsd_moments(images)
    kernels.hsd_normalize(images, moments, moments)
    out = torch.empty_like(images)
    x = torch.randn(4, 3, 512, 512, device="cuda")
    kernels.scale_shift(x, SCALE, SHIFT)
    torch.cuda.synchronize()
    done = torch.cuda.Event()
    torch.cuda._sleep(2_000_000_000)  # about a second
    start = time.perf_counter()
    kernels.hsd_normalize(images, moments, moments, out)
    kernels.scale_shift(x, SCALE, SHIFT)
    elapsed = time.perf_counter() - start
    done.record()
    assert not done.query()
    assert elapsed < 0.2
    torch.cuda.synchronize()


def test_no_mixing_of_devices_or_frameworks():
    import torch

    images = torch.zeros(4, 4, 3, dtype=torch.uint8, device="cuda")
    with pytest.raises(ValueError, match="mask: got an array on cpu, expected cuda:0"):
        kernels.hsd_moments(images, torch.ones(4, 4, dtype=torch.bool))
    x = torch.zeros(1, 3, 4, device="cuda")
    with pytest.raises(ValueError, match="out: got an array on cpu, expected cuda:0"):
        kernels.scale_shift(x, SCALE, SHIFT, torch.zeros(1, 3, 4))
    with pytest.raises(TypeError, match="out: got a numpy array"):
        kernels.scale_shift(x, SCALE, SHIFT, np.zeros((1, 3, 4), np.float32))


def test_the_second_gpu():
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    x = torch.ones(1, 3, 4, device="cuda:1")
    assert kernels.scale_shift(x, SCALE, SHIFT).device == x.device
    assert torch.cuda.current_device() == 0


def test_captured_in_a_cuda_graph():
    import torch

    x = torch.zeros(1, 3, 64, device="cuda")
    kernels.scale_shift(x, SCALE, SHIFT)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = kernels.scale_shift(x, SCALE, SHIFT)
    x.fill_(1.0)
    graph.replay()
    torch.cuda.synchronize()
    assert y[0, :, 0].tolist() == [3.0, -3.0, -0.5]
