"""dense_pool under autograd: derivatives of any order and direction, each dtype and layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from kernels.arrays import to_numpy
from kernels.pools import cases
from reference import pooling as reference

LEVELS = _core.simd_usable()
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
HALF_AN_ULP = {torch.float64: 0.0, torch.float32: 0.0, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
SMALL = [
    ((5, 6), (2, 3), (1, 2)),
    ((1, 1), (1, 1), (1, 1)),
    ((2, 4, 4), (4, 4), (1, 1)),
    ((2, 2, 6, 5), (2, 2), (3, 3)),
    ((2, 3, 7, 5), (3, 2), (2, 1)),
    ((1, 2, 1, 4, 4), (3, 3), (1, 1)),
    ((0, 2, 4, 4), (2, 2), (1, 1)),
]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own, at first use
@pytest.mark.parametrize(
    ("shape", "window", "stride", "channels_last"),
    [(*case, last) for case in SMALL for last in (False, True) if not last or len(case[0]) > 2],
    ids=str,
)
def test_gradients_of_each_order_and_direction(shape, window, stride, channels_last):
    x = torch.randn(shape, dtype=torch.float64)
    if channels_last:
        x = x.movedim(-3, -1).contiguous().movedim(-1, -3)
    x.requires_grad_()

    def run(values):
        return kernels.dense_pool(values, window, stride)

    assert torch.autograd.gradcheck(run, x, check_forward_ad=True, check_batched_grad=False)
    assert torch.autograd.gradgradcheck(run, x)
    # A map is linear where its derivative does not depend on the point; so put a curve behind it.
    assert torch.autograd.gradgradcheck(lambda values: run(values).sin() * run(values.cos()), x)


@given(
    case=cases(),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(DTYPES),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
    channels_last=st.booleans(),
    grad_layout=st.sampled_from(["packed", "expanded", "transposed", "strided", "channels_last"]),
)
def test_the_gradient_is_the_transpose(case, seed, dtype, level, threads, channels_last, grad_layout):
    shape, window, stride = case
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).to(dtype)
    if channels_last and x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        y = kernels.dense_pool(x, window, stride)
        g = torch.randn(y.shape, generator=generator).to(dtype)
        if grad_layout == "expanded":
            g = g[..., :1, :1].expand(y.shape)
        elif grad_layout == "transposed":
            g = g.transpose(-1, -2).contiguous().transpose(-1, -2)
        elif grad_layout == "strided":
            g = g.repeat_interleave(2, -1)[..., ::2]
        elif grad_layout == "channels_last" and g.ndim == 4:
            g = g.contiguous(memory_format=torch.channels_last)
        y.backward(g)
    assert x.grad.dtype == dtype
    exact = reference.dense_pool_back(to_numpy(g), shape, window, stride)
    amount = reference.dense_pool_back(np.abs(to_numpy(g)), shape, window, stride)
    bound = (1e-12 if dtype == torch.float64 else 1e-6) * amount + HALF_AN_ULP[dtype] * np.abs(exact) + 1e-38
    if dtype == torch.float16:
        bound += 2.0**-25  # half of its least denormal
    assert (np.abs(to_numpy(x.grad).astype(np.float64) - exact) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("window", "stride"), [((8, 8), (1, 1)), ((3, 5), (2, 7)), ((20, 21), (1, 1))], ids=str
)
def test_the_gradient_is_avg_pool2d_s(window, stride, dtype):
    values = torch.randn(2, 3, 20, 21)
    ours, theirs = (values.to(dtype).requires_grad_() for _ in range(2))
    y = kernels.dense_pool(ours, window, stride)
    g = torch.randn(y.shape).to(dtype)
    y.backward(g)
    torch.nn.functional.avg_pool2d(theirs, window, stride).backward(g)
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 4e-3, torch.bfloat16: 4e-2}[dtype]
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=tolerance, atol=tolerance)


@given(case=cases(max_lead=1), seed=st.integers(0, 2**32 - 1), odd=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_nan_in_a_gradient_touches_exactly_the_cells_under_its_window(case, seed, odd):
    shape, window, stride = case
    rng = np.random.default_rng(seed)
    x = torch.zeros(shape, requires_grad=True)
    g = np.ones((*shape[:-2], *reference.output_size(*shape[-2:], window, stride)), np.float32)
    if g.size:
        g.reshape(-1)[rng.integers(g.size)] = odd
    kernels.dense_pool(x, window, stride).backward(torch.from_numpy(g))
    expected = reference.dense_pool_back(g, shape, window, stride)
    found = x.grad.numpy()
    special = ~np.isfinite(expected)
    np.testing.assert_array_equal(found[special], expected[special])
    np.testing.assert_allclose(found[~special], expected[~special], rtol=1e-6)


def test_cells_under_no_window_have_no_gradient():
    x = torch.randn(2, 9, 10, requires_grad=True)
    kernels.dense_pool(x, 2, 4).sum().backward()
    expected = torch.zeros(2, 9, 10)
    for i in (0, 4):
        for j in (0, 4, 8):
            expected[:, i : i + 2, j : j + 2] = 0.25
    assert torch.equal(x.grad, expected)


def test_gradient_bits_depend_neither_on_the_batch_nor_on_threads():
    values = torch.randn(3, 20, 70, 90)
    for memory in (torch.contiguous_format, torch.channels_last):

        def gradient(x, g):
            x = x.detach().requires_grad_()
            kernels.dense_pool(x, 32, 1).backward(g)
            return x.grad

        x = values.contiguous(memory_format=memory)
        g = torch.randn(3, 20, 39, 59)
        fastwsi.set_num_threads(1)
        expected = gradient(x, g)
        fastwsi.set_num_threads(3)
        assert torch.equal(gradient(x, g), expected)
        assert torch.equal(gradient(x[1:2], g[1:2]), expected[1:2])


def test_gradients_of_channels_last_stay_channels_last():
    x = torch.randn(2, 5, 12, 14).contiguous(memory_format=torch.channels_last).requires_grad_()
    (g,) = torch.autograd.grad(kernels.dense_pool(x, 4, 3).square().sum(), x)
    assert g.is_contiguous(memory_format=torch.channels_last)


def test_third_derivative():
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    y = kernels.dense_pool(x, 2, 1).pow(4).sum()
    for _ in range(3):
        (derivative,) = torch.autograd.grad(y, x, create_graph=True)
        y = derivative.sum()
    # Each x meets its windows through P^T; sum of P^T v is the sum of v.
    expected = reference.dense_pool_back(
        24 * kernels.dense_pool(x.detach(), 2, 1).numpy(), (1, 1, 4, 4), (2, 2), (1, 1)
    )
    np.testing.assert_allclose(derivative.detach().numpy(), expected, rtol=1e-12)


def test_grad_is_recorded_only_where_it_is_wanted():
    x = torch.randn(2, 4, 4, requires_grad=True)
    assert kernels.dense_pool(x, 2, 1).requires_grad
    with torch.no_grad():
        assert not kernels.dense_pool(x, 2, 1).requires_grad
    assert not kernels.dense_pool(x.detach(), 2, 1).requires_grad
