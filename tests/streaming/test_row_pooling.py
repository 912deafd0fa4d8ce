"""Max pooling of slabs against torch on the whole plane, values, places and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from fastwsi.streaming import row_kernels as rows
from streaming.bands import FORMATS, Band, dtypes, layouts, same_bits, values

LEVELS = _core.simd_usable()
quick = settings(max_examples=80, deadline=None)


@st.composite
def poolings(draw):
    """Sizes, pads, kernel, stride and dilation, such that every window meets the slab."""
    axes = []
    for _ in range(2):
        kernel, stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
        reach = dilation * (kernel - 1)
        before, after = draw(st.integers(0, reach)), draw(st.integers(0, reach))
        size = draw(st.integers(max(1, reach + 1), reach + 40))
        axes.append((size, before, after, kernel, stride, dilation))
    (h, top, bottom, *y), (w, left, right, *x) = axes
    channels = draw(st.sampled_from([1, 3, 8, 37]))
    images = draw(st.integers(1, 2))
    return (images, channels, h, w), ((left, right, top, bottom), *zip(y, x, strict=True))


def naive(x, pads, kernel, stride, dilation):
    """Tap by tap in row-major order: the rule of torch's loop, over cells that exist."""
    left, _, top, _ = pads
    n, c, h, w = x.shape
    ho, wo = rows.max_pool(x[:0], pads, kernel, stride, dilation)[0].shape[2:]
    y = torch.empty((n, c, ho, wo), dtype=x.dtype)
    index = torch.empty((n, c, ho, wo), dtype=torch.uint8)
    for oy in range(ho):
        for ox in range(wo):
            best = None
            for ky in range(kernel[0]):
                for kx in range(kernel[1]):
                    r, q = oy * stride[0] - top + ky * dilation[0], ox * stride[1] - left + kx * dilation[1]
                    if not (0 <= r < h and 0 <= q < w):
                        continue
                    v, tap = x[:, :, r, q], torch.full((n, c), ky * kernel[1] + kx, dtype=torch.uint8)
                    if best is None:
                        best, place = v, tap
                    wins = (v > best) | v.isnan()
                    best, place = torch.where(wins, v, best), torch.where(wins, tap, place)
            y[:, :, oy, ox], index[:, :, oy, ox] = best, place
    return y, index


@settings(max_examples=25, deadline=None)
@given(
    case=poolings(), layout=layouts, dtype=dtypes, seed=st.integers(0, 2**31), level=st.sampled_from(LEVELS)
)
def test_is_the_rule_tap_by_tap(case, layout, dtype, seed, level):
    shape, sizes = case
    shape = (
        1,
        min(shape[1], 9),
        *(min(side, reach + 9) for side, reach in zip(shape[2:], (13, 13), strict=True)),
    )
    dense = values(shape, dtype, seed, odd=True).round()
    expected, places = naive(dense, *sizes)
    x = Band(dense, layout, True)
    with kernels.simd_level(level):
        y, index = rows.max_pool(x.rows, *sizes)
    assert same_bits(y, expected)
    assert torch.equal(index, places)


def as_flat(index, shape, pads, kernel, stride, dilation):
    """Places in windows as torch's places in the plane."""
    oy, ox = (torch.arange(n) for n in index.shape[2:])
    k = index.long()
    r = (oy * stride[0] - pads[2])[:, None] + k.div(kernel[1], rounding_mode="floor") * dilation[0]
    return r * shape[3] + (ox * stride[1] - pads[0]) + k % kernel[1] * dilation[1]


@quick
@given(
    shape=st.tuples(
        st.integers(1, 2), st.sampled_from([1, 3, 16, 37]), st.integers(5, 30), st.integers(5, 70)
    ),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padded=st.booleans(),
    layout=layouts,
    dtype=dtypes,
    seed=st.integers(0, 2**31),
    odd=st.booleans(),
    sliced=st.booleans(),
    level=st.sampled_from(LEVELS),
    count=st.integers(1, 2),
)
def test_is_torch_forward_and_backward(
    shape, kernel, stride, dilation, padded, layout, dtype, seed, odd, sliced, level, count
):
    pad = kernel // 2 if padded else 0
    sizes = ((pad,) * 4, (kernel,) * 2, (stride,) * 2, (dilation,) * 2)
    dense = values(shape, dtype, seed, odd).contiguous(memory_format=FORMATS[layout])
    leaf = dense.clone().requires_grad_()
    expected, places = F.max_pool2d(leaf, kernel, stride, pad, dilation, return_indices=True)
    grad = values(expected.shape, dtype, seed + 1)
    x, out = Band(dense, layout, sliced), Band(expected.detach() * 0, layout, True)
    fastwsi.set_num_threads(count)
    with kernels.simd_level(level):
        y, index = rows.max_pool(x.rows, *sizes, out=out.rows if sliced else None)
    assert same_bits(y, expected.detach())
    assert (y is out.rows) == sliced
    assert index.is_contiguous(memory_format=FORMATS[layout])
    infinite = torch.isinf(y) & (y < 0)  # over cells of minus infinity alone torch may name a cell outside
    flat = as_flat(index, shape, *sizes)
    assert bool(((flat == places) | infinite).all())
    out.check()

    if not odd:
        expected.backward(grad.contiguous(memory_format=FORMATS[layout]))
        slab = Band(torch.zeros(shape, dtype=dtype), layout, sliced)
        given_grad = Band(grad, layout, sliced)
        assert rows.max_pool_backward(given_grad.rows, index, *sizes, slab.rows) is slab.rows
        assert torch.equal(slab.rows, leaf.grad)
        slab.check()
        wide = torch.zeros((*shape[:3], 2 * shape[3]), dtype=dtype)
        fallback = wide[..., ::2]  # with gaps: left to torch
        rows.max_pool_backward(grad, index, *sizes, fallback)
        assert torch.equal(fallback, leaf.grad)


