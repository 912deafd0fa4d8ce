"""A grid over image and outputs alike: each cell has its share of every map, in all phases of strides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fastwsi.streaming import graph as graphs
from fastwsi.streaming.reach import Repeated, Sliding, Spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastwsi.streaming.graph import Graph
    from fastwsi.streaming.reach import Reach
    from fastwsi.streaming.spans import Span

_COARSE = 64
"""Pixels of a side of a cell, at least."""


_PHASES = 64
"""How many places of an output are looked at for the widest sight: their strides repeat."""


@dataclass(frozen=True)
class Grid:
    """Cells of ``unit`` pixels along one axis; ``per_output`` places of each output (by map) make one."""

    unit: int
    per_output: dict[int, int]
    sizes: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many cells hold all outputs."""
        return max(-(-self.sizes[map_] // self.per_output[map_]) for map_ in self.outputs)

    def places(self, map_: int, start: int, stop: int) -> tuple[int, int]:
        """Return the places [first, end) of an output in cells [start, stop)."""
        share, size = self.per_output[map_], self.sizes[map_]
        return min(start * share, size), min(stop * share, size)

    def wanted(self, start: int, stop: int) -> dict[int, tuple[int, int]]:
        """Return the places of all outputs in cells [start, stop)."""
        found = {map_: self.places(map_, start, stop) for map_ in self.outputs}
        return {map_: ends for map_, ends in found.items() if ends[0] < ends[1]}


def stride_of(reach: Reach) -> Fraction:
    """Return how many places of the input one step of the output is.

    Examples
    --------
    >>> stride_of(Sliding(3, 2, 1, 1)), stride_of(Repeated(2))
    (Fraction(2, 1), Fraction(1, 2))
    """
    if isinstance(reach, Sliding):
        return Fraction(reach.stride)
    if isinstance(reach, Repeated):
        return Fraction(1, reach.times)
    assert isinstance(reach, Spread)
    return Fraction(1, reach.stride)


def strides(graph: Graph, axis: int) -> list[Fraction]:
    """Return of each map how many pixels one of its steps is, along an axis.

    Raises
    ------
    GeometryError
        Where maps of different strides meet, though they happen to be of one size.
    """
    found = [Fraction(1)]
    for stage in graph.stages:
        given = {
            found[source] * stride_of(reach[axis])
            for reach, source in zip(stage.operation.reaches, stage.inputs, strict=True)
        }
        if len(given) > 1:
            raise graphs.GeometryError(
                f"{stage.path}: got maps of strides {' and '.join(map(str, sorted(given)))}, expected "
                "equal ones"
            )
        found.append(given.pop())
    return found


def mismatch(graph: Graph, axis: int) -> str:
    """Return why there is no common grid along an axis; "" where there is."""
    try:
        strides(graph, axis)
    except graphs.GeometryError as error:
        return str(error)
    return ""


def total_stride(steps: Sequence[Fraction]) -> int:
    """Return by how many pixels an image can be moved so that every map moves by whole steps.

    Examples
    --------
    >>> total_stride([Fraction(1), Fraction(4), Fraction(2), Fraction(2, 3)])
    4
    """
    return math.lcm(*(step.numerator for step in steps))


def seen(
    graph: Graph, output: int, places: NDArray[np.int64], axis: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]] | None]:
    """Return for each map which of its places [first, end) places of an output see, those in padding too."""
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]] | None] = [None] * graph.maps
    found[output] = places, places + 1
    for index in range(output - 1, -1, -1):
        here = found[index + 1]
        if here is None:
            continue
        stage = graph.stages[index]
        for reach, source in zip(stage.operation.reaches, stage.inputs, strict=True):
            low = np.asarray(reach[axis].first(here[0]))  # type: ignore[arg-type]
            high = np.asarray(reach[axis].end(here[1] - 1))  # type: ignore[arg-type]
            old = found[source]
            found[source] = (
                (low, high) if old is None else (np.minimum(old[0], low), np.maximum(old[1], high))
            )
    return found


def receptive_field(graph: Graph, axis: int) -> int:
    """Return how many pixels an output sees at most, along an axis."""
    most = 1
    for output in set(graph.outputs):
        image = seen(graph, output, np.arange(_PHASES), axis)[0]
        if image is not None:
            most = max(most, int((image[1] - image[0]).max()))
    return most


def grid_of(graph: Graph, sizes: Sequence[int], axis: int) -> Grid:
    """Return the grid along an axis for maps of these sizes."""
    try:
        steps = strides(graph, axis)
    except graphs.GeometryError:
        # No common grid: one cell.
        return Grid(sizes[0], {map_: sizes[map_] for map_ in graph.outputs}, tuple(sizes), graph.outputs)
    period = total_stride(steps)
    unit = period * max(1, _COARSE // period)
    per_output = {map_: int(unit / steps[map_]) for map_ in graph.outputs}
    return Grid(unit, per_output, tuple(sizes), graph.outputs)


@dataclass(frozen=True)
class Region:
    """A rectangle of cells, [top, bottom) and [left, right)."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Layout:
    """The grids of both axes."""

    graph: Graph
    down: Grid
    across: Grid

    @property
    def whole(self) -> Region:
        """All cells."""
        return Region(0, self.down.count, 0, self.across.count)

    def size(self, map_: int) -> tuple[int, int]:
        """Return the (height, width) of a map."""
        return self.down.sizes[map_], self.across.sizes[map_]

    def spans(self, region: Region) -> tuple[list[Span], list[Span]]:
        """Return what of each map's rows and columns the outputs in a region need."""
        down, across = self.wanted(region)
        return (
            graphs.needed(self.graph, self.down.sizes, down, 0),
            graphs.needed(self.graph, self.across.sizes, across, 1),
        )

    def wanted(self, region: Region) -> tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]]:
        """Return the rows and the columns of the outputs in a region, of those that have both there."""
        down = self.down.wanted(region.top, region.bottom)
        across = self.across.wanted(region.left, region.right)
        both = down.keys() & across.keys()
        return {map_: down[map_] for map_ in both}, {map_: across[map_] for map_ in both}

    def windows(self, region: Region, columns: int) -> list[Region]:
        """Return a region cut into upright pieces at most so many cells wide, as even as can be."""
        width = region.right - region.left
        count = max(1, -(-width // max(1, columns)))
        edges = [region.left + width * i // count for i in range(count + 1)]
        return [Region(region.top, region.bottom, left, right) for left, right in pairwise(edges)]


def layout_of_image(graph: Graph, height: int, width: int) -> Layout:
    """Return the grids over an image and its outputs."""
    rows, columns = graphs.sizes(graph, height, 0), graphs.sizes(graph, width, 1)
    return Layout(graph, grid_of(graph, rows, 0), grid_of(graph, columns, 1))
