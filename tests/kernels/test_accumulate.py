"""accumulate and average against exact sums: dtypes, layouts, backends, SIMD levels, threads, any order."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from kernels.arrays import BACKENDS, to_backend, to_numpy
from kernels.maps import DTYPES, as_input
from kernels.pools import LAYOUTS
from kernels.tiles import cases, expected, rounded, values
from reference import heatmap as reference

LEVELS = _core.simd_usable()


def fresh(size, channels=None, mode="mean", dtype=np.float64, backend="numpy"):
    """State and count before the first tile; a maximum's state may hold anything."""
    planes = () if channels is None else (channels,)
    lead = (2, *planes) if mode == "mean" else planes
    state = np.full((*lead, size[1], size[0]), 0 if mode == "mean" else 1e30, dtype)
    count = np.zeros((size[1], size[0]), np.int32)
    return to_backend(state, backend), to_backend(count, backend)


@given(
    case=cases(),
    dtype=st.sampled_from(DTYPES),
    backend=st.sampled_from(BACKENDS),
    layout=st.sampled_from(LAYOUTS),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
    calls=st.integers(1, 3),
    out_dtype=st.sampled_from(["float32", "float16"]),
)
def test_the_mean_is_the_exact_one(case, dtype, backend, layout, level, threads, calls, out_dtype):
    if dtype == "bfloat16":
        backend = "torch"
    tiles, same = as_input(case.tiles, dtype, backend, layout)
    state, count = fresh(case.size, case.channels, backend=backend)
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        for i in range(calls):  # every calls-th tile at a time
            part = slice(i, None, calls)
            kernels.accumulate(state, count, tiles[part], case.x[part], case.y[part])
        found = kernels.average(state, count, dtype=out_dtype, empty=-7)
    mean, covered = expected(case, same, empty=-7)
    np.testing.assert_array_equal(to_numpy(count), covered)
    assert type(found) is type(state)
    assert str(found.dtype).endswith(out_dtype)
    np.testing.assert_array_equal(to_numpy(found), rounded(mean, out_dtype))


@given(
    case=cases(),
    dtype=st.sampled_from(DTYPES),
    backend=st.sampled_from(BACKENDS),
    layout=st.sampled_from(LAYOUTS),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
    state_dtype=st.sampled_from([np.float32, np.float64]),
)
def test_the_maximum(case, dtype, backend, layout, level, threads, state_dtype):
    if dtype == "bfloat16":
        backend = "torch"
    tiles, same = as_input(case.tiles, dtype, backend, layout)
    state, count = fresh(case.size, case.channels, "max", state_dtype, backend)
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        kernels.accumulate(state, count, tiles, case.x, case.y, mode="max")
    largest, covered = expected(case, same, "max")
    np.testing.assert_array_equal(to_numpy(count), covered)
    inside = np.broadcast_to(covered > 0, largest.shape)
    np.testing.assert_array_equal(to_numpy(state)[inside], rounded(largest, state_dtype)[inside])


@given(case=cases(kinds=("normal", "wide", "cancelling", "few")), level=st.sampled_from(LEVELS))
def test_sum_and_error_together_are_the_exact_sum(case, level):
    same = case.tiles.astype(np.float32)
    state, count = fresh(case.size, case.channels)
    with kernels.simd_level(level):
        kernels.accumulate(state, count, same, case.x, case.y)
    for c in range(case.channels or 1):
        high, low = state if case.channels is None else state[:, c]
        plane = same if case.channels is None else same[:, c]
        for cell, added in reference.covering(case.size, plane, case.x, case.y).items():
            assert Fraction(high[cell]) + Fraction(low[cell]) == sum(map(Fraction, added))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("spread", [60, 30])
