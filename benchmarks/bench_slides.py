"""Reading slides: random patches and ordered scans, beside openslide and tifffile, on one core and on two."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.measure import Entry, Role, time_call
from fastwsi import open_slide
from fastwsi.slides import synthetic_slide, write_slide

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

SIDE = 512
FLOOR = 4.0
CORES_FLOOR = 1.5  # of two cores, beside one
NAME = "cmu-1-small-region.svs"
BYTES_PER_PIXEL = 3


@pytest.fixture(scope="module")
def scanned() -> Path:
    """A real slide: JPEG tiles of 240 pixels by an Aperio scanner."""
    folder = os.environ.get("FASTWSI_TEST_DATA")
    if not folder or not (Path(folder) / NAME).exists():
        pytest.skip(f"FASTWSI_TEST_DATA does not name a folder with {NAME}")
    return Path(folder) / NAME


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A larger slide than any cache, of our own making: JPEG tiles of 256 pixels, 4:2:0."""
    path = tmp_path_factory.mktemp("slides") / "drawn.tif"
    write_slide(path, synthetic_slide(1, size=(12288, 8192), mpp=0.5), mpp=0.5)
    return path


def places(path: Path, order: str) -> list[tuple[int, int]]:
    """Corners of patches: side by side, row by row; or anywhere."""
    with open_slide(path) as slide:
        width, height = slide.dimensions
    if order == "ordered scan":
        return [(x, y) for y in range(0, height - SIDE + 1, SIDE) for x in range(0, width - SIDE + 1, SIDE)]
    rng = np.random.default_rng(0)
    corners = np.stack([rng.integers(0, width - SIDE, 60), rng.integers(0, height - SIDE, 60)], 1)
    return [(int(x), int(y)) for x, y in corners]


def scan(path: Path, reader: str, where: list[tuple[int, int]]) -> int:
    """Open a slide and read patches as RGB, each reader with its own cache: what a worker does with a slide.

    Returns a sum over every 16th pixel, to compare answers by.
    """
    if reader == "openslide":
        import openslide

        with openslide.OpenSlide(path) as theirs:
            regions = (theirs.read_region(xy, 0, (SIDE, SIDE)) for xy in where)
            return sum(int(np.asarray(region.convert("RGB"))[::16, ::16].sum()) for region in regions)
    threads = 2 if reader == "fastwsi, two decoders" else 1
    with open_slide(path, threads=threads) as ours, ThreadPoolExecutor(2) as pool:
        mapped = pool.map if reader == "fastwsi, two readers" else map
        return sum(mapped(lambda xy: int(ours.read(xy, SIDE)[::16, ::16].sum()), where))


def measured(
    benchmark: BenchmarkFixture, path: Path, order: str, reader: str, ours: str, floor: float | None
) -> None:
    where = places(path, order)
    assert scan(path, reader, where) == scan(path, "openslide", where)
    kind = "2220 x 2967, Aperio's JPEG" if path.suffix == ".svs" else "12288 x 8192, JPEG 4:2:0"
    role: Role = "ours" if reader == ours else "peer"
    pixels = len(where) * SIDE * SIDE
    threads = ours.removeprefix("fastwsi")
    entry = Entry(f"{order}{threads}, {kind}", reader, role, pixels, BYTES_PER_PIXEL * pixels, floor)
    time_call(benchmark, partial(scan, path, reader, where), entry, rounds=5)


ORDERS = ["random patches", "ordered scan"]


@pytest.mark.parametrize("reader", ["fastwsi", "openslide"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_scanners_slide(benchmark: BenchmarkFixture, scanned: Path, order: str, reader: str) -> None:
    measured(benchmark, scanned, order, reader, "fastwsi", FLOOR if reader == "openslide" else None)


@pytest.mark.parametrize("reader", ["fastwsi", "openslide"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_large_slide(benchmark: BenchmarkFixture, drawn: Path, order: str, reader: str) -> None:
    measured(benchmark, drawn, order, reader, "fastwsi", None)


@pytest.mark.parametrize("reader", ["two", "fastwsi"])
@pytest.mark.parametrize("ours", ["fastwsi, two readers", "fastwsi, two decoders"])
@pytest.mark.parametrize("order", ORDERS)
def test_two_cores(benchmark: BenchmarkFixture, drawn: Path, order: str, ours: str, reader: str) -> None:
    """Two threads that read, each a patch of its own; or one, whose patches' tiles two threads decode."""
    # One reader's patches are a few tiles each: its decoders wait for each other between patches.
    floor = CORES_FLOOR if reader == "fastwsi" and ours == "fastwsi, two readers" else None
    measured(benchmark, drawn, order, ours if reader == "two" else reader, ours, floor)


@pytest.mark.parametrize("reader", ["fastwsi", "tifffile"])
def test_a_whole_slide(benchmark: BenchmarkFixture, scanned: Path, reader: str) -> None:
    def ours() -> np.ndarray[Any, Any]:
        with open_slide(scanned, threads=1) as slide:
            return slide.read((0, 0), slide.dimensions)

    def theirs() -> np.ndarray[Any, Any]:
        with tifffile.TiffFile(scanned) as file:
            return np.asarray(file.pages[0].asarray(maxworkers=1))

    import tifffile

    np.testing.assert_array_equal(ours(), theirs())
    pixels = ours().size // 3
    role: Role = "ours" if reader == "fastwsi" else "peer"
    entry = Entry("whole slide at once, 2220 x 2967", reader, role, pixels, BYTES_PER_PIXEL * pixels)
    time_call(benchmark, ours if reader == "fastwsi" else theirs, entry, rounds=15)


@pytest.mark.parametrize("what", ["fastwsi", "painting alone"])
def test_drawing_a_slide(benchmark: BenchmarkFixture, tmp_path: Path, what: str) -> None:
    """How fast synthetic slides are made: painted, encoded and written with their pyramid."""
    slide = synthetic_slide(3, size=(4096, 3072), mpp=0.5, lesions=["micro", "itc"])

    def paint() -> None:
        for top in range(0, slide.height, 256):
            slide.rows(top, top + 256)

    def write() -> None:
        write_slide(tmp_path / "slide.tif", slide, mpp=0.5)

    pixels = slide.width * slide.height
    role: Role = "ours" if what == "fastwsi" else "peer"
    entry = Entry("a synthetic slide, 4096 x 3072", what, role, pixels, BYTES_PER_PIXEL * pixels)
    time_call(benchmark, write if what == "fastwsi" else paint, entry, rounds=3)
