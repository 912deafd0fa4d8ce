"""Pyramidal TIFFs, written band by band: in memory are a few rows, and smaller levels' encoded tiles."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import imagecodecs
import numpy as np
import tifffile

from fastwsi import _numbers
from fastwsi._files import replacing
from fastwsi.kernels import area_resize
from fastwsi.slides import resolution

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastwsi.slides.backend import Pixels
    from fastwsi.slides.geometry import Pair

_BIG = 1 << 30  # pixels: with their smaller levels they may take more bytes than a classic TIFF can count
_SUBSAMPLING = {"4:4:4": ("444", (1, 1)), "4:2:2": ("422", (2, 1)), "4:2:0": ("420", (2, 2))}


def write_slide(
    path: str | Path,
    image: Any,
    *,
    mpp: float | tuple[float, float],
    tile: int = 256,
    quality: int = 80,
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0",
    levels: int | None = None,
    description: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a tiled, pyramidal TIFF with JPEG tiles, which openslide, QuPath, ASAP and this package read.

    The file is written beside its place and moved there when it is whole.

    Parameters
    ----------
    path : path
    image : uint8 array (height, width, 3), or source of rows
        An object with ``height``, ``width`` and ``rows(top, bottom)``, read once from top to bottom.
    mpp : float or (x, y)
        Micrometres per pixel, 0.05 to 20; goes into the resolution tags.
    tile : int
        Side of a tile, a multiple of 16.
    quality : int
        JPEG's, 1 to 100.
    subsampling : str
        Of the colours.
    levels : int, optional
        How many, each half as large as the one before. Default: until one fits into two tiles.
    description : str, optional
        Goes into the ImageDescription tag.
    progress : callable, optional
        Called with rows done, and rows in all.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "slide.tif"
    >>> fastwsi.slides.write_slide(path, np.full((700, 900, 3), 240, np.uint8), mpp=0.25)
    >>> with fastwsi.open_slide(path) as slide:
    ...     slide.dimensions, len(slide.levels), round(slide.mpp, 6)
    ((900, 700), 2, 0.25)
    """
    path = Path(path)
    side = _numbers.whole(tile, "tile", 16)
    if side % 16:
        raise ValueError(f"tile: got {tile}, expected a multiple of 16")
    if not 1 <= _numbers.whole(quality, "quality") <= 100:
        raise ValueError(f"quality: got {quality}, expected 1 to 100")
    if subsampling not in _SUBSAMPLING:
        raise ValueError(f"subsampling: got {subsampling!r}, expected one of {', '.join(_SUBSAMPLING)}")
    across, down = (10000 / each for each in resolution.given(mpp).mpp or ())
    height, width, rows = _rows_of(image)
    sizes = _sizes((width, height), side, levels)
    code, steps = _SUBSAMPLING[subsampling]
    makers = [_Level(size, side, int(quality), code) for size in sizes]
    with (
        replacing(path) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=width * height > _BIG) as file,
    ):
        for i, (maker, size) in enumerate(zip(makers, sizes, strict=True)):
            file.write(
                iter(maker.tiles) if i else _first(makers, rows, side, progress),
                shape=(size[1], size[0], 3),
                dtype=np.uint8,
                tile=(side, side),
                photometric="ycbcr",
                compression="jpeg",
                subsampling=steps,
                subfiletype=1 if i else 0,
                resolution=(across / 2**i, down / 2**i),
                resolutionunit="CENTIMETER",
                software="fastwsi",
                description=None if i else description,
                metadata=None,
            )


class _Level:
    """One level as it grows: rows in, encoded tiles out."""

    def __init__(self, size: Pair, tile: int, quality: int, subsampling: str) -> None:
        self.width, self.height = size
        self.tiles: list[bytes] = []
        self._tile, self._quality, self._subsampling = tile, quality, subsampling
        self._rows = np.empty((tile, self.width, 3), np.uint8)
        self._held = self._seen = 0
        self._odd: Pixels | None = None  # a row that waits for its partner to be halved

    def add(self, rows: Pixels) -> None:
        """Take rows, of which the last level's rounding may have made one too many."""
        rows = rows[: self.height - self._seen, : self.width]
        while rows.shape[0]:
            taken = min(self._tile - self._held, rows.shape[0])
            self._rows[self._held : self._held + taken] = rows[:taken]
            self._held, self._seen, rows = self._held + taken, self._seen + taken, rows[taken:]
            if self._held == self._tile or self._seen == self.height:
                self._encode()

    def halve(self, rows: Pixels) -> Pixels:
        """Return the rows that the next level gets of those."""
        if self._odd is not None:
            rows = np.concatenate([self._odd, rows])
        pairs, columns = rows.shape[0] // 2, rows.shape[1] // 2
        self._odd = rows[2 * pairs :].copy() if rows.shape[0] % 2 else None
        return np.asarray(area_resize(rows[: 2 * pairs], (pairs, columns), scale=(2, 2)))

    def _encode(self) -> None:
        for left in range(0, self.width, self._tile):
            part = self._rows[: self._held, left : left + self._tile]
            missing = (0, self._tile - part.shape[0]), (0, self._tile - part.shape[1]), (0, 0)
            whole = np.ascontiguousarray(np.pad(part, missing, mode="edge") if np.any(missing) else part)
            code = imagecodecs.jpeg8_encode(
                whole,
                level=self._quality,
                colorspace="RGB",
                outcolorspace="YCBCR",
                subsampling=self._subsampling,
            )
            self.tiles.append(bytes(code))
        self._held = 0


def _first(
    makers: list[_Level],
    rows: Callable[[int, int], Any],
    band: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[bytes]:
    """Yield the first level's tiles, and fill the others' on the way."""
    height = makers[0].height
    for top in range(0, height, band):
        bottom = min(top + band, height)
        part = np.asarray(rows(top, bottom))
        if part.shape != (bottom - top, makers[0].width, 3) or part.dtype != np.uint8:
            raise ValueError(
                f"image: rows {top} to {bottom} have shape {part.shape} of {part.dtype}, expected "
                f"{(bottom - top, makers[0].width, 3)} of uint8"
            )
        makers[0].add(part)
        for finer, maker in itertools.pairwise(makers):
            part = finer.halve(part)
            maker.add(part)
        if progress is not None:
            progress(bottom, height)  # before the tiles go: nobody comes back after the last one
        yield from makers[0].tiles
        makers[0].tiles.clear()


def _sizes(size: Pair, tile: int, levels: int | None) -> list[Pair]:
    if min(size) < 1:
        raise ValueError(f"image: got {size[0]} x {size[1]} pixels, expected at least one")
    most = 32 if levels is None else _numbers.whole(levels, "levels", 1)
    sizes = [size]
    while len(sizes) < most and min(sizes[-1]) > 1 and (levels is not None or max(sizes[-1]) > 2 * tile):
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def _rows_of(image: Any) -> tuple[int, int, Callable[[int, int], Any]]:
    """Return height, width and a reader of rows of an array or a source."""
    if hasattr(image, "shape"):
        if len(image.shape) != 3 or image.shape[2] != 3:
            raise ValueError(f"image: got shape {tuple(image.shape)}, expected (height, width, 3)")
        return int(image.shape[0]), int(image.shape[1]), lambda top, bottom: image[top:bottom]
    if not hasattr(image, "rows"):
        raise TypeError(f"image: got {type(image).__name__}, expected an array or a source of rows")
    return int(image.height), int(image.width), image.rows
