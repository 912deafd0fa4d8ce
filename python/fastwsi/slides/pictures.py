"""Pictures for a person to look at, as PNG or JPEG by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from fastwsi._files import write_atomically
from fastwsi._png import write_png

ENDINGS = (".png", ".jpg", ".jpeg")


def write_picture(
    path: str | Path, pixels: np.ndarray[Any, np.dtype[np.uint8]], *, quality: int = 90
) -> None:
    """Write pixels to a PNG or a JPEG file, which is whole or not there.

    Parameters
    ----------
    path : path
        Ends in .png, .jpg or .jpeg.
    pixels : uint8 array, shape (height, width, 3), or (height, width) for grey
    quality : int
        JPEG's, 1 to 100.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "white.jpg"
    >>> fastwsi.slides.write_picture(path, np.full((40, 60, 3), 255, np.uint8))
    >>> fastwsi.open_slide(path).dimensions
    (60, 40)
    """
    path = checked_picture(path)
    if path.suffix.lower() == ".png":
        write_png(path, pixels)
    else:
        # Colours as fine as the brightness: outlines of one pixel stay sharp.
        code = imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=quality, subsampling="444")
        write_atomically(path, bytes(code))


def checked_picture(path: str | Path) -> Path:
    """Return the path of a picture to be written; ValueError where its name has another ending."""
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    return path
