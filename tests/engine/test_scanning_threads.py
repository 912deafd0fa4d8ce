"""Reading ahead: who waits for whom, how much is held, and that nothing stays behind when things go wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import fastwsi
from engine.scanned import detector
from fastwsi import SlideError
from fastwsi.engine import PatchInput, scan
from fastwsi.engine.scanning.plan import ScanPlan
from fastwsi.engine.scanning.reading import ReadAhead
from fastwsi.slides import TissueMask
from slides.pyramids import picture, write


def our_threads():
    return [each for each in threading.enumerate() if each.name.startswith("fastwsi-reader")]


class Mean:
    """Scores with a patch's mean, as slowly as it is told."""

    def __init__(self, seconds=0.0, size=64):
        self.input, self._seconds = PatchInput(size, size), seconds

    def scorer(self, device, *, precision, orientations):
        def score(pixels):
            time.sleep(self._seconds)
            return pixels.float().mean((1, 2, 3)) / 255

        return score

    def colours(self, slide):
        return None


class Plan:
    """Blocks that are only numbers; notes how many have been read, and how many of them were held at once."""

    def __init__(self, count, size, seconds=0.0):
        self._count_of_blocks, self.block_bytes, self._seconds = count, size, seconds
        self.begun = self.most = self._alive = 0
        self._lock = threading.RLock()  # what is let go may be so within a read

    def blocks(self):
        return (np.array([i]) for i in range(self._count_of_blocks))

    def read(self, block):
        self._count(1)
        time.sleep(self._seconds)
        pixels = np.full((1, 4), block[0] % 256, np.uint8)
        weakref.finalize(pixels, self._count, -1)
        return pixels

    def _count(self, change):
        with self._lock:
            self.begun += change > 0
            self._alive += change
            self.most = max(self.most, self._alive)


class TestWaiting:
    """Four blocks of 16 x 16 patches of 64 pixels, in batches of 64."""

    @pytest.fixture
    def slide(self):
        return fastwsi.open_slide(np.full((2048, 2048, 3), 200, np.uint8), mpp=0.5)

    def test_a_slow_device_never_waits_but_for_the_first_block(self, slide):
        found = scan(Mean(0.05), slide, batch_size=64, device="cpu", readers=1)
        assert found.patches == 32 * 32
        assert found.device > 0.7
        assert found.waited < 0.25
        assert found.waited * found.seconds < found.reader * found.seconds  # the rest was read meanwhile

    def test_a_slow_reader_is_waited_for(self, slide, monkeypatch):
        read = ScanPlan.read
        monkeypatch.setattr(ScanPlan, "read", lambda *args: (time.sleep(0.1), read(*args))[1])
        found = scan(Mean(), slide, batch_size=64, device="cpu", readers=1)
        assert found.waited > 0.5
        assert found.reader > 0.7
        assert found.device < 0.3

    def test_more_readers_read_side_by_side(self):
        seconds = []
        for threads in (1, 4):
            began = time.perf_counter()
            ahead = ReadAhead(Plan(12, 1 << 20, 0.02), threads)
            assert [int(numbers[0]) for numbers, _ in ahead] == list(range(12))
            seconds.append(time.perf_counter() - began)
            assert ahead.busy >= 12 * 0.02
        assert seconds[1] < 0.6 * seconds[0]


class TestMemory:
    @pytest.mark.parametrize(
        ("mib", "threads", "most"),
        [(32, 2, 8), (100, 1, 2), (1, 1, 256), (300, 4, 5), (128, 1, 2)],
        ids=["eight", "two", "many", "too large: one for each thread and one", "at least two"],
    )
    def test_as_many_blocks_are_held_as_256_mib_hold(self, mib, threads, most):
        """With the one that is being scored, which whoever scores lets go before the next."""
        plan, taken = Plan(600, mib << 20), 0
        for numbers, pixels in ReadAhead(plan, threads):
            assert pixels[0, 0] == numbers[0] % 256
            if taken % 100 == 0:
                settle(plan)
                assert plan.begun == min(600, taken + most)
            taken += 1
            del pixels
        assert (taken, plan.begun) == (600, 600)
        # A thread may hold on to a block for a moment after it has handed it over.
        assert most <= plan.most < most + threads

    @pytest.mark.parametrize("stride", [25, 299, 3000])
    @pytest.mark.parametrize("mpp", [(), (0.5, 2.0)])
    def test_blocks_are_small_and_hold_each_patch_once(self, stride, mpp):
        slide = fastwsi.open_slide(np.broadcast_to(np.uint8(200), (9000, 12000, 3)), mpp=0.5)
        plan = ScanPlan(slide, PatchInput(299, 128, mpp), stride)
        blocks = list(plan.blocks())
        assert sorted(np.concatenate(blocks)) == list(range(len(plan.grid)))
        assert plan.block_bytes == max(map(len, blocks)) * 299 * 299 * 3 * max(1, len(mpp))
        assert plan.block_bytes <= 32 << 20
        for block in blocks:
            assert np.ptp(plan.grid.places(block), 0).max() < 1024


