"""One pass over an image or a rectangle of it: the actions of a schedule, carried out on tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch.nn import functional as F  # noqa: N812

from fastwsi.streaming import row_kernels
from fastwsi.streaming.buffers import GradientRows, Kind, Rows
from fastwsi.streaming.graph import IMAGE, Graph, place_of
from fastwsi.streaming.operations import Norm, Operand, Setting, Trained
from fastwsi.streaming.places import Place
from fastwsi.streaming.row_layout import layout_of, share_memory
from fastwsi.streaming.schedule import Backward, Clock, Drop, Feed, Forward, Pace, Pass, Send, wanting
from fastwsi.streaming.sources import Box
from fastwsi.streaming.spans import Span
from fastwsi.streaming.sums import Sums
from fastwsi.streaming.units import receptive_field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


_TELLING = 4
"""After how many times band and receptive field a pass goes on as it went."""

Sink: TypeAlias = "Callable[[int, int, torch.Tensor], None]"
"""Takes the image's gradient in parts: (first row, first column, part). Where parts overlap they add up."""

Wanted = dict[int, tuple[int, int]]
"""Places [start, stop) of outputs along an axis, by map."""


class Numbers:
    """A trunk's tensors as the stages need them: cast, laid out and folded once for all passes of a call."""

    def __init__(
        self, graph: Graph, tensors: dict[Operand, torch.Tensor], channels: int, setting: Setting
    ) -> None:
        self.channels = [channels]
        for stage in graph.stages:
            inputs = [self.channels[source] for source in stage.inputs]
            made = stage.operation.channels(inputs, lambda name: tensors[name].shape)
            if stage.operation.epilogue.residual and inputs[-1] != made:
                raise ValueError(
                    f"{stage.path}: got maps of {made} and {inputs[-1]} channels to add, expected as many"
                )
            self.channels.append(made)
        self.tensors = tensors
        self.setting = setting
        self.prepared = [stage.operation.prepare(tensors, setting) for stage in graph.stages]
        self.terms = [self._terms(stage.operation.epilogue.norm) for stage in graph.stages]
        self.trained = trained_of(graph, tensors)
        # Of stages whose channel sums someone wants: biases and the norm's weights.
        self.sums_channels = [
            any(tensors[name].requires_grad for name in stage.operation.operands if tensors[name].dim() == 1)
            for stage in graph.stages
        ]

    def _terms(self, norm: Norm | None) -> tuple[torch.Tensor, torch.Tensor] | None:
        if norm is None:
            return None
        return row_kernels.batch_norm_terms(*self.of(norm), norm.epsilon)

    def of(self, norm: Norm) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor, torch.Tensor]:
        """Return a batch norm's weight, bias, mean and variance."""
        pick = self.tensors
        return (
            None if norm.weight is None else pick[norm.weight].detach(),
            None if norm.bias is None else pick[norm.bias].detach(),
            pick[norm.mean],
            pick[norm.variance],
        )


@dataclass
class Outputs:
    """The trunk's outputs, all of them; made when their first rows are known."""

    sizes: dict[int, tuple[int, int]]
    tensors: dict[int, torch.Tensor] = field(default_factory=dict)

    def part(
        self, map_: int, rows: tuple[int, int], columns: tuple[int, int], like: torch.Tensor
    ) -> torch.Tensor:
        """Return the place of a part of an output."""
        if map_ not in self.tensors:
            height, width = self.sizes[map_]
            self.tensors[map_] = torch.empty(
                (*like.shape[:2], height, width),
                dtype=like.dtype,
                device=like.device,
                memory_format=layout_of(like),
            )
        return self.tensors[map_][:, :, rows[0] : rows[1], columns[0] : columns[1]]


