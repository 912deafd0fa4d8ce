"""Likelihood maps, read again by programs that know nothing of this one, and by this one."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.results import heatmap, scales, slide_sizes
from fastwsi import engine
from fastwsi.engine import CellGrid
from fastwsi.slides import SlideError

pyvips = pytest.importorskip("pyvips", reason="reads TIFFs by libtiff, as ASAP does")
CHAIN = {254: "kind", 256: "width", 257: "height", 259: "compression", 322: "tile_width", 323: "tile_height"}


def directories(path):
    """The chain of a little-endian BigTIFF's directories, by hand, as no library shows them."""
    data = path.read_bytes()
    order, version, offset_size, zero = struct.unpack_from("<2sHHH", data)
    assert (order, version, offset_size, zero) == (b"II", 43, 8, 0)
    (place,) = struct.unpack_from("<Q", data, 8)
    found = []
    while place:
        (count,) = struct.unpack_from("<Q", data, place)
        tags = {}
        for i in range(count):
            tag, kind, n = struct.unpack_from("<HHQ", data, place + 8 + 20 * i)
            short = {3: "<H", 4: "<I", 16: "<Q"}.get(kind)
            tags[tag] = struct.unpack_from(short, data, place + 20 + 20 * i)[0] if short and n == 1 else None
        found.append(tags)
        (place,) = struct.unpack_from("<Q", data, place + 8 + 20 * count)
    return found


def pixels(image):
    assert (image.format, image.bands) == ("float", 1)
    return np.frombuffer(image.write_to_memory(), np.float32).reshape(image.height, image.width)


