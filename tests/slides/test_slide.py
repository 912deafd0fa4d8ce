"""What a Slide promises whatever reads it: places, resolutions, processes and threads."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fastwsi
from fastwsi.slides import SlideError
from reference import resize
from slides.pyramids import APERIO, halved, picture, write

BACKENDS = ("tiff", "openslide")


def test_says_what_it_is(slide, path):
    assert slide.dimensions == (700, 500)
    assert [level.size for level in slide.levels] == [(700, 500), (350, 250), (175, 125)]
    assert slide.mpp == pytest.approx(0.5)
    assert slide.path == path
    assert slide.name == "slide"
    assert slide.bounds == (0, 0, 700, 500)
    assert slide.backend in repr(slide)
    assert "700 x 500" in repr(slide)
    assert slide.corrupt == {}


def test_reads_what_was_written(slide, image):
    np.testing.assert_array_equal(slide.read((13, 21), (100, 50)), image[21:71, 13:113])
    np.testing.assert_array_equal(slide.read((13, 21), 40), image[21:61, 13:53])
    np.testing.assert_array_equal(slide.read((0, 0), (350, 250), level=1), halved(image))
    assert slide.read((5, 5), (0, 7)).shape == (7, 0, 3)


def test_outside_is_filled(path, image):
    for backend in BACKENDS:
        with fastwsi.open_slide(path, backend=backend, fill=(1, 2, 3)) as slide:
            found = slide.read((-10, 490), (30, 20))
            np.testing.assert_array_equal(found[:10, 10:], image[490:, :20])
            assert (found[10:] == (1, 2, 3)).all()
            assert (found[:, :10] == (1, 2, 3)).all()
            assert (slide.read((5000, 5000), 8) == (1, 2, 3)).all()
            assert (slide.read((-900, -900), 8, mpp=1.3) == (1, 2, 3)).all()


@settings(max_examples=60)
@given(data=st.data())
def test_a_resolution_is_the_area_mean_of_the_nearest_finer_level(path, data):
    with fastwsi.open_slide(path) as slide:
        mpp = data.draw(st.floats(0.1, 6))
        xy = data.draw(st.integers(0, 300)), data.draw(st.integers(0, 200))
        size = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
        found = slide.read(xy, size, mpp=mpp)
        level = slide.level_for(mpp)
        down = slide.levels[level].downsample
        scale = mpp / slide.mpp / down
        assert scale >= 0.99 or level == 0
        whole = slide.read((0, 0), slide.levels[level].size, level=level).astype(float)
        if abs(scale - 1) * max(size) <= 0.5:
            scale = 1.0
        padded = np.pad(whole, ((1, 1500), (1, 1500), (0, 0)), constant_values=255)
        wanted = resize.area(padded, size[::-1], (xy[0] / down + 1, xy[1] / down + 1), (scale, scale))
        if scale == 1:
            assert np.abs(found - wanted).max() <= 2  # rounded twice: to floats' bytes, and to bytes
        else:
            assert np.abs(found - wanted).max() <= 0.6


def test_levels_for_resolutions(slide):
    assert [slide.level_for(mpp) for mpp in (0.1, 0.5, 0.99, 1.0, 1.5, 2.0, 50)] == [0, 0, 0, 1, 1, 2, 2]
    assert slide.scale(1.25) == pytest.approx((2.5, 2.5))
    assert slide.size_at(1.25) == (280, 200)
    assert slide.size_at(1.3) == (270, 193)


def test_a_resolution_next_to_a_levels_own_is_the_levels(slide, image):
    np.testing.assert_array_equal(slide.read((0, 0), 256, mpp=0.5005), image[:256, :256])
    assert (slide.read((0, 0), 256, mpp=0.51) != image[:256, :256]).any()


def test_thumbnails(slide):
    assert slide.thumbnail(100).shape == (71, 100, 3)
    assert slide.thumbnail((700, 50)).shape == (50, 70, 3)
    assert slide.thumbnail(5000).shape == (500, 700, 3)


@pytest.mark.parametrize("kind", [{"mpp": 0.9}, {"level": 1}, {}])
def test_rows_are_those_of_the_whole(slide, kind):
    source = slide.rows(**kind, xy=(30, 40))
    whole = slide.read((30, 40), (source.width, source.height), **kind)
    parts = [source.rows(top, min(top + 37, source.height)) for top in range(0, source.height, 37)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert isinstance(source, fastwsi.streaming.RowSource)


def test_a_slide_streams_through_a_network(slide):
    trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ReLU())
    stream = fastwsi.Streamed(trunk, rows=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    source = slide.rows(mpp=2)
    with torch.no_grad():
        found = stream(source)
        whole = torch.from_numpy(slide.read((0, 0), (source.width, source.height), mpp=2)).permute(2, 0, 1)
        wanted = trunk((whole[None] / 255 - 0.5) / 0.25)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_arguments_are_checked(slide):
    for arguments, message in (
        ({"level": 3}, "level: got 3, expected 0 to 2"),
        ({"level": 1, "mpp": 1}, "expected one of them"),
        ({"mpp": 0}, "mpp: got 0, expected more than 0"),
    ):
        with pytest.raises(ValueError, match=message):
            slide.read((0, 0), 8, **arguments)
    with pytest.raises(TypeError, match=r"xy: got 0\.5, expected an integer"):
        slide.read((0.5, 0), 8)
    with pytest.raises(ValueError, match="size: got -1, expected at least 0"):
        slide.read((0, 0), -1)


def test_open_arguments_are_checked(path):
    for arguments, message in (
        ({"backend": "photoshop"}, "backend: got 'photoshop', expected 'auto' or one of zarr, tiff"),
        ({"fill": (0, 0)}, "fill: got"),
        ({"fill": (0, 0, 256)}, "expected red, green and blue from 0 to 255"),
        ({"cache": "much"}, "cache: got 'much', expected bytes"),
        ({"threads": 0}, "threads: got 0, expected at least 1"),
        ({"mpp": 30}, "mpp: got 30, expected 0.05 to 20 µm per pixel"),
    ):
        with pytest.raises(ValueError, match=message):
            fastwsi.open_slide(path, **arguments)


def test_places_may_be_of_numpy(slide, image):
    found = slide.read(np.array([13, 21]), np.array([100, 50]))
    np.testing.assert_array_equal(found, image[21:71, 13:113])


@pytest.mark.parametrize("source", [None, b"slide.tif"])
def test_sources_are_checked(source):
    with pytest.raises(TypeError, match=r"source: got .*expected a path, a URL or an array"):
        fastwsi.open_slide(source)


def test_home_folders_are_known(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    assert fastwsi.open_slide(f"~/{path.name}").dimensions == (700, 500)


def test_closed_slides_say_so(path):
    for backend in BACKENDS:
        slide = fastwsi.open_slide(path, backend=backend)
        slide.close()
        with pytest.raises(SlideError, match="the slide is closed"):
            slide.read((0, 0), 8)
        slide.close()


class TestResolution:
    def test_missing(self, tmp_path):
        path = write(tmp_path / "slide.tif", [picture(64, 64)], tile=64, mpp=None)
        with fastwsi.open_slide(path) as slide:
            assert not slide.has_mpp
            assert slide.read((0, 0), 8).shape == (8, 8, 3)  # levels need none
            with pytest.raises(SlideError, match=r"slide.tif: no resolution .*open_slide\(path, mpp=0.25\)"):
                slide.read((0, 0), 8, mpp=1)

    def test_not_to_be_believed(self, tmp_path):
        path = write(tmp_path / "slide.tif", [picture(64, 64)], tile=64, mpp=352.8)
        with (
            fastwsi.open_slide(path) as slide,
            pytest.raises(SlideError, match=r"TIFF tags: 352.8 µm, outside 0.05 to 20"),
        ):
            _ = slide.mpp

    def test_given(self, tmp_path):
        path = write(tmp_path / "slide.tif", [picture(64, 64)], tile=64, mpp=352.8)
        with fastwsi.open_slide(path, mpp=0.25) as slide:
            assert (slide.mpp, slide.mpp_source) == (0.25, "given")
        with fastwsi.open_slide(path, mpp=(0.25, 0.5)) as slide:
            assert (slide.mpp, slide.mpp_xy) == (0.375, (0.25, 0.5))
            assert slide.scale(1) == (4, 2)
            assert slide.read((0, 0), (16, 32), mpp=1).shape == (32, 16, 3)

    def test_the_vendor_goes_before_tags(self, tmp_path):
        description = APERIO.format(width=64, height=64, tile=64)
        path = write(tmp_path / "slide.svs", [picture(64, 64)], tile=64, mpp=2.0, description=description)
        with fastwsi.open_slide(path) as slide:
            assert (slide.mpp, slide.mpp_source) == (0.499, "aperio.MPP")

    def test_a_broken_vendors_word_leaves_it_to_tags(self, tmp_path):
        description = APERIO.format(width=64, height=64, tile=64).replace("0.4990", "0")
        path = write(tmp_path / "slide.svs", [picture(64, 64)], tile=64, mpp=2.0, description=description)
        with fastwsi.open_slide(path) as slide:
            assert slide.mpp == pytest.approx(2.0)
            assert slide.mpp_source == "TIFF tags"


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("cache", [0, "100KB", "64MiB"])
def test_threads_and_cache_change_no_pixel(path, image, threads, cache):
    with fastwsi.open_slide(path, threads=threads, cache=cache) as slide:
        for _ in range(2):
            np.testing.assert_array_equal(slide.read((0, 0), (700, 500)), image)


class TestArrays:
    def test_levels(self, image):
        with fastwsi.open_slide([image, halved(image)], mpp=1) as slide:
            assert [level.downsample for level in slide.levels] == [1, 2]
            np.testing.assert_array_equal(slide.read((0, 0), (350, 250), level=1), halved(image))
            assert slide.backend == "array"
            assert slide.path is None

    def test_grey(self):
        grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
        found = fastwsi.open_slide(grey).read((0, 0), 8)
        np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, 2))

    def test_memory_maps(self, tmp_path, image):
        np.save(tmp_path / "slide.npy", image)
        slide = fastwsi.open_slide(np.load(tmp_path / "slide.npy", mmap_mode="r"), mpp=1)
        np.testing.assert_array_equal(slide.read((5, 6), 10), image[6:16, 5:15])

    @pytest.mark.parametrize(
        ("array", "error"),
        [(np.zeros((4, 4, 3)), TypeError), (np.zeros((4, 4, 2), np.uint8), ValueError), ([], ValueError)],
    )
    def test_others_are_refused(self, array, error):
        with pytest.raises(error, match="slide: got"):
            fastwsi.open_slide(array)


def test_zarr(tmp_path, image):
    zarr = pytest.importorskip("zarr")
    zarr.save_array(str(tmp_path / "slide.zarr"), image)
    with fastwsi.open_slide(tmp_path / "slide.zarr", mpp=0.5) as slide:
        assert slide.backend == "zarr"
        np.testing.assert_array_equal(slide.read((5, 6), 10), image[6:16, 5:15])


def test_ome_zarr(tmp_path, image):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(tmp_path / "slide.zarr"), mode="w")
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    datasets = []
    for i, level in enumerate([image, halved(image)]):
        group.create_array(str(i), data=np.ascontiguousarray(level.transpose(2, 0, 1)))
        scale = [{"type": "scale", "scale": [1.0, 0.5 * 2**i, 0.5 * 2**i]}]
        datasets.append({"path": str(i), "coordinateTransformations": scale})
    group.attrs["multiscales"] = [{"axes": axes, "datasets": datasets, "version": "0.4"}]
    with fastwsi.open_slide(tmp_path / "slide.zarr") as slide:
        assert slide.mpp == 0.5
        assert len(slide.levels) == 2
        np.testing.assert_array_equal(slide.read((5, 6), 10), image[6:16, 5:15])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_plain_pictures(tmp_path, image, suffix):
    pictures = pytest.importorskip("PIL.Image")
    path = tmp_path / f"picture{suffix}"
    pictures.fromarray(image).save(path)
    with fastwsi.open_slide(path, mpp=1) as slide:
        assert slide.backend == "image"
        assert any(name == "tiff" for name, _ in slide.passed_over)
        if suffix != ".jpg":
            np.testing.assert_array_equal(slide.read((5, 6), 10), image[6:16, 5:15])


def test_a_choice_is_reported(path, caplog):
    with fastwsi.open_slide(path) as slide, caplog.at_level(logging.INFO):
        assert slide.backend == "tiff"
        assert dict(slide.passed_over) == {"zarr": "no folder"}
