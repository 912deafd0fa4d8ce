"""Bands of rows on a GPU: what the CPU gives, in both memory formats, in buffers and apart."""

from __future__ import annotations

import pytest
import torch

from fastwsi.streaming import row_kernels, row_layout
from gpu_arrays import assert_only_queues_work
from streaming.bands import Band, values

ACTS = ("none", "relu", "relu6", "leaky_relu")
SHAPES = [(1, 3, 4, 5), (2, 67, 7, 300), (1, 64, 33, 1030), (3, 1, 1, 1)]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def on_gpu(shape, dtype, seed, layout, sliced, odd=True):
    """(on the CPU, on the GPU): the same values, perhaps as rows of a larger buffer."""
    x = values(shape, dtype, seed, odd=odd)
    band = Band(x, layout, sliced)
    buffer = band.buffer.cuda()
    above = 2 if sliced else 0
    return x, buffer[:, :, above : above + shape[2]]


def agree(found, expected, dtype):
    torch.testing.assert_close(
        found.cpu().double(), expected.double(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], equal_nan=True
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", ["rows", "channels_last"])
@pytest.mark.parametrize("sliced", [False, True])
def test_affine_act(shape, dtype, layout, sliced):
    x, x_gpu = on_gpu(shape, dtype, 0, layout, sliced)
    residual, residual_gpu = on_gpu(shape, dtype, 1, layout, False)
    wide = torch.promote_types(dtype, torch.float32)
    scale, shift = (values((shape[1],), torch.float64, seed).to(wide) for seed in (2, 3))
    assert row_layout.native_format(x_gpu, residual_gpu) is not None
    for act in ACTS:
        for terms in ((scale, shift), (None, None)):
            for added in (False, True):
                # In float64, so that it is rounded once, as the kernel does.
                given = [None if term is None else term.double() for term in terms]
                rest = residual.double() if added else None
                expected = row_kernels.affine_act(x.double(), *given, rest, act, 0.2).to(dtype)
                cuda = [None if term is None else term.cuda() for term in terms]
                found = row_kernels.affine_act(x_gpu, *cuda, residual_gpu if added else None, act, 0.2)
                agree(found, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", ["rows", "channels_last"])
def test_act_gate(shape, dtype, layout):
    grad, grad_gpu = on_gpu(shape, dtype, 0, layout, False, odd=False)
    value, value_gpu = on_gpu(shape, dtype, 1, layout, True)
    for act in ACTS:
        sums = torch.zeros(shape[1], dtype=torch.float64)
        sums_gpu = sums.cuda()
        expected = row_kernels.act_gate(grad.double(), value.double(), act, 0.2, sums=sums).to(dtype)
        found = row_kernels.act_gate(grad_gpu.clone(), value_gpu, act, 0.2, sums=sums_gpu)
        agree(found, expected, dtype)
        torch.testing.assert_close(sums_gpu.cpu(), sums, rtol=1e-2, atol=1e-2 * grad.numel() ** 0.5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 3, 9, 12), (2, 64, 17, 130), (1, 5, 1, 3)])
@pytest.mark.parametrize("layout", ["rows", "channels_last"])
@pytest.mark.parametrize(
    ("pads", "kernel", "stride", "dilation"),
    [
        ((1, 1, 1, 1), (3, 3), (2, 2), (1, 1)),
        ((2, 0, 0, 3), (2, 3), (1, 2), (2, 1)),
        ((4, 4, 4, 4), (2, 2), (3, 3), (1, 1)),
    ],
)
def test_max_pool(shape, dtype, layout, pads, kernel, stride, dilation):
    x, x_gpu = on_gpu(shape, dtype, 0, layout, True)
    sizes = (pads, kernel, stride, dilation)
    expected, places = row_kernels.max_pool(x.double(), *sizes)
    found, index = row_kernels.max_pool(x_gpu, *sizes)
    assert torch.equal(found.cpu().double().nan_to_num(nan=7e30), expected.nan_to_num(nan=7e30))
    assert torch.equal(index.cpu(), places)
    grad = values(expected.shape, dtype, 1)
    start = values(shape, dtype, 2)
    right = row_kernels.max_pool_backward(grad.double(), places, *sizes, start.double())
    format_ = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    grad_gpu, start_gpu = (t.cuda().contiguous(memory_format=format_) for t in (grad, start))
    agree(row_kernels.max_pool_backward(grad_gpu, index, *sizes, start_gpu), right, dtype)


def test_they_only_queue_work():
    x = torch.randn(1, 64, 16, 256, device="cuda")
    scale = torch.ones(64, device="cuda")
    out, value = torch.empty_like(x), torch.relu(x)
    sizes = (1, 1, 1, 1), (3, 3), (2, 2), (1, 1)

    def work():
        row_kernels.affine_act(x, scale, scale, x, "relu", out=out)
        row_kernels.act_gate(x, value, "relu", out=out)
        y, index = row_kernels.max_pool(x, *sizes)
        row_kernels.max_pool_backward(y, index, *sizes, out)

    assert_only_queues_work(work)