class Run:
    """A pass over the rows and columns that a part of the outputs needs.

    Parameters
    ----------
    graph, work : Graph, Pass
    rows, columns : sequence of Span
        What is needed of each map.
    pace : Pace
        How much is done at a time.
    numbers : Numbers
    read : callable
        Is given all boxes of the image that will be read, and gives them one by one.
    outputs : Outputs
        Written in a forward pass, read in a backward one.
    gradients : dict of int to tensor, optional
        Those of the outputs, for a backward pass.
    sums : sequence of Sums, optional
        One for each stage, to which a backward pass adds.
    image_gradient : callable, optional
        Is given (first row, first column, gradient) of rows of the image, from top to bottom.
    wanted : (dict, dict), optional
        Rows and columns of each output whose gradients are meant: others may be computed for what they lead
        to.
    """

    def __init__(
        self,
        graph: Graph,
        work: Pass,
        rows: Sequence[Span],
        columns: Sequence[Span],
        pace: Pace,
        numbers: Numbers,
        read: Callable[[Sequence[Box]], Iterator[torch.Tensor]],
        outputs: Outputs,
        gradients: dict[int, torch.Tensor] | None = None,
        sums: Sequence[Sums] = (),
        image_gradient: Sink | None = None,
        wanted: tuple[Wanted, Wanted] | None = None,
    ) -> None:
        self._graph, self._work, self._numbers = graph, work, numbers
        self._rows, self._columns, self._steps = rows, columns, pace.steps(graph, rows, columns)
        self._outputs, self._given_gradients, self._sums = outputs, gradients or {}, sums
        self._image_gradient, self._wanted = image_gradient, wanted
        image = rows[IMAGE]
        across = columns[IMAGE].start, columns[IMAGE].stop
        band = pace.band
        boxes = [Box(y, min(y + band, image.stop), *across) for y in range(image.start, image.stop, band)]
        self._bands = read(boxes)
        capacities = capacities_of(graph, work, rows, self._steps)
        self._maps = [Rows(span.start, capacity) for span, capacity in zip(rows, capacities, strict=True)]
        self._held = held_maps(graph, work)
        of_states = capacities_of(graph, work, rows, self._steps, states=True)
        self._states: dict[int, Rows] = {
            index: Rows(rows[index + 1].start, of_states[index + 1]) for index in work.keeps_state
        }
        self._gradients = [GradientRows(span.start) for span in rows]
        self._wanting = wanting(graph, numbers.trained, work.image_gradient)

    def __call__(self, progress: Callable[[int], None] | None = None) -> None:
        """Do it all; ``progress`` is told how many rows of the image were read."""
        carry_out: dict[type, Callable[[Any], None]] = {
            Feed: self._feed,
            Forward: self._forward,
            Backward: self._backward,
            Drop: self._drop,
            Send: self._send,
        }
        for action in Clock(self._graph, self._rows, self._work, self._steps).actions():
            carry_out[type(action)](action)
            if progress is not None and isinstance(action, Feed):
                progress(action.stop - action.start)

    def _feed(self, _: Feed) -> None:
        part = self._last_image = next(self._bands)
        self._maps[IMAGE].append(part.shape[2], self._kind(part)).copy_(part)

    def _forward(self, action: Forward) -> None:
        index, map_ = action.stage, action.stage + 1
        stage = self._graph.stages[index]
        operation, epilogue = stage.operation, stage.operation.epilogue
        place = self._place(index, action.start, action.stop)
        slabs = [self._slab(source, place, i) for i, source in enumerate(stage.inputs) if operation.core[i]]
        found, state = operation.forward(slabs, place, self._numbers.prepared[index])
        terms, on_cpu = self._numbers.terms[index], found.device.type == "cpu"
        if terms is not None and on_cpu and found.dtype not in (torch.float32, torch.float64):
            found, terms = self._normalised(found, epilogue.norm), None
        residual = self._slab(stage.inputs[-1], place, len(stage.inputs) - 1) if epilogue.residual else None
        if residual is not None and residual.dtype != found.dtype:
            found = found.to(torch.promote_types(found.dtype, residual.dtype))
            residual = residual.to(found.dtype)
        rooms = []
        if map_ in self._held:
            rooms.append(self._maps[map_].append(action.stop - action.start, self._kind(found)))
        if map_ in self._graph.outputs and map_ not in self._work.given:
            rooms.append(self._outputs.part(map_, place.rows, place.columns, found))
        if rooms:
            scale, shift = terms or (None, None)
            row_kernels.affine_act(
                found, scale, shift, residual, epilogue.activation, epilogue.slope, out=rooms[0]
            )
            for room in rooms[1:]:
                room.copy_(rooms[0])
        if index in self._states:
            self._states[index].append(state.shape[2], self._kind(state)).copy_(state)

    def _backward(self, action: Backward) -> None:
        index, map_ = action.stage, action.stage + 1
        stage = self._graph.stages[index]
        operation, epilogue = stage.operation, stage.operation.epilogue
        place = self._place(index, action.start, action.stop)
        gradient = self._taken(map_, place)
        if gradient is None:
            return
        channels = self._channel_sums(index, gradient)
        if operation.keeps_output or channels is not None:
            value = self._part(map_, place.rows, place.columns) if operation.keeps_output else gradient
            dense = gradient.is_contiguous(memory_format=self._numbers.setting.layout)
            gradient = row_kernels.act_gate(
                gradient, value, epilogue.activation, epilogue.slope, gradient if dense else None, channels
            )
        core = [i for i in range(len(stage.inputs)) if operation.core[i]]
        kept = index in self._work.keeps_inputs
        slabs = [
            self._slab(stage.inputs[i], place, i)
            if kept
            else self._shape(stage.inputs[i], place, i, gradient)
            for i in core
        ]
        wanted = [self._wanting[stage.inputs[i]] for i in core]
        state = None
        if index in self._states:
            state = self._states[index].read(*place.rows)
        found = operation.backward(
            gradient, slabs, place, self._numbers.prepared[index], wanted, self._sums[index], state
        )
        for i, part in zip(core, found, strict=True):
            if part is not None and self._wanting[stage.inputs[i]]:
                owned = not (epilogue.residual and share_memory(part, gradient))
                self._add(stage.inputs[i], place, i, part, owned=owned)
        if epilogue.residual and self._wanting[stage.inputs[-1]]:
            shared = any(part is not None and share_memory(part, gradient) for part in found)
            self._add(stage.inputs[-1], place, len(stage.inputs) - 1, gradient, owned=not shared)
        if index in self._states:
            self._states[index].drop(action.stop)

    def _drop(self, action: Drop) -> None:
        self._maps[action.map].drop(action.before)

    def _send(self, action: Send) -> None:
        """Hand out the gradient of rows of the image."""
        if self._image_gradient is None:
            return
        part = self._gradients[IMAGE].take(action.stop)
        if part is None:
            across = self._columns[IMAGE]
            part = self._last_image.new_zeros(1).expand(
                *self._last_image.shape[:2], action.stop - action.start, across.length
            )
        self._image_gradient(action.start, self._columns[IMAGE].start, part)

    def _place(self, index: int, start: int, stop: int) -> Place:
        return place_of(self._graph.stages[index], start, stop, self._rows, self._columns, index + 1)

    def _kind(self, like: torch.Tensor) -> Kind:
        images, channels, _, width = like.shape
        return Kind(images, channels, width, like.dtype, like.device, self._numbers.setting.layout)

    def _part(self, map_: int, rows: tuple[int, int], columns: tuple[int, int]) -> torch.Tensor:
        """Return rows and columns of a map, which is held or was an output."""
        if map_ in self._held:
            start = self._columns[map_].start
            return self._maps[map_].read(*rows)[:, :, :, columns[0] - start : columns[1] - start]
        return self._outputs.tensors[map_][:, :, rows[0] : rows[1], columns[0] : columns[1]]

    def _slab(self, map_: int, place: Place, position: int) -> torch.Tensor:
        """Return what a stage reads of a map, without padding."""
        down, across = place.row_slices[position], place.column_slices[position]
        return self._part(map_, (down.start, down.stop), (across.start, across.stop))

    def _shape(self, map_: int, place: Place, position: int, like: torch.Tensor) -> torch.Tensor:
        """Return a slab of zeros that takes no memory, for operations that need only its shape."""
        down, across = place.row_slices[position], place.column_slices[position]
        shape = (
            like.shape[0],
            self._numbers.channels[map_],
            down.stop - down.start,
            across.stop - across.start,
        )
        return like.new_zeros(1).expand(shape)

    def _taken(self, map_: int, place: Place) -> torch.Tensor | None:
        """Return the gradient of rows of a map, from its readers and from outside; None where it is zero."""
        found = self._gradients[map_].take(place.rows[1])
        if map_ not in self._given_gradients:
            return found
        (top, bottom), (left, right) = place.rows, place.columns
        first, end, start, stop = top, bottom, left, right
        if self._wanted is not None:
            rows, columns = (axis.get(map_, (0, 0)) for axis in self._wanted)
            first, end = max(top, rows[0]), min(bottom, rows[1])
            start, stop = max(left, columns[0]), min(right, columns[1])
        if first >= end or start >= stop:
            return found
        given = self._given_gradients[map_][:, :, first:end, start:stop]
        if found is None:
            if (first, end, start, stop) == (top, bottom, left, right):
                return given.clone(memory_format=self._numbers.setting.layout)
            kind = self._kind(given)._replace(width=right - left)
            found = kind.empty(bottom - top).zero_()
        found[:, :, first - top : end - top, start - left : stop - left] += given
        return found

    def _channel_sums(self, index: int, like: torch.Tensor) -> torch.Tensor | None:
        """Return where the sums over a stage's channels go, where someone wants them."""
        if not self._numbers.sums_channels[index]:
            return None
        sums = self._sums[index]
        if sums.channels is None:
            sums.channels = like.new_zeros(like.shape[1], dtype=torch.float64)
        return sums.channels

    def _add(self, map_: int, place: Place, position: int, part: torch.Tensor, *, owned: bool) -> None:
        """Add to the gradient of a map."""
        down, across, span = place.row_slices[position], place.column_slices[position], self._columns[map_]
        if (across.start, across.stop) != (span.start, span.stop):
            whole = self._kind(part)._replace(width=span.length).empty(part.shape[2]).zero_()
            whole[:, :, :, across.start - span.start : across.stop - span.start] = part
            part, owned = whole, True
        self._gradients[map_].add(down.start, part, owned=owned)

    def _normalised(self, x: torch.Tensor, norm: Norm | None) -> torch.Tensor:
        """Normalise what the native kernels do not take, as torch would."""
        assert norm is not None
        weight, bias, mean, variance = self._numbers.of(norm)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=norm.epsilon)


