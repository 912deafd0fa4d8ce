"""area_resize against the float64 reference: 0.5 of rounding, and 4096ths of pixels at the ends of boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from kernels.arrays import BACKENDS, to_backend, to_numpy
from reference import resize as reference

LEVELS = _core.simd_usable()
TOLERANCE = 0.5 + 0.06


@st.composite
def cases(draw):
    height, width, channels = draw(st.integers(1, 50)), draw(st.integers(1, 50)), draw(st.integers(1, 4))
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    shares = [draw(st.one_of(st.just(1.0), st.floats(0.05, 1))) for _ in range(2)]
    scale = shares[0] * width / columns, shares[1] * height / rows
    origin = tuple(
        draw(st.floats(0, 1)) * (size - n * s)
        for size, n, s in zip((width, height), (columns, rows), scale, strict=True)
    )
    seed = draw(st.integers(0, 2**32 - 1))
    image = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return image, (rows, columns), tuple(max(0.0, value) for value in origin), scale


@given(cases(), st.sampled_from(LEVELS), st.sampled_from(BACKENDS), st.integers(1, 3))
def test_equals_the_reference(case, level, backend, threads):
    image, size, origin, scale = case
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        found = to_numpy(kernels.area_resize(to_backend(image, backend), size, origin=origin, scale=scale))
    assert np.abs(found - reference.area(image, size, origin, scale)).max() <= TOLERANCE


@given(cases())
def test_levels_and_threads_give_the_same_bits(case):
    image, size, origin, scale = case
    found = []
    for level in LEVELS:
        for threads in (1, 4):
            fastwsi.set_num_threads(threads)
            with kernels.simd_level(level):
                found.append(kernels.area_resize(image, size, origin=origin, scale=scale))
    assert all((each == found[0]).all() for each in found)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30))
def test_whole_boxes_are_exact_means_halves_up(factor, seed, rows, columns):
    image = np.random.default_rng(seed).integers(0, 256, (rows * factor, columns * factor, 3), np.uint8)
    blocks = image.reshape(rows, factor, columns, factor, 3).astype(np.int64).sum((1, 3))
    wanted = (2 * blocks + factor**2) // (2 * factor**2)
    np.testing.assert_array_equal(kernels.area_resize(image, (rows, columns)), wanted)


@given(st.integers(0, 2**32 - 1), st.integers(1, 64), st.sampled_from([1.5, 2.25, 3.0, 10.125]))
def test_pieces_are_the_whole(seed, band, scale):
    image = np.random.default_rng(seed).integers(0, 256, (int(64 * scale) + 1, 40, 3), np.uint8)
    whole = kernels.area_resize(image, (64, 3), origin=(1.5, 0.25), scale=(scale, scale))
    parts = []
    for first in range(0, 64, band):
        rows = min(band, 64 - first)
        top = 0.25 + first * scale
        piece = image[int(top) : int(np.ceil(top + rows * scale))]
        origin = (1.5, top - int(top))
        parts.append(kernels.area_resize(piece, (rows, 3), origin=origin, scale=(scale, scale)))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_plain_pictures_stay_plain(value):
    image = np.full((4100, 3, 3), value, np.uint8)
    for size in ((1, 1), (2, 2), (4095, 3), (5000, 7)):
        assert (
            kernels.area_resize(image, size, scale=(3 / size[1], min(4095, 4100 / size[0]))) == value
        ).all()


def test_any_layout_and_batch():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (2, 3, 12, 10, 3), np.uint8)
    wanted = np.stack([[kernels.area_resize(each, (5, 4)) for each in row] for row in image])
    np.testing.assert_array_equal(kernels.area_resize(image, (5, 4)), wanted)
    turned = image[0, 0].transpose(1, 0, 2)
    np.testing.assert_array_equal(
        kernels.area_resize(turned, (4, 5)), kernels.area_resize(np.ascontiguousarray(turned), (4, 5))
    )
    rows = rng.integers(0, 256, (20, 30, 3), np.uint8)[3:17]
    np.testing.assert_array_equal(kernels.area_resize(rows, (7, 9)), kernels.area_resize(rows.copy(), (7, 9)))
    assert kernels.area_resize(np.zeros((0, 4, 4, 3), np.uint8), (2, 2)).shape == (0, 2, 2, 3)
    assert kernels.area_resize(np.zeros((4, 4, 3), np.uint8), (0, 2)).shape == (0, 2, 3)


def test_writes_into_out():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    large = np.zeros((10, 3, 3), np.uint8)
    found = kernels.area_resize(image, (3, 3), out=large[2:5])
    assert found.base is large
    np.testing.assert_array_equal(large[2:5], kernels.area_resize(image, (3, 3)))
    assert not large[5:].any()


def test_errors_name_what_is_wrong():
    image = np.zeros((8, 8, 3), np.uint8)
    for arguments, error, message in (
        ((image.astype(float), (2, 2)), TypeError, "image: got dtype float64, expected uint8"),
        ((image[..., [0] * 5], (2, 2)), ValueError, r"image: got shape \(8, 8, 5\)"),
        ((image, (2, -1)), ValueError, "size: got -1"),
        ((image, 2), TypeError, "size: got 2, expected two numbers"),
        ((image[:0], (2, 2)), ValueError, "expected at least one pixel"),
    ):
        with pytest.raises(error, match=message):
            kernels.area_resize(*arguments)
    for keywords, message in (
        ({"scale": (0, 1)}, "scale: got 0 along x"),
        ({"scale": (1, 5000)}, "scale: got 5000 along y"),
        ({"scale": (4, 5)}, "got 2 boxes of 5 from 0 on along y, expected them within the image's 8"),
        ({"origin": (-1, 0)}, "origin, scale: got 2 boxes"),
        ({"out": np.zeros((2, 2, 3))}, "expected .* of uint8"),
    ):
        with pytest.raises(ValueError, match=message):
            kernels.area_resize(image, (2, 2), **keywords)
    with pytest.raises(ValueError, match="expected memory of its own"):
        kernels.area_resize(image, (2, 2), out=image[:2, :2])


def test_under_torch_compile_it_is_called_as_it_is():
    image = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8)
    compiled = torch.compile(lambda x: kernels.area_resize(x, (4, 4)).float() + 1, backend="eager")
    torch.testing.assert_close(compiled(image), kernels.area_resize(image, (4, 4)).float() + 1)
