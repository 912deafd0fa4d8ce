"""dense_pool against the reference: dtypes, layouts, backends, SIMD levels, threads; and its numerics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from kernels.arrays import BACKENDS, to_backend, to_numpy
from kernels.pools import LAYOUTS, cases, lay_out
from reference import pooling as reference

LEVELS = _core.simd_usable()
NUMPY_DTYPES = ("float16", "float32", "float64")
# Of the mean of |x| over a window. Sums in float64 keep far more; the result's own rounding is 6e-8.
BOUND = {"float32": 1e-6, "float64": 1e-12}


def draw_values(rng, shape, kind):
    if kind == "normal":
        return rng.normal(size=shape)
    if kind == "large":  # one value that swamps the others in float32, but only in its windows
        return np.where(rng.random(shape) < 0.02, 3e4, rng.random(shape))
    if kind == "signs":
        return rng.normal(size=shape) * 10.0 ** rng.integers(-4, 4, shape)
    return np.full(shape, rng.normal())


def assert_means(found, x, window, stride):
    """Within the bound of the exact mean; 16-bit results are that mean, rounded once."""
    values = to_numpy(x).astype(np.float64)
    mean = reference.dense_pool(values, window, stride)
    assert found.dtype == x.dtype
    assert tuple(found.shape) == mean.shape
    dtype = str(x.dtype).removeprefix("torch.")
    found = to_numpy(found).astype(np.float64)
    if dtype in BOUND:
        bound = BOUND[dtype] * reference.dense_pool(np.abs(values), window, stride)
        assert (np.abs(found - mean) <= bound).all()
        return
    via_float32 = torch.from_numpy(mean).float().to(getattr(torch, dtype))
    right = found == to_numpy(via_float32)
    if dtype == "float16":  # at once is as good
        right |= found == mean.astype(np.float16)
    assert right.all()


@given(
    case=cases(),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["normal", "large", "signs", "constant"]),
    dtype=st.sampled_from(NUMPY_DTYPES),
    layout=st.sampled_from(LAYOUTS),
    backend=st.sampled_from(BACKENDS),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
)
def test_equals_the_reference(case, seed, kind, dtype, layout, backend, level, threads):
    shape, window, stride = case
    x = draw_values(np.random.default_rng(seed), shape, kind).astype(dtype)
    x = to_backend(lay_out(x, layout), backend)
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        found = kernels.dense_pool(x, window, stride)
    assert isinstance(found, type(x))
    assert_means(found, x, window, stride)


@given(
    case=cases(),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["normal", "large", "signs", "constant"]),
    layout=st.sampled_from(LAYOUTS),
    level=st.sampled_from(LEVELS),
)
def test_bfloat16(case, seed, kind, layout, level):
    shape, window, stride = case
    values = draw_values(np.random.default_rng(seed), shape, kind).astype(np.float32)
    x = to_backend(lay_out(values, layout), "torch").to(torch.bfloat16)
    with kernels.simd_level(level):
        assert_means(kernels.dense_pool(x, window, stride), x, window, stride)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_every_number_of_columns_and_channels(dtype, level):
    """Whole vectors and rests of each length, along rows and along channels."""
    rng = np.random.default_rng(0)
    for n in [*range(1, 20), 31, 33, 64, 67]:
        x = rng.normal(size=(1, n, 6, 9)).astype(dtype)
        row = rng.normal(size=(2, 5, n + 3)).astype(dtype)
        with kernels.simd_level(level):
            for layout in ("packed", "channels_last"):
                y = lay_out(x, layout)
                assert_means(kernels.dense_pool(y, (4, 3), (1, 2)), y, (4, 3), (1, 2))
            assert_means(kernels.dense_pool(row, (2, 4), 1), row, (2, 4), (1, 1))


@pytest.mark.parametrize("dims", range(2, 9))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_to_eight_dimensions(dims, layout):
    x = np.random.default_rng(0).normal(size=(2, 1, 2, 1, 2, 3, 6, 7)[8 - dims :]).astype(np.float32)
    y = lay_out(x, layout)
    assert_means(kernels.dense_pool(y, (3, 2), 2), y, (3, 2), (2, 2))
    if dims > 2:  # any order of the axes
        moved = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)
        assert_means(kernels.dense_pool(moved, (3, 2), 2), x, (3, 2), (2, 2))


def test_expanded_inputs():
    one = np.random.default_rng(0).normal(size=(1, 8, 1)).astype(np.float32)
    x = np.broadcast_to(one, (3, 8, 7))
    assert_means(kernels.dense_pool(x, 3, 2), x, (3, 3), (2, 2))
    t = torch.from_numpy(one).expand(3, 8, 7)
    assert_means(kernels.dense_pool(t, 3, 2), t, (3, 3), (2, 2))


def test_window_and_stride_are_numbers_or_pairs():
    x = np.random.default_rng(0).normal(size=(9, 11)).astype(np.float32)
    expected = kernels.dense_pool(x, (3, 3), (2, 2))
    for window, stride in [(3, 2), ([3, 3], [2, 2]), (np.int64(3), np.int32(2)), ((np.int64(3), 3), 2)]:
        np.testing.assert_array_equal(kernels.dense_pool(x, window, stride), expected)
    tall = kernels.dense_pool(x, (9, 2), (1, 5))
    assert tall.shape == (1, 2)
    assert_means(tall, x, (9, 2), (1, 5))


HARD = {
    "a mountain in a corner": lambda s: np.where(np.add(*np.indices(s)) == 0, 1e30, 1.0),
    "mountains everywhere": lambda s: np.where(np.add(*np.indices(s)) % 97 == 50, 1e30, 1.0),
    "alternating signs": lambda s: np.where(np.add(*np.indices(s)) % 2, 1.0, -1.0) + 1e-4,
    "alternating mountains": lambda s: np.where(np.add(*np.indices(s)) % 2, 1e8, -1e8) + 1,
    "ramp": lambda s: np.linspace(0, 1e8, s[0] * s[1]).reshape(s),
    "all the same": lambda s: np.full(s, 0.1),
    "denormal": lambda s: np.full(s, 1e-42),
    "largest": lambda s: np.full(s, np.finfo(np.float32).max),
}


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize(
    ("shape", "window", "stride"),
    [
        ((3, 20_000), (2, 512), (1, 999)),
        ((3, 20_000), (3, 20_000), (1, 1)),
        ((20_000, 3), (512, 2), (999, 1)),
        ((700, 700), (600, 600), (25, 50)),
        ((130, 140), (64, 64), (33, 20)),
    ],
    ids=str,
)
def test_hard_values_keep_the_bound(kind, shape, window, stride):
    x = HARD[kind](shape).astype(np.float32)
    found = kernels.dense_pool(x, window, stride)
    mean = reference.dense_pool(x, window, stride)
    bound = 1e-6 * reference.dense_pool(np.abs(x), window, stride) + 1e-45  # half of the least denormal
    assert (np.abs(found - mean) <= bound).all()


def test_what_has_left_the_window_leaves_no_trace():
    """A running sum that subtracts would carry 1e30 along the row, and lose the ones."""
    x = np.ones((40, 300), np.float32)
    x[:, 0] = x[0, :] = 1e30
    assert (kernels.dense_pool(x, (5, 7), 1)[1:, 1:] == 1).all()
    x = x.T.copy().T
    assert (kernels.dense_pool(x, (5, 7), 1)[1:, 1:] == 1).all()


@given(
    case=cases(max_lead=1),
    seed=st.integers(0, 2**32 - 1),
    odd=st.lists(st.sampled_from([np.nan, np.inf, -np.inf]), min_size=1, max_size=3),
    dtype=st.sampled_from(NUMPY_DTYPES),
    layout=st.sampled_from(LAYOUTS),
    level=st.sampled_from(LEVELS),
)
def test_nan_and_infinity_touch_exactly_their_windows(case, seed, odd, dtype, layout, level):
    shape, window, stride = case
    rng = np.random.default_rng(seed)
    clean = rng.normal(size=shape).astype(dtype)
    x = clean.copy()
    if x.size:
        x.reshape(-1)[rng.integers(0, x.size, len(odd))] = odd
    with kernels.simd_level(level):
        found = kernels.dense_pool(lay_out(x, layout), window, stride)
        as_if = kernels.dense_pool(lay_out(clean, layout), window, stride)
    mean = reference.dense_pool(x, window, stride)
    np.testing.assert_array_equal(found[~np.isfinite(mean)], mean[~np.isfinite(mean)].astype(dtype))
    np.testing.assert_array_equal(found[np.isfinite(mean)], as_if[np.isfinite(mean)])


@given(
    case=cases(min_lead=1, max_lead=2),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(NUMPY_DTYPES),
    layout=st.sampled_from(LAYOUTS),
    level=st.sampled_from(LEVELS),
)
def test_bits_depend_neither_on_the_batch_nor_on_threads(case, seed, dtype, layout, level):
    shape, window, stride = case
    values = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    x = lay_out(values, layout)
    with kernels.simd_level(level):
        found = kernels.dense_pool(x, window, stride)
        for threads in (1, 2, 5):
            fastwsi.set_num_threads(threads)
            assert kernels.dense_pool(x, window, stride).tobytes() == found.tobytes()
        for i in range(len(x)):
            for alone in (x[i : i + 1], lay_out(values[i : i + 1], layout)):
                assert kernels.dense_pool(alone, window, stride).tobytes() == found[i].tobytes()


def test_bits_of_large_maps_depend_neither_on_the_batch_nor_on_threads():
    """Sizes at which work is cut in pieces."""
    x = torch.randn(3, 40, 150, 170)
    for memory in (torch.contiguous_format, torch.channels_last):
        y = x.contiguous(memory_format=memory)
        fastwsi.set_num_threads(1)
        found = kernels.dense_pool(y, (32, 30), (1, 3))
        fastwsi.set_num_threads(3)
        assert torch.equal(kernels.dense_pool(y, (32, 30), (1, 3)), found)
        assert torch.equal(kernels.dense_pool(y[1:2], (32, 30), (1, 3))[0], found[1])
        assert torch.equal(kernels.dense_pool(y[2, 7], (32, 30), (1, 3)), found[2, 7])


@given(case=cases(), seed=st.integers(0, 2**32 - 1))
def test_is_avg_pool2d(case, seed):
    shape, window, stride = case
    shape = (2, 3, *shape[-2:])
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=shape))
    theirs = torch.nn.functional.avg_pool2d(x, window, stride)
    torch.testing.assert_close(kernels.dense_pool(x, window, stride), theirs, rtol=1e-12, atol=1e-12)
    theirs = torch.nn.functional.avg_pool2d(x[0], window, stride)
    torch.testing.assert_close(kernels.dense_pool(x[0], window, stride), theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_channels_last_stays_channels_last(dtype):
    x = torch.randn(2, 5, 12, 14).to(dtype).contiguous(memory_format=torch.channels_last)
    found = kernels.dense_pool(x, 4, 3)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not found.is_contiguous()
    packed = kernels.dense_pool(x.contiguous(), 4, 3)
    assert packed.is_contiguous()
    assert torch.equal(found, packed)


@pytest.mark.parametrize("stride", [9, 10, 10**6, 2**31, 2**62, 10**30])
@pytest.mark.parametrize("window", [1, 4, 9])
def test_strides_beyond_the_input_leave_one_window(window, stride):
    x = torch.randn(2, 9, 9, dtype=torch.float64, requires_grad=True)
    y = kernels.dense_pool(x, window, stride)
    assert_means(y.detach(), x.detach(), (window, window), (9, 9))
    y.sum().backward()
    assert x.grad[:, :window, :window].mean() == pytest.approx(1 / window**2)
    assert x.grad.count_nonzero() == 2 * window**2
    tall = kernels.dense_pool(x.detach(), window, (1, stride))
    assert_means(tall, x.detach(), (window, window), (1, 9))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lead", [(0,), (0, 3), (3, 0), (2, 0, 3)], ids=str)
def test_an_empty_batch_is_an_empty_result(lead, backend):
    found = kernels.dense_pool(to_backend(np.zeros((*lead, 9, 8), np.float32), backend), (3, 2), (2, 1))
    assert tuple(found.shape) == (*lead, 4, 7)


def test_the_input_is_neither_changed_nor_kept():
    x = np.random.default_rng(0).normal(size=(2, 6, 7)).astype(np.float32)
    before = x.copy()
    found = kernels.dense_pool(x, 1, 1)
    assert not np.shares_memory(found, x)
    np.testing.assert_array_equal(found, before)
    np.testing.assert_array_equal(x, before)
    x.flags.writeable = False
    np.testing.assert_array_equal(kernels.dense_pool(x, 1, 1), before)
