"""Tiles of a TIFF: bytes in, RGB pixels out. A tile that does not say what its level says is refused."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

NONE, LZW, JPEG, DEFLATE, PACKBITS, OLD_DEFLATE = 1, 5, 7, 8, 32773, 32946
APERIO_YCC, APERIO_RGB, JPEG2000, ZSTD, WEBP = 33003, 33005, 34712, 50000, 50001
COMPRESSIONS = {
    NONE: "none", LZW: "LZW", JPEG: "JPEG", DEFLATE: "deflate", OLD_DEFLATE: "deflate", PACKBITS: "PackBits",
    APERIO_YCC: "JPEG 2000", APERIO_RGB: "JPEG 2000", JPEG2000: "JPEG 2000", ZSTD: "Zstandard",
    WEBP: "WebP",
}  # fmt: skip
_PACKED: dict[int, Callable[..., Any]] = {
    LZW: imagecodecs.lzw_decode,
    DEFLATE: imagecodecs.zlib_decode,
    OLD_DEFLATE: imagecodecs.zlib_decode,
    PACKBITS: imagecodecs.packbits_decode,
    ZSTD: imagecodecs.zstd_decode,
}
JPEG2000_KINDS = (APERIO_YCC, APERIO_RGB, JPEG2000)
_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# What may follow a scan: tables, comments and another scan.
_BETWEEN_SCANS = frozenset([0xC4, _SCAN, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)])
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)  # that is no data and no restart
_TRAILER = 1024  # bytes behind a JPEG's last marker that writers are forgiven


class Photometric(IntEnum):
    """What a TIFF's numbers mean, of the kinds that are read."""

    BLACK = 1  # 0 is black: grey values
    RGB = 2
    YCC = 6


class CorruptTileError(Exception):
    """A tile's bytes are no picture of the size that the file claims."""


@dataclass(frozen=True)
class Coding:
    """How the tiles of a level are stored.

    Attributes
    ----------
    width, height : int
        Of a tile.
    samples : int
        Per pixel: 1, 3, or 4 where opacity, which is ignored, comes last.
    compression, photometric, predictor : int
        TIFF's numbers.
    tables : bytes or None
        What JPEG tiles share.
    """

    width: int
    height: int
    samples: int
    compression: int
    photometric: int
    predictor: int = 1
    tables: bytes | None = None

    @property
    def bytes(self) -> int:
        """Of one tile's RGB pixels."""
        return self.width * self.height * 3


def decode(coding: Coding, data: bytes, memory: Callable[[int, int], Pixels]) -> Pixels:
    """Return a tile's pixels, (height, width, 3); raise CorruptTileError where there are none.

    ``memory`` lends an array of a height and width, which codecs that can write into.
    The size is known before anything is decoded: a tile cannot claim more memory than its level does.
    """
    try:
        if coding.compression == JPEG:
            return _jpeg(coding, data, memory)
        if coding.compression in JPEG2000_KINDS:
            return _jpeg2000(coding, data)
        if coding.compression == WEBP:
            return _webp(coding, data)
        return _packed(coding, data)
    except CorruptTileError:
        raise
    except (RuntimeError, ValueError, TypeError, MemoryError, OverflowError, OSError) as error:
        # imagecodecs' errors are RuntimeErrors, one class for each codec.
        raise CorruptTileError(f"{COMPRESSIONS[coding.compression]}: {error}") from None


def _jpeg(coding: Coding, data: bytes, memory: Callable[[int, int], Pixels]) -> Pixels:
    _check_scans(data)
    space = {Photometric.BLACK: "GRAYSCALE", Photometric.RGB: "RGB", Photometric.YCC: "YCBCR"}
    grey = coding.samples == 1
    out = np.empty((coding.height, coding.width), np.uint8) if grey else memory(coding.height, coding.width)
    imagecodecs.jpeg8_decode(
        data,
        tables=coding.tables,
        colorspace=space[Photometric(coding.photometric)],
        outcolorspace="GRAYSCALE" if grey else "RGB",
        out=out,
    )
    return _rgb(out)


