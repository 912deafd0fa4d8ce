"""Wrong arguments of warp and warp_source_boxes: each message says what came and what was expected."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi import kernels
from fastwsi.kernels import PatchParams

SOURCE = np.zeros((8, 6, 3), np.uint8)
IDENTITY = ((1, 0, 0), (0, 1, 0))
GOT = r"got .*expected"
INF, NAN = float("inf"), float("nan")


def fails(error, patterns, source=SOURCE, matrix=IDENTITY, *arguments, **keywords):
    """The message must have what each of ``patterns`` looks for, in any order; " & " parts them."""
    found = "".join(f"(?=.*{pattern})" for pattern in patterns.split(" & "))
    with pytest.raises(error, match=f"(?s)^{found}"):
        colour = keywords.pop("colour", lambda: None)()  # PatchParams may find the mistake, or warp
        kernels.warp(source, matrix, *arguments, colour=colour, **keywords)


def fails_both(error, patterns, matrix=IDENTITY, displacement=None, **keywords):
    """What both functions take, both must check."""
    fails(error, patterns, SOURCE, matrix, displacement, **keywords)
    found = "".join(f"(?=.*{pattern})" for pattern in patterns.split(" & "))
    with pytest.raises(error, match=f"(?s)^{found}"):
        kernels.warp_source_boxes(matrix, displacement, **{"size": (6, 8), "full_size": (6, 8), **keywords})


def test_sources_are_bytes_of_one_or_three_channels():
    fails(TypeError, r"source & got .*float32.*expected.*uint8", SOURCE.astype(np.float32))
    fails(TypeError, r"source & got .*int64.*expected.*uint8", torch.zeros(8, 6, 3, dtype=torch.int64))
    fails(TypeError, rf"source & {GOT}", "picture")
    for shape in ((8,), (8, 6, 4), (8, 6, 1), (2, 8, 6, 3)):
        fails(ValueError, rf"source & {GOT}", np.zeros(shape, np.uint8))


def test_matrices_are_affine_and_finite():
    for bad in (NAN, INF, -INF):
        fails_both(ValueError, rf"matrix & {GOT}", ((1, 0, bad), (0, 1, 0)))
        fails_both(ValueError, rf"matrix & {GOT}", ((1, 0, 0), (bad, 1, 0)))
    for shape in ((2, 2), (3, 2), (4, 4), (6,), (1, 2, 3)):
        fails_both(ValueError, rf"matrix & {GOT}", np.zeros(shape))
    fails_both(ValueError, rf"matrix & {GOT}", ((1, 0, 0), (0, 1, 0), (0, 0.1, 1)))
    fails_both(TypeError, rf"matrix & {GOT}", (("a", 0, 0), (0, 1, 0)))


@pytest.mark.parametrize("shape", [(1, 4, 2), (4, 1, 2), (0, 4, 2), (4, 4, 3), (4, 4), (2, 4, 4, 2)])
def test_displacements_are_grids_of_pairs(shape):
    fails_both(ValueError, rf"displacement & {GOT}", displacement=np.zeros(shape, np.float32))


@pytest.mark.parametrize("bad", [NAN, INF])
def test_displacements_are_finite(bad):
    field = np.zeros((3, 4, 2), np.float32)
    field[2, 3, 1] = bad
    fails_both(ValueError, rf"displacement & {GOT}", displacement=field)


def test_parts_lie_inside_the_output():
    for rows in ((-1, 4), (0, 9), (5, 4), (9, 10), (0,)):
        fails_both(ValueError, rf"rows & {GOT}", rows=rows)
    for columns in ((-1, 4), (0, 7), (5, 4), (0, 1, 2)):
        fails_both(ValueError, rf"columns & {GOT}", columns=columns)


def test_sizes_and_modes():
    for size in ((0, 8), (6, 0), (-6, 8), (6,), (6, 8, 3)):
        fails_both(ValueError, rf"size & {GOT}", size=size)
        fails_both(ValueError, rf"full_size & {GOT}", full_size=size)
    for order in (2, -1, 0.5):
        fails_both((TypeError, ValueError), rf"order & {GOT}", order=order)
    fails_both(ValueError, r"upsampling & got 'nearest'.*expected", upsampling="nearest")
    for columns in (0, -1):
        with pytest.raises(ValueError, match=rf"columns_per_box.*{GOT}"):
            kernels.warp_source_boxes(IDENTITY, size=(6, 8), full_size=(6, 8), columns_per_box=columns)


def test_fill_is_a_byte_or_three():
    for fill in (-1, 256, NAN, (0, 0), (0, 0, 256), (0,) * 4):
        fails(ValueError, rf"fill & {GOT}", fill=fill)
    fails(ValueError, rf"fill & {GOT}", SOURCE[..., 0], fill=(1, 2, 3))


def test_layout_dtype_mean_and_std():
    for layout in ("NCHW", "hwc", "WHC"):
        fails(ValueError, rf"layout & {GOT}", layout=layout)
    for dtype in ("float64", "int32", "bool"):
        fails(TypeError, rf"dtype & got {dtype}.*expected", dtype=dtype)
    fails(TypeError, r"got bfloat16 for a numpy array", dtype="bfloat16")
    fails(ValueError, r"mean and std: not for uint8", mean=(0.5,) * 3)
    fails(ValueError, r"mean and std: not for uint8", std=(0.5,) * 3)
    for bad in ((0.5, 0.5), (0.5, NAN, 0.5)):
        fails(ValueError, rf"\bmean & {GOT}", mean=bad, dtype="float32")
    for bad in ((0.5, 0.5), (0.5, 0, 0.5), (0.5, -1, 0.5)):
        fails(ValueError, rf"\bstd & {GOT}", std=bad, dtype="float32")


def test_a_rectangle_of_the_source_lies_in_the_full_image():
    for origin in ((-1, 0), (0, -1), (15, 0), (0, 13)):
        fails(ValueError, GOT, origin=origin, full_size=(20, 20), rows=(0, 1), columns=(0, 1))
    fails(ValueError, GOT, full_size=(5, 8))
    fails(ValueError, GOT, full_size=(6, 7))
    fails(ValueError, rf"origin & {GOT}", origin=(0,), full_size=(20, 20))


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_a_rectangle_that_is_too_small_says_what_is_needed(side, order):
    """Rows 31 to 43 and columns 52 to 76 of the identity need just those pixels of the source."""
    full = np.zeros((90, 110, 3), np.uint8)
    where = {"rows": (31, 44), "columns": (52, 77), "full_size": (110, 90), "order": order}
    x0, y0, x1, y1 = 52, 31, 77, 44
    # One pixel more each way is room for a function that would like a neighbour of weight 0.
    enough = full[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1]
    kernels.warp(enough, IDENTITY, origin=(x0 - 1, y0 - 1), **where)
    x0, y0 = x0 + 2 * (side == "left"), y0 + 2 * (side == "top")
    x1, y1 = x1 - 2 * (side == "right"), y1 - 2 * (side == "bottom")
    with pytest.raises(ValueError, match=rf"(?s)source.*{GOT}") as caught:
        kernels.warp(full[y0:y1, x0:x1], IDENTITY, origin=(x0, y0), **where)
    (box,) = kernels.warp_source_boxes(IDENTITY, size=(110, 90), **where)
    numbers = [int(word) for word in "".join(c if c.isdigit() else " " for c in str(caught.value)).split()]
    for number in (*box.origin, *box.size):
        assert number in numbers, f"{caught.value} does not say {box}"


def test_colour_is_of_one_image_that_stays_where_it_is():
    fails(TypeError, rf"colour & {GOT}", colour=lambda: {"hue": 0.1})
    fails(ValueError, r"colour & origin", colour=lambda: PatchParams(origin=(0, 0)))
    fails(ValueError, r"colour & orientation", colour=lambda: PatchParams(orientation=1))
    fails(ValueError, r"contrast_mean", colour=lambda: PatchParams(contrast=0.5))
    fails(ValueError, rf"hue & {GOT}", colour=lambda: PatchParams(hue=[0.1, 0.2]))
    fails(ValueError, rf"hue & {GOT}", colour=lambda: PatchParams(hue=NAN))
    fails(ValueError, rf"noise_sigma & {GOT}", colour=lambda: PatchParams(noise_sigma=-1.0))
    fails(ValueError, r"colour", SOURCE[..., 0], colour=lambda: PatchParams(hue=0.1))


def test_out_of_wrong_shape_or_dtype():
    fails(
        ValueError,
        r"out: got .*\(3, 8, 6\).*expected.*\(8, 6, 3\)",
        SOURCE,
        IDENTITY,
        None,
        np.zeros((3, 8, 6), np.uint8),
    )
    fails(
        ValueError,
        r"out: got .*expected.*\(2, 6, 3\)",
        SOURCE,
        IDENTITY,
        None,
        np.zeros_like(SOURCE),
        rows=(3, 5),
    )
    fails(
        (TypeError, ValueError),
        r"out: got dtype float32.*expected uint8",
        SOURCE,
        IDENTITY,
        None,
        np.zeros((8, 6, 3), "f4"),
        dtype="uint8",
    )
    frozen = np.zeros_like(SOURCE)
    frozen.flags.writeable = False
    fails(ValueError, r"out: got a read-only array", SOURCE, IDENTITY, None, frozen)
