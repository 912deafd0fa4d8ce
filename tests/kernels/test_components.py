"""components against a flood fill: ties, NaN, dtypes, layouts, backends, batches; and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastwsi import kernels
from kernels.arrays import BACKENDS, to_numpy
from kernels.maps import DTYPES, as_input, as_threshold, maps, values
from kernels.pools import LAYOUTS
from reference import heatmap as reference

FIELDS = ("x", "y", "score", "mean", "area", "centre_x", "centre_y")
THRESHOLDS = st.sampled_from([0.0, 0.1, 0.25, 0.5, -0.5, -2, -math.inf, math.inf, 1e6, 1e-10, 1 / 3])


def columns(found):
    if isinstance(found, np.ndarray):
        assert found.dtype.names == FIELDS
        return [found[name] for name in FIELDS]
    assert found._fields == FIELDS
    return [to_numpy(column) for column in found]


def assert_components(found, same, threshold, connectivity, dtype):
    expected = reference.components(same, threshold, connectivity)
    x, y, score, mean, area, centre_x, centre_y = columns(found)
    wanted = list(zip(*expected, strict=True)) if expected else [[]] * 7
    for column, want in ((x, wanted[0]), (y, wanted[1]), (area, wanted[4])):
        assert column.dtype == np.int64
        assert column.tolist() == list(want)
    assert score.dtype == same.dtype
    np.testing.assert_array_equal(score, np.array(wanted[2], same.dtype))
    # Sums in float64 of values that may cancel; the largest of them sets the scale.
    scale = np.abs(same[np.isfinite(same)]).max(initial=0)
    for column, want, error in (
        (mean, wanted[3], 1e-13 * scale),
        (centre_x, wanted[5], 1e-11),
        (centre_y, wanted[6], 1e-11),
    ):
        assert column.dtype == np.float64
        np.testing.assert_allclose(column, want, rtol=1e-13, atol=error)


@given(
    array=maps(),
    dtype=st.sampled_from(DTYPES),
    backend=st.sampled_from(BACKENDS),
    layout=st.sampled_from(LAYOUTS),
    threshold=THRESHOLDS,
    connectivity=st.sampled_from([4, 8]),
)
def test_equals_the_flood_fill(array, dtype, backend, layout, threshold, connectivity):
    x, same = as_input(array, dtype, backend, layout)
    found = kernels.components(x, threshold, connectivity=connectivity)
    limit = as_threshold(threshold, dtype)
    if array.ndim == 2:
        assert_components(found, same, limit, connectivity, dtype)
        return
    assert isinstance(found, list)
    assert len(found) == len(array)
    for one, each in zip(found, same, strict=True):
        assert_components(one, each, limit, connectivity, dtype)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_larger_maps(connectivity):
    rng = np.random.default_rng(0)
    for kind in ("few", "normal", "odd", "checkerboard"):
        array = values(rng, (90, 110), kind).astype(np.float32)
        assert_components(
            kernels.components(array, 0.3, connectivity=connectivity), array, 0.3, connectivity, "float32"
        )
    spiral = np.zeros((41, 41), np.float32)
    for k in range(0, 20, 2):
        spiral[k, k : 41 - k] = spiral[k : 41 - k, 40 - k] = 1
        spiral[40 - k, k : 41 - k] = spiral[k + 2 : 41 - k, k] = 1
        spiral[k + 2, k : k + 2] = 1
    found = kernels.components(spiral, 0.5, connectivity=connectivity)
    assert_components(found, spiral, 0.5, connectivity, "float32")


def test_diagonal_neighbours_are_of_one_region_by_eight_alone():
    heatmap = np.array([[1, 0], [0, 2]], np.float32)
    assert kernels.components(heatmap, 0.5).tolist() == [(1, 1, 2.0, 1.5, 2, 0.5, 0.5)]
    assert kernels.components(heatmap, 0.5, connectivity=8).tolist() == [(1, 1, 2.0, 1.5, 2, 0.5, 0.5)]
    found = kernels.components(heatmap, 0.5, connectivity=4)
    assert found.tolist() == [(1, 1, 2.0, 2.0, 1, 1.0, 1.0), (0, 0, 1.0, 1.0, 1, 0.0, 0.0)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_structured_array(dtype):
    found = kernels.components(np.ones((2, 2), dtype), 0)
    names = [("x", "i8"), ("y", "i8"), ("score", dtype), ("mean", "f8"), ("area", "i8")]
    assert found.dtype == np.dtype([*names, ("centre_x", "f8"), ("centre_y", "f8")])
    assert len(kernels.components(np.zeros((2, 2), dtype), 0)) == 0
    assert kernels.components(np.zeros((2, 2), dtype), 0).dtype == found.dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_named_tensors(dtype):
    heatmap = torch.tensor([[0.25, 0.0, 0.75]], dtype=dtype, requires_grad=True)
    found = kernels.components(heatmap, 0)
    assert type(found).__name__ == "Components"
    assert [part.dtype for part in found] == [
        torch.int64, torch.int64, dtype, torch.float64, torch.int64, torch.float64, torch.float64
    ]  # fmt: skip
    assert not any(part.requires_grad for part in found)
    assert found.score.tolist() == [0.75, 0.25]
    assert found.x.tolist() == [2, 0]


def test_ties_come_by_their_peaks_and_peaks_are_the_first():
    heatmap = np.array([[0, 1, 0, 2], [2, 2, 0, 1], [0, 0, 0, 2]], np.float32)
    found = kernels.components(heatmap, 0.5)
    assert [(int(x), int(y)) for x, y in zip(found["x"], found["y"], strict=True)] == [(3, 0), (0, 1)]
    zeros = np.array([[-0.0, 0.0, -1.0, 0.0, -0.0]], np.float32)
    assert [int(x) for x in kernels.components(zeros, -0.5)["x"]] == [0, 3]


def test_the_threshold_is_of_the_map_s_own_precision():
    assert len(kernels.components(np.full((2, 2), 0.1, np.float32), 0.1)) == 0
    assert len(kernels.components(torch.full((2, 2), 0.1, dtype=torch.bfloat16), 0.1).x) == 0
    assert len(kernels.components(np.full((2, 2), np.inf, np.float16), 1e6)) == 0
    assert len(kernels.components(np.full((2, 2), np.inf, np.float16), 65504)) == 1
    nan = np.full((2, 2), np.nan, np.float32)
    assert len(kernels.components(nan, -math.inf)) == 0


def test_thresholds_are_rounded_once():
    """By way of float32 each would become a tie between two of bfloat16, and the tie go to the even one."""
    above, below = 1 + 2.0**-8 + 2.0**-40, 1 + 3 * 2.0**-8 - 2.0**-40  # both of them next to 1 + 2^-7
    for threshold in (above, below, -above, -below):
        cells = np.copysign([1.0, 1 + 2.0**-7, 1 + 2.0**-6], threshold)
        heatmap = torch.tensor(cells[None], dtype=torch.bfloat16)
        found = kernels.components(heatmap, threshold)
        assert found.area.tolist() == [1]
        assert found.x.tolist() == [2 if threshold > 0 else 0]
    smallest = 2.0**-133
    heatmap = torch.tensor([[smallest, 0.0]], dtype=torch.float64).bfloat16()
    for threshold, count in [(smallest / 2, 1), (smallest / 2 * (1 + 2.0**-40), 0), (1e-300, 1)]:
        assert len(kernels.components(heatmap, threshold).x) == count
    top = torch.finfo(torch.bfloat16).max
    heatmap = torch.tensor([[top, float("inf")]]).bfloat16()
    for threshold, count in [
        (top, 1),
        (2.0**128 - 2.0**119, 0),
        (2.0**128 - 2.0**119 - 2.0**80, 1),
        (-1e300, 1),
    ]:
        assert len(kernels.components(heatmap, threshold).x) == count


@pytest.mark.parametrize("threshold", [np.float32(0.5), np.array(0.5), torch.tensor(0.5)], ids=repr)
def test_thresholds_are_any_number(threshold):
    assert kernels.components(np.array([[0.25, 0.75]]), threshold)["x"].tolist() == [1]


def test_means_are_in_float64():
    heatmap = np.full((300, 300), 0.1, np.float32)
    heatmap[0, 0] = 2.0**24
    (found,) = kernels.components(heatmap, 0)
    exact = (2.0**24 + 89_999 * float(np.float32(0.1))) / 90_000
    assert found["mean"] == pytest.approx(exact, rel=1e-13)
    half = np.full((300, 300), 1000, np.float16)  # whose sum is no float16
    assert kernels.components(half, 0)["mean"][0] == 1000


def test_the_input_is_never_modified():
    heatmap = values(np.random.default_rng(0), (20, 20), "few").astype(np.float32)
    before = heatmap.copy()
    heatmap.flags.writeable = False
    kernels.components(heatmap, 0.2)
    np.testing.assert_array_equal(heatmap, before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)], ids=str)
def test_maps_without_cells(size, backend):
    x, same = as_input(np.zeros(size), "float32", backend, "packed")
    assert_components(kernels.components(x, 0), same, 0, 8, "float32")
    assert kernels.components(x[None][:0], 0) == []


MAP = np.zeros((4, 5), np.float32)
WRONG = [
    (ValueError, r"heatmap: got shape \(5,\), expected", (MAP[0], 0), {}),
    (ValueError, r"heatmap: got shape \(1, 1, 4, 5\), expected", (MAP[None, None], 0), {}),
    (TypeError, "heatmap: got dtype uint8, expected", (MAP.astype(np.uint8), 0), {}),
    (TypeError, "heatmap: got list, expected", ([[0.5]], 0), {}),
    (ValueError, "threshold: got nan, expected", (MAP, math.nan), {}),
    (ValueError, "threshold: got 1000.*, expected a number that fits", (MAP, 10**400), {}),
    (TypeError, "threshold: got '0', expected", (MAP, "0"), {}),
    (TypeError, "threshold: got None, expected", (MAP, None), {}),
    (ValueError, "connectivity: got 6, expected", (MAP, 0), {"connectivity": 6}),
    ((TypeError, ValueError), "connectivity: got '8', expected", (MAP, 0), {"connectivity": "8"}),
    (TypeError, r"connectivity: got 8\.0, expected", (MAP, 0), {"connectivity": 8.0}),
    (TypeError, "connectivity: got array.*, expected", (MAP, 0), {"connectivity": np.ones(2)}),
    (TypeError, "heatmap: got a sparse", (torch.zeros(4, 5).to_sparse(), 0), {}),
]


@pytest.mark.parametrize(("error", "message", "args", "options"), WRONG, ids=[row[1] for row in WRONG])
def test_wrong_arguments_say_what_they_got_and_what_is_expected(error, message, args, options):
    with pytest.raises(error, match=f"^{message}"):
        kernels.components(*args, **options)
