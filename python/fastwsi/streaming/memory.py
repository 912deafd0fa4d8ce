"""What a pass takes in memory, by arithmetic: its schedule, with counts of bytes in place of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastwsi.streaming.buffers import storage_after_append, storage_after_drop
from fastwsi.streaming.convolution import Convolution
from fastwsi.streaming.execution import capacities_of, held_maps
from fastwsi.streaming.graph import IMAGE, Graph
from fastwsi.streaming.local import Local
from fastwsi.streaming.schedule import Backward, Clock, Drop, Feed, Forward, Pace, Pass, Send, wanting
from fastwsi.streaming.spans import Span, clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastwsi.streaming.operations import Trained


@dataclass(frozen=True)
class Price:
    """What cells cost: each map's channels, images at once, bytes of a number.

    ``reorders``: whether convolutions copy what they read and write into a layout of their own, as oneDNN
    does on CPUs where channels do not come last. ``kept``: bytes that the C library may keep of memory that
    comes and goes.
    """

    channels: tuple[int, ...]
    images: int
    itemsize: int
    reorders: bool
    trained: tuple[Trained, ...]
    kept: int = 0

    def cells(self, map_: int, width: int) -> int:
        """Return the bytes of one row of a map."""
        return self.images * self.channels[map_] * width * self.itemsize


def peak_of(
    graph: Graph, work: Pass, rows: Sequence[Span], columns: Sequence[Span], pace: Pace, price: Price
) -> int:
    """Return the most bytes that a pass holds at once, outputs and their gradients apart."""
    steps = pace.steps(graph, rows, columns)
    meter = _Meter(graph, work, rows, columns, steps, price)
    for action in Clock(graph, rows, work, steps).actions():
        if isinstance(action, Feed):
            meter.append(IMAGE, action.stop - action.start, twice=True)
        elif isinstance(action, Forward):
            meter.forward(action)
        elif isinstance(action, Backward):
            meter.backward(action)
        elif isinstance(action, Send):
            meter.take(IMAGE, action.stop)
        elif isinstance(action, Drop):
            meter.drop(action)
    return meter.peak


class _Meter:
    """Counts what `Run` does, in the same order."""

    def __init__(
        self,
        graph: Graph,
        work: Pass,
        rows: Sequence[Span],
        columns: Sequence[Span],
        steps: Sequence[int],
        price: Price,
    ) -> None:
        self._graph, self._work, self._rows = graph, work, rows
        self._row = [price.cells(map_, columns[map_].length) for map_ in range(graph.maps)]
        self._capacity = capacities_of(graph, work, rows, steps)
        self._held = held_maps(graph, work)
        self._wanting = wanting(graph, price.trained, work.image_gradient)
        self._price = price
        self._storage = [0] * graph.maps
        self._base = [span.start for span in rows]
        self._low = [span.start for span in rows]
        self._high = [span.start for span in rows]
        self._state_capacity = capacities_of(graph, work, rows, steps, states=True)
        self._state_rows = [0] * graph.maps  # of memory
        self._state_base = [span.start for span in rows]
        self._sent = [span.start for span in rows]
        self._pending = [(span.start, span.start) for span in rows]  # rows of which there are gradients
        self._total = 0
        self.peak = 0

    def append(self, map_: int, count: int, *, twice: bool = False) -> None:
        """Count new rows of a map; ``twice``: they were made elsewhere and are copied."""
        if map_ in self._held:
            held = self._high[map_] - self._low[map_]
            used = self._high[map_] - self._base[map_]
            old = self._storage[map_]
            new, moved = storage_after_append(old, used, held, count, self._capacity[map_])
            self._resize(map_, new)
            if moved:
                self._base[map_] = self._low[map_]
                self._note(old * self._row[map_] if new != old else 0)
        self._high[map_] += count
        self._note(count * self._row[map_] if twice else 0)

    def forward(self, action: Forward) -> None:
        """Count rows of a stage: its core's output, and what lies in memory on the way to it."""
        map_, stage = action.stage + 1, self._graph.stages[action.stage]
        count = action.stop - action.start
        extra = made = count * self._row[map_]
        if isinstance(stage.operation, Convolution) and self._price.reorders:
            extra += made + self._slab(
                action.stage, action.start, action.stop
            )  # oneDNN's own layout, in and out
        elif isinstance(stage.operation, Local):
            extra += self._slab(action.stage, action.start, action.stop)
        if action.stage in self._work.keeps_state:
            self._append_state(action)
        self.append(map_, count)
        self._note(extra)

    def backward(self, action: Backward) -> None:
        """Count gradients of rows of a stage on their way to its inputs."""
        map_, stage = action.stage + 1, self._graph.stages[action.stage]
        own = (action.stop - action.start) * self._row[map_]
        operation = stage.operation
        slab = self._slab(action.stage, action.start, action.stop)
        wants = any(self._wanting[source] for source in stage.inputs)
        extra = slab if wants else 0
        if self._price.reorders and operation.keeps_output:
            extra += own
        if isinstance(operation, Convolution) and self._price.reorders:
            extra += own + slab + (slab if wants else 0)
        elif isinstance(operation, Local):
            extra += own + slab
        if isinstance(operation, Convolution) and action.stage in self._work.keeps_state:
            extra = max(extra, 4 * own)  # its product with the gradient, in float64 too
        low, high = self._pending[map_]
        self._note(extra + max(0, own - (high - low) * self._row[map_]))
        self.take(map_, action.stop)
        if action.stage in self._work.keeps_state:
            self._drop_state(action)
        for reach, source in zip(operation.reaches, stage.inputs, strict=True):
            if self._wanting[source]:
                first, end = clip(
                    reach[0].first(action.start), reach[0].end(action.stop - 1), self._rows[source].size
                )
                low, high = self._pending[source]
                self._set_pending(source, min(low, first) if high > low else first, max(high, end))
        self._note(0)

    def take(self, map_: int, stop: int) -> None:
        """Count that the gradient of rows of a map is used up."""
        low, high = self._pending[map_]
        self._set_pending(map_, max(low, stop), max(high, stop))

    def drop(self, action: Drop) -> None:
        """Count that rows of a map are not needed any more."""
        map_ = action.map
        self._low[map_] = max(self._low[map_], min(action.before, self._high[map_]))
        storage = storage_after_drop(self._storage[map_], self._high[map_] - self._low[map_])
        if storage != self._storage[map_]:
            self._resize(map_, storage)
            self._base[map_] = self._low[map_]

    def _append_state(self, action: Forward) -> None:
        """Count new rows of a stage's state, of which those that were not sent are held."""
        map_, low = action.stage + 1, self._sent[action.stage + 1]
        new, moved = storage_after_append(
            self._state_rows[map_],
            action.start - self._state_base[map_],
            action.start - low,
            action.stop - action.start,
            self._state_capacity[map_],
        )
        if moved:
            self._state_base[map_] = low
        self._resize_state(action.stage, new)

    def _drop_state(self, action: Backward) -> None:
        """Count that rows of a stage's state are not needed any more."""
        map_ = action.stage + 1
        self._sent[map_] = action.stop
        rows = storage_after_drop(self._state_rows[map_], self._high[map_] - action.stop)
        if rows != self._state_rows[map_]:
            self._resize_state(action.stage, rows)
            self._state_base[map_] = action.stop

    def _resize_state(self, index: int, rows: int) -> None:
        item = self._price.itemsize
        of_row = self._row[index + 1] // item * self._graph.stages[index].operation.state_size(item)
        self._total += (rows - self._state_rows[index + 1]) * of_row
        self._state_rows[index + 1] = rows

    def _resize(self, map_: int, rows: int) -> None:
        self._total += (rows - self._storage[map_]) * self._row[map_]
        self._storage[map_] = rows

    def _set_pending(self, map_: int, low: int, high: int) -> None:
        old = self._pending[map_]
        self._total += ((high - low) - (old[1] - old[0])) * self._row[map_]
        self._pending[map_] = low, high

    def _slab(self, index: int, start: int, stop: int) -> int:
        """Return the bytes of what a stage's core reads."""
        stage, total = self._graph.stages[index], 0
        for reach, source, core in zip(
            stage.operation.reaches, stage.inputs, stage.operation.core, strict=True
        ):
            if core:
                first, end = clip(reach[0].first(start), reach[0].end(stop - 1), self._rows[source].size)
                total += (end - first) * self._row[source]
        return total

    def _note(self, extra: int) -> None:
        self.peak = max(self.peak, self._total + extra)
