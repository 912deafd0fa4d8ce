"""Threads that read one slide through openslide: each has a handle, and what breaks one harms no other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

import fastwsi
from fastwsi.slides import SlideError
from fastwsi.slides.openslide_backend import OpenSlideBackend
from slides.pyramids import picture, write

SIDE, TILE = 640, 128


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """With a tile in the middle that cannot be decoded."""
    path = write(tmp_path_factory.mktemp("slides") / "a.tif", [picture(SIDE, SIDE)], tile=TILE)
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[12], file.pages[0].databytecounts[12]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(count))
    return path


@pytest.fixture
def opened(monkeypatch):
    """Handles of openslide's that were opened."""
    handles, own = [], OpenSlideBackend._opened

    def noted(backend):
        handles.append(own(backend))
        return handles[-1]

    monkeypatch.setattr(OpenSlideBackend, "_opened", noted)
    return handles


def test_pixels_are_those_of_one_thread(path):
    rng = np.random.default_rng(0)
    places = [(int(x), int(y)) for x, y in rng.integers(-50, SIDE, (200, 2))]
    with fastwsi.open_slide(path, backend="openslide") as slide:
        wanted = [slide.read(xy, 100) for xy in places]
        alone = dict(slide.corrupt)
    with fastwsi.open_slide(path, backend="openslide") as slide, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda xy: slide.read(xy, 100), places))
        assert slide.corrupt == alone
    np.testing.assert_array_equal(found, wanted)


def test_no_more_handles_than_threads_that_read_at_once(path, opened, monkeypatch):
    with fastwsi.open_slide(path, backend="openslide", threads=1) as slide:
        for _ in range(5):
            slide.read((0, 0), 100)
        assert len(opened) == 1
        # Four are within a read at the same time.
        meeting, paint = threading.Barrier(4), OpenSlideBackend._paint

        def together(*arguments):
            meeting.wait(30)
            return paint(*arguments)

        monkeypatch.setattr(OpenSlideBackend, "_paint", together)
        with ThreadPoolExecutor(4) as pool:
            for _ in range(3):
                list(pool.map(lambda _: slide.read((0, 0), 100), range(4)))
        assert len(opened) == 4


def test_closing_waits_for_nobody_and_breaks_nothing(path, opened, monkeypatch):
    slide = fastwsi.open_slide(path, backend="openslide", threads=1)
    within, closed, paint = threading.Event(), threading.Event(), OpenSlideBackend._paint

    def held(*arguments):
        within.set()
        assert closed.wait(30)
        return paint(*arguments)

    wanted = slide.read((0, 0), 100)
    backend = slide._opened.backend
    out = np.empty_like(wanted)
    monkeypatch.setattr(OpenSlideBackend, "_paint", held)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(backend.read, 0, 0, 0, out)
        assert within.wait(30)
        slide.close()
        closed.set()
        reading.result()
    np.testing.assert_array_equal(out, wanted)
    for handle in opened:
        with pytest.raises(Exception, match="closed"):
            handle.read_region((0, 0), 0, (1, 1))
    with pytest.raises(SlideError, match="the slide is closed"):
        backend.read(0, 0, 0, out)


@pytest.mark.parametrize(("step", "size"), [(64, 100), (100, 90), (37, 300), (640, 640)])
def test_a_tile_that_cannot_be_read_counts_once_however_it_is_met(path, step, size):
    """And costs no more than itself."""
    with fastwsi.open_slide(path) as slide:
        wanted = slide.read((0, 0), (SIDE, SIDE))
        known = list(slide.corrupt)
    with fastwsi.open_slide(path, backend="openslide") as slide:
        for x in range(0, SIDE, step):
            for y in range(0, SIDE, step):
                slide.read((x, y), size)
        assert list(slide.corrupt) == known == [(0, 256, 256)]
        np.testing.assert_array_equal(slide.read((0, 0), (SIDE, SIDE)), wanted)
