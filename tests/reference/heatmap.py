"""Operations on heatmaps cell by cell, as their definitions say; sums in exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np


def is_suppressed(dx, dy, radius, shape):
    """Whether a report at the origin zeroes the cell (dx, dy)."""
    if shape == "disc":
        near = dx * dx + dy * dy <= radius * radius
    elif shape == "square":
        near = (abs(dx) <= radius) & (abs(dy) <= radius)
    else:
        near = (-radius <= dx) & (dx < radius) & (-radius <= dy) & (dy < radius)
    return near | ((dx == 0) & (dy == 0))


def rounded(threshold, dtype):
    with np.errstate(over="ignore"):
        return np.dtype(dtype).type(threshold)


def nms(heatmap, radius, threshold, shape="disc", max_points=None):
    """[(x, y, score)] of a (H, W) map, in the order in which they are found."""
    alive = np.ones(heatmap.shape, bool)
    dy, dx = np.indices(heatmap.shape)
    limit = rounded(threshold, heatmap.dtype)
    found = []
    while max_points is None or len(found) < max_points:
        eligible = alive & (heatmap > limit)  # a comparison with NaN is false
        if not eligible.any():
            break
        largest = heatmap[eligible].max()
        y, x = divmod(int(np.argmax(eligible & (heatmap == largest))), heatmap.shape[1])
        found.append((x, y, heatmap[y, x]))
        alive &= ~is_suppressed(dx - x, dy - y, float(radius), shape)
    return found


def capacity(height, width, radius, shape="disc"):
    """Side of the cells of a grid such that two reports never share one; how many it has."""
    if shape == "disc":
        side = math.floor(radius / math.sqrt(2)) + 1
    elif shape == "square":
        side = math.floor(radius) + 1
    else:
        side = max(1, math.ceil(radius))
    return -(-height // side) * -(-width // side)


def components(heatmap, threshold, connectivity=8):
    """[(x, y, score, mean, area, centre_x, centre_y)] of the regions above the threshold."""
    above = heatmap > rounded(threshold, heatmap.dtype)
    height, width = heatmap.shape
    seen = np.zeros_like(above)
    steps = [(0, 1), (0, -1), (1, 0), (-1, 0)]
    if connectivity == 8:
        steps += [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    found = []
    for start in zip(*np.nonzero(above), strict=True):
        if seen[start]:
            continue
        seen[start] = True
        cells, fresh = [], [start]
        while fresh:
            y, x = fresh.pop()
            cells.append((int(y), int(x)))
            for step_y, step_x in steps:
                v, u = y + step_y, x + step_x
                if 0 <= v < height and 0 <= u < width and above[v, u] and not seen[v, u]:
                    seen[v, u] = True
                    fresh.append((v, u))
        found.append(describe(heatmap, sorted(cells)))
    return sorted(found, key=lambda one: (-one[2], one[1], one[0]))


def describe(heatmap, cells):
    """One region, its cells in row-major order."""
    values = [float(heatmap[cell]) for cell in cells]
    y, x = cells[values.index(max(values))]
    area = len(cells)
    centre_x = sum(cell[1] for cell in cells) / area
    centre_y = sum(cell[0] for cell in cells) / area
    return x, y, heatmap[y, x], math.fsum(values) / area, area, centre_x, centre_y


def mean_of(values):
    """Mean of Python floats, computed exactly and rounded once to float64."""
    if all(map(math.isfinite, values)):
        return float(sum(map(Fraction, values)) / len(values))
    infinite = {v for v in values if not math.isfinite(v)}
    return infinite.pop() if len(infinite) == 1 else math.nan  # each NaN, and inf with -inf, is NaN


def max_of(values):
    if any(map(math.isnan, values)):
        return math.nan
    largest = max(values)
    return 0.0 if largest == 0 and any(math.copysign(1, v) > 0 for v in values if v == 0) else largest


def covering(size, tiles, x, y):
    """{(row, column): values of the tiles over it} for (h, w) tiles; what hangs over is dropped."""
    width, height = size
    cells = {}
    for tile, left, top in zip(tiles, x, y, strict=True):
        for (i, j), value in np.ndenumerate(tile):
            if 0 <= top + i < height and 0 <= left + j < width:
                cells.setdefault((top + i, left + j), []).append(float(value))
    return cells


def stitch(size, tiles, x, y, mode="mean", empty=0.0):
    """(heatmap in float64, count) of (h, w) tiles with their top-left cells at (x, y)."""
    width, height = size
    out, count = np.full((height, width), empty, np.float64), np.zeros((height, width), np.int32)
    for cell, values in covering(size, tiles, x, y).items():
        out[cell] = mean_of(values) if mode == "mean" else max_of(values)
        count[cell] = len(values)
    return out, count
