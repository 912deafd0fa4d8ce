"""Which rectangles of a source image a band of a warp needs, and the checks of a warp's geometry."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Float64Array = np.ndarray[Any, np.dtype[np.float64]]
Pair = tuple[int, int]

_LARGEST = 2**31 - 8  # pixels along a side: the kernels number them in 32 bits
_COLUMNS_PER_BOX = 512
# Catmull-Rom weights may be negative: their magnitudes add up to at most 1.25 along each axis.
_OVERSHOOT = 1.25**2


@dataclass(frozen=True)
class WarpBox:
    """A part of a warp's output and the rectangle of the source that it is made from.

    Attributes
    ----------
    rows, columns : (first, behind the last)
        Of the output.
    origin : (x, y)
        Top-left pixel of the rectangle in the full source image.
    size : (width, height)
        (0, 0) where the part sees nothing but the fill.

    Examples
    --------
    >>> box = fastwsi.kernels.WarpBox(rows=(0, 64), columns=(0, 512), origin=(900, 30), size=(514, 66))
    >>> (x, y), (width, height) = box.origin, box.size
    >>> np.zeros((2000, 3000, 3), np.uint8)[y : y + height, x : x + width].shape
    (66, 514, 3)
    """

    rows: Pair
    columns: Pair
    origin: Pair
    size: Pair


def warp_source_boxes(
    matrix: Any,
    displacement: Any = None,
    *,
    size: Pair,
    full_size: Pair,
    rows: Pair | None = None,
    columns: Pair | None = None,
    order: Literal[0, 1] = 1,
    upsampling: Literal["cubic", "linear"] = "cubic",
    columns_per_box: int = _COLUMNS_PER_BOX,
) -> list[WarpBox]:
    """List the source rectangles that a band of a warp needs, one per stretch of columns.

    A band of a rotated image runs across the source at an angle: the rectangle around all of it may be the
    whole image, while those around short stretches stay small. Read each of them, from a cache of tiles say,
    and call ``warp`` with its ``rows`` and ``columns``, ``origin`` and ``full_size``: the pixels are those
    that the whole source would give, bit for bit.

    Parameters
    ----------
    matrix, displacement, rows, columns, order, upsampling
        As for ``warp``.
    size : (width, height)
        Of the whole output.
    full_size : (width, height)
        Of the whole source.
    columns_per_box : int
        Output columns of one stretch.

    Returns
    -------
    list of WarpBox
        They cover the band without overlap, from left to right. With a displacement they may be a little
        larger than needed.

    Examples
    --------
    >>> quarter_turn = [[0, -1, 999], [1, 0, 0]]
    >>> boxes = fastwsi.kernels.warp_source_boxes(
    ...     quarter_turn, size=(1000, 1000), full_size=(1000, 1000), rows=(0, 64))
    >>> [(box.columns, box.origin, box.size) for box in boxes]
    [((0, 512), (935, 0), (65, 513)), ((512, 1000), (935, 511), (65, 489))]
    """
    geometry = WarpGeometry.checked(matrix, displacement, size, full_size, rows, columns, order, upsampling)
    if not hasattr(columns_per_box, "__index__") or columns_per_box < 1:
        raise ValueError(f"columns_per_box: got {columns_per_box!r}, expected a whole number of at least 1")
    return geometry.boxes(int(columns_per_box))


@dataclass(frozen=True)
class WarpGeometry:
    """The checked geometry of a warp: numbers for the kernels."""

    matrix: Float64Array  # (2, 3)
    displacement: Float64Array | None  # (grid rows, grid columns, 2)
    size: Pair
    full_size: Pair
    rows: Pair
    columns: Pair
    bilinear: bool
    cubic: bool

    @classmethod
    def checked(
        cls,
        matrix: Any,
        displacement: Any,
        size: Any,
        full_size: Any,
        rows: Any,
        columns: Any,
        order: Any,
        upsampling: Any,
    ) -> WarpGeometry:
        """Check what both public functions take, and turn it into numbers."""
        if isinstance(order, bool) or not hasattr(order, "__index__") or order not in (0, 1):
            raise ValueError(f"order: got {order!r}, expected 0 (nearest) or 1 (bilinear)")
        if upsampling not in ("cubic", "linear"):
            raise ValueError(f"upsampling: got {upsampling!r}, expected 'cubic' or 'linear'")
        width, height = checked_pair(size, "size", 1)
        return cls(
            _checked_matrix(matrix),
            None if displacement is None else _checked_displacement(displacement),
            (width, height),
            checked_pair(full_size, "full_size", 1),
            _checked_range(rows, height, "rows"),
            _checked_range(columns, width, "columns"),
            order == 1,
            upsampling == "cubic",
        )

    def boxes(self, columns_per_box: int = _COLUMNS_PER_BOX) -> list[WarpBox]:
        """Return the source rectangles of the band, stretch by stretch."""
        first, end = self.columns
        if self.rows[0] == self.rows[1]:
            return []
        return [self._box((x, min(x + columns_per_box, end))) for x in range(first, end, columns_per_box)]

    def _box(self, columns: Pair) -> WarpBox:
        corners = np.array(
            [(x, y, 1.0) for x in (columns[0], columns[1] - 1) for y in (self.rows[0], self.rows[1] - 1)]
        )
        with np.errstate(over="ignore", invalid="ignore"):
            at = corners @ self.matrix.T
            low, high = at.min(axis=0), at.max(axis=0)
            largest = (np.abs(corners) @ np.abs(self.matrix.T)).max()
            if self.displacement is not None:
                least, most = self._displacements(self.displacement, columns)
                low, high = low + least, high + most
                largest += max(np.abs(least).max(), np.abs(most).max())
        # A rounding error of the kernels' arithmetic must not step over the edge.
        slack = max(1e-6, 8 * float(np.finfo(np.float64).eps) * float(largest))
        origin, size = [], []
        for axis in range(2):
            begin, end = self._reach(low[axis] - slack, high[axis] + slack, self.full_size[axis])
            origin.append(begin)
            size.append(end - begin)
        if min(size) <= 0:
            return WarpBox(self.rows, columns, (0, 0), (0, 0))
        return WarpBox(self.rows, columns, (origin[0], origin[1]), (size[0], size[1]))

    def _reach(self, low: float, high: float, length: int) -> Pair:
        """Return the pixels, [begin, end), that positions from low to high are made from."""
        low, high = (low, high + 1) if self.bilinear else (low + 0.5, high + 0.5)
        if not (high >= 0 and low < length):  # NaN, too
            return 0, 0
        return int(np.floor(max(low, 0.0))), int(min(np.floor(high) + 1, length))

    def _displacements(self, nodes: Float64Array, columns: Pair) -> tuple[Float64Array, Float64Array]:
        """Return bounds of (dx, dy) over a part of the output: those of the nodes that have a say."""
        for axis, (first, end) in enumerate((self.rows, columns)):
            count, pixels = nodes.shape[axis], self.size[1 - axis]
            scale = (count - 1) / (pixels - 1) if pixels > 1 else 0.0
            begin, last = (min(int(pixel * scale), count - 2) for pixel in (first, end - 1))
            nodes = nodes.take(range(max(begin - 1, 0), min(last + 3, count)), axis)
        least, most = nodes.min(axis=(0, 1)), nodes.max(axis=(0, 1))
        if not self.cubic:
            return least, most
        middle, reach = (least + most) / 2, (most - least) / 2 * _OVERSHOOT
        return middle - reach, middle + reach


def checked_pair(value: Any, name: str, least: int) -> Pair:
    """Return two whole numbers of at least ``least``.

    Examples
    --------
    >>> checked_pair((3, 4), "size", 1)
    (3, 4)
    """
    try:
        first, second = (operator.index(each) for each in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: got {value!r}, expected two whole numbers") from None
    if not (least <= first <= _LARGEST and least <= second <= _LARGEST):
        raise ValueError(f"{name}: got {value!r}, expected whole numbers from {least} to {_LARGEST}")
    return first, second


def _checked_range(value: Any, length: int, name: str) -> Pair:
    if value is None:
        return 0, length
    try:
        first, end = (operator.index(each) for each in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: got {value!r}, expected (first, behind the last)") from None
    if not 0 <= first <= end <= length:
        raise ValueError(f"{name}: got {value!r}, expected (first, behind the last) within 0 to {length}")
    return first, end


def _floats(value: Any, name: str) -> Float64Array:
    """Return anything on the host as a contiguous float64 array."""
    if hasattr(value, "detach"):  # a tensor; numpy says what is wrong with one on a GPU
        value = value.detach()
    try:
        array = np.ascontiguousarray(value, np.float64)
    except ValueError as error:
        kind = ValueError if not isinstance(value, str) and "inhomogeneous" in str(error) else TypeError
        raise kind(f"{name}: got {value!r}, expected numbers: {error}") from None
    except TypeError as error:
        raise TypeError(
            f"{name}: got {type(value).__name__}, expected numbers on the host: {error}"
        ) from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: got NaN or infinity, expected finite numbers")
    return array


def _checked_matrix(value: Any) -> Float64Array:
    matrix = _floats(value, "matrix")
    if matrix.shape == (3, 3) and (matrix[2] == (0, 0, 1)).all():
        return matrix[:2]
    if matrix.shape != (2, 3):
        raise ValueError(
            f"matrix: got shape {matrix.shape}, expected (2, 3), or (3, 3) that ends in (0, 0, 1):"
            f" got {matrix.tolist() if matrix.size <= 9 else '...'}"
        )
    return matrix


class CheckedGrid(np.ndarray):
    """A displacement that has been checked and cannot be written to, so that it need not be checked again."""


def checked_grid(value: Any) -> CheckedGrid:
    """Return a copy of a displacement, checked once for any number of calls of ``warp``.

    Examples
    --------
    >>> checked_grid(np.zeros((2, 2, 2))).flags.writeable
    False
    """
    if isinstance(value, CheckedGrid):
        return value
    grid = np.array(_checked_displacement(value)).view(CheckedGrid)
    grid.flags.writeable = False
    return grid


def _checked_displacement(value: Any) -> Float64Array:
    if isinstance(value, CheckedGrid) and not value.flags.writeable:
        return value.view(np.ndarray)
    grid = _floats(value, "displacement")
    if grid.ndim != 3 or grid.shape[2] != 2 or min(grid.shape) < 2:
        raise ValueError(
            f"displacement: got shape {grid.shape}, expected (grid rows, grid columns, 2), 2 or more of each"
        )
    return grid


def check_source_holds(boxes: Sequence[WarpBox], origin: Pair, size: Pair) -> None:
    """ValueError unless a rectangle of the source holds all boxes.

    Examples
    --------
    >>> check_source_holds([WarpBox((0, 1), (0, 4), (2, 3), (4, 1))], origin=(2, 2), size=(8, 8))
    """
    needed = [box for box in boxes if box.size != (0, 0)]
    if not needed:
        return
    x0, y0 = (min(box.origin[k] for box in needed) for k in range(2))
    x1, y1 = (max(box.origin[k] + box.size[k] for box in needed) for k in range(2))
    if x0 < origin[0] or y0 < origin[1] or x1 > origin[0] + size[0] or y1 > origin[1] + size[1]:
        raise ValueError(
            f"source: got {size[0]} x {size[1]} pixels from {origin}, expected the {x1 - x0} x {y1 - y0} "
            f"from ({x0}, {y0}) that these rows and columns need; warp_source_boxes lists them"
        )
