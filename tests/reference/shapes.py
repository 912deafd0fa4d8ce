"""Regions of a heatmap and their axes, as the definitions say: cell by cell, corner by corner."""

from __future__ import annotations

import math
from fractions import Fraction


def regions(heatmap, limit, connectivity):
    """Lists of (row, column), each of a region, in the order of their first cells."""
    height, width = heatmap.shape
    steps = [(0, 1), (0, -1), (1, 0), (-1, 0)]
    if connectivity == 8:
        steps += [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    left = {(r, c) for r in range(height) for c in range(width) if heatmap[r, c] >= limit}
    found = []
    for first in sorted(left):
        if first not in left:
            continue
        left.remove(first)
        cells, open_ends = [first], [first]
        while open_ends:
            row, column = open_ends.pop()
            for dr, dc in steps:
                near = row + dr, column + dc
                if near in left:
                    left.remove(near)
                    cells.append(near)
                    open_ends.append(near)
        found.append(sorted(cells))
    return found


def variances(cells):
    """The larger and the smaller eigenvalue of the population covariance of the cells' middles."""
    n = len(cells)
    row, column = (Fraction(sum(cell[axis] for cell in cells), n) for axis in (0, 1))
    rr = sum((r - row) ** 2 for r, _ in cells) / n
    cc = sum((c - column) ** 2 for _, c in cells) / n
    rc = sum((r - row) * (c - column) for r, c in cells) / n
    root = math.sqrt((rr - cc) ** 2 + 4 * rc**2)
    return (float(rr + cc) + root) / 2, max(0.0, (float(rr + cc) - root) / 2)


def moment_axis(cells):
    return 4 * math.sqrt(variances(cells)[0])


def feret_axis(cells):
    """The largest distance between corners of any two cells."""
    corners = {(r + dr, c + dc) for r, c in cells for dr in (0, 1) for dc in (0, 1)}
    return max(math.dist(one, other) for one in corners for other in corners)
