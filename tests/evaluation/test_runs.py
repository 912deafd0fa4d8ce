"""Regions as runs against the same on pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from fastwsi.evaluation.runs import filled, grown, numbered, painted, runs_of

MASKS = st.builds(
    lambda seed, height, width, share: np.random.default_rng(seed).random((height, width)) < share,
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.integers(1, 30),
    st.sampled_from([0, 0.02, 0.1, 0.3, 0.5, 0.8, 1]),
)


def picture(runs):
    return painted(runs, np.ones(len(runs), np.int64)).astype(bool)


@given(MASKS)
def test_there_and_back(mask):
    runs = runs_of(mask)
    np.testing.assert_array_equal(picture(runs), mask)
    assert runs.lengths.sum() == mask.sum()


@given(MASKS, st.booleans())
def test_regions_in_reading_order(mask, corners):
    runs = runs_of(mask)
    region, count = numbered(runs, corners=corners)
    wanted, number = ndimage.label(mask, np.ones((3, 3)) if corners else None)
    assert count == number
    np.testing.assert_array_equal(painted(runs, region + 1), wanted)


@given(MASKS)
def test_holes(mask):
    np.testing.assert_array_equal(picture(filled(runs_of(mask))), ndimage.binary_fill_holes(mask))


@given(MASKS, st.sampled_from([0.5, 1, 1.5, 2.3, 4.8225, 5, 7.1, 40]))
def test_growth(mask, reach):
    wanted = ndimage.distance_transform_edt(~mask) < reach if mask.any() else mask
    np.testing.assert_array_equal(picture(grown(runs_of(mask), reach)), wanted)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1)])
def test_pictures_of_nothing(shape):
    runs = runs_of(np.zeros(shape, bool))
    assert len(runs) == 0
    for each in (grown(runs, 3), filled(runs)):
        assert len(each) == 0
    assert numbered(runs, corners=True)[1] == 0
    assert painted(runs, np.zeros(0, np.int64)).shape == shape
