"""Levels of a slide and places on them: (x, y) at level 0, sizes (width, height)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastwsi import _numbers

Pair = tuple[int, int]


class Region(NamedTuple):
    """A rectangle: left, top, width and height."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Level:
    """One resolution that a slide's file holds.

    Attributes
    ----------
    width, height : int
        In its own pixels.
    downsample : float
        Level-0 pixels per pixel: the mean of both axes, as openslide has it.
    tile : (width, height) or None
        In which the file keeps it, where the reader knows. How pixels are kept does not make a level another.
    """

    width: int
    height: int
    downsample: float
    tile: Pair | None = field(default=None, compare=False)

    @property
    def size(self) -> Pair:
        """(width, height)."""
        return self.width, self.height


@dataclass(frozen=True)
class Sampling:
    """From which level a rectangle is read, and how.

    Attributes
    ----------
    level : int
    x, y : float
        The rectangle's corner on the level's grid.
    scale : (float, float)
        The level's pixels in one of the rectangle's, along x and y.
    """

    level: int
    x: float
    y: float
    scale: tuple[float, float]


def levels_of(sizes: list[Pair], tiles: list[Pair] | None = None) -> tuple[Level, ...]:
    """Return levels with their downsampling, given their sizes from the largest on, and those of their tiles.

    Examples
    --------
    >>> [level.downsample for level in levels_of([(1000, 800), (500, 400), (125, 100)])]
    [1.0, 2.0, 8.0]
    """
    width, height = sizes[0]
    return tuple(
        Level(w, h, (width / w + height / h) / 2 if i else 1.0, tiles[i] if tiles else None)
        for i, (w, h) in enumerate(sizes)
    )


def pair_of(value: Any, name: str, least: int | None = None) -> Pair:
    """Return two whole numbers, given one or two; errors name the argument.

    Examples
    --------
    >>> pair_of(512, "size", 1), pair_of((3, 4), "xy")
    ((512, 512), (3, 4))
    """
    if hasattr(value, "__len__") and not isinstance(value, str):  # of numpy, too
        if len(value) != 2:
            raise ValueError(f"{name}: got {value!r}, expected two whole numbers")
        return _numbers.whole(value[0], name, least), _numbers.whole(value[1], name, least)
    one = _numbers.whole(value, name, least)
    return one, one


def pixels_in(exact: float) -> int:
    """Return how many pixels a length takes; what rounding adds to a whole number counts for nothing.

    Examples
    --------
    >>> pixels_in(3.2), pixels_in(3.0000001)
    (4, 3)
    """
    return max(0, math.ceil(exact - 1e-6))