def test_every_order_gives_the_same_bits(spread, level):
    """A float64 sum alone would lose the small values in some orders, and not in others."""
    rng = np.random.default_rng(0)
    dtype = np.float32 if spread == 60 else np.float64
    scale = 2.0 ** rng.integers(-(spread // 2), spread // 2 - 1, (5, 7, 9))
    tiles = (rng.uniform(1, 2, (5, 7, 9)) * rng.choice([-1, 1], (5, 7, 9)) * scale).astype(dtype)
    tiles[0], tiles[1, ::2] = -tiles[2], tiles[3, ::2] * -1
    x, y = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 0, 1, 0])
    exact, _ = reference.stitch((11, 8), tiles, x, y)
    naive = set()
    for order in map(list, itertools.permutations(range(5))):
        state, count = fresh((11, 8))
        plain = np.zeros((8, 11))
        with kernels.simd_level(level):
            for i in order:
                kernels.accumulate(state, count, tiles[i], int(x[i]), int(y[i]))
                plain[y[i] : y[i] + 7, x[i] : x[i] + 9] += tiles[i]
        naive.add(plain.tobytes())
        assert kernels.average(state, count).tobytes() == rounded(exact, np.float32).tobytes()
        state, count = fresh((11, 8))
        kernels.accumulate(state, count, tiles[order], x[order], y[order])
        assert kernels.average(state, count).tobytes() == rounded(exact, np.float32).tobytes()
    assert len(naive) > 1  # or the tiles would prove nothing


def test_many_tiles_over_one_cell_and_threads():
    rng = np.random.default_rng(1)
    tiles = values(rng, (3000, 3, 5), "wide").astype(np.float32)
    x, y = rng.integers(-4, 6, 3000), rng.integers(-2, 3, 3000)
    mean, covered = reference.stitch((6, 3), tiles, x, y)
    for threads in (1, 4):
        fastwsi.set_num_threads(threads)
        state, count = fresh((6, 3))
        kernels.accumulate(state, count, tiles, x, y)
        np.testing.assert_array_equal(count, covered)
        np.testing.assert_array_equal(kernels.average(state, count), rounded(mean, np.float32))


def test_large_maps_and_tiles_on_threads():
    """Work is cut in pieces here. Whole numbers, of which numpy knows the exact sums."""
    rng = np.random.default_rng(2)
    tiles = rng.integers(-1000, 1000, (40, 2, 130, 170)).astype(np.float32)
    x, y = rng.integers(-169, 700, 40), rng.integers(-129, 500, 40)
    total, covered = np.zeros((2, 500 + 260, 700 + 340)), np.zeros((760, 1040), np.int32)
    for tile, left, top in zip(tiles, x + 170, y + 130, strict=True):
        total[:, top : top + 130, left : left + 170] += tile
        covered[top : top + 130, left : left + 170] += 1
    total, covered = total[:, 130:-130, 170:-170], covered[130:-130, 170:-170]
    for threads in (1, 2, 5):
        fastwsi.set_num_threads(threads)
        state, count = fresh((700, 500), 2)
        kernels.accumulate(state, count, tiles, x, y)
        np.testing.assert_array_equal(count, covered)
        np.testing.assert_array_equal(state.sum(axis=0), total)
        mean = np.divide(total, covered, out=np.zeros_like(total), where=covered > 0)
        np.testing.assert_array_equal(kernels.average(state, count), mean.astype(np.float32))


def test_counts_beyond_sixteen_bits():
    state, count = fresh((1, 1))
    tiles = np.full((70_000, 1, 1), 0.1, np.float32)
    kernels.accumulate(state, count, tiles, np.zeros(70_000, int), np.zeros(70_000, int))
    assert count.item() == 70_000
    assert kernels.average(state, count).item() == np.float32(0.1)


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_nan_and_infinities(mode):
    nan, inf = math.nan, math.inf
    rows = [[[inf, inf, nan, -inf, 1, inf, nan]], [[1, -inf, 1, -inf, nan, inf, inf]], [[2] * 7]]
    tiles = np.array(rows, np.float32)
    state, count = fresh((7, 1), mode=mode)
    for tile in tiles:
        kernels.accumulate(state, count, tile, 0, 0, mode=mode)
    found = kernels.average(state, count)[0] if mode == "mean" else state[0]
    wanted = [inf, nan, nan, -inf, nan, inf, nan] if mode == "mean" else [inf, inf, nan, 2, nan, inf, nan]
    np.testing.assert_array_equal(found, wanted)