def trained_of(graph: Graph, tensors: dict[Operand, torch.Tensor]) -> list[Trained]:
    """Return of each stage the operands that want a gradient."""
    return [
        frozenset(name for name in stage.operation.operands if tensors[name].requires_grad)
        for stage in graph.stages
    ]


def capacities_of(
    graph: Graph, work: Pass, rows: Sequence[Span], steps: Sequence[int], *, states: bool = False
) -> list[int]:
    """Return how many rows of memory each map takes: what is held at most, and room to move them seldom.

    ``states``: what the stages' states take, which are held until the gradients of their rows are sent.
    """
    if states and not work.keeps_state:
        return [0] * graph.maps
    # Of each map: rows held at most; in a band, those held before any is added, and those added.
    held, carried, added = [0] * graph.maps, [0] * graph.maps, [0] * graph.maps
    before = [span.start for span in rows]
    field = receptive_field(graph, 0)
    clock = Clock(graph, rows, work, steps)
    low = clock.sent if states else clock.low
    enough = rows[IMAGE].start + _TELLING * (steps[IMAGE] + field)
    for action in clock.actions():
        if isinstance(action, Feed):
            if action.start > enough:
                break  # it goes on as it went; at the end, buffers grow where they must
            before = clock.high.copy()
            before[IMAGE] = action.start
        if isinstance(action, Feed | Forward):
            map_ = IMAGE if isinstance(action, Feed) else action.stage + 1
            held[map_] = max(held[map_], action.stop - low[map_])
            carried[map_] = max(carried[map_], before[map_] - low[map_])
            added[map_] = max(added[map_], action.stop - before[map_])
    return [
        min(most + max(0, carry - new), span.length)
        for most, carry, new, span in zip(held, carried, added, rows, strict=True)
    ]


def held_maps(graph: Graph, work: Pass) -> frozenset[int]:
    """Return the maps of which rows are held."""
    found = {index + 1 for index in work.keeps_output} - work.given
    for index, stage in enumerate(graph.stages):
        if index in work.runs:
            found.update(stage.inputs)
        if index in work.keeps_inputs:
            found.update(
                source for source, core in zip(stage.inputs, stage.operation.core, strict=True) if core
            )
    return frozenset(
        map_ for map_ in found if map_ == IMAGE or (map_ - 1 in work.runs and map_ not in work.given)
    )
