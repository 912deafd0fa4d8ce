"""nms does what its words say, and what the published loops do; how many it can report; what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fastwsi import kernels

SHAPES = ("disc", "square", "square_halfopen")


def places(found):
    return [(int(d["x"]), int(d["y"])) for d in found]


def test_a_structured_array_in_the_order_reported():
    heatmap = np.array([[0.2, 0, 0, 0.9], [0, 0, 0, 0], [0.9, 0, 0, 0.3]], np.float32)
    found = kernels.nms(heatmap, 1.5, 0.1)
    assert found.dtype == np.dtype([("x", np.int64), ("y", np.int64), ("score", np.float32)])
    assert found.tolist() == [(3, 0, np.float32(0.9)), (0, 2, np.float32(0.9)), (3, 2, np.float32(0.3)),
                              (0, 0, np.float32(0.2))]  # fmt: skip
    assert kernels.nms(heatmap, 1.5, 0.1, max_points=2).tolist() == found[:2].tolist()
    for dtype in ("float16", "float64"):
        assert kernels.nms(heatmap.astype(dtype), 1, 0.1).dtype["score"] == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_named_tensors_of_a_tensor(dtype):
    heatmap = torch.tensor([[0.25, 0.0], [0.0, 0.75]]).to(dtype).requires_grad_()
    found = kernels.nms(heatmap, 0, 0)
    assert found._fields == ("x", "y", "score")
    assert type(found).__name__ == "Detections"
    assert (found.x.dtype, found.y.dtype, found.score.dtype) == (torch.int64, torch.int64, dtype)
    assert not found.score.requires_grad
    assert (found.x.tolist(), found.y.tolist(), found.score.tolist()) == ([1, 0], [1, 0], [0.75, 0.25])
    padded = kernels.nms(heatmap, 0, 0, padded=True)
    assert type(padded).__name__ == "PaddedDetections"
    assert not padded.score.requires_grad
    assert padded.score.tolist() == [0.75, 0.25, 0, 0]


def test_the_threshold_is_strict_and_of_the_map_s_own_precision():
    heatmap = np.full((1, 1), 0.1, np.float32)  # is more than 0.1 in float64
    assert float(heatmap[0, 0]) > 0.1
    assert len(kernels.nms(heatmap, 1, 0.1)) == 0
    assert len(kernels.nms(np.nextafter(heatmap, np.float32(1)), 1, 0.1)) == 1
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        tensor = torch.full((1, 1), 0.1, dtype=dtype)
        assert len(kernels.nms(tensor, 1, 0.1).x) == 0
        assert len(kernels.nms(tensor * 1.01, 1, 0.1).x) == 1
    # 1/3 rounds down to float16, so that a cell of the next value is above it.
    assert len(kernels.nms(np.full((1, 1), 1 / 3, np.float16), 1, 1 / 3)) == 0
    assert len(kernels.nms(np.full((2, 2), np.inf, np.float16), 0, 1e6)) == 0  # rounds to inf
    assert len(kernels.nms(np.full((2, 2), 65504, np.float16), 0, 65504)) == 0
    assert len(kernels.nms(np.full((2, 2), np.inf, np.float16), 0, 65504)) == 4


def test_a_threshold_below_zero_reports_nothing_twice():
    heatmap = np.full((5, 5), -0.5, np.float32)
    found = kernels.nms(heatmap, 100, -1)
    assert found.tolist() == [(0, 0, -0.5)]
    found = kernels.nms(heatmap, 0, -1)
    assert places(found) == [(x, y) for y in range(5) for x in range(5)]
    heatmap[2, 2] = -np.inf
    assert len(kernels.nms(heatmap, 0, -math.inf)) == 24


def test_nan_and_minus_infinity_never_win_and_infinity_does():
    heatmap = np.array([[np.nan, -np.inf, 1, np.inf, np.nan, np.inf]], np.float32)
    assert places(kernels.nms(heatmap, 0, -math.inf)) == [(3, 0), (5, 0), (2, 0)]
    assert places(kernels.nms(heatmap, 1, -math.inf)) == [(3, 0), (5, 0)]
    assert places(kernels.nms(heatmap, 0, math.inf)) == []
    assert places(kernels.nms(np.full((9, 9), np.nan, np.float32), 0, -math.inf)) == []


def test_zeros_of_either_sign_are_equal():
    heatmap = np.array([[-0.0, 0.0], [0.0, -0.0]], np.float32)
    found = kernels.nms(heatmap, 0, -1)
    assert places(found) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert np.signbit(found["score"]).tolist() == [True, False, False, True]
    for threshold in (0.0, -0.0):
        assert len(kernels.nms(heatmap, 0, threshold)) == 0


@pytest.mark.parametrize(
    ("shape", "radius", "expected"),
    [
        ("disc", 0, ["....", ".#..", "...."]),
        ("disc", 1, [".#..", "###.", ".#.."]),
        ("disc", 1.5, ["###.", "###.", "###."]),
        ("disc", 2, ["###.", "####", "###."]),
        ("disc", math.sqrt(5), ["####", "####", "####"]),
        ("square", 0.99, ["....", ".#..", "...."]),
        ("square", 1, ["###.", "###.", "###."]),
        ("square_halfopen", 0, ["....", ".#..", "...."]),
        ("square_halfopen", 0.5, ["....", ".#..", "...."]),
        ("square_halfopen", 1, ["##..", "##..", "...."]),
        ("square_halfopen", 1.5, ["###.", "###.", "###."]),
        ("square_halfopen", 2, ["###.", "###.", "###."]),
        ("square_halfopen", 2.5, ["####", "####", "####"]),
    ],
)
def test_what_one_report_suppresses(shape, radius, expected):
    heatmap = np.ones((3, 4), np.float32)
    heatmap[1, 1] = 2
    gone = np.array([[cell == "#" for cell in row] for row in expected])
    # One at a time: every other cell is asked whether it survives alone.
    for y, x in np.ndindex(3, 4):
        alone = np.zeros_like(heatmap)
        alone[1, 1], alone[y, x] = 2, max(1, alone[y, x])
        alone[1, 1] = 2
        found = places(kernels.nms(alone, radius, 0.5, shape))
        assert found == ([(1, 1)] if gone[y, x] else [(1, 1), (x, y)])


def published_loop(heatmap, box, threshold):
    """The loop of Li and Ping 2018 (its radius is box / 2) and of MONAI: the highest, then a box of zeros."""
    probabilities, below = heatmap.copy(), box // 2
    above = box - below
    found = []
    while probabilities.max() > threshold:
        y, x = np.unravel_index(probabilities.argmax(), probabilities.shape)
        found.append((int(x), int(y), probabilities[y, x]))
        probabilities[max(y - below, 0) : y + above, max(x - below, 0) : x + above] = 0
    return found


@pytest.mark.parametrize("radius", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("ties", [False, True])
def test_the_published_loops(radius, ties):
    heatmap = np.random.default_rng(radius).random((45, 52)).astype(np.float32)
    if ties:
        heatmap = np.round(heatmap * 8) / 8
    for threshold in (0, 0.5, 0.875):
        half_open = kernels.nms(heatmap, radius, threshold, "square_halfopen")
        assert half_open.tolist() == published_loop(heatmap, 2 * radius, threshold)
        closed = kernels.nms(heatmap, radius, threshold, "square")
        assert closed.tolist() == published_loop(heatmap, 2 * radius + 1, threshold)


@pytest.mark.parametrize(
    ("shape", "radius", "side"),
    [("disc", 0, 1), ("disc", 0.9, 1), ("disc", 1.5, 2), ("square", 0, 1), ("square", 3, 4),
     ("square", 3.9, 4), ("square_halfopen", 0, 1), ("square_halfopen", 1, 1), ("square_halfopen", 4, 4)],
)  # fmt: skip
def test_the_capacity_is_reached(shape, radius, side):
    for height, width in [(1, 1), (8, 12), (9, 13), (11, 15), (1, 20)]:
        bound = kernels.nms_capacity(height, width, radius, shape)
        assert bound == -(-height // side) * -(-width // side)
        found = kernels.nms(np.ones((height, width), np.float32), radius, 0, shape)
        assert len(found) == bound


@pytest.mark.parametrize("shape", SHAPES)
def test_the_capacity_is_never_exceeded(shape):
    """Also where the side of its grid is a matter of rounding: the corners of one grid cell, just apart."""
    for k in range(1, 60):
        for exact in (k, k * math.sqrt(2)):
            for radius in (math.nextafter(exact, 0), exact, math.nextafter(exact, 99)):
                bound = kernels.nms_capacity(k + 1, k + 1, radius, shape)
                corners = np.zeros((k + 1, k + 1), np.float32)
                corners[0, 0], corners[0, -1], corners[-1, 0], corners[-1, -1] = 1, 3, 2, 4
                assert len(kernels.nms(corners, radius, 0.5, shape)) <= bound
                padded = kernels.nms(corners, radius, 0.5, shape, padded=True)
                assert int(padded.count) <= bound == len(padded.x)


def test_the_capacity_of_nothing_and_of_huge_radii():
    for shape in SHAPES:
        assert kernels.nms_capacity(0, 5, 2, shape) == kernels.nms_capacity(5, 0, 2, shape) == 0
        assert kernels.nms_capacity(500, 700, 1e300, shape) == 1
        assert kernels.nms_capacity(500, 700, 0, shape) == 350_000
        assert isinstance(kernels.nms_capacity(5, 5, 1.5, shape), int)
    assert kernels.nms_capacity(100, 100, 5) == kernels.nms_capacity(100, 100, 5, "disc") == 25 * 25


def test_the_input_is_never_modified():
    heatmap = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    before = heatmap.copy()
    kernels.nms(heatmap, 3, 0.2)
    kernels.nms(torch.from_numpy(heatmap), 3, 0.2, padded=True)
    np.testing.assert_array_equal(heatmap, before)
    heatmap.flags.writeable = False
    assert len(kernels.nms(heatmap, 3, 0.2)) > 3
    assert len(kernels.nms(np.broadcast_to(np.float32(1), (9, 9)), 3, 0.2)) > 3


def test_numbers_of_any_kind_are_radii_and_thresholds():
    heatmap = np.ones((9, 9), np.float32)
    for radius in (2, 2.0, np.float32(2), np.int64(2)):
        for threshold in (0, 0.0, np.float16(0), np.int32(0)):
            found = kernels.nms(heatmap, radius, threshold, max_points=np.int64(5))
            assert places(found) == places(kernels.nms(heatmap, 2.0, 0.0))[:5]


def test_it_may_stand_in_a_compiled_function():
    """Its result has no size that a graph could know; so the graph ends before it and another begins."""

    def run(heatmap):
        found = kernels.nms(heatmap.sin() + 0.5, 2, 0.1, max_points=5)
        return found.x + 1, found.score * 2

    torch.compiler.reset()
    compiled = torch.compile(run, backend="aot_eager")
    for side in (9, 14):
        heatmap = torch.rand(side, 12)
        peaks = kernels.nms((heatmap.sin() + 0.5).numpy(), 2, 0.1)[:5]
        x, score = compiled(heatmap)
        assert x.tolist() == (peaks["x"] + 1).tolist()
        assert score.tolist() == (peaks["score"] * 2).tolist()


MAP = np.zeros((4, 5), np.float32)
WRONG = [
    (ValueError, r"heatmap: got shape \(5,\), expected", (MAP[0], 1, 0), {}),
    (ValueError, r"heatmap: got shape \(1, 1, 4, 5\), expected", (MAP[None, None], 1, 0), {}),
    (TypeError, "heatmap: got dtype uint8, expected", (MAP.astype(np.uint8), 1, 0), {}),
    (TypeError, "heatmap: got dtype int64, expected", (torch.zeros(2, 2, dtype=torch.int64), 1, 0), {}),
    (TypeError, "heatmap: got list, expected", ([[0.5]], 1, 0), {}),
    (ValueError, "radius: got -1, expected", (MAP, -1, 0), {}),
    (ValueError, "radius: got nan, expected", (MAP, math.nan, 0), {}),
    (ValueError, "radius: got inf, expected", (MAP, math.inf, 0), {}),
    (TypeError, "radius: got True, expected", (MAP, True, 0), {}),
    (TypeError, "radius: got '3', expected", (MAP, "3", 0), {}),
    (TypeError, "radius: got None, expected", (MAP, None, 0), {}),
    (ValueError, "threshold: got nan, expected", (MAP, 1, math.nan), {}),
    (TypeError, "threshold: got '0', expected", (MAP, 1, "0"), {}),
    (TypeError, "threshold: got None, expected", (MAP, 1, None), {}),
    (ValueError, "shape: got 'circle', expected", (MAP, 1, 0, "circle"), {}),
    (ValueError, "max_points: got 0, expected", (MAP, 1, 0), {"max_points": 0}),
    (ValueError, "max_points: got -2, expected", (MAP, 1, 0), {"max_points": -2}),
    (TypeError, r"max_points: got 2\.0, expected", (MAP, 1, 0), {"max_points": 2.0}),
    (TypeError, "max_points: got True, expected", (MAP, 1, 0), {"max_points": True}),
]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("error", "message", "args", "options"), WRONG, ids=[row[1] for row in WRONG])
def test_wrong_arguments_say_what_they_got_and_what_is_expected(error, message, args, options, padded):
    with pytest.raises(error, match=f"^{message}"):
        kernels.nms(*args, **options, padded=padded)


@pytest.mark.parametrize(
    ("args", "name"),
    [((-1, 5, 2), "height"), ((5, -1, 2), "width"), ((5, 5, -2), "radius"), ((5, 5, math.nan), "radius"),
     ((5, 5, True), "radius"), ((5, 5, math.inf), "radius"), ((5, 5, 2, "circle"), "shape"),
     ((5.0, 5, 2), "height"), ((5, "5", 2), "width")],
)  # fmt: skip
def test_wrong_capacities(args, name):
    with pytest.raises((ValueError, TypeError), match=f"^{name}: got .*, expected"):
        kernels.nms_capacity(*args)
