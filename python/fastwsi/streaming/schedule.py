"""The order of work: which rows of which map are computed, dropped and differentiated when. Integers only."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from fastwsi.streaming.graph import IMAGE, Graph
from fastwsi.streaming.spans import Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastwsi.streaming.operations import Trained


class Feed(NamedTuple):
    """Read rows of the image."""

    start: int
    stop: int


class Forward(NamedTuple):
    """Compute rows of a stage's map."""

    stage: int
    start: int
    stop: int


class Backward(NamedTuple):
    """Send the gradient of rows of a stage's map to the maps that they were computed from."""

    stage: int
    start: int
    stop: int


class Drop(NamedTuple):
    """Forget rows of a map that lie before one."""

    map: int
    before: int


class Send(NamedTuple):
    """Hand out the gradient of rows of the image."""

    start: int
    stop: int


Action = Feed | Forward | Backward | Drop | Send


@dataclass(frozen=True)
class Pass:
    """What one pass over the image computes, and what it keeps for gradients.

    ``runs``: stages that are computed. ``given``: maps that need not be, since they are there. ``active``:
    stages through which gradients flow; ``keeps_inputs``, ``keeps_output`` and ``keeps_state``: those
    among them that need what they read, gave or noted.
    """

    runs: frozenset[int]
    given: frozenset[int] = frozenset()
    active: frozenset[int] = frozenset()
    keeps_inputs: frozenset[int] = frozenset()
    keeps_output: frozenset[int] = frozenset()
    keeps_state: frozenset[int] = frozenset()
    image_gradient: bool = False


def forward_pass(graph: Graph) -> Pass:
    """Return the pass that computes the trunk's outputs."""
    return Pass(_computed_from(graph, set(graph.outputs), frozenset()))


def backward_pass(
    graph: Graph, trained: Sequence[Trained], *, image_gradient: bool, outputs: frozenset[int]
) -> Pass:
    """Return the pass that computes gradients, given the maps of the trunk that were its outputs.

    Parameters
    ----------
    graph : Graph
    trained : sequence of Trained
        Of each stage, the operands that want a gradient.
    image_gradient : bool
        Whether the image does.
    outputs : frozenset of int
        Maps whose gradient comes from outside.
    """
    wants = wanting(graph, trained, image_gradient)
    reached = set(outputs)
    for index in range(len(graph.stages) - 1, -1, -1):
        if index + 1 in reached and wants[index + 1]:
            reached.update(source for source in graph.stages[index].inputs if wants[source])
    active = frozenset(i for i in range(len(graph.stages)) if i + 1 in reached and wants[i + 1])
    stages = graph.stages
    keeps_inputs = frozenset(i for i in active if stages[i].operation.keeps_inputs(trained[i]))
    keeps_output = frozenset(i for i in active if stages[i].operation.keeps_output)
    kept = {i + 1 for i in keeps_output}
    for i in keeps_inputs:
        kept.update(
            source for source, core in zip(stages[i].inputs, stages[i].operation.core, strict=True) if core
        )
    keeps_state = frozenset(i for i in active if stages[i].operation.keeps_state(trained[i]))
    kept.update(i + 1 for i in keeps_state)
    given = frozenset(graph.outputs)
    runs = _computed_from(graph, kept, frozenset(o for o in given if o - 1 not in keeps_state))
    return Pass(
        runs, given, active, keeps_inputs, keeps_output, keeps_state, image_gradient and IMAGE in reached
    )  # fmt: skip


def wanting(graph: Graph, trained: Sequence[Trained], image_gradient: bool) -> list[bool]:
    """Return of each map whether its gradient is of use: to parameters before it, or to the image."""
    found = [image_gradient]
    for stage, own in zip(graph.stages, trained, strict=True):
        found.append(bool(own) or any(found[source] for source in stage.inputs))
    return found


def _computed_from(graph: Graph, maps: set[int], given: frozenset[int]) -> frozenset[int]:
    """Return the stages that must run for these maps, where some are there already."""
    wanted, runs = set(maps) - given, set()
    for index in range(len(graph.stages) - 1, -1, -1):
        if index + 1 in wanted:
            runs.add(index)
            wanted.update(source for source in graph.stages[index].inputs if source not in given)
    return frozenset(runs)


_FEWEST = 8
"""Rows that an action may always make: fewer would cost more in what they share than they save."""


