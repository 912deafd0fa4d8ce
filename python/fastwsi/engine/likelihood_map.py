"""Likelihood maps as TIFF files that ASAP and QuPath show over a slide, with their exact geometry inside."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from fastwsi._files import replacing
from fastwsi.engine.cells import CellGrid, Exact, Pair, numbers, two
from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Sequence

Heatmap = np.ndarray[Any, np.dtype[np.float32]]
_FORMAT, _VERSION = "fastwsi likelihood map", 1
_TILE = 256
_MOST_CELLS = 1 << 28  # 1 GiB: 100,000 x 100,000 pixels at a stride of 8 are fewer
# ASAP takes a TIFF whose description has one of these for another program's.
_FOREIGN = {"xml": r"\u0078ml", "XML": r"\u0058ML", "DICOM": r"\u0044ICOM"}
_RESOLUTION = (1e-4, 4e9)  # pixels per centimetre that the tags' fractions hold
# Cells that were not scanned are -0.0 in the file: to viewers the same number as 0, and yet not a score of 0.
_NOT_SCANNED = np.int32(np.iinfo(np.int32).min)


@dataclass(frozen=True, eq=False)
class LikelihoodMap:
    """What a file holds.

    Attributes
    ----------
    heatmap : float32 array, shape (rows, columns)
        NaN where nothing was scanned.
    grid : CellGrid
        Where its cells lie: exact scale and offset, and the slide's size.
    name : str
        The slide's.
    """

    heatmap: Heatmap
    grid: CellGrid
    name: str


def write_likelihood_map(
    path: str | Path, heatmap: Any, grid: CellGrid, *, name: str = "", mpp: Exact | None = None
) -> None:
    """Write a heatmap as a pyramid of tiles; the same heatmap gives the same bytes.

    A BigTIFF of float32 with one channel. Its levels are a chain of directories, each half as large as the
    one before, until one fits into a tile. A cell of a smaller level has the largest score of the four below
    it: however far away one looks, no lesion of a few cells fades, the slide's score is in every level, and
    what is above a threshold stays above it. Tiles are 256 x 256 and LZW: ASAP does not take the deflate that
    today's writers make.

    Parameters
    ----------
    path : path
        Ends in ``_likelihood_map.tif`` for ASAP to find it beside ``<slide>.tif``.
    heatmap : float32 array, shape (rows, columns)
        Scores of 0 or more; NaN where nothing was scanned, which is 0 in the file.
    grid : CellGrid
    name : str
        The slide's.
    mpp : (float, float), optional
        Micrometres per level-0 pixel; the resolution tags are those times the scale.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tumor_001_likelihood_map.tif"
    >>> grid = CellGrid((128.0, 128.0), (0.0, 0.0), (300, 200))
    >>> heatmap = np.array([[0.5, np.nan, 0], [1, 0, np.nan]], np.float32)
    >>> write_likelihood_map(path, heatmap, grid, name="tumor_001", mpp=(0.25, 0.25))
    >>> tifffile.imread(path).tolist()
    [[0.5, -0.0, 0.0], [1.0, 0.0, -0.0]]
    >>> read_likelihood_map(path).heatmap.tolist()
    [[0.5, nan, 0.0], [1.0, 0.0, nan]]
    """
    cells = checked(heatmap)
    grid.check((cells.shape[1], cells.shape[0]))
    levels = _levels(_padded(cells, grid))
    description = _description(name, cells, grid, mpp)
    # Who opens the map by itself sees it from 0 to 1, not to 255.
    window = [(340, "d", 1, 0.0, True), (341, "d", 1, 1.0, True)]
    with replacing(Path(path)) as temporary, tifffile.TiffWriter(temporary, bigtiff=True) as file:
        for i, level in enumerate(levels):
            halved = levels[0].shape[1] / level.shape[1], levels[0].shape[0] / level.shape[0]
            file.write(
                level,
                tile=(_TILE, _TILE),
                photometric="minisblack",
                compression="lzw",
                subfiletype=1 if i else 0,
                software="fastwsi",
                description=None if i else description,
                metadata=None,
                extratags=window,
                **_resolution(grid, mpp, halved),
            )


def read_likelihood_map(path: str | Path) -> LikelihoodMap:
    """Read a likelihood map that `write_likelihood_map` wrote; SlideError says what is wrong with others."""
    path = Path(path)
    if not path.is_file():
        raise SlideError(path, "there is no such file")
    try:
        with tifffile.TiffFile(path, _multifile=False) as file:
            page = file.pages.first
            told = _told(path, page.description)
            shape = page.shape
            if page.dtype != np.float32 or len(shape) != 2 or math.prod(shape) > _MOST_CELLS:
                raise SlideError(path, f"got {shape} of {page.dtype}, expected rows and columns of float32")
            values = np.asarray(page.asarray(), np.float32)
    except (SlideError, PermissionError):
        raise
    except Exception as error:
        raise SlideError(path, f"broken TIFF: {error or type(error).__name__}") from error
    try:
        return _understood(values, told)
    except (KeyError, TypeError, ValueError) as error:
        raise SlideError(path, f"its description is damaged: {error}") from None


def checked(heatmap: Any) -> Heatmap:
    """Return a heatmap as an array; raise unless it is one."""
    cells = np.asarray(heatmap)
    if cells.dtype != np.float32:
        raise TypeError(f"heatmap: got dtype {cells.dtype}, expected float32")
    if cells.ndim != 2 or not cells.size or cells.size > _MOST_CELLS:
        raise ValueError(
            f"heatmap: got shape {cells.shape}, expected (rows, columns), 1 to {_MOST_CELLS} cells in all"
        )
    wrong = (cells < 0) | np.isinf(cells)
    if wrong.any():
        raise ValueError(f"heatmap: got {cells[wrong][0]}, expected scores of at least 0, or NaN")
    return cells


def _padded(cells: Heatmap, grid: CellGrid) -> Heatmap:
    """Return the cells on the grid that begins at the slide's corner, 0 around them."""
    width, height = grid.map_size
    left, top = grid.first_cell
    whole = np.full((height, width), _NOT_SCANNED, np.int32).view(np.float32)
    part = whole[top : top + cells.shape[0], left : left + cells.shape[1]]
    scanned = ~np.isnan(cells)
    part[scanned] = np.abs(cells[scanned])  # a scanned -0.0 is a 0
    return whole


