"""nms against the reference: ties, NaN, dtypes, layouts, backends, SIMD levels, threads, batches, padding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from kernels.arrays import BACKENDS, to_numpy
from kernels.maps import DTYPES, as_input, as_threshold, maps, values
from kernels.pools import LAYOUTS
from reference import heatmap as reference

LEVELS = _core.simd_usable()
SHAPES = ("disc", "square", "square_halfopen")
RADII = st.sampled_from(
    [0, 0.5, 1, 1.25, math.sqrt(2), 2, math.sqrt(5), 2.5, 3, math.sqrt(13), 4.999, 5, 7.5, 100, 1e19, 1e300]
)
THRESHOLDS = st.sampled_from([0.0, 0.1, 0.25, 0.5, -0.5, -2, -math.inf, math.inf, 1e6, 1e-10, -1e-10, 1 / 3])


def as_list(detections):
    """[(x, y, score's bits and sign)] of one map's result, of any framework."""
    if isinstance(detections, np.ndarray):
        columns = [detections[name] for name in ("x", "y", "score")]
    else:
        columns = [to_numpy(getattr(detections, name)) for name in ("x", "y", "score")]
    return [(int(x), int(y), score.tobytes()) for x, y, score in zip(*columns, strict=True)]


def expected_list(array, *args):
    return [(x, y, score.tobytes()) for x, y, score in reference.nms(array, *args)]


@given(
    array=maps(),
    dtype=st.sampled_from(DTYPES),
    backend=st.sampled_from(BACKENDS),
    layout=st.sampled_from(LAYOUTS),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
    radius=RADII,
    shape=st.sampled_from(SHAPES),
    threshold=THRESHOLDS,
    max_points=st.sampled_from([None, None, 1, 2, 7, 10_000]),
)
def test_equals_the_reference(
    array, dtype, backend, layout, level, threads, radius, shape, threshold, max_points
):
    x, same = as_input(array, dtype, backend, layout)
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        found = kernels.nms(x, radius, threshold, shape, max_points)
    limit = as_threshold(threshold, dtype)
    if array.ndim == 2:
        assert as_list(found) == expected_list(same, radius, limit, shape, max_points)
        return
    assert isinstance(found, list)
    assert len(found) == len(array)
    for one, each in zip(found, same, strict=True):
        assert as_list(one) == expected_list(each, radius, limit, shape, max_points)


@given(
    array=maps(),
    dtype=st.sampled_from(DTYPES),
    backend=st.sampled_from(BACKENDS),
    layout=st.sampled_from(LAYOUTS),
    radius=RADII,
    shape=st.sampled_from(SHAPES),
    threshold=THRESHOLDS,
    max_points=st.sampled_from([None, None, 1, 2, 7, 10_000]),
)
def test_padded_is_the_list_and_padding(array, dtype, backend, layout, radius, shape, threshold, max_points):
    x, same = as_input(array, dtype, backend, layout)
    found = kernels.nms(x, radius, threshold, shape, max_points, padded=True)
    assert found._fields == ("x", "y", "score", "count")
    room = reference.capacity(*array.shape[-2:], radius, shape)
    room = room if max_points is None else min(room, max_points)
    lead = array.shape[:-2]
    assert [tuple(part.shape) for part in found] == [(*lead, room)] * 3 + [lead]
    kinds = [str(part.dtype).removeprefix("torch.") for part in found]
    assert kinds == ["int64", "int64", dtype, "int64"]
    assert type(found.x) is type(found.count) is type(x)
    xs, ys, scores, counts = (to_numpy(part) for part in found)
    for index in np.ndindex(lead):
        expected = expected_list(same[index], radius, as_threshold(threshold, dtype), shape, max_points)
        n = int(counts[index])
        assert n == len(expected)
        triples = zip(xs[index][:n], ys[index][:n], scores[index][:n], strict=True)
        assert [(int(a), int(b), score.tobytes()) for a, b, score in triples] == expected
        assert (xs[index][n:] == -1).all()
        assert (ys[index][n:] == -1).all()
        assert (scores[index][n:] == 0).all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_radius_up_to_where_the_discs_change(shape, level):
    """At each distance that lattice points have, just under and just over it."""
    array = values(np.random.default_rng(1), (30, 33), "few").astype(np.float32)
    distances = sorted({math.hypot(a, b) for a in range(9) for b in range(9)})
    with kernels.simd_level(level):
        for distance in distances:
            for radius in (math.nextafter(distance, 0), distance, math.nextafter(distance, 99)):
                found = kernels.nms(array, radius, 0.1, shape)
                assert as_list(found) == expected_list(array, radius, 0.1, shape)


@pytest.mark.parametrize("level", LEVELS)
def test_what_lies_in_rows_of_every_length(level):
    """The largest in each place of a row of each length, after its equal or beside NaN."""
    with kernels.simd_level(level):
        for width in [*range(1, 36), 63, 64, 65, 130]:
            for place in {0, width // 3, width // 2, width - 1}:
                array = np.full((3, width), np.nan, np.float32)
                array[1, place] = array[2, 0] = 0.5
                found = kernels.nms(array, 0, 0.25)
                assert as_list(found) == expected_list(array, 0, 0.25)
                assert [(d["x"], d["y"]) for d in found] == [(place, 1), (0, 2)]


@pytest.mark.parametrize("kind", ["few", "normal", "plateau", "ramp", "checkerboard", "odd"])
@pytest.mark.parametrize("shape", SHAPES)
def test_larger_maps(kind, shape):
    """Sizes at which work is cut in pieces, some pieces whole under one disc."""
    array = values(np.random.default_rng(2), (150, 170), kind).astype(np.float32)
    for radius in (9, 24.5):
        for threads in (1, 3):
            fastwsi.set_num_threads(threads)
            found = kernels.nms(array, radius, 0.1, shape)
            assert as_list(found) == expected_list(array, radius, 0.1, shape)


def smooth_map(side):
    """Lesions of several sizes over faint noise."""
    rng = np.random.default_rng(3)
    row, column = np.indices((side, side))
    out = rng.random((side, side)) * 0.05
    for y, x, width, peak in zip(*rng.random((4, 40)), strict=True):
        distance = (row - y * side) ** 2 + (column - x * side) ** 2
        out += peak * np.exp(-distance / (2 * (3 + 12 * width) ** 2))
    return out


def test_a_large_smooth_map():
    for dtype in ("float32", "float16"):  # the second has many ties
        array = smooth_map(500).astype(dtype)
        found = kernels.nms(array, 12, 0.3)
        assert len(found) > 20
        assert as_list(found) == expected_list(array, 12, 0.3)


def test_batches_are_their_maps():
    array = values(np.random.default_rng(4), (7, 40, 30), "few").astype(np.float32)
    expected = [as_list(kernels.nms(one, 3, 0.1)) for one in array]
    assert expected == [expected_list(one, 3, 0.1) for one in array]
    for threads in (1, 2, 5):
        fastwsi.set_num_threads(threads)
        assert [as_list(one) for one in kernels.nms(array, 3, 0.1)] == expected
        assert [as_list(one) for one in kernels.nms(torch.from_numpy(array), 3, 0.1)] == expected


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_maps_without_cells(size, backend):
    x, _ = as_input(np.zeros(size), "float32", backend, "packed")
    assert as_list(kernels.nms(x, 2, 0)) == []
    assert kernels.nms(x, 2, 0, padded=True).count == 0
    assert kernels.nms(x[None][:0], 2, 0) == []
    assert [as_list(one) for one in kernels.nms(x[None], 2, 0)] == [[]]
