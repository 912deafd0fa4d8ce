"""A trunk as stages between maps, and where each map's cells come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastwsi.streaming.places import Place, slice_of
from fastwsi.streaming.spans import Span, clip

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

    @property
    def geometry(self) -> tuple[object, ...]:
        """What places and memory hang on: equal for networks that differ in what they compute there."""
        of_stages = (
            (type(stage.operation), stage.operation.reaches, stage.operation.epilogue, stage.inputs)
            for stage in self.stages
        )
        return (self.outputs, *of_stages)


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


def place_of(
    stage: Stage, start: int, stop: int, rows: Sequence[Span], columns: Sequence[Span], map_: int
) -> Place:
    """Return where rows [start, stop) of a stage's map come from."""
    across = columns[map_]
    reaches, sources = stage.operation.reaches, stage.inputs
    return Place(
        (start, stop),
        (across.start, across.stop),
        tuple(
            slice_of(reach[0], start, stop, rows[s].size) for reach, s in zip(reaches, sources, strict=True)
        ),
        tuple(
            slice_of(reach[1], across.start, across.stop, columns[s].size)
            for reach, s in zip(reaches, sources, strict=True)
        ),
        tuple((rows[s].size, columns[s].size) for s in sources),
    )
