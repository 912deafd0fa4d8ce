"""Regions as runs of pixels, row by row: grown, filled, numbered and measured without touching each pixel.

A run is a row with its first and last column. Regions of many pixels have few runs, so that a slide full of
tumour costs no more than an empty one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Labels = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of a picture in reading order, none touching the next.

    Attributes
    ----------
    height, width : int
    row, first, last : int64 arrays
        Of each run; ``last`` is part of it.
    """

    height: int
    width: int
    row: Ints
    first: Ints
    last: Ints

    def __len__(self) -> int:
        return len(self.row)

    @property
    def lengths(self) -> Ints:
        """Pixels of each run."""
        return self.last - self.first + 1


def runs_of(mask: Bools) -> Runs:
    """Return the runs of a bool picture.

    Examples
    --------
    >>> found = runs_of(np.array([[False, True, True], [True, False, True]]))
    >>> found.row.tolist(), found.first.tolist(), found.last.tolist()
    ([0, 1, 1], [1, 0, 2], [2, 0, 2])
    """
    height, width = mask.shape
    if not mask.size:
        none = np.zeros(0, np.int64)
        return Runs(height, width, none, none, none)
    changes = np.empty((height, width + 1), bool)
    changes[:, 0], changes[:, -1] = mask[:, 0], mask[:, -1]
    np.not_equal(mask[:, 1:], mask[:, :-1], out=changes[:, 1:-1])
    row, column = np.divmod(np.flatnonzero(changes), width + 1)
    return Runs(height, width, row[::2], column[::2], column[1::2] - 1)


def grown(runs: Runs, reach: float) -> Runs:
    """Return all pixels nearer than ``reach`` to a run's: dx² + dy² < reach².

    Examples
    --------
    >>> dot = Runs(5, 5, np.array([2]), np.array([2]), np.array([2]))
    >>> found = grown(dot, 1.5)
    >>> found.row.tolist(), found.first.tolist(), found.last.tolist()
    ([1, 2, 3], [1, 1, 1], [3, 3, 3])
    """
    rows, firsts, lasts = [], [], []
    most = math.ceil(reach) - 1
    for dy in range(-most, most + 1):
        wider = math.ceil(math.sqrt(reach**2 - dy**2)) - 1
        inside = (runs.row + dy >= 0) & (runs.row + dy < runs.height)
        rows.append(runs.row[inside] + dy)
        firsts.append(np.maximum(runs.first[inside] - wider, 0))
        lasts.append(np.minimum(runs.last[inside] + wider, runs.width - 1))
    if not rows:
        return runs
    return _joined(runs, np.concatenate(rows), np.concatenate(firsts), np.concatenate(lasts))


def filled(runs: Runs) -> Runs:
    """Return runs with holes filled: background that no path over pixels' sides joins to the edge.

    Examples
    --------
    >>> ring = np.ones((3, 3), bool)
    >>> ring[1, 1] = False
    >>> len(filled(runs_of(ring)))
    3
    """
    empty = _background(runs)
    if not len(empty):
        return runs
    region, count = numbered(empty, corners=False)
    edge = (
        (empty.first == 0)
        | (empty.last == runs.width - 1)
        | (empty.row == 0)
        | (empty.row == runs.height - 1)
    )
    outside = np.zeros(count, bool)
    outside[region[edge]] = True
    hole = ~outside[region]
    if not hole.any():
        return runs
    both = [
        np.concatenate([getattr(runs, name), getattr(empty, name)[hole]]) for name in ("row", "first", "last")
    ]
    return _joined(runs, *both)


def numbered(runs: Runs, *, corners: bool) -> tuple[Ints, int]:
    """Return each run's region, from 0 on in reading order, and how many there are.

    ``corners``: whether runs that touch at a corner alone are one region.

    Examples
    --------
    >>> numbered(runs_of(np.eye(3, dtype=bool)), corners=True)[1]
    1
    >>> numbered(runs_of(np.eye(3, dtype=bool)), corners=False)[1]
    3
    """
    upper, lower = _touching(runs, int(corners))
    root = np.arange(len(runs))
    while True:
        a, b = root[upper], root[lower]
        apart = a != b
        if not apart.any():
            break
        upper, lower, a, b = upper[apart], lower[apart], a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while True:  # every run points to the first of its kin
            further = root[root]
            if (further == root).all():
                break
            root = further
    first, region = np.unique(root, return_inverse=True)
    return region.reshape(-1), len(first)


def painted(runs: Runs, values: Ints) -> Labels:
    """Return a picture of each run's value, 0 elsewhere.

    Examples
    --------
    >>> painted(runs_of(np.array([[True, False, True]])), np.array([1, 2])).tolist()
    [[1, 0, 2]]
    """
    start = runs.row * runs.width + runs.first
    lengths, shown = np.zeros(2 * len(runs) + 1, np.int64), np.zeros(2 * len(runs) + 1, np.int32)
    lengths[1::2], shown[1::2] = runs.lengths, values
    lengths[::2] = np.diff(start, append=runs.height * runs.width, prepend=0)
    lengths[2::2] -= runs.lengths
    return np.repeat(shown, lengths).reshape(runs.height, runs.width)


def _joined(like: Runs, row: Ints, first: Ints, last: Ints) -> Runs:
    """Return runs of pixels that any of those given has; they may overlap, and come in any order."""
    # Rows lie apart on one long line, so that no run joins one of another row.
    far = like.width + 2
    start, end = row * far + first, row * far + last
    order = np.argsort(start, kind="stable")
    start, upto = start[order], np.maximum.accumulate(end[order])
    fresh = np.ones(len(start), bool)
    fresh[1:] = start[1:] > upto[:-1] + 1
    begins = np.flatnonzero(fresh)
    ends = upto[np.append(begins[1:], len(start)) - 1] if len(start) else upto
    row, first = np.divmod(start[begins], far)
    return Runs(like.height, like.width, row, first, ends - row * far)


def _background(runs: Runs) -> Runs:
    """Return the runs of all pixels that are in none."""
    rows = np.arange(runs.height)
    row = np.concatenate([rows, runs.row])
    first = np.concatenate([np.zeros(runs.height, np.int64), runs.last + 1])
    order = np.lexsort([first, row])
    row, first = row[order], first[order]
    # Each begins behind a run or at the row's first pixel, and ends before the next run or at its last.
    stop = np.concatenate([runs.first - 1, np.full(runs.height, runs.width - 1)])
    stop = stop[np.lexsort([stop, np.concatenate([runs.row, rows])])]
    some = stop >= first
    return Runs(runs.height, runs.width, row[some], first[some], stop[some])


def _touching(runs: Runs, slack: int) -> tuple[Ints, Ints]:
    """Return pairs of runs of neighbouring rows that share a column, or miss by ``slack``."""
    far = runs.width + 4
    # In the row below, from the first run that ends far enough on the right to the last that begins so.
    low = np.searchsorted(runs.row * far + runs.last, (runs.row + 1) * far + runs.first - slack)
    high = np.searchsorted(
        runs.row * far + runs.first, (runs.row + 1) * far + runs.last + slack, side="right"
    )
    count = np.maximum(high - low, 0)
    upper = np.repeat(np.arange(len(runs)), count)
    within = np.arange(len(upper)) - np.repeat(np.cumsum(count) - count, count)
    return upper, np.repeat(low, count) + within
