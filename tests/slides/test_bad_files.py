"""Files that are broken, and files that mean harm: one clear error each, soon, and in little memory."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from contextlib import suppress

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastwsi
from fastwsi.slides import SlideError
from fastwsi.slides.tiff_tiles import Coding, CorruptTileError, decode
from slides.pyramids import halved, picture, write

SECOND = 1.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    image = picture(600, 400)
    path = tmp_path_factory.mktemp("whole") / "slide.tif"
    return write(path, [image, halved(image)], tile=128, compression="jpeg").read_bytes()


def refused(path, match):
    start = time.perf_counter()
    with pytest.raises(SlideError, match=match) as caught:
        fastwsi.open_slide(path)
    assert time.perf_counter() - start < SECOND
    assert str(caught.value).startswith(str(path))
    return caught.value


def test_absent(tmp_path):
    error = refused(tmp_path / "none.tif", "there is no such file")
    assert error.path == tmp_path / "none.tif"
    assert error.reason == "there is no such file"


def test_a_folder(tmp_path):
    refused(tmp_path, "is a directory")


def test_empty(tmp_path):
    (tmp_path / "slide.svs").touch()
    refused(tmp_path / "slide.svs", "the file is empty")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable(tmp_path, whole):
    path = tmp_path / "slide.tif"
    path.write_bytes(whole)
    path.chmod(0)
    refused(path, "permission denied")


def test_unreadable_as_the_system_says_it(tmp_path, whole, monkeypatch):
    path = tmp_path / "slide.tif"
    path.write_bytes(whole)

    def deny(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", deny)
    refused(path, "permission denied")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "slide.tif")
    refused(tmp_path / "slide.tif", "is no regular file")


@pytest.mark.parametrize("suffix", [".svs", ".tif", ".png", ".mrxs", ".ndpi", ".dcm", ""])
def test_other_things_by_a_slides_name(tmp_path, suffix):
    path = tmp_path / f"slide{suffix}"
    path.write_text("Once upon a time there was no slide.\n" * 100)
    error = refused(path, "no slide that can be read|broken")
    assert "\n" not in str(error)


def test_a_picture_by_a_scanners_name(tmp_path):
    (tmp_path / "slide.svs").write_bytes(imagecodecs.png_encode(picture(64, 64)))
    refused(tmp_path / "slide.svs", "is a PNG picture, decoded whole with a scanner's suffix")
    with fastwsi.open_slide(tmp_path / "slide.svs", backend="image") as slide:
        assert slide.dimensions == (64, 64)


def test_a_stack_of_channels(tmp_path):
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as file:
        for channel in np.moveaxis(picture(300, 200), 2, 0):
            file.write(channel, tile=(128, 128), metadata=None)
    refused(path, "a stack of 3 images of one channel each")
    with fastwsi.open_slide(path, backend="openslide") as slide:
        assert slide.dimensions == (300, 200)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.2, 0.5, 0.9, 0.999])
def test_cut_short(tmp_path, whole, share):
    """A copy that was not finished."""
    path = tmp_path / "slide.tif"
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, r"cut short: \d+ of \d+ tiles lie behind its end|broken|no slide")


def test_cut_short_while_it_is_open(tmp_path, whole):
    path = tmp_path / "slide.tif"
    path.write_bytes(whole)
    with fastwsi.open_slide(path) as slide:
        os.truncate(path, len(whole) // 8)
        found = slide.read((0, 0), slide.dimensions)
        assert len(slide.corrupt) > 5
        assert all("bytes could be read" in reason for reason in slide.corrupt.values())
        assert (found == 255).all(axis=2).mean() > 0.3


def test_progressive_tiles_are_whole():
    """Of several scans, with tables between them."""
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(picture(128, 128)).save(written, "jpeg", progressive=True, quality=95)
    coding = Coding(128, 128, 3, 7, 6)

    def lend(height, width):
        return np.empty((height, width, 3), np.uint8)

    pixels = decode(coding, written.getvalue(), lend)
    assert np.abs(pixels.astype(int) - picture(128, 128)).mean() < 10
    with pytest.raises(CorruptTileError, match="the data end early"):
        decode(coding, written.getvalue()[:-2], lend)


class TestCorruptTile:
    @pytest.fixture
    def paths(self, tmp_path):
        """One tile in the middle of a JPEG slide overwritten, in whole or in part, and cut off."""
        found = {}
        for name in ("noise", "burst", "early marker", "early end", "nothing"):
            path = write(tmp_path / f"{name}.tif", [picture(640, 640)], tile=128, compression="jpeg")
            with tifffile.TiffFile(path) as file:
                offset, count = file.pages[0].dataoffsets[12], file.pages[0].databytecounts[12]
            content = bytearray(path.read_bytes())
            if name == "noise":
                content[offset : offset + count] = np.random.default_rng(0).bytes(count)
            elif name == "burst":  # a sector of the disk
                middle = offset + count // 2
                content[middle : middle + 512] = np.random.default_rng(0).bytes(512)
            elif name == "early marker":
                content[offset + count // 2 : offset + count // 2 + 2] = b"\xff\xd9"
            elif name == "early end":
                content[offset + count // 2 : offset + count] = bytes(count - count // 2)
            else:
                content[offset : offset + count] = bytes(count)
            path.write_bytes(content)
            found[name] = path
        return found

    @pytest.mark.parametrize(
        ("backend", "name"),
        [
            *(("tiff", name) for name in ("noise", "burst", "early marker", "early end", "nothing")),
            # Of the others openslide paints what its decoder guesses, and no one knows.
            *(("openslide", name) for name in ("noise", "nothing")),
        ],
    )
    def test_is_filled_counted_and_reported_once(self, paths, name, backend, caplog):
        good = picture(640, 640)
        with fastwsi.open_slide(paths[name], backend=backend, fill=(9, 8, 7)) as slide:
            for _ in range(2):
                found = slide.read((0, 0), (640, 640))
            assert (found[256:384, 256:384] == (9, 8, 7)).all()
            outside = np.ones((640, 640), bool)
            outside[256:384, 256:384] = False
            assert np.abs(found.astype(int) - good)[outside].mean() < 10
            if backend == "tiff":
                assert list(slide.corrupt) == [(0, 256, 256)]
                assert len([record for record in caplog.records if "(256, 256)" in record.message]) == 1
            assert slide.corrupt
            # The handle works on.
            assert np.abs(slide.read((0, 0), 200).astype(int) - good[:200, :200]).mean() < 10


def test_a_corrupt_tile_is_no_other(tmp_path):
    """Tiles of 16 pixels: row 1, column 0 begins at the pixel whose number is another tile's."""
    image = picture(256, 256)
    path = write(tmp_path / "slide.tif", [image], tile=16, compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[16], file.pages[0].databytecounts[16]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = bytes(count)
    path.write_bytes(content)
    wanted = image.copy()
    wanted[16:32, :16] = 255
    with fastwsi.open_slide(path) as slide:
        for _ in range(2):
            np.testing.assert_array_equal(slide.read((0, 0), 256), wanted)
        assert list(slide.corrupt) == [(0, 0, 16)]


def test_a_slide_that_breaks_while_it_is_open(tmp_path, whole):
    path = tmp_path / "slide.tif"
    path.write_bytes(whole)
    with fastwsi.open_slide(path, backend="openslide", cache=0) as slide:
        slide.read((0, 0), 50)
        path.write_bytes(bytes(len(whole)))
        for _ in range(2):
            with pytest.raises(SlideError, match=r"changed while it was open|openslide"):
                slide.read((0, 0), 300)
        path.write_bytes(whole)
        assert slide.read((0, 0), 50).shape == (50, 50, 3)


@pytest.mark.parametrize("suffix", [".svs", ".png"])
def test_no_program_is_started_for_a_file(tmp_path, suffix, monkeypatch):
    """Pillow would give PostScript to Ghostscript."""
    monkeypatch.setattr("subprocess.Popen.__init__", lambda *args, **kwargs: pytest.fail("started a program"))
    (tmp_path / f"slide{suffix}").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    )
    refused(tmp_path / f"slide{suffix}", "no slide that can be read")


