"""What is drawn on a slide: shapes with a group, in level-0 pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from fastwsi import _numbers
from fastwsi.slides.annotations.rasterising import Labels, Painter, Points

Kind = Literal["polygon", "rectangle", "spline", "line", "dot", "points"]
AREAS = frozenset({"polygon", "rectangle", "spline"})
_STEPS = 8  # straight pieces that stand for a spline between two of its points


@dataclass(frozen=True)
class Annotation:
    """One shape.

    Attributes
    ----------
    kind : str
        "polygon", "rectangle" and "spline" have an inside; "line", "dot" and "points" have none.
    points : float64 array, shape (n, 2)
        (x, y) at level 0. A rectangle's four corners; what a spline passes through.
    holes : tuple of arrays
        Rings that are cut out of a polygon.
    group, name : str
        The class of the annotation, and what the shape itself is called.
    colour : str
        "#rrggbb", or empty.
    """

    kind: Kind
    points: Points
    group: str = ""
    name: str = ""
    holes: tuple[Points, ...] = ()
    colour: str = ""

    @property
    def outline(self) -> Points:
        """The points of the shape's edge, a spline's made straight pieces."""
        return _spline(self.points) if self.kind == "spline" else self.points

    @property
    def rings(self) -> tuple[Points, ...]:
        """The outline and the holes of a shape that has an inside; nothing of others."""
        return (self.outline, *self.holes) if self.kind in AREAS else ()

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom."""
        outline = self.outline
        (left, top), (right, bottom) = outline.min(0), outline.max(0)
        return float(left), float(top), float(right), float(bottom)

    @property
    def area(self) -> float:
        """Square level-0 pixels inside; 0 where there is no inside."""
        if self.kind not in AREAS:
            return 0.0
        first, *others = (abs(_signed_area(ring)) for ring in self.rings)
        return first - sum(others)

    def moved(self, by: tuple[float, float]) -> Annotation:
        """Return the shape elsewhere."""
        shift = np.asarray(by, np.float64)
        return replace(self, points=self.points + shift, holes=tuple(hole + shift for hole in self.holes))


@dataclass(frozen=True)
class Annotations:
    """The shapes on one slide.

    Attributes
    ----------
    shapes : tuple of Annotation
        In the order of the file.
    colours : dict
        Groups to "#rrggbb", where the file has them; groups without shapes too.

    Examples
    --------
    >>> square = np.array([[0, 0], [100, 0], [100, 100], [0, 100]], float)
    >>> drawn = fastwsi.slides.Annotations((fastwsi.slides.Annotation("polygon", square, "tumour"),))
    >>> len(drawn), drawn.groups, drawn.rasterise((0, 0), (4, 4), scale=50).tolist()
    (1, ('tumour',), [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    """

    shapes: tuple[Annotation, ...] = ()
    colours: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.shapes)

    def __iter__(self) -> Iterator[Annotation]:
        return iter(self.shapes)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that have shapes, in the order of the file."""
        return tuple(dict.fromkeys(shape.group for shape in self.shapes))

    def of(self, groups: str | Iterable[str]) -> Annotations:
        """Return the shapes of some groups."""
        wanted = {groups} if isinstance(groups, str) else set(groups)
        return Annotations(tuple(shape for shape in self.shapes if shape.group in wanted), self.colours)

    def moved(self, by: tuple[float, float]) -> Annotations:
        """Return all shapes elsewhere: from a frame with another origin, say."""
        return Annotations(tuple(shape.moved(by) for shape in self.shapes), self.colours)

    def rasterise(
        self,
        xy: tuple[int, int],
        size: int | tuple[int, int],
        *,
        scale: float | tuple[float, float] = 1.0,
        values: dict[str, int] | Sequence[tuple[str, int]] | None = None,
    ) -> Labels:
        """Paint a window; nothing outside it is ever made.

        A pixel belongs to a shape where its centre lies inside. Groups are painted in the order of
        ``values``, so that a later one covers those before.

        Parameters
        ----------
        xy : (int, int)
            The window's corner at level 0.
        size : int or (width, height)
            In pixels of the result.
        scale : float or (x, y)
            Level-0 pixels that one of them spans: `Slide.scale` gives that of a resolution.
        values : dict or pairs of (group, value), optional
            What to paint for which group; groups that are not named are left out. Default: 1 for all.

        Returns
        -------
        uint8 array, shape (height, width)
        """
        return self.painter(values).window(xy, size, scale)

    def painter(self, values: dict[str, int] | Sequence[tuple[str, int]] | None = None) -> Painter:
        """Return what paints many windows alike, faster than `rasterise` one after the other."""
        return Painter(self._layers(values))

    def _layers(
        self, values: dict[str, int] | Sequence[tuple[str, int]] | None
    ) -> list[tuple[tuple[Points, ...], int]]:
        """Return the areas in the order in which they are painted, each with its value."""
        areas = [(shape.group, shape.rings) for shape in self.shapes if shape.rings]
        if values is None:
            return [(rings, 1) for _, rings in areas]
        found = []
        for group, value in values.items() if isinstance(values, dict) else values:
            if not 0 <= _numbers.whole(value, "values") <= 255:
                raise ValueError(f"values: got {value} for {group!r}, expected 0 to 255")
            found += [(rings, int(value)) for own, rings in areas if own == group]
        return found


def check_points(points: Any, least: int) -> Points:
    """Return points as an array; ValueError where they are too few or not finite."""
    found = np.asarray(points, np.float64)
    if found.ndim != 2 or found.shape[1] != 2 or len(found) < least:
        raise ValueError(f"got {len(found)} points, expected at least {least}")
    if not np.isfinite(found).all():
        raise ValueError("got coordinates that are no numbers")
    return found


def _signed_area(ring: Points) -> float:
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _spline(points: Points) -> Points:
    """Return a closed Catmull-Rom spline through points as straight pieces."""
    if len(points) < 3:
        return points
    before, after, beyond = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = (np.arange(_STEPS) / _STEPS)[None, :, None]
    a, b, c, d = (each[:, None] for each in (before, points, after, beyond))
    found = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3)
    return np.ascontiguousarray(found.reshape(-1, 2))


__all__ = ["AREAS", "Annotation", "Annotations", "Kind", "Points", "check_points"]