@quick
@given(case=poolings(), layout=layouts, seed=st.integers(0, 2**31), level=st.sampled_from(LEVELS))
def test_native_and_torch_agree(case, layout, seed, level):
    shape, sizes = case
    x = values(shape, torch.float32, seed, odd=True).round()
    gaps = torch.zeros((*shape[:3], 2 * shape[3]))[..., ::2].copy_(x)
    with kernels.simd_level(level):
        y, index = rows.max_pool(x.contiguous(memory_format=FORMATS[layout]), *sizes)
    expected, places = rows.max_pool(gaps, *sizes)
    assert same_bits(y, expected)
    assert torch.equal(index, places)
    grad = values(y.shape, torch.float32, seed + 1).contiguous(memory_format=FORMATS[layout])
    start = values(shape, torch.float32, seed + 2)
    slab = start.contiguous(memory_format=FORMATS[layout]).clone(memory_format=torch.preserve_format)
    gaps.copy_(start)
    rows.max_pool_backward(grad, index, *sizes, slab)
    rows.max_pool_backward(grad, index, *sizes, gaps)
    assert same_bits(slab, gaps)


def test_pads_do_not_win_over_minus_infinity():
    x = torch.full((1, 1, 4, 4), -torch.inf)
    for layout in FORMATS.values():
        y, index = rows.max_pool(x.contiguous(memory_format=layout), (1, 1, 1, 1), (3, 3), (2, 2), (1, 1))
        assert y.isneginf().all()
        assert index.tolist() == [[[[4, 3], [1, 0]]]]


def test_16_bit_floats():
    x = values((1, 3, 9, 10), torch.bfloat16, 1)
    y, index = rows.max_pool(x, (1, 1, 1, 1), (3, 3), (2, 2), (1, 1))
    assert torch.equal(y, F.max_pool2d(x, 3, 2, 1))
    slab = rows.max_pool_backward(torch.ones_like(y), index, (1, 1, 1, 1), (3, 3), (2, 2), (1, 1), x * 0)
    assert slab.sum() == y.numel()


@pytest.mark.parametrize("layout", FORMATS)
def test_an_index_out_of_its_window_does_no_harm(layout):
    out = Band(torch.zeros(1, 3, 6, 6), layout, True)
    shape = (1, 3, 3, 3)
    grad = torch.ones(shape).contiguous(memory_format=FORMATS[layout])
    for wrong in (0, 2, 8, 9, 200, 255):
        index = torch.full(shape, wrong, dtype=torch.uint8).contiguous(memory_format=FORMATS[layout])
        rows.max_pool_backward(grad, index, (1, 1, 1, 1), (3, 3), (2, 2), (1, 1), out.rows)
    out.check()


def test_a_window_of_columns_that_never_fits():
    """Windows wider than the slab: each reaches beyond one of its sides."""
    x = values((1, 2, 3, 2), torch.float32, 1)
    y, index = rows.max_pool(x, (2, 2, 0, 0), (1, 4), (1, 2), (1, 1))
    assert y.shape == (1, 2, 3, 2)
    assert torch.equal(y[..., 0], x.amax(-1))
    assert index.shape == y.shape


def test_wrong_arguments_say_what_they_got_and_what_is_expected():
    x, ones = torch.zeros(1, 2, 6, 6), (1, 1)
    with pytest.raises(ValueError, match="at most 255 places in a window"):
        rows.max_pool(x, (0, 0, 0, 0), (16, 16), ones, ones)
    with pytest.raises(ValueError, match=r"pads: got \(-1, 0, 0, 0\), expected"):
        rows.max_pool(x, (-1, 0, 0, 0), (2, 2), ones, ones)
    with pytest.raises(ValueError, match=r"out: got torch.float32 \(1, 2, 6, 6\) on cpu, expected"):
        rows.max_pool(x, (0, 0, 0, 0), (2, 2), ones, ones, out=x)
    with pytest.raises(
        ValueError, match=r"index: got torch.float32 \(1, 2, 5, 5\) on cpu, expected torch.uint8"
    ):
        rows.max_pool_backward(x[..., 1:, 1:], x[..., 1:, 1:], (0, 0, 0, 0), (2, 2), ones, ones, x)