def huge(path, width, height, tile=256):
    """A TIFF of a few hundred bytes whose header claims a picture of any size."""
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 2),
        (277, 3, 1, 3), (322, 4, 1, tile), (323, 4, 1, tile), (324, 4, 1, 300), (325, 4, 1, 10),
    ]  # fmt: skip
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + body + bytes(4 + 400))
    return path


@pytest.mark.parametrize("size", [(2**31, 2**31), (4_000_000_000, 10), (10_000_000, 10_000_000)])
def test_absurd_sizes(tmp_path, size):
    path = huge(tmp_path / "slide.tif", *size)
    refused(path, "places of tiles|broken")
    # In a process of its own: what this one took before says nothing.
    script = (
        "import fastwsi, resource, sys\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "import fastwsi.slides.tiff_backend, fastwsi.slides.openslide_backend\n"
        "before = peak()\n"
        "try:\n    fastwsi.open_slide(sys.argv[1])\n"
        "except fastwsi.SlideError:\n    print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < 100_000  # KiB


def test_absurd_tiles(tmp_path):
    refused(huge(tmp_path / "slide.tif", 100, 100, tile=2**30), "tiles of|broken")


def test_an_absurd_picture(tmp_path):
    """A PNG of a hundred bytes that claims 50,000 x 50,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = [head, b"IDAT" + zlib.compress(bytes(1000)), b"IEND"]
    told = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(told))
    refused(tmp_path / "picture.png", "too large|cannot hold")


def test_directories_in_a_circle(tmp_path, whole):
    content = bytearray(huge(tmp_path / "slide.tif", 256, 256).read_bytes())
    content[8 + 2 + 10 * 12 : 8 + 2 + 10 * 12 + 4] = struct.pack("<I", 8)
    (tmp_path / "slide.tif").write_bytes(content)
    start = time.perf_counter()
    with suppress(SlideError):
        fastwsi.open_slide(tmp_path / "slide.tif").close()
    assert time.perf_counter() - start < SECOND


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_an_error_or_a_picture(tmp_path, whole, data):
    """Bytes changed at random, most of them in headers: nothing crashes, hangs, or reads elsewhere."""
    content = bytearray(whole)
    start = data.draw(st.sampled_from([0, max(0, len(whole) - 2000)]))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(
            st.one_of(st.integers(start, min(start + 2000, len(whole) - 1)), st.integers(0, len(whole) - 1))
        )
        content[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(whole))) :]
    path = tmp_path / "slide.tif"
    path.write_bytes(content)
    begin = time.perf_counter()
    with suppress(SlideError), fastwsi.open_slide(path) as slide:
        if max(slide.dimensions) < 10**6:
            found = slide.read((0, 0), (700, 500))
            assert found.shape == (500, 700, 3)
    assert time.perf_counter() - begin < 5