def _levels(whole: Heatmap) -> list[Heatmap]:
    levels = [whole]
    # ASAP refuses a level that is not narrower than the one before.
    while max(levels[-1].shape) > _TILE and levels[-1].shape[1] > 1:
        levels.append(_halved(levels[-1]))
    return levels


def _halved(cells: Heatmap) -> Heatmap:
    # As integers the bits of numbers of 0 or more are ordered as the numbers are, and -0.0 comes first: the
    # same on every machine, where the maximum of floats 0.0 and -0.0 may be either.
    bits = np.pad(cells.view(np.int32), [(0, side % 2) for side in cells.shape], mode="edge")
    pairs = np.maximum(bits[::2], bits[1::2])
    return np.maximum(pairs[:, ::2], pairs[:, 1::2]).view(np.float32)


def _resolution(grid: CellGrid, mpp: Exact | None, halved: Exact) -> dict[str, Any]:
    if mpp is None:
        return {"resolutionunit": "NONE"}
    per_centimetre = [10000 / (m * s * h) for m, s, h in zip(mpp, grid.scale, halved, strict=True)]
    if not all(_RESOLUTION[0] <= value <= _RESOLUTION[1] for value in per_centimetre):
        raise ValueError(f"mpp: got {mpp!r} at a scale of {grid.scale}, expected what TIFF's tags can tell")
    return {"resolutionunit": "CENTIMETER", "resolution": tuple(per_centimetre)}


def _description(name: str, cells: Heatmap, grid: CellGrid, mpp: Exact | None) -> str:
    """Return the geometry as JSON in ASCII."""
    told = {
        "format": _FORMAT,
        "version": _VERSION,
        "slide": name,
        "slide_size": grid.slide_size,
        "mpp": mpp,
        "cells": (cells.shape[1], cells.shape[0]),
        "first_cell": grid.first_cell,
        "scale": grid.scale,
        "offset": grid.offset,
        "not_scanned": "-0.0",
    }
    text = json.dumps(told, sort_keys=True, allow_nan=False)
    for word, spelled in _FOREIGN.items():
        text = text.replace(word, spelled)
    return text


def _told(path: Path, description: str) -> dict[str, Any]:
    try:
        told = json.loads(description)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or told.get("format") != _FORMAT:
        raise SlideError(path, "no likelihood map of fastwsi: it does not tell where its cells lie")
    if told.get("version") != _VERSION:
        raise SlideError(path, f"got version {told.get('version')!r} of the format, expected {_VERSION}")
    return told


def _understood(values: Heatmap, told: dict[str, Any]) -> LikelihoodMap:
    scale, offset = numbers(told["scale"], "scale"), numbers(told["offset"], "offset")
    grid = CellGrid(scale, offset, _pair(told["slide_size"]))
    columns, rows = _pair(told["cells"])
    grid.check((columns, rows))
    if values.shape[::-1] != grid.map_size:
        raise ValueError(f"got {values.shape[::-1]} cells, expected {grid.map_size}")
    left, top = grid.first_cell
    part = values[top : top + rows, left : left + columns].copy()
    part[part.view(np.int32) == _NOT_SCANNED] = np.nan
    return LikelihoodMap(checked(part), grid, str(told["slide"]))


def _pair(values: Sequence[Any]) -> Pair:
    across, down = (int(value) for value in two(values, "size"))
    return across, down