def test_the_maximum_of_zeros_is_the_positive_one():
    for rows in ([-0.0, 0.0], [0.0, -0.0], [-0.0, -0.0, 0.0]):
        for dtype in (np.float16, np.float32, np.float64):
            state, count = fresh((40, 1), mode="max")
            for zero in rows:
                kernels.accumulate(state, count, np.full((1, 40), zero, dtype), 0, 0, mode="max")
            assert (state == 0).all()
            assert not np.signbit(state).any()


def test_float16_means_are_rounded_once():
    """By way of float32 this mean would become a tie, and the tie 1."""
    just_over = np.array([[1 + 2.0**-11 + 2.0**-40]])
    state, count = fresh((1, 1))
    kernels.accumulate(state, count, just_over, 0, 0)
    assert kernels.average(state, count, dtype="float16").item() == 1 + 2.0**-10
    kernels.accumulate(state, count, just_over, 0, 0)
    assert kernels.average(state, count, dtype="float16").item() == 1 + 2.0**-10


def test_state_and_out_may_be_parts_of_larger_arrays():
    frame_state, frame_count = np.full((2, 9, 11), 5.0), np.full((9, 11), 5, np.int32)
    state, count = frame_state[:, 2:7, 3:9], frame_count[2:7, 3:9]
    state[...], count[...] = 0, 0
    tiles = np.random.default_rng(0).normal(size=(4, 4, 40))
    kernels.accumulate(state, count, tiles, [-39, 5, -20, 1], [-3, 4, 0, 3])
    mean, covered = reference.stitch((6, 5), tiles, [-39, 5, -20, 1], [-3, 4, 0, 3])
    np.testing.assert_array_equal(count, covered)
    frame_out = np.full((12, 20), 5, np.float32)
    out = frame_out[1:11:2, 13:1:-2]
    assert kernels.average(state, count, out) is out
    np.testing.assert_array_equal(out, mean.astype(np.float32))
    for part, frame in ((state, frame_state), (count, frame_count), (out, frame_out)):
        part[...] = 5
        assert (frame == 5).all()


def test_positions_are_any_integers_in_any_sequence():
    tiles = np.ones((2, 1, 1), np.float32)
    for x, y in [([1, 2], (0, 1)), (np.array([1, 2], np.uint8), np.array([0, 1], np.int16)),
                 (torch.tensor([1, 2]), [np.int64(0), 1])]:  # fmt: skip
        state, count = fresh((3, 2))
        kernels.accumulate(state, count, tiles, x, y)
        assert count.tolist() == [[0, 1, 0], [0, 0, 1]]


def test_torch_notices_that_state_and_count_change():
    state, count = fresh((3, 2), backend="torch")
    versions = state._version, count._version
    kernels.accumulate(state, count, torch.ones(2, 2), 0, 0)
    assert state._version > versions[0]
    assert count._version > versions[1]
    tile = torch.ones(2, 2, requires_grad=True)
    kernels.accumulate(state, count, tile, 0, 0)
    assert not state.requires_grad


