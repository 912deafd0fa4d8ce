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
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class Painter:
    """Areas, each of rings at level 0 with a value, to be painted window by window.

    What does not depend on the window is reckoned once: training paints a window for each patch.

    Examples
    --------
    >>> ring = np.array([[10, 10], [30, 10], [30, 30], [10, 30]], float)
    >>> Painter([([ring], 2)]).window((0, 0), (4, 2), 10).tolist()
    [[0, 0, 0, 0], [0, 2, 2, 0]]
    """

    def __init__(self, layers: Iterable[tuple[Sequence[Points], int]]) -> None:
        self._areas = [(_Edges.of(rings), rings[0].min(0), rings[0].max(0), value) for rings, value in layers]

    def window(
        self, xy: tuple[int, int], size: int | tuple[int, int], scale: float | tuple[float, float]
    ) -> Labels:
        """Return a window's labels, areas painted over those before them."""
        corner, steps = pair_of(xy, "xy"), _scale(scale)
        width, height = pair_of(size, "size", 0)
        out = np.zeros((height, width), np.uint8)
        end = corner + (width, height) * steps
        for edges, low, high, value in self._areas:
            if (low < end).all() and (high > corner).all():
                out[edges.in_window(corner, steps, (width, height))] = value
        return out


def inside(rings: Sequence[Points], size: Pair) -> Flags:
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
    return _Edges.of(rings).in_window((0, 0), np.ones(2), size)


class _Edges:
    """The edges of an area's rings, with the boxes about them."""

    def __init__(self, start: Points, end: Points) -> None:
        self._start, self._end = start, end
        self._left, self._top = np.minimum(start, end).T.copy()
        self._right, self._bottom = np.maximum(start, end).T.copy()

    @classmethod
    def of(cls, rings: Sequence[Points]) -> _Edges:
        return cls(np.concatenate(rings), np.concatenate([np.roll(ring, -1, 0) for ring in rings]))

    def in_window(self, corner: Pair, steps: Points, size: Pair) -> Flags:
        """Tell which pixels of a window have their centre inside."""
        # A pixel more on each side, so that rounding decides nothing here.
        left, top = corner - steps
        right, bottom = corner + (size + np.ones(2)) * steps
        # Whatever is right of the window, above it or below changes nothing in it.
        there = np.flatnonzero((self._top <= bottom) & (self._bottom >= top))
        there = there[self._left[there] <= right]
        start, end = (self._start[there] - corner) / steps, (self._end[there] - corner) / steps
        if size[1] and not (self._right[there] >= left).any():
            # Nor does any edge come near from the left, as in most windows of a patch's size: all pixels
            # have the same edges on their left, those that cross the centre of a row.
            crossing = (start[:, 1] <= 0.5) != (end[:, 1] <= 0.5)
            return np.full(size[::-1], np.count_nonzero(crossing) % 2 == 1)
        return _flipped(start, end, size)


def _flipped(start: Points, end: Points, size: Pair) -> Flags:
    """Return which pixels have an odd number of edges on their left, row by row."""
    width, height = size
    # Columns first: going right is then one operation for all rows.
    flips = np.zeros((width + 1, height), np.bool_)
    upper = np.minimum(start[:, 1], end[:, 1])
    lower = np.maximum(start[:, 1], end[:, 1])
    # Rows r with upper <= r + 1/2 < lower.
    first = np.clip(np.ceil(upper - 0.5), 0, height).astype(np.int64)
    stop = np.clip(np.ceil(lower - 0.5), 0, height).astype(np.int64)
    edges = np.flatnonzero(stop > first)
    counts = (stop - first)[edges]
    which = np.repeat(edges, counts)
    starts = np.cumsum(counts) - counts
    rows = np.arange(counts.sum()) + np.repeat(first[edges] - starts, counts)
    run, rise = end[which, 0] - start[which, 0], end[which, 1] - start[which, 1]
    crossing = start[which, 0] + (rows + 0.5 - start[which, 1]) * (run / rise)
    columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    np.logical_xor.at(flips, (columns, rows), True)
    return np.ascontiguousarray(np.logical_xor.accumulate(flips[:-1], 0).T)


def _scale(scale: float | tuple[float, float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    pair = tuple(scale) if isinstance(scale, (tuple, list)) else (scale, scale)
    if len(pair) != 2 or any(_numbers.finite(value, "scale") <= 0 for value in pair):
        raise ValueError(f"scale: got {scale!r}, expected level-0 pixels per pixel, one number or (x, y)")
    return np.asarray(pair, np.float64)
