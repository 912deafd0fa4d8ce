"""Wrong arguments of augment_patches: each message says which image, what came and what was expected."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi import kernels
from fastwsi.kernels import PatchParams

IMAGES = np.zeros((3, 8, 6, 3), np.uint8)
GOT = r"got .*expected"
INF, NAN = float("inf"), float("nan")


def fails(error, patterns, images=IMAGES, params=None, out=None, **keywords):
    """The message must have what each of ``patterns`` looks for, in any order; " & " parts them."""
    found = "".join(f"(?=.*{pattern})" for pattern in patterns.split(" & "))
    with pytest.raises(error, match=f"(?s)^{found}"):
        kernels.augment_patches(images, params() if callable(params) else params, out, **keywords)


def test_images_of_wrong_shape_or_dtype():
    fails(ValueError, rf"images & {GOT}", IMAGES[..., :2])
    fails(ValueError, rf"images & {GOT}", np.zeros((3, 8, 6, 4), np.uint8))
    fails(ValueError, rf"images & {GOT}", IMAGES[0])
    fails(TypeError, r"images & got .*int64.*expected.*uint8", IMAGES.astype(np.int64))
    fails(TypeError, r"images & got .*float32.*expected.*uint8", torch.zeros(3, 8, 6, 3))
    fails(TypeError, rf"images & {GOT}", "images")


def test_an_image_of_a_list_is_named():
    good = IMAGES[0]
    fails(ValueError, rf"image 1\b & {GOT}", [good, good[..., 0], good])
    fails(ValueError, rf"image 2\b & {GOT}", [good, good, good[..., :2]])
    fails(TypeError, r"image 1\b & got .*float64.*expected.*uint8", [good, good.astype(float)])
    fails(TypeError, rf"image 1\b & {GOT}", [good, "picture"])
    fails(TypeError, rf"image 1\b & {GOT}", [good, torch.from_numpy(good)])
    fails(TypeError, rf"image 2\b & {GOT}", [torch.from_numpy(good), torch.from_numpy(good), good])


def test_images_of_mixed_sizes_need_crops():
    fails(ValueError, r"image 1\b & size", [IMAGES[0], IMAGES[1, :-1]])
    fails(ValueError, r"image 2\b & size", [IMAGES[0], IMAGES[1], IMAGES[2, :, :-1]])
    # One way up and one on its side do not go into one batch.
    fails(ValueError, r"image 1\b & size", params=lambda: PatchParams(orientation=[0, 1, 2]))


NUMBERS = (
    "brightness_mul",
    "brightness_add",
    "saturation_mul",
    "saturation_add",
    "hue",
    "contrast",
    "noise_fraction",
    "noise_sigma",
)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_numbers_must_be_finite(name, bad):
    fails(ValueError, rf"{name} & {GOT}", params=lambda: PatchParams(**{name: bad}, noise_seed=1))

    def params():
        return PatchParams(**{name: [0.5, 0.5, bad]}, noise_seed=1)

    fails(ValueError, rf"image 2\b & {name} & {GOT}", params=params)
    fails(
        ValueError, rf"image 1\b & {name} & {GOT}", [IMAGES[0]] * 2, lambda: PatchParams(**{name: [0.5, bad]})
    )


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("brightness_mul", -0.1),
        ("saturation_mul", -1.0),
        ("contrast", -0.5),
        ("noise_sigma", -1e-3),
        ("noise_fraction", -0.1),
        ("noise_fraction", 1.1),
        ("noise_seed", -1),
        ("noise_seed", 2**64),
        ("orientation", 8),
        ("orientation", -1),
    ],
)
def test_numbers_beside_their_range(name, bad):
    fails(ValueError, rf"{name} & {GOT}", params=lambda: PatchParams(**{name: bad}))
    good = 0 if name in {"noise_seed", "orientation"} else 0.5

    def params():
        return PatchParams(**{name: [good, bad, good]})

    fails(ValueError, rf"image 1\b & {name} & {GOT}", params=params)


@pytest.mark.parametrize("name", ["orientation", "noise_seed"])
def test_whole_numbers_must_be_whole(name):
    fails(
        (TypeError, ValueError), rf"{name} & got .*1\.5.*expected", params=lambda: PatchParams(**{name: 1.5})
    )

    def params():
        return PatchParams(**{name: [0, 2, 1.5]})

    fails((TypeError, ValueError), rf"image 2\b & {name} & got .*1\.5.*expected", params=params)


@pytest.mark.parametrize("name", [*NUMBERS, "orientation", "noise_seed"])
def test_numbers_must_be_numbers_and_one_for_each_image(name):
    fails(TypeError, rf"{name} & {GOT}", params=lambda: PatchParams(**{name: "much"}))
    fails(TypeError, rf"{name} & {GOT}", params=lambda: PatchParams(**{name: [0, "much", 0]}))
    fails(ValueError, rf"{name} & got .*2\b.*expected.*3\b", params=lambda: PatchParams(**{name: [0, 0]}))
    fails(ValueError, rf"{name} & got .*4\b.*expected.*3\b", params=lambda: PatchParams(**{name: [0] * 4}))


def test_contrast_mean_mean_and_std_have_three_channels():
    for bad in (
        (0.5, 0.5),
        (0.5,) * 4,
        (0.5, 0.5, NAN),
        [(0.5,) * 3] * 2,
        [(0.5,) * 3, (0.5,) * 3, (0.5, 0.5)],
    ):
        fails(
            ValueError,
            rf"contrast_mean & {GOT}",
            params=lambda bad=bad: PatchParams(contrast=0.5, contrast_mean=bad),
        )
        fails(ValueError, rf"\bmean & {GOT}", mean=bad)
        fails(ValueError, rf"\bstd & {GOT}", std=bad)
    for bad in ((1, 1, 0), (1, -1, 1), (1, 1, INF)):
        fails(ValueError, rf"\bstd & {GOT}", std=bad)
        fails(ValueError, rf"image 1\b & \bstd & {GOT}", std=[(1, 1, 1), bad, (1, 1, 1)])
    fails(TypeError, rf"\bmean & {GOT}", mean="grey")


@pytest.mark.parametrize("origin", [(-1, 0), (0, -1), (3, 0), (0, 4)])
def test_crops_lie_inside_their_image(origin):
    """Images of width 6 and height 8, crops of 4 x 5: the last origin is (2, 3)."""
    kernels.augment_patches(IMAGES, PatchParams(origin=(2, 3)), size=(4, 5))
    fails(
        ValueError,
        r"image 0\b & crop & got .*expected",
        params=lambda: PatchParams(origin=origin),
        size=(4, 5),
    )
    origins = [(0, 0), (0, 0), origin]
    fails(
        ValueError,
        r"image 2\b & crop & got .*expected",
        params=lambda: PatchParams(origin=origins),
        size=(4, 5),
    )

    # On its side, the same crop gives an output of 5 x 4.
    def params():
        return PatchParams(origin=[(0, 0), origin, (0, 0)], orientation=1)

    fails(ValueError, r"image 1\b & crop & got .*expected", params=params, size=(5, 4))


def test_crops_are_not_larger_than_their_image():
    fails(ValueError, r"image 0\b & crop & got .*expected", size=(7, 8))
    fails(ValueError, r"image 0\b & crop & got .*expected", size=(6, 9))
    fails(ValueError, r"image 1\b & crop & got .*expected", [IMAGES[0], IMAGES[0, :4]], size=(6, 5))
    fails(
        ValueError,
        r"image 1\b & crop & got .*expected",
        params=lambda: PatchParams(orientation=[0, 1, 0]),
        size=(6, 8),
    )
    huge = 2**31 - 1
    fails(ValueError, r"image 0\b & crop", params=lambda: PatchParams(origin=(huge, huge)), size=(4, 5))


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5), (5,), (5, 5, 5)])
def test_sizes_are_two_positive_numbers(size):
    fails(ValueError, rf"size & {GOT}", size=size)


@pytest.mark.parametrize("origin", [(1,), (1, 1, 1), [(1, 1), (1, 1)], [(1, 1), (1, 1), (1,)], (0.5, 0.5)])
def test_origins_are_pairs_of_whole_numbers(origin):
    fails((TypeError, ValueError), rf"origin & {GOT}", params=lambda: PatchParams(origin=origin), size=(4, 5))


def test_layout_dtype_and_params():
    for layout in ("HWC", "nchw", "NCWH", None):
        fails((TypeError, ValueError), rf"layout & {GOT}", layout=layout)
    for dtype in ("float64", "int32"):
        fails(TypeError, rf"dtype & got {dtype}.*expected", dtype=dtype)
    fails(ValueError, r"mean and std: not for uint8", dtype="uint8", mean=(0.5,) * 3)
    fails(TypeError, r"dtype: got 'floaty', expected a dtype", dtype="floaty")
    fails(TypeError, r"got bfloat16 for a numpy array", dtype="bfloat16")
    fails(TypeError, rf"params & {GOT} PatchParams", params={"hue": 0.1})


def test_out_of_wrong_shape_or_dtype():
    fails(
        ValueError, r"out: got .*\(3, 8, 6, 3\).*expected.*\(3, 3, 8, 6\)", out=np.zeros((3, 8, 6, 3), "f4")
    )
    fails(ValueError, r"out: got .*expected.*\(3, 3, 5, 4\)", out=np.zeros((3, 3, 8, 6), "f4"), size=(4, 5))
    out = np.zeros((3, 3, 8, 6), np.float64)
    fails((TypeError, ValueError), r"out: got dtype float64.*expected one of float32", out=out)
    frozen = np.zeros((3, 3, 8, 6), np.float32)
    frozen.flags.writeable = False
    fails(ValueError, r"out: got a read-only array", out=frozen)


def test_nothing_is_written_where_an_argument_is_wrong():
    """One bad image of many is found before the first is done."""
    out = np.full((3, 3, 5, 4), 7, np.float32)
    origins = [(0, 0), (0, 0), (3, 0)]
    fails(ValueError, r"image 2\b & crop", params=lambda: PatchParams(origin=origins), out=out, size=(4, 5))
    fails(ValueError, r"image 2\b", params=lambda: PatchParams(hue=[0, 0, NAN]), out=out, size=(4, 5))
    assert (out == 7).all()