def _check_scans(data: bytes) -> None:
    """Refuse data that end early, or in the middle of which there is what no encoder writes.

    The decoder paints what it then misses grey, and says nothing.
    """
    marker = _MARKER.search(data, max(data.find(bytes([0xFF, _SCAN])), 0))
    while marker is not None and marker[1][0] in _BETWEEN_SCANS:
        length = int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        marker = _MARKER.search(data, marker.end() + length)
    if marker is None or (marker[1][0] == _END_OF_IMAGE and marker.end() + _TRAILER < len(data)):
        raise CorruptTileError("JPEG: the data end early")
    if marker[1][0] != _END_OF_IMAGE:
        raise CorruptTileError(f"JPEG: marker {marker[1][0]:02X} in the middle of the data")


def _jpeg2000(coding: Coding, data: bytes) -> Pixels:
    size = _jpeg2000_size(data)
    if size is not None and size != (coding.width, coding.height):
        raise CorruptTileError(
            f"JPEG 2000: {size[0]} x {size[1]} pixels, expected {coding.width} x {coding.height}"
        )
    pixels = np.asarray(imagecodecs.jpeg2k_decode(data, numthreads=1))
    _check(pixels, coding)
    return _from_ycc(pixels) if coding.compression == APERIO_YCC else _rgb(pixels)


def _jpeg2000_size(data: bytes) -> tuple[int, int] | None:
    """Return the size that a codestream's SIZ segment claims; None where there is none."""
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(data) < start + 40:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", data, start + 8)
    return right - left, bottom - top


def is_subsampled(data: bytes) -> bool:
    """Tell whether a codestream's components differ in resolution, of which decoders make what they like."""
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(data) < start + 42:
        return False
    (count,) = struct.unpack_from(">H", data, start + 40)
    steps = data[start + 42 : start + 42 + 3 * count]
    return any(steps[3 * i + 1 : 3 * i + 3] != b"\x01\x01" for i in range(len(steps) // 3))


def _webp(coding: Coding, data: bytes) -> Pixels:
    channels = 4 if coding.samples == 4 else 3
    out = np.empty((coding.height, coding.width, channels), np.uint8)
    return _rgb(imagecodecs.webp_decode(data, hasalpha=channels == 4, out=out))


def _packed(coding: Coding, data: bytes) -> Pixels:
    shape = coding.height, coding.width, coding.samples
    out = np.empty(shape, np.uint8)
    if coding.compression == NONE:
        found = np.frombuffer(data, np.uint8)
    else:
        found = np.frombuffer(_PACKED[coding.compression](data, out=out.nbytes), np.uint8)
    if found.size < out.size:
        raise CorruptTileError(f"{COMPRESSIONS[coding.compression]}: {found.size} bytes, expected {out.size}")
    np.copyto(out, found[: out.size].reshape(shape))
    if coding.predictor == 2:
        out = np.asarray(imagecodecs.delta_decode(out, axis=1))
    return _rgb(out)


def _check(pixels: Pixels, coding: Coding) -> None:
    if pixels.dtype != np.uint8 or pixels.shape[:2] != (coding.height, coding.width):
        raise CorruptTileError(
            f"{COMPRESSIONS[coding.compression]}: {pixels.shape} of {pixels.dtype}, expected "
            f"{coding.height} x {coding.width} of uint8"
        )


def _rgb(pixels: Pixels) -> Pixels:
    """Return three channels of one, three or four."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] not in (3, 4):
        raise CorruptTileError(f"{pixels.shape[2]} channels, expected 1, 3 or 4")
    return pixels[..., :3]


def _from_ycc(pixels: Pixels) -> Pixels:
    """Return RGB of full-range YCbCr, rounded as openslide does: found by trying all pairs of colours."""
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise CorruptTileError(f"JPEG 2000: shape {pixels.shape}, expected three channels")
    y, blue, red = (pixels[..., i].astype(np.int32) for i in range(3))
    blue, red = blue - 128, red - 128
    r = y + (140200 * red + 50000) // 100000
    g = y + (-34414 * blue - 71414 * red + 50000) // 100000
    b = y + (177200 * blue + 50000) // 100000
    found: Pixels = np.clip(np.stack([r, g, b], -1), 0, 255).astype(np.uint8)
    return found
