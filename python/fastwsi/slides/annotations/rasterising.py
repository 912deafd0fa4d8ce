"""Shapes to pixels: a window at a time, exactly, by where edges cross the centres of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers
from fastwsi.slides.geometry import Pair, pair_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Points = np.ndarray[Any, np.dtype[np.float64]]
Labels = np.ndarray[Any, np.dtype[np.uint8]]


def paint(
    layers: Iterable[tuple[Sequence[Points], int]],
    xy: tuple[int, int],
    size: int | tuple[int, int],
    scale: float | tuple[float, float],
) -> Labels:
    """Return a window of areas, each of rings at level 0 with a value, the later ones over those before."""
    left, top = pair_of(xy, "xy")
    width, height = pair_of(size, "size", 0)
    steps = _scale(scale)
    out = np.zeros((height, width), np.uint8)
    right, bottom = left + width * steps[0], top + height * steps[1]
    for rings, value in layers:
        low, high = rings[0].min(0), rings[0].max(0)
        if low[0] < right and high[0] > left and low[1] < bottom and high[1] > top:
            out[inside([(ring - (left, top)) / steps for ring in rings], (width, height))] = value
    return out


def inside(rings: Sequence[Points], size: Pair) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which pixels have their centre inside an odd number of rings.

    Rings are (x, y) in pixels of the result, closed by themselves. Each edge is looked at where it crosses
    the centre of a row; whatever lies right of it is then on its other side. A centre on an edge counts as
    inside where the edge is a left or an upper one, so that shapes that share an edge share no pixel.

    Examples
    --------
    >>> ring = np.array([[1, 1], [3, 1], [3, 3], [1, 3]], float)
    >>> inside([ring], (4, 4)).sum()
    np.int64(4)
    """
    if not any(_reaches(ring, size) for ring in rings):
        # No edge comes near, as in most windows of a patch's size: all pixels lie on one side.
        return np.full(size[::-1], _flipped(rings, (1, 1))[0, 0])
    return _flipped(rings, size)


def _reaches(ring: Points, size: Pair) -> bool:
    """Whether any edge's bounding box meets a window."""
    end = np.roll(ring, -1, 0)
    low, high = np.minimum(ring, end), np.maximum(ring, end)
    return bool(((low <= size) & (high >= 0)).all(1).any())


def _flipped(rings: Sequence[Points], size: Pair) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which pixels have an odd number of edges on their left, row by row."""
    width, height = size
    flips = np.zeros((height, width + 1), np.int32)
    for ring in rings:
        start, end = ring, np.roll(ring, -1, 0)
        upper = np.minimum(start[:, 1], end[:, 1])
        lower = np.maximum(start[:, 1], end[:, 1])
        # Rows r with upper <= r + 1/2 < lower.
        first = np.clip(np.ceil(upper - 0.5), 0, height).astype(np.int64)
        stop = np.clip(np.ceil(lower - 0.5), 0, height).astype(np.int64)
        counts = stop - first
        edges = np.flatnonzero(counts > 0)
        if not edges.size:
            continue
        counts = counts[edges]
        which = np.repeat(edges, counts)
        starts = np.cumsum(counts) - counts
        rows = np.repeat(first[edges], counts) + np.arange(counts.sum()) - np.repeat(starts, counts)
        run, rise = end[which, 0] - start[which, 0], end[which, 1] - start[which, 1]
        crossing = start[which, 0] + (rows + 0.5 - start[which, 1]) * (run / rise)
        columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
        np.add.at(flips, (rows, columns), 1)
    return np.asarray(np.cumsum(flips[:, :-1], 1) % 2 == 1)


def _scale(scale: float | tuple[float, float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    pair = tuple(scale) if isinstance(scale, (tuple, list)) else (scale, scale)
    if len(pair) != 2 or any(_numbers.finite(value, "scale") <= 0 for value in pair):
        raise ValueError(f"scale: got {scale!r}, expected level-0 pixels per pixel, one number or (x, y)")
    return np.asarray(pair, np.float64)
