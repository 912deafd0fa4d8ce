"""An affine map and a displacement field, applied to an image pixel by pixel, in float64."""

from __future__ import annotations

import numpy as np


def catmull_rom(t):
    """Weights of the nodes at -1, 0, 1 and 2 for a point at t in [0, 1]: Keys' cubic with a = -1/2."""
    return (
        (-(t**3) + 2 * t**2 - t) / 2,
        (3 * t**3 - 5 * t**2 + 2) / 2,
        (-3 * t**3 + 4 * t**2 + t) / 2,
        (t**3 - t**2) / 2,
    )


def linear(t):
    """Weights of the same four nodes for a straight line between the middle two."""
    return 0 * t, 1 - t, t, 0 * t


def with_border(nodes):
    """One more node before and behind the first axis, on the line through the two next to it."""
    first, last = 2 * nodes[0] - nodes[1], 2 * nodes[-1] - nodes[-2]
    return np.concatenate([first[None], nodes, last[None]])


def place(positions, length, nodes):
    """Number of the node at or before each output position, and the part of the way to the next."""
    step = positions * (nodes - 1) / max(length - 1, 1)
    before = np.clip(np.floor(step).astype(int), 0, nodes - 2)
    return before, step - before


def displacement_at(displacement, size, x, y, upsampling):
    """(dx, dy) of the field at output pixels (x, y) of an output of ``size`` (width, height)."""
    field = np.asarray(displacement, np.float64)
    rows, columns = field.shape[:2]
    padded = with_border(with_border(field).swapaxes(0, 1)).swapaxes(0, 1)
    weights = {"cubic": catmull_rom, "linear": linear}[upsampling]
    column, part_x = place(np.asarray(x, np.float64), size[0], columns)
    row, part_y = place(np.asarray(y, np.float64), size[1], rows)
    total = 0.0
    for j, weight_y in enumerate(weights(part_y)):
        for i, weight_x in enumerate(weights(part_x)):
            total = total + (weight_y * weight_x)[..., None] * padded[row + j, column + i]
    return total[..., 0], total[..., 1]


def positions(matrix, displacement, size, x, y, upsampling):
    """Where in the full source image the output pixels (x, y) look."""
    matrix = np.asarray(matrix, np.float64)
    source_x = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    source_y = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    if displacement is not None:
        dx, dy = displacement_at(displacement, size, x, y, upsampling)
        source_x, source_y = source_x + dx, source_y + dy
    return source_x, source_y


def neighbours(source_x, source_y, order):
    """Pixels to read and their weights, as a list of (x, y, weight)."""
    if order == 0:
        one = np.ones(source_x.shape)
        return [(np.floor(source_x + 0.5).astype(int), np.floor(source_y + 0.5).astype(int), one)]
    left, top = np.floor(source_x), np.floor(source_y)
    right_part, lower_part = source_x - left, source_y - top
    left, top = left.astype(int), top.astype(int)
    return [
        (left, top, (1 - right_part) * (1 - lower_part)),
        (left + 1, top, right_part * (1 - lower_part)),
        (left, top + 1, (1 - right_part) * lower_part),
        (left + 1, top + 1, right_part * lower_part),
    ]


def pixel_values(source, origin, full_size, x, y, weight, fill):
    """Values of the full image's pixels (x, y), of which ``source`` holds a part; ``fill`` beside it."""
    inside = (x >= 0) & (x < full_size[0]) & (y >= 0) & (y < full_size[1])
    x, y = x - origin[0], y - origin[1]
    held = (x >= 0) & (x < source.shape[1]) & (y >= 0) & (y < source.shape[0])
    assert not (inside & ~held & (weight > 0)).any(), "the source's rectangle is too small"
    values = np.empty((*x.shape, *source.shape[2:]))
    values[...] = fill
    known = inside & held
    values[known] = source[y[known], x[known]]
    return values


def output_grid(size, rows, columns):
    """Coordinates x and y, (rows, columns) each, of a part of the output; default all of it."""
    y0, y1 = (0, size[1]) if rows is None else rows
    x0, x1 = (0, size[0]) if columns is None else columns
    return np.meshgrid(np.arange(x0, x1, dtype=np.float64), np.arange(y0, y1, dtype=np.float64))


def warp(
    source,
    matrix,
    displacement=None,
    *,
    size=None,
    rows=None,
    columns=None,
    origin=(0, 0),
    full_size=None,
    fill=255,
    order=1,
    upsampling="cubic",
):
    """Warped values on the 0 to 255 scale, (rows, columns) or (rows, columns, 3), not rounded."""
    full_size = source.shape[1::-1] if full_size is None else full_size
    size = full_size if size is None else size
    x, y = output_grid(size, rows, columns)
    source_x, source_y = positions(matrix, displacement, size, x, y, upsampling)
    # Beyond this everything is fill, and integers hold the numbers.
    source_x = np.clip(source_x, -2, full_size[0] + 1)
    source_y = np.clip(source_y, -2, full_size[1] + 1)
    total = 0.0
    for column, row, weight in neighbours(source_x, source_y, order):
        values = pixel_values(source, origin, full_size, column, row, weight, fill)
        total = total + (weight if source.ndim == 2 else weight[..., None]) * values
    return total
