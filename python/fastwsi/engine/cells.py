"""Where the cells of a heatmap lie on its slide, and on the grid on which a heatmap is written."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

Pair = tuple[int, int]
Exact = tuple[float, float]
Floats = np.ndarray[Any, np.dtype[np.float64]]
_HAIR = 1e-6  # of a cell: what rounding adds to a whole number of cells is no cell


@dataclass(frozen=True)
class CellGrid:
    """The cells of a heatmap: cell (row, column) is the rectangle from ``offset + (column, row) * scale`` on.

    Attributes
    ----------
    scale : (float, float)
        Level-0 pixels that a cell spans, along x and y; exact, not rounded.
    offset : (float, float)
        The level-0 place (x, y) of the corner of cell (0, 0).
    slide_size : (int, int)
        Width and height of the slide at level 0.

    Examples
    --------
    >>> grid = CellGrid((128.0, 128.0), (0.0, 0.0), (1000, 700))
    >>> grid.centres([0, 7], [0, 5]).tolist(), grid.map_size
    ([[64.0, 64.0], [960.0, 704.0]], (8, 6))
    >>> grid.places([0, 7], [0, 5]).tolist()
    [[64.0, 64.0], [948.0, 670.0]]
    """

    scale: Exact
    offset: Exact
    slide_size: Pair

    def __post_init__(self) -> None:
        scale, offset = numbers(self.scale, "scale"), numbers(self.offset, "offset")
        if min(scale) <= 0:
            raise ValueError(f"scale: got {self.scale!r}, expected level-0 pixels per cell, more than 0")
        size = tuple(_numbers.whole(side, "slide_size", 1) for side in two(self.slide_size, "slide_size"))
        for name, value in (("scale", scale), ("offset", offset), ("slide_size", size)):
            object.__setattr__(self, name, value)

    def centres(self, columns: Any, rows: Any) -> Floats:
        """Return the level-0 places (x, y) of cells' centres, shape (n, 2)."""
        across, down = np.asarray(columns, np.float64), np.asarray(rows, np.float64)
        x = (across + 0.5) * self.scale[0] + self.offset[0]
        y = (down + 0.5) * self.scale[1] + self.offset[1]
        return np.stack([x, y], axis=-1)

    def places(self, columns: Any, rows: Any) -> Floats:
        """Return where detections in cells are: the middle of what of the cell lies on the slide, (n, 2).

        The centre of a cell that hangs over the slide's edge may lie outside, where no lesion is, and where
        programs that look a place up in a mask find nothing.
        """
        found = self.centres(columns, rows)
        half = np.array(self.scale) / 2
        first, last = found - half, found + half
        size = np.array(self.slide_size, np.float64)
        over = (first < 0) | (last > size)
        return np.where(over, (np.clip(first, 0, size) + np.clip(last, 0, size)) / 2, found)

    @property
    def first_cell(self) -> Pair:
        """Column and row of cell (0, 0) on the grid that begins at the slide's corner, where files have it.

        An offset that is no whole number of cells is rounded there; the file tells the exact one.
        """
        across, down = (math.floor(o / s + 0.5) for o, s in zip(self.offset, self.scale, strict=True))
        return across, down

    @property
    def map_size(self) -> Pair:
        """Columns and rows of the grid in the file: all that the slide has a part in, seldom one more.

        A viewer that stretches the map over the slide is wrong by less than one cell. ASAP shows a map only
        where slide and map have the same quotient of widths as of heights, both without their fraction: a
        side that is a whole number of cells long gets one more where that makes them the same.
        """
        exact = [side / cell for side, cell in zip(self.slide_size, self.scale, strict=True)]
        least = [max(1, math.ceil(cells - _HAIR)) for cells in exact]
        most = [max(n, math.floor(cells + _HAIR) + 1) for n, cells in zip(least, exact, strict=True)]
        across, down = (range(low, high + 1) for low, high in zip(least, most, strict=True))
        # A column more is worse than a row: ASAP stretches both ways by the quotient of the widths.
        choices = sorted(itertools.product(across, down), key=lambda size: (sum(size), size[0]))
        width, height = self.slide_size
        fitting = [size for size in choices if width // size[0] == height // size[1]]
        return (fitting or choices)[0]

    def check(self, cells: Pair) -> None:
        """Raise ValueError unless a heatmap of so many columns and rows lies on the slide."""
        for name, first, own, most in zip("xy", self.first_cell, cells, self.map_size, strict=True):
            if first < 0 or first + own > most:
                raise ValueError(
                    f"heatmap: got {own} cells along {name} from the slide's cell {first} on, expected them "
                    f"among its {most}"
                )


def two(values: Any, name: str) -> Sequence[Any]:
    """Return two values, for x and y; ValueError where there are not two."""
    try:
        found = list(values)
    except TypeError:
        found = []
    if len(found) != 2:
        raise ValueError(f"{name}: got {values!r}, expected two numbers, for x and y")
    return found


def numbers(values: Any, name: str) -> Exact:
    """Return two finite numbers, for x and y.

    Examples
    --------
    >>> numbers([128, 127.5], "scale")
    (128.0, 127.5)
    """
    x, y = (_numbers.finite(value, name) for value in two(values, name))
    return x, y
