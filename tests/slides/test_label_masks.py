"""Masks of slides: the value under each pixel's middle."""

from __future__ import annotations

import numpy as np
import pytest

from fastwsi.slides import LabelMask, SlideError
from slides.pyramids import halved, write


class TestMasks:
    @pytest.fixture
    def labels(self):
        return np.random.default_rng(0).integers(0, 3, (300, 400), np.uint8)

    @pytest.mark.parametrize("kind", ["file", "array"])
    def test_the_pixel_under_each_centre(self, tmp_path, labels, kind):
        source = labels
        if kind == "file":
            source = write(tmp_path / "mask.tif", [labels, halved(labels)], compression="lzw", tile=128)
        mask = LabelMask(source, (800, 600))
        found = mask.rasterise((21, 10), (50, 40), scale=3)
        if kind == "array":
            x = ((21 + (np.arange(50) + 0.5) * 3) / 2).astype(int)
            y = ((10 + (np.arange(40) + 0.5) * 3) / 2).astype(int)
            np.testing.assert_array_equal(found, labels[np.ix_(y, x)])
        np.testing.assert_array_equal(mask.rasterise((0, 0), (400, 300), scale=2), labels)
        if kind == "file":
            np.testing.assert_array_equal(mask.rasterise((0, 0), (200, 150), scale=4), halved(labels))

    def test_outside_is_0_and_values_are_mapped(self, labels):
        mask = LabelMask(labels, (400, 300))
        found = mask.rasterise((-10, -10), 20, values={1: 0, 2: 5})
        assert not found[:10].any()
        np.testing.assert_array_equal(found[10:, 10:] == 5, labels[:10, :10] == 2)

    def test_a_mask_of_another_shape_is_refused(self, labels):
        with pytest.raises(SlideError, match="does not fit a slide of 400 x 600"):
            LabelMask(labels, (400, 600))