def settle(plan):
    """Wait until readers have done all that they may."""
    before = -1
    while before != plan.begun:
        before = plan.begun
        time.sleep(0.05)


class Stop(BaseException):
    """What no one catches by mistake."""


@pytest.fixture
def broken(tmp_path):
    """A slide that was overwritten while it is open."""
    path = write(tmp_path / "broken.tif", [picture(1500, 1100)], tile=256)
    with fastwsi.open_slide(path, mpp=0.5, backend="openslide", cache=0) as slide:
        slide.read((0, 0), 50)
        path.write_bytes(bytes(path.stat().st_size))
        yield slide


@pytest.mark.parametrize("readers", [1, 4])
def test_a_slide_that_breaks_is_named_at_once(broken, readers):
    began = time.perf_counter()
    with pytest.raises(SlideError, match=r"broken\.tif") as caught:
        scan(Mean(), broken, readers=readers, device="cpu")
    assert caught.value.path == broken.path
    assert time.perf_counter() - began < 10
    assert not our_threads()


def test_a_slide_that_is_closed_meanwhile(tmp_path):
    path = write(tmp_path / "closed.tif", [picture(1500, 1100)], tile=256)
    slide = fastwsi.open_slide(path)
    with pytest.raises(SlideError, match=r"closed\.tif.*closed"):
        scan(Mean(), slide, device="cpu", batch_size=8, progress=lambda *_: slide.close())
    assert not our_threads()


def test_a_corrupt_tile_is_background_and_known(tmp_path):
    """As wherever pixels are read: the rest of the slide counts more than one tile."""
    import tifffile

    image = picture(640, 640)
    path = write(tmp_path / "a.tif", [image], tile=128, compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[12], file.pages[0].databytecounts[12]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = bytes(count)
    path.write_bytes(content)
    image[256:384, 256:384] = 255
    with fastwsi.open_slide(path) as slide:
        found = scan(detector(), slide, stride=40, device="cpu").heatmap
        assert list(slide.corrupt) == [(0, 256, 256)]
    wanted = scan(detector(), fastwsi.open_slide(image), stride=40, device="cpu").heatmap
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stop, ValueError])
@pytest.mark.parametrize("where", ["progress", "scorer", "reader"])
def test_nothing_runs_on_after_an_error(monkeypatch, error, where):
    """A hundred blocks, of which most wait to be read when it comes."""
    slide = fastwsi.open_slide(np.broadcast_to(np.uint8(200), (10_000, 10_000, 3)), mpp=0.5)
    read, calls, reads = ScanPlan.read, [], []

    def fail(*_):
        calls.append(1)
        if len(calls) == 3:
            raise error("enough")

    def slow(plan, block):
        reads.append(1)
        time.sleep(0.05)
        if where == "reader":
            fail()
        return read(plan, block)

    def failing(pixels):
        fail()
        return torch.zeros(len(pixels))

    monkeypatch.setattr(ScanPlan, "read", slow)
    if where == "scorer":
        monkeypatch.setattr(Mean, "scorer", lambda *_, **__: failing)
    with pytest.raises(error, match="enough") as caught:
        scan(Mean(), slide, device="cpu", progress=fail if where == "progress" else None)
    # Even while the error, and with it the frames that it went through, is held.
    assert not our_threads(), caught
    assert len(reads) < 10
    monkeypatch.undo()
    small = fastwsi.open_slide(np.full((300, 200, 3), 51, np.uint8))
    np.testing.assert_allclose(scan(Mean(), small, device="cpu").heatmap[:4, :3], 0.2, atol=1e-6)


def test_sparse_tissue_reads_only_what_it_needs():
    """Two cells in opposite corners of a block: their patches, not what lies between."""
    asked = []

    class Counted:
        shape, dtype = (1024, 1024, 3), np.dtype("uint8")

        def __getitem__(self, key):
            asked.append(np.prod([each.stop - each.start for each in key[:2]]))
            return np.full((key[0].stop - key[0].start, key[1].stop - key[1].start, 3), 200, np.uint8)

    slide = fastwsi.open_slide(Counted(), mpp=0.5)
    mask = np.zeros((16, 16), bool)
    mask[0, 0] = mask[15, 15] = True
    found = scan(Mean(), slide, tissue=TissueMask.of(slide, mask), device="cpu")
    assert found.patches == 2
    assert sum(asked) == 2 * 64 * 64


@pytest.mark.slow
def test_a_slide_of_100_000_pixels_squared_takes_less_than_2_gib():
    """One minute; 0.4 GiB with one reader, of which torch is most, and 0.9 with eight."""
    program = Path(__file__).with_name("huge_scan.py")
    done = subprocess.run([sys.executable, program, "8"], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert (told["shape"], told["right"]) == ([782, 782], True)
    assert told["peak"] < 2 << 30, told
