"""Pixels of a slide at a resolution: the same in whatever part they are read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi.slides import write_slide
from slides.pyramids import picture

IMAGE = picture(403, 301)


@given(st.sampled_from([None, 0.3, 0.5, 0.8, 1.0, 1.37, 2.0]), st.data())
def test_a_part_is_a_part_of_the_whole(mpp, data):
    lattice = fastwsi.open_slide(IMAGE, mpp=0.5).lattice(mpp)
    whole = lattice.read((-8, -8), tuple(side + 16 for side in lattice.size)).astype(int)
    x, y = (data.draw(st.integers(-8, side + 7)) for side in lattice.size)
    width, height = (
        data.draw(st.integers(1, side + 8 - at)) for side, at in zip(lattice.size, (x, y), strict=True)
    )
    part = lattice.read((x, y), (width, height))
    wanted = whole[y + 8 : y + 8 + height, x + 8 : x + 8 + width]
    if mpp in (None, 0.5, 1.0, 2.0):
        np.testing.assert_array_equal(part, wanted)
    else:  # a sum of areas that ends on a half may be rounded either way
        assert np.abs(part - wanted).max() <= 1
        assert (part != wanted).mean() < 1e-3


@given(st.sampled_from([0.8, 1.0, 1.25, 2.0]))
def test_is_what_reading_from_the_corner_gives(mpp):
    slide = fastwsi.open_slide(IMAGE, mpp=0.5)
    np.testing.assert_array_equal(slide.lattice(mpp).read((0, 0), 120), slide.read((0, 0), 120, mpp=mpp))


def test_a_level_that_is_near_enough_is_taken_as_it_is(tmp_path):
    write_slide(tmp_path / "a.tif", picture(1203, 901), mpp=0.5)
    slide = fastwsi.open_slide(tmp_path / "a.tif")
    level = slide.levels[1]
    lattice = slide.lattice(1.0005)
    assert lattice.scale == (level.downsample, level.downsample)
    assert lattice.size == tuple(int(np.ceil(side / level.downsample - 1e-6)) for side in (1203, 901))
    np.testing.assert_array_equal(lattice.read((11, 7), 99), slide.read_level(1, (11, 7), 99))
    assert slide.lattice(1.1).scale == pytest.approx((2.2, 2.2))


def test_level_0_needs_no_resolution():
    lattice = fastwsi.open_slide(IMAGE).lattice()
    assert (lattice.scale, lattice.size) == ((1.0, 1.0), (403, 301))
    np.testing.assert_array_equal(lattice.read((5, 9), (20, 10)), IMAGE[9:19, 5:25])
    assert "403 x 301" in repr(lattice)
