"""What is written of slides: resolutions of both axes, pictures, and what is told of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import fastwsi
from fastwsi.slides import Level, describe, write_picture, write_slide
from slides.pyramids import APERIO, picture, write


def test_a_resolution_that_differs_along_x_and_y_is_kept(tmp_path):
    write_slide(tmp_path / "a.tif", picture(300, 200), mpp=(0.25, 0.5))
    for backend in ("tiff", "openslide"):
        with fastwsi.open_slide(tmp_path / "a.tif", backend=backend) as slide:
            assert slide.mpp_xy == pytest.approx((0.25, 0.5), rel=1e-5)


@pytest.mark.parametrize("shape", [(40, 60, 3), (40, 60), (1, 7)])
def test_pictures_as_pillow_reads_them(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    write_picture(tmp_path / "a.png", pixels)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), pixels)
    smooth = np.broadcast_to(
        np.arange(shape[1], dtype=np.uint8).reshape(1, -1, *(1,) * (len(shape) - 2)), shape
    )
    write_picture(tmp_path / "a.JPEG", smooth, quality=95)
    found = np.asarray(Image.open(tmp_path / "a.JPEG"), int)
    assert found.shape == shape
    assert np.abs(found - smooth).max() <= 4


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.bmp: expected a name that ends in \.png, \.jpg or \.jpeg"):
        write_picture(tmp_path / "a.bmp", np.zeros((4, 4, 3), np.uint8))


def test_levels_with_tiles_equal_those_without():
    assert Level(100, 80, 1.0, (16, 16)) == Level(100, 80, 1.0)


def test_what_is_told_of_a_scanners_slide(tmp_path):
    description = APERIO.format(width=300, height=200, tile=64)
    write(tmp_path / "a.svs", [picture(300, 200)], tile=(64, 128), description=description)
    with fastwsi.open_slide(tmp_path / "a.svs") as slide:
        told = describe(slide)
    assert (told["vendor"], told["objective_power"], told["mpp_source"]) == ("aperio", 20.0, "aperio.MPP")
    assert told["levels"] == [{"size": [300, 200], "downsample": 1.0, "tile": [128, 64]}]
    assert told["bounds"] == [0, 0, 300, 200]
    assert set(told["properties"]) == {"aperio.Filename", "tiff.ImageDescription"}
    with fastwsi.open_slide(tmp_path / "a.svs") as slide:
        assert describe(slide, every_property=True)["properties"] == dict(slide.properties)


def test_progress_comes_to_its_end(tmp_path):
    seen = []
    write_slide(tmp_path / "a.tif", picture(300, 700), mpp=0.5, progress=lambda *at: seen.append(at))
    assert seen == [(256, 700), (512, 700), (700, 700)]