@dataclass(frozen=True)
class Pace:
    """How much is done at a time.

    ``band`` rows of the image are read; of a map, an action makes no more than its share of a band, and reads
    and writes no more than about ``numbers`` where that is given: then what it needs on the way stays small
    and in cache. GPUs want large pieces. ``depths`` says how many numbers a position of each map has.
    """

    band: int
    depths: tuple[int, ...]
    numbers: int | None = None

    def steps(self, graph: Graph, rows: Sequence[Span], columns: Sequence[Span]) -> list[int]:
        """Return the most rows of each map that an action makes."""
        image = max(1, rows[IMAGE].size)
        found = [-(-self.band * span.size // image) for span in rows]
        if self.numbers is None:
            return found
        row = [depth * span.length for depth, span in zip(self.depths, columns, strict=True)]
        for index, stage in enumerate(graph.stages):
            size = max(1, rows[index + 1].size)
            read = max(row[source] * rows[source].size // size for source in stage.inputs)
            most = self.numbers // max(1, row[index + 1], read)
            found[index + 1] = min(found[index + 1], max(_FEWEST, most))
        return found


@dataclass
class Clock:
    """How far a pass has come.

    For each map, rows from ``low`` on are held, those before ``high`` computed, and of those before ``sent``
    gradients are sent on. An action makes at most ``steps`` rows of a map.
    """

    graph: Graph
    rows: Sequence[Span]
    work: Pass
    steps: Sequence[int]
    low: list[int] = field(init=False)
    high: list[int] = field(init=False)
    sent: list[int] = field(init=False)

    def __post_init__(self) -> None:
        starts = [span.start for span in self.rows]
        self.low, self.high, self.sent = starts.copy(), starts.copy(), starts.copy()
        self._readers: list[list[tuple[int, int]]] = [[] for _ in self.rows]
        for index, stage in enumerate(self.graph.stages):
            if self.rows[index + 1].length > 0:
                for position, source in enumerate(stage.inputs):
                    self._readers[source].append((index, position))

    def actions(self) -> Iterator[Action]:
        """Give all that is to be done, in order."""
        image = self.rows[IMAGE]
        stages = range(len(self.graph.stages))
        for start in range(image.start, image.stop, self.steps[IMAGE]):
            stop = min(start + self.steps[IMAGE], image.stop)
            self.high[IMAGE] = stop
            yield Feed(start, stop)
            for index in stages:
                yield from self._forward(index)
            if self.work.active:
                yield from self._backwards()

    def _forward(self, index: int) -> Iterator[Action]:
        ready = self._ready(index)
        while self.high[index + 1] < ready:
            done = self.high[index + 1]
            self.high[index + 1] = min(ready, done + self.steps[index + 1])
            if index in self.work.runs:
                yield Forward(index, done, self.high[index + 1])
            yield from self._drops({*self.graph.stages[index].inputs, index + 1})

    def _backwards(self) -> Iterator[Action]:
        """Send gradients as far as they go, those next to the image first: fewest wait in memory."""
        waiting = sorted(self.work.active)  # a heap
        while waiting:
            index = waiting[0]
            before = self.sent[index + 1]
            yield from self._backward(index)
            if self.sent[index + 1] == before:
                heappop(waiting)
                continue
            for source in self.graph.stages[index].inputs:
                if source == IMAGE and self.work.image_gradient:
                    yield from self._send()
                elif source - 1 in self.work.active and source - 1 not in waiting:
                    heappush(waiting, source - 1)

    def _backward(self, index: int) -> Iterator[Action]:
        done = self.sent[index + 1]
        final = min(self._final(index + 1), done + self.steps[index + 1])
        if final <= done:
            return
        self.sent[index + 1] = final
        yield Backward(index, done, final)
        yield from self._drops({*self.graph.stages[index].inputs, index + 1})

    def _send(self) -> Iterator[Action]:
        done, final = self.sent[IMAGE], self._final(IMAGE)
        if final > done:
            self.sent[IMAGE] = final
            yield Send(done, final)

    def _final(self, map_: int) -> int:
        """Before which row the gradient of a map is complete, and the map itself computed."""
        final = self.high[map_]
        for reader, position in self._readers[map_]:
            if reader in self.work.active:
                final = min(final, self._past(reader, position, self.sent[reader + 1], self.rows[map_]))
        return final

    def _ready(self, index: int) -> int:
        """How far a stage's map can be computed."""
        stage, span = self.graph.stages[index], self.rows[index + 1]
        ready = span.stop
        for reach, source in zip(stage.operation.reaches, stage.inputs, strict=True):
            high, of_source = self.high[source], self.rows[source]
            if high == of_source.start < of_source.stop:
                return span.start  # rows wholly in padding too are made from a slab, if an empty one
            if high < of_source.stop:
                ready = min(ready, reach[0].ready(high))
        return max(ready, span.start)

    def _past(self, reader: int, position: int, done: int, span: Span) -> int:
        """Before which row of a map a stage needs nothing more, when so much of its own is done."""
        if done >= self.rows[reader + 1].stop:
            return span.stop
        first = self.graph.stages[reader].operation.reaches[position][0].first(done)
        return min(max(first, span.start), span.stop)

    def _drops(self, maps: set[int]) -> Iterator[Action]:
        for map_ in sorted(maps):
            if map_ in self.work.given or (map_ != IMAGE and map_ - 1 not in self.work.runs):
                continue
            span, past = self.rows[map_], self.high[map_]
            for reader, position in self._readers[map_]:
                if reader in self.work.runs:
                    past = min(past, self._past(reader, position, self.high[reader + 1], span))
                if reader in self.work.keeps_inputs and self.graph.stages[reader].operation.core[position]:
                    past = min(past, self._past(reader, position, self.sent[reader + 1], span))
            if map_ - 1 in self.work.keeps_output:
                past = min(past, self.sent[map_])
            if past > self.low[map_]:
                self.low[map_] = past
                yield Drop(map_, past)
