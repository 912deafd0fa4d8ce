"""PNG files without an imaging library: pictures for a person to look at."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fastwsi._files import write_atomically


def write_png(path: Path, image: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    """Write pixels, uint8 of shape (height, width, 3) or (height, width) for grey, as a PNG file, atomically.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "white.png"
    >>> write_png(path, np.full((2, 3, 3), 255, np.uint8))
    >>> path.read_bytes()[1:4]
    b'PNG'
    """
    height, width, *colours = image.shape
    rows = np.zeros((height, 1 + image[0].size), np.uint8)  # the first byte of a row: no filter
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if colours else 0, 0, 0, 0)  # 8 bits, RGB or grey
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    write_atomically(path, b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
