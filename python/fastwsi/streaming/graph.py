"""A trunk as stages between maps, and where each map's cells come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastwsi.streaming.operations import Operation

IMAGE = 0
"""The map that is the image; stage i gives map i + 1."""


@dataclass(frozen=True)
class Stage:
    """An operation, the maps that it reads and how it is called in messages."""

    operation: Operation
    inputs: tuple[int, ...]
    path: str


@dataclass(frozen=True)
class Graph:
    """Stages in an order in which each reads maps of earlier ones; the maps that the trunk returns."""

    stages: tuple[Stage, ...]
    outputs: tuple[int, ...]

    @property
    def maps(self) -> int:
        """How many maps there are, the image among them."""
        return len(self.stages) + 1


@dataclass(frozen=True)
class Span:
    """Places [start, stop) along one axis of a map that has ``size`` of them.

    Examples
    --------
    >>> Span(2, 5, 8).length
    3
    """

    start: int
    stop: int
    size: int

    @property
    def length(self) -> int:
        """How many places."""
        return self.stop - self.start

    @property
    def whole(self) -> bool:
        """Whether it is all of the axis."""
        return self.start == 0 and self.stop == self.size


class GeometryError(ValueError):
    """An image for which a trunk has no output."""


def sizes(graph: Graph, image: int, axis: int) -> list[int]:
    """Return the size of each map along an axis (0: rows, 1: columns), given that of the image.

    Raises
    ------
    GeometryError
        Where a map would be empty, or maps of different sizes meet.
    """
    what = ("height", "width")[axis]
    found = [image]
    for stage in graph.stages:
        reaches = stage.operation.reaches
        given = {reach[axis].size(found[source]) for reach, source in zip(reaches, stage.inputs, strict=True)}
        if len(given) > 1:
            raise GeometryError(
                f"{stage.path}: got maps of {what} {' and '.join(map(str, sorted(given)))} for an "
                f"image of {what} "
                f"{image}, expected equal ones; pad the image or the branches so that they meet"
            )
        (size,) = given
        if size <= 0:
            raise GeometryError(
                f"image: got {what} {image}, of which nothing is left at {stage.path}, expected a larger one"
            )
        found.append(size)
    return found


def needed(graph: Graph, sizes_: Sequence[int], wanted: dict[int, tuple[int, int]], axis: int) -> list[Span]:
    """Return the places of each map that given places of the outputs are computed from, along an axis.

    ``wanted`` has [start, stop) of each of the trunk's maps that is wanted. Maps of which nothing is needed
    get an empty span.
    """
    starts, stops = list(sizes_), [0] * graph.maps
    for output, (start, stop) in wanted.items():
        starts[output], stops[output] = min(starts[output], start), max(stops[output], stop)
    for index in range(len(graph.stages) - 1, -1, -1):
        start, stop = starts[index + 1], stops[index + 1]
        if start >= stop:
            continue
        stage = graph.stages[index]
        for reach, source in zip(stage.operation.reaches, stage.inputs, strict=True):
            first, end = clip(reach[axis].first(start), reach[axis].end(stop - 1), sizes_[source])
            if first >= end:  # all in padding: one place, from which a slab of none can be taken
                first = min(first, sizes_[source] - 1)
                end = first + 1
            starts[source] = min(starts[source], first)
            stops[source] = max(stops[source], end)
    return [
        Span(min(start, stop), stop, size) for start, stop, size in zip(starts, stops, sizes_, strict=True)
    ]


def clip(first: int, end: int, size: int) -> tuple[int, int]:
    """Return what of [first, end) lies in [0, size), empty at the nearer edge where nothing does.

    Examples
    --------
    >>> clip(-3, 4, 9), clip(-3, -1, 9)
    ((0, 4), (0, 0))
    """
    start = min(max(first, 0), size)
    return start, min(max(end, start), size)
