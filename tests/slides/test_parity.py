"""The fast path against openslide: the same pixels."""

from __future__ import annotations

import os
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import fastwsi
from slides.pyramids import APERIO, halved, picture, write


def theirs(handle, xy, level, size, fill=(255, 255, 255)):
    """What openslide reads, and where it is opaque."""
    pixels = np.asarray(handle.read_region(xy, level, size))
    return pixels[..., :3], pixels[..., 3] == 255


KINDS = {
    "JPEG 4:4:4": {"compression": "jpeg", "subsampling": (1, 1)},
    "JPEG 4:2:2": {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 1)},
    "JPEG 4:2:0": {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)},
    "LZW": {"compression": "lzw"},
    "LZW, predicted": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib"},
    "deflate, predicted": {"compression": "zlib", "predictor": True},
    "none": {"compression": None},
    "PackBits": {"compression": "packbits"},
    "LZW, big file": {"compression": "lzw", "bigtiff": True},
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """A generic pyramid, opened by both."""
    kind = KINDS[request.param]
    image = picture(613, 487)
    path = write(
        tmp_path_factory.mktemp("pyramid") / "slide.tif",
        [image, halved(image), halved(halved(image))],
        tile=[256, 128][len(request.param) % 2],
        **kind,
    )
    with fastwsi.open_slide(path, backend="tiff") as slide, openslide.OpenSlide(path) as handle:
        yield slide, handle


def test_levels_and_resolution(pair):
    slide, handle = pair
    assert [level.size for level in slide.levels] == list(handle.level_dimensions)
    assert [level.downsample for level in slide.levels] == list(handle.level_downsamples)
    assert slide.mpp == pytest.approx(0.5)
    assert slide.properties["openslide.vendor"] == handle.properties["openslide.vendor"]


def test_whole_levels_are_equal(pair):
    slide, handle = pair
    for i, level in enumerate(slide.levels):
        wanted, opaque = theirs(handle, (0, 0), i, level.size)
        assert opaque.all()
        np.testing.assert_array_equal(slide.read((0, 0), level.size, level=i), wanted)


@settings(max_examples=40)
@given(data=st.data())
def test_any_rectangle_of_level_0_is_equal(pair, data):
    slide, handle = pair
    xy = data.draw(st.integers(-300, 700)), data.draw(st.integers(-300, 600))
    size = data.draw(st.integers(1, 400)), data.draw(st.integers(1, 400))
    wanted, opaque = theirs(handle, xy, 0, size)
    found = slide.read(xy, size)
    np.testing.assert_array_equal(found[opaque], wanted[opaque])
    assert (found[~opaque] == 255).all()


@settings(max_examples=40)
@given(data=st.data())
def test_between_pixels_of_a_level(pair, data):
    slide, handle = pair
    level = data.draw(st.integers(1, 2))
    xy = data.draw(st.integers(0, 500)), data.draw(st.integers(0, 400))
    size = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 200))
    wanted, opaque = theirs(handle, xy, level, size)
    found = slide.read(xy, size, level=level)
    place = [x / slide.levels[level].downsample for x in xy]
    off = np.abs(found.astype(int) - wanted).max(2)
    if all(value == int(value) for value in place):
        assert not off[opaque].any()
    # Rounding of floats apart, the painter's own values: at seams and corners of tiles, too.
    assert (off <= 1)[opaque].all()


def test_aligned_reading_takes_the_nearest_pixels(pair):
    slide, _ = pair
    whole = slide.read((0, 0), slide.levels[1].size, level=1)
    down = slide.levels[1].downsample
    x, y = round(101 / down), round(55 / down)
    np.testing.assert_array_equal(
        slide.read((101, 55), (60, 50), level=1, align=True), whole[y : y + 50, x : x + 60]
    )


@pytest.mark.parametrize("compression", ["webp", "zstd", "jpeg2000"])
@pytest.mark.parametrize("opacity", [False, True])
def test_what_openslide_does_not_read(tmp_path, compression, opacity):
    """WebP, Zstandard and JPEG 2000 in plain TIFFs, beside tifffile."""
    image = picture(300, 200)
    if opacity:
        image = np.concatenate([image, np.full((200, 300, 1), 255, np.uint8)], 2)
    path = tmp_path / "slide.tif"
    options = {"extrasamples": ["unassalpha"]} if opacity else {}
    tifffile.imwrite(
        path, image, tile=(128, 128), photometric="rgb", compression=compression, metadata=None, **options
    )
    with fastwsi.open_slide(path, backend="tiff") as slide:
        np.testing.assert_array_equal(slide.read((0, 0), (300, 200)), tifffile.imread(path)[..., :3])