def coarser(cells):
    """The largest of four cells, one after the other."""
    rows, columns = -(-cells.shape[0] // 2), -(-cells.shape[1] // 2)
    return np.array(
        [[cells[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].max() for c in range(columns)] for r in range(rows)]
    )


@settings(max_examples=40)
@given(size=slide_sizes, scale=st.tuples(scales, scales), seed=st.integers(0, 99), data=st.data())
def test_what_is_written_is_read(tmp_path_factory, size, scale, seed, data):
    path = tmp_path_factory.mktemp("map") / "a_likelihood_map.tif"
    whole = CellGrid(scale, (0, 0), size).map_size
    whole = min(whole[0], 400), min(whole[1], 400)
    columns, rows = (data.draw(st.integers(1, most)) for most in whole)
    first = [data.draw(st.integers(0, most - own)) for most, own in zip(whole, (columns, rows), strict=True)]
    offset = [(n + data.draw(st.floats(-0.4, 0.4))) * s for n, s in zip(first, scale, strict=True)]
    grid = CellGrid(scale, offset, size)
    cells = heatmap(rows, columns, seed)
    engine.write_likelihood_map(path, cells, grid, name="slide", mpp=(0.25, 0.5))
    once = path.read_bytes()
    found = engine.read_likelihood_map(path)
    np.testing.assert_array_equal(found.heatmap, cells)
    assert (found.grid, found.name) == (grid, "slide")
    engine.write_likelihood_map(path, cells, grid, name="slide", mpp=(0.25, 0.5))
    assert path.read_bytes() == once
    on_disk = pixels(pyvips.Image.new_from_file(str(path)))
    assert on_disk.shape[::-1] == grid.map_size
    part = on_disk[first[1] : first[1] + rows, first[0] : first[0] + columns]
    np.testing.assert_array_equal(part, np.nan_to_num(cells, nan=0))
    assert on_disk.sum(dtype=float) == part.sum(dtype=float), "nothing beside it"


@pytest.mark.parametrize(
    "size", [(1003, 711), (70_001, 41_111), (513 * 128, 257 * 128), (5, 5), (90, 99_999)]
)
def test_the_pyramid(tmp_path, size):
    path = tmp_path / "a_likelihood_map.tif"
    grid = CellGrid((128, 128), (0, 0), size)
    columns, rows = grid.map_size
    cells = heatmap(rows, columns, 3)
    engine.write_likelihood_map(path, cells, grid, name="a", mpp=(0.25, 0.25))
    chain = directories(path)
    assert [each[254] for each in chain] == [0] + [1] * (len(chain) - 1), "smaller levels say that they are"
    assert not any(330 in each or 317 in each for each in chain), "no SubIFDs, no predictor"
    assert {(each[322], each[323], each[259]) for each in chain} == {(256, 256, 5)}
    widths = [each[256] for each in chain]
    assert widths == sorted(set(widths), reverse=True), (
        "ASAP refuses a level that is as wide as the one before"
    )
    assert max(widths[-1], chain[-1][257]) <= 256 or widths[-1] == 1
    expected = np.nan_to_num(cells, nan=0)
    for i, directory in enumerate(chain):
        page = pyvips.Image.new_from_file(str(path), page=i)
        assert page.get("n-pages") == len(chain)
        np.testing.assert_array_equal(pixels(page), expected)
        assert (directory[256], directory[257]) == (page.width, page.height)
        # Pixels per millimetre; the level's cells are as many times larger as it has fewer.
        for resolution, side, own in ((page.xres, columns, page.width), (page.yres, rows, page.height)):
            assert resolution == pytest.approx(1000 / (0.25 * 128) * own / side, rel=1e-6)
        expected = coarser(expected)
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
        assert len(file.pages) == len(chain)
        assert file.pages[0].dtype == np.float32
        assert file.pages[0].description == directories_description(path)


def directories_description(path):
    text = pyvips.Image.new_from_file(str(path)).get("image-description")
    told = json.loads(text)
    assert (told["scale"], told["offset"], told["first_cell"]) == ([128, 128], [0, 0], [0, 0])
    return text


def test_a_place_of_the_slide_is_in_its_cell(tmp_path):
    """For each of many pixels of an odd slide the cell that its place divided by the scale names."""
    scale, size = (127.9371, 64.5), (9001, 4999)
    grid = CellGrid(scale, (0, 0), size)
    columns, rows = grid.map_size
    cells = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    path = tmp_path / "a_likelihood_map.tif"
    engine.write_likelihood_map(path, cells, grid)
    page = pyvips.Image.new_from_file(str(path))
    told = json.loads(page.get("image-description"))
    rng = np.random.default_rng(0)
    for x, y in zip(rng.integers(0, size[0], 50), rng.integers(0, size[1], 50), strict=True):
        column, row = int(x / told["scale"][0]), int(y / told["scale"][1])
        assert page(column, row) == [row * columns + column]
        centre = grid.centres(column, row)
        assert abs(centre[0] - x) <= scale[0] / 2
        assert abs(centre[1] - y) <= scale[1] / 2
        stretched = x * page.width / size[0], y * page.height / size[1]
        assert abs(stretched[0] - x / scale[0]) < 1
        assert abs(stretched[1] - y / scale[1]) < 1


def test_scanned_zeros_are_no_gaps(tmp_path):
    path = tmp_path / "a.tif"
    cells = np.array([[0, np.nan], [-0.0, 1]], np.float32)
    engine.write_likelihood_map(path, cells, CellGrid((10, 10), (0, 0), (20, 20)))
    found = engine.read_likelihood_map(path).heatmap
    assert np.isnan(found).tolist() == [[False, True], [False, False]]
    assert (pixels(pyvips.Image.new_from_file(str(path))) == np.array([[0, 0], [0, 1]])).all()


def test_descriptions_do_not_repel_asap(tmp_path):
    """It takes what has xml or DICOM in its description for another program's."""
    path = tmp_path / "a.tif"
    name = "xml of a DICOM, XML; Größe\"'"
    engine.write_likelihood_map(
        path, np.ones((1, 1), np.float32), CellGrid((9, 9), (0, 0), (9, 9)), name=name
    )
    text = pyvips.Image.new_from_file(str(path)).get("image-description")
    assert not any(word in text for word in ("xml", "XML", "DICOM"))
    assert json.loads(text)["slide"] == engine.read_likelihood_map(path).name == name


def test_what_is_no_heatmap(tmp_path):
    grid = CellGrid((10, 10), (0, 0), (95, 40))
    for cells, message in (
        (np.zeros((3, 3)), "got dtype float64, expected float32"),
        (np.zeros((3, 3, 1), np.float32), r"got shape \(3, 3, 1\)"),
        (np.zeros((0, 3), np.float32), r"got shape \(0, 3\)"),
        (np.full((2, 2), -0.5, np.float32), "got -0.5"),
        (np.full((2, 2), np.inf, np.float32), "got inf"),
        (np.zeros((5, 10), np.float32), "got 5 cells along y"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            engine.write_likelihood_map(tmp_path / "a.tif", cells, grid)
    with pytest.raises(ValueError, match="mpp: got"):
        engine.write_likelihood_map(tmp_path / "a.tif", np.zeros((4, 9), np.float32), grid, mpp=(1e-12, 1))
    assert list(tmp_path.iterdir()) == []


def test_foreign_and_damaged_files(tmp_path):
    path = tmp_path / "a.tif"
    cells = np.random.default_rng(0).random((300, 300), np.float32)
    grid = CellGrid((9, 9), (0, 0), (2700, 2700))
    engine.write_likelihood_map(path, cells, grid)
    with tifffile.TiffFile(path) as file:
        told = json.loads(file.pages[0].description)
    whole = path.read_bytes()

    def refused(message):
        with pytest.raises(SlideError, match=message) as caught:
            engine.read_likelihood_map(path)
        assert caught.value.path == path

    def described(pixels=cells, **changes):
        tifffile.imwrite(path, pixels, description=json.dumps({**told, **changes}), metadata=None)

    path.write_bytes(whole[:1000])
    refused("broken TIFF")
    path.write_bytes(whole[:20_000] + bytes(20_000) + whole[40_000:])
    refused("broken TIFF")
    path.write_text("no picture")
    refused("broken TIFF")
    path.write_bytes(b"")
    refused("broken TIFF")
    tifffile.imwrite(path, cells)
    refused("no likelihood map of fastwsi")
    described(version=2)
    refused("got version 2 of the format, expected 1")
    described(scale="wide")
    refused("its description is damaged: scale: got 'wide'")
    described(cells=[400, 300])
    refused("got 400 cells along x")
    described(slide_size=[2000, 2700])
    refused("got 300 cells along x")
    described(cells=[3, 3], slide_size=[5400, 2700])
    refused(r"got \(300, 300\) cells, expected \(600, 300\)")
    described(pixels=cells.astype(np.float64))
    refused("of float64, expected rows and columns of float32")
    described(pixels=-cells)
    refused("expected scores of at least 0")
    path.unlink()
    refused("there is no such file")
    described()
    np.testing.assert_array_equal(engine.read_likelihood_map(path).heatmap, cells)