STATE, COUNT = fresh((6, 5))
TILE = np.ones((2, 3), np.float32)
TWO = np.ones((2, 2, 3), np.float32)
WRONG = [
    (TypeError, "state: got dtype float32, expected", (STATE.astype(np.float32), COUNT, TILE, 0, 0)),
    (ValueError, "state: got shape", (STATE[0], COUNT, TILE, 0, 0)),
    (ValueError, "(state|count): got shape", (STATE[:, :4], COUNT, TILE, 0, 0)),
    (ValueError, "state: got shape", (np.zeros((3, 5, 6)), COUNT, TILE, 0, 0)),
    (TypeError, "count: got dtype int64, expected int32", (STATE, COUNT.astype(np.int64), TILE, 0, 0)),
    (ValueError, "count: got shape", (STATE, COUNT[None], TILE, 0, 0)),
    (TypeError, "tiles: got dtype uint8, expected", (STATE, COUNT, TILE.astype(np.uint8), 0, 0)),
    (TypeError, "tiles: got list, expected", (STATE, COUNT, [[1.0]], 0, 0)),
    (ValueError, "tiles: got shape", (STATE, COUNT, TWO[None], 0, 0)),
    (ValueError, "tiles: got shape", (STATE, COUNT, TILE[0], 0, 0)),
    ((TypeError, ValueError), "x: got", (STATE, COUNT, TILE, [0], 0)),
    ((TypeError, ValueError), "x: got", (STATE, COUNT, TWO, 0, [0, 0])),
    (ValueError, "x: got .*1.*, expected .*2", (STATE, COUNT, TWO, [0], [0, 0])),
    (ValueError, "y: got .*3.*, expected .*2", (STATE, COUNT, TWO, [0, 0], [0, 0, 0])),
    (TypeError, "x: got .*, expected .*integer", (STATE, COUNT, TILE, 0.5, 0)),
    (TypeError, "y: got .*, expected .*integer", (STATE, COUNT, TILE, 0, True)),
    (TypeError, "x: got .*, expected .*integer", (STATE, COUNT, TWO, [0, 0.0], [0, 0])),
    (TypeError, "x: got bools .*, expected .*integer", (STATE, COUNT, TWO, [0, True], [0, 0])),
    (TypeError, "y: got bools .*, expected .*integer", (STATE, COUNT, TWO, [0, 0], (np.True_, 0))),
    (TypeError, "x: got .*, expected .*integer", (STATE, COUNT, TILE, None, 0)),
    (TypeError, "tiles: got a sparse", (STATE, COUNT, torch.ones(2, 3).to_sparse(), 0, 0)),
    (TypeError, "x: got .*, expected .*integer", (STATE, COUNT, TILE, "0", 0)),
    (ValueError, "x.*: got .*6.*tile 0.*outside", (STATE, COUNT, TILE, 6, 0)),
    (ValueError, "x.*: got .*-3.*tile 0.*outside", (STATE, COUNT, TILE, -3, 0)),
    (ValueError, ".*y: got .*5.*tile 0.*outside", (STATE, COUNT, TILE, 0, 5)),
    (ValueError, ".*y: got .*-2.*tile 1.*outside", (STATE, COUNT, TWO, [0, 0], [0, -2])),
    (ValueError, "x.*: got .*tile 0.*outside", (STATE, COUNT, TWO, [2**40, 0], [0, 0])),
    (ValueError, "x.*: got .*tile 0.*outside", (STATE, COUNT, TILE, -(2**63), 0)),
    (ValueError, "x.*: got .*tile 0.*outside", (STATE, COUNT, TILE, 2**80, 0)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "message", "args"), WRONG, ids=[f"{i} {row[1]}" for i, row in enumerate(WRONG)]
)
def test_wrong_arguments_say_what_they_got_and_leave_all_as_it_was(error, message, args):
    with pytest.raises(error, match=f"^{message}"):
        kernels.accumulate(*args)
    assert not STATE.any()
    assert not COUNT.any()


def test_wrong_modes_and_outputs():
    with pytest.raises(ValueError, match="mode: got 'sum', expected"):
        kernels.accumulate(STATE, COUNT, TILE, 0, 0, mode="sum")
    with pytest.raises(ValueError, match=r"(state|tiles): got shape"):  # two channels?
        kernels.accumulate(STATE, COUNT, TILE, 0, 0, mode="max")
    with pytest.raises(TypeError, match="dtype: got float64, expected"):
        kernels.average(STATE, COUNT, dtype="float64")
    with pytest.raises(TypeError, match="out: got dtype float64, expected"):
        kernels.average(STATE, COUNT, np.zeros((5, 6)))
    with pytest.raises(ValueError, match=r"out: got shape \(6, 5\), expected"):
        kernels.average(STATE, COUNT, np.zeros((6, 5), np.float32))
    frozen = STATE.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="state: got a read-only"):
        kernels.accumulate(frozen, COUNT, TILE, 0, 0)
    assert not COUNT.any()