SIZES = [(256, 256), (257, 255), (1000, 64), (63, 700), (5, 3), (1030, 900)]


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("tile", [64, 240, 256])
@pytest.mark.parametrize("size", SIZES)
def test_sizes_tiles_and_subsamplings(tmp_path, size, tile, subsampling):
    image = picture(*size)
    levels = [image, halved(image)] if min(size) > 60 else [image]
    colours = "rgb" if subsampling == (1, 1) else "ycbcr"
    path = write(
        tmp_path / "slide.tif", levels, tile=tile, photometric=colours, subsampling=subsampling, mpp=0.25
    )
    with fastwsi.open_slide(path, backend="tiff") as slide, openslide.OpenSlide(path) as handle:
        for i, level in enumerate(slide.levels):
            wanted, opaque = theirs(handle, (0, 0), i, level.size)
            assert opaque.all()
            np.testing.assert_array_equal(slide.read((0, 0), level.size, level=i), wanted)


SCANNED = "cmu-1-small-region.svs"


@pytest.fixture(scope="module")
def scanned():
    """A real slide."""
    folder = os.environ.get("FASTWSI_TEST_DATA")
    if not folder or not (Path(folder) / SCANNED).exists():
        pytest.skip(f"FASTWSI_TEST_DATA does not name a folder with {SCANNED}")
    return Path(folder) / SCANNED


class TestScanned:
    def test_the_whole_slide(self, scanned):
        with fastwsi.open_slide(scanned) as slide, openslide.OpenSlide(scanned) as handle:
            assert slide.backend == "tiff"
            assert slide.mpp == 0.499
            wanted, _ = theirs(handle, (0, 0), 0, slide.dimensions)
            np.testing.assert_array_equal(slide.read((0, 0), slide.dimensions), wanted)

    @settings(max_examples=40)
    @given(data=st.data())
    def test_any_rectangle(self, scanned, data):
        with fastwsi.open_slide(scanned) as slide, openslide.OpenSlide(scanned) as handle:
            xy = data.draw(st.integers(-300, 2300)), data.draw(st.integers(-300, 3100))
            size = data.draw(st.integers(1, 520)), data.draw(st.integers(1, 520))
            wanted, opaque = theirs(handle, xy, 0, size)
            found = slide.read(xy, size)
            np.testing.assert_array_equal(found[opaque], wanted[opaque])
            assert (found[~opaque] == 255).all()

    @pytest.mark.parametrize("mpp", [0.25, 0.7, 2.0, 8.0])
    def test_any_resolution_by_either_reader(self, scanned, mpp):
        with fastwsi.open_slide(scanned) as one, fastwsi.open_slide(scanned, backend="openslide") as other:
            np.testing.assert_array_equal(
                one.read((700, 900), (90, 80), mpp=mpp), other.read((700, 900), (90, 80), mpp=mpp)
            )

    def test_tissue(self, scanned):
        with fastwsi.open_slide(scanned) as slide:
            for method in ("hsv_otsu", "otsu", "gray"):
                assert 0.3 < fastwsi.slides.tissue_mask(slide, method).mask.mean() < 0.6


@pytest.mark.parametrize("size", [(240, 240), (241, 239), (1000, 300), (97, 53)])
@pytest.mark.parametrize("tile", [240, 256])
def test_aperio(tmp_path, size, tile):
    image = picture(*size)
    description = APERIO.format(width=size[0], height=size[1], tile=tile)
    path = write(
        tmp_path / "slide.svs", [image], tile=tile if tile % 16 == 0 else 256, description=description
    )
    with fastwsi.open_slide(path) as slide, openslide.OpenSlide(path) as handle:
        assert slide.backend == "tiff"
        assert handle.properties["openslide.vendor"] == slide.properties["openslide.vendor"] == "aperio"
        assert slide.mpp == 0.499
        assert slide.mpp_source == "aperio.MPP"
        assert slide.objective_power == 20
        for name in ("aperio.AppMag", "aperio.MPP", "aperio.Filename"):
            assert slide.properties[name] == handle.properties[name]
        wanted, _ = theirs(handle, (0, 0), 0, size)
        np.testing.assert_array_equal(slide.read((0, 0), size), wanted)


@pytest.mark.parametrize("compression", ["jpeg", "lzw"])
def test_either_order_of_bytes(tmp_path, compression):
    image = picture(300, 200)
    little, big = (
        fastwsi.open_slide(write(tmp_path / f"{i}.tif", [image], compression=compression, byteorder=order))
        for i, order in enumerate("<>")
    )
    np.testing.assert_array_equal(little.read((0, 0), (300, 200)), big.read((0, 0), (300, 200)))
    assert big.backend == "tiff"


PHILIPS = """<?xml version="1.0" encoding="UTF-8" ?>
<DataObject ObjectType="DPUfsImport">
<Attribute Name="DICOM_MANUFACTURER" Group="0x0008" Element="0x0070" PMSVR="IString">PHILIPS</Attribute>
<Attribute Name="PIM_DP_SCANNED_IMAGES" Group="0x301D" Element="0x1003" PMSVR="IDataObjectArray"><Array>
<DataObject ObjectType="DPScannedImage">
<Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" Element="0x1004" PMSVR="IString">WSI</Attribute>
<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030"
 PMSVR="IDoubleArray">&quot;0.000243&quot; &quot;0.000243&quot;</Attribute>
<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE" Group="0x1001" Element="0x8B01"
 PMSVR="IDataObjectArray"><Array>
{levels}
</Array></Attribute></DataObject></Array></Attribute></DataObject>"""
PHILIPS_LEVEL = """<DataObject ObjectType="PixelDataRepresentation">
<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030"
 PMSVR="IDoubleArray">&quot;{0:.9f}&quot; &quot;{0:.9f}&quot;</Attribute>
<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_NUMBER" Group="0x1001" Element="0x8B02"
 PMSVR="IUInt16">{1}</Attribute></DataObject>"""


def test_philips_counts_padding_in(tmp_path):
    """Levels as large as their tiles, their true sizes in XML: as Camelyon16's slides are."""
    image = picture(1024, 768)
    levels, level = [image], image
    for _ in range(3):
        level = halved(level)
        height, width, _ = level.shape
        padded = np.zeros((-(-height // 256) * 256, -(-width // 256) * 256, 3), np.uint8)
        padded[:height, :width] = level
        levels.append(padded)
    xml = PHILIPS.format(levels="".join(PHILIPS_LEVEL.format(0.000243 * 2**i, i) for i in range(4)))
    path = write(tmp_path / "slide.tiff", levels, description=xml, software="Philips DP v1.0", mpp=None)
    with fastwsi.open_slide(path) as slide, openslide.OpenSlide(path) as handle:
        assert handle.properties["openslide.vendor"] == slide.properties["openslide.vendor"] == "philips"
        assert slide.backend == "tiff"
        assert [each.size for each in slide.levels] == list(handle.level_dimensions)
        assert slide.mpp == pytest.approx(float(handle.properties["openslide.mpp-x"]))
        assert slide.objective_power is None
        for i, each in enumerate(slide.levels):
            wanted, opaque = theirs(handle, (0, 0), i, each.size)
            assert opaque.all()
            np.testing.assert_array_equal(slide.read((0, 0), each.size, level=i), wanted)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("code", [33003, 33005])
def test_jpeg_2000_of_aperio(tmp_path, code, lossless):
    """Its codestreams are stored raw: YCbCr (33003), which the reader turns to RGB, and RGB (33005)."""
    image = picture(400, 300)
    description = APERIO.format(width=400, height=300, tile=256)
    tiles = []
    for y in range(0, 300, 256):
        for x in range(0, 400, 256):
            part = np.zeros((256, 256, 3), np.uint8)
            cut = image[y : y + 256, x : x + 256]
            part[: cut.shape[0], : cut.shape[1]] = cut
            options = {"reversible": True} if lossless else {"level": 40}
            tiles.append(imagecodecs.jpeg2k_encode(part, codecformat="j2k", mct=False, **options))
    path = tmp_path / "slide.svs"
    with tifffile.TiffWriter(path) as file:
        file.write(
            iter(tiles),
            shape=image.shape,
            dtype=np.uint8,
            tile=(256, 256),
            photometric="rgb",
            compression=code,
            description=description,
            metadata=None,
        )
    with fastwsi.open_slide(path) as slide, openslide.OpenSlide(path) as handle:
        assert slide.backend == "tiff"
        assert handle.properties["openslide.vendor"] == "aperio"
        wanted, _ = theirs(handle, (0, 0), 0, (400, 300))
        np.testing.assert_array_equal(slide.read((0, 0), (400, 300)), wanted)
        if code == 33005 and lossless:
            np.testing.assert_array_equal(wanted, image)
