"""Streaming as one function that torch's autograd knows: parameters in, maps out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from fastwsi.streaming.background import gathered, spread
from fastwsi.streaming.execution import Numbers, Outputs, Run, Sink
from fastwsi.streaming.operations import Operand, Setting
from fastwsi.streaming.schedule import backward_pass, forward_pass
from fastwsi.streaming.sources import Box
from fastwsi.streaming.staging import on_device
from fastwsi.streaming.sums import Sums
from fastwsi.streaming.units import layout_of_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from fastwsi.streaming.background import Skipping
    from fastwsi.streaming.plans import Plan
    from fastwsi.streaming.schedule import Pass
    from fastwsi.streaming.sources import Image, Witness


@dataclass
class Call:
    """One call of a streamed network: what it works on and how."""

    plan: Plan
    names: tuple[Operand, ...]
    image: Image
    layout: torch.memory_format
    dtype: torch.dtype
    device: torch.device
    witness: Witness | None = None
    image_gradient: Sink | None = None
    progress: Callable[[str, int, int], None] | None = None
    autocast: dict[str, Any] = field(default_factory=dict)

    def under_autocast(self) -> AbstractContextManager[Any]:
        """Return the state of autocast that the call was made in."""
        if self.autocast:
            return torch.autocast(**self.autocast)
        if torch.amp.is_autocast_available(self.device.type):
            return torch.autocast(self.device.type, enabled=False)
        return nullcontext()

    def setting(self, *, gradients: bool) -> Setting:
        """Return how its passes compute."""
        on = bool(self.autocast.get("enabled"))
        return Setting(self.autocast["dtype"] if on else None, self.layout, gradients)

    def read(self, boxes: Sequence[Box]) -> Iterator[torch.Tensor]:
        """Give rows and columns of the image as the network's input, box by box."""
        for box, pixels in zip(boxes, on_device(self.image.pixels, boxes, self.device), strict=True):
            if self.witness is not None:
                self.witness.see(box.top, box.left, pixels)
            yield self.image.scaled(pixels, self.dtype, self.device, self.layout)

    def read_background(self, boxes: Sequence[Box]) -> Iterator[torch.Tensor]:
        """Give as many rows and columns of background alone."""
        for box in boxes:
            yield self.image.scaled(self.image.background_pixels(box), self.dtype, self.device, self.layout)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Take the progress bar away at the end, whatever the end is."""
        try:
            yield
        finally:
            close = getattr(self.progress, "close", None)
            if close is not None:
                close()

    def told(self, what: str, total: int) -> Callable[[int], None] | None:
        """Return what a pass is to call with the rows that it has read."""
        if self.progress is None:
            return None
        tell, done = self.progress, 0

        def read(rows: int) -> None:
            nonlocal done
            done += rows
            tell(what, done, total)

        return read


class Stream(torch.autograd.Function):
    """The trunk on the image, forward; and again, with gradients, backward."""

    @staticmethod
    def forward(
        ctx: Any, call: Call, _: torch.Tensor | None, __: torch.Tensor | None, *tensors: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return the trunk's outputs."""
        with torch.no_grad(), call.under_autocast(), call.shown():
            outputs, mini = _forward(call, {k: v.detach() for k, v in zip(call.names, tensors, strict=True)})
        found = tuple(outputs.tensors[map_] for map_ in call.plan.graph.outputs)
        # A map that is returned twice must be two tensors for autograd.
        distinct = tuple(
            tensor.clone() if any(tensor is other for other in found[:i]) else tensor
            for i, tensor in enumerate(found)
        )
        ctx.call, ctx.mini = call, mini
        ctx.addresses = [tensor.data_ptr() for tensor in tensors]
        ctx.version = call.image.version
        asked = dict(zip(call.names, ctx.needs_input_grad[3:], strict=True))
        read = _outputs_read(call, asked)
        pairs = zip(call.plan.graph.outputs, distinct, strict=True)
        ctx.save_for_backward(*tensors, *(tensor if map_ in read else None for map_, tensor in pairs))
        ctx.set_materialize_grads(False)
        return distinct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[Any, ...]:
        """Return the parameters' gradients."""
        call: Call = ctx.call
        saved = ctx.saved_tensors  # raises where one of them was changed in place
        tensors, maps = saved[: len(call.names)], saved[len(call.names) :]
        for name, tensor, address in zip(call.names, tensors, ctx.addresses, strict=True):
            if tensor.data_ptr() != address:
                raise RuntimeError(f"{name}: it was changed between the forward and the backward pass")
        if call.image.version != ctx.version:
            raise RuntimeError(
                "image: it was changed between the forward and the backward pass, which reads it again"
            )
        given: dict[int, torch.Tensor] = {}
        for map_, gradient in zip(call.plan.graph.outputs, gradients, strict=True):
            if gradient is not None:
                given[map_] = gradient if map_ not in given else given[map_] + gradient
        asked = dict(zip(call.names, ctx.needs_input_grad[3:], strict=True))
        found = {
            name: tensor.detach().requires_grad_(asked[name] and tensor.is_floating_point())
            for name, tensor in zip(call.names, tensors, strict=True)
        }
        of_image, sink = _image_sink(call, ctx.needs_input_grad[1])
        with torch.no_grad(), call.under_autocast(), call.shown():
            outputs = Outputs({}, dict(zip(call.plan.graph.outputs, maps, strict=True)))
            result = _backward(call, found, outputs, ctx.mini, given, sink)
        if of_image is not None and call.image.background is not None:
            call.image.background.clear(of_image)
        return (None, of_image, None, *(result.get(name) for name in call.names))


def _outputs_read(call: Call, asked: dict[Operand, bool]) -> set[int]:
    """Return the outputs that a backward pass reads; others may be overwritten by what follows."""
    graph = call.plan.graph
    trained = [frozenset(name for name in stage.operation.operands if asked[name]) for stage in graph.stages]
    work = backward_pass(graph, trained, image_gradient=True, outputs=frozenset(graph.outputs))
    read = {index + 1 for index in work.keeps_output}
    for index in work.runs | work.keeps_inputs:
        read.update(graph.stages[index].inputs)
    return read


def _forward(call: Call, tensors: dict[Operand, torch.Tensor]) -> tuple[Outputs, Outputs | None]:
    """Return the outputs, and those of the image of background alone."""
    plan = call.plan
    numbers = Numbers(plan.graph, tensors, call.image.channels, call.setting(gradients=False))
    outputs = Outputs({map_: plan.layout.size(map_) for map_ in plan.graph.outputs})
    work = forward_pass(plan.graph)
    progress = call.told("forward", plan.rows_to_read(skipping=True))
    for region in plan.regions(skipping=True):
        rows, columns = plan.layout.spans(region)
        Run(plan.graph, work, rows, columns, plan.pace, numbers, call.read, outputs)(progress)
    mini = None
    if plan.skipping is not None:
        mini = _miniature(call, numbers, plan.skipping, work)
        for map_ in plan.graph.outputs:
            outputs.part(map_, (0, 0), (0, 0), mini.tensors[map_])
        spread(plan.skipping, plan.layout, outputs.tensors, mini.tensors)
    return outputs, mini


def _miniature(call: Call, numbers: Numbers, skip: Skipping, work: Pass) -> Outputs:
    """Return the outputs of the image of background alone."""
    graph = call.plan.graph
    layout = layout_of_image(graph, skip.miniature.height, skip.miniature.width)
    outputs = Outputs({map_: layout.size(map_) for map_ in graph.outputs})
    for region in layout.windows(layout.whole, call.plan.window):
        rows, columns = layout.spans(region)
        Run(graph, work, rows, columns, call.plan.pace, numbers, call.read_background, outputs)()
    return outputs


def _backward(
    call: Call,
    tensors: dict[Operand, torch.Tensor],
    outputs: Outputs,
    mini: Outputs | None,
    gradients: dict[int, torch.Tensor],
    sink: Sink | None,
) -> dict[Operand, torch.Tensor]:
    plan, graph = call.plan, call.plan.graph
    numbers = Numbers(graph, tensors, call.image.channels, call.setting(gradients=True))
    work = backward_pass(
        graph, numbers.trained, image_gradient=sink is not None, outputs=frozenset(gradients)
    )
    sums = [Sums() for _ in graph.stages]
    skip = None if sink is not None else plan.skipping
    progress = call.told("backward", plan.rows_to_read(skipping=skip is not None))
    for region in plan.regions(skipping=skip is not None):
        rows, columns = plan.layout.spans(region)
        wanted = plan.layout.wanted(region)
        Run(
            graph, work, rows, columns, plan.pace, numbers, call.read, outputs, gradients, sums, sink, wanted
        )(progress)  # fmt: skip
    if skip is not None:
        assert mini is not None
        layout = layout_of_image(graph, skip.miniature.height, skip.miniature.width)
        summed = {
            map_: gathered(skip, plan.layout, map_, gradient, mini.tensors[map_].shape)
            for map_, gradient in gradients.items()
        }
        for region in layout.windows(layout.whole, plan.window):
            rows, columns = layout.spans(region)
            small = Run(
                graph,
                work,
                rows,
                columns,
                plan.pace,
                numbers,
                call.read_background,
                mini,
                summed,
                sums,
                wanted=layout.wanted(region),
            )
            small()
    return _finished(numbers, plan, work, sums)


def _image_sink(call: Call, wanted: bool) -> tuple[torch.Tensor | None, Sink | None]:
    """Return where the image's gradient goes: the caller's sink, and a tensor where autograd wants one."""
    tensor = call.image.tensor
    whole = torch.zeros_like(tensor) if wanted and tensor is not None else None
    if whole is None and call.image_gradient is None:
        return None, None

    def sink(top: int, left: int, part: torch.Tensor) -> None:
        if whole is not None:  # windows overlap
            room = whole[:, :, top : top + part.shape[2], left : left + part.shape[3]]
            room += part.to(whole.device, whole.dtype)
        if call.image_gradient is not None:
            call.image_gradient(top, left, part)

    return whole, sink


def _finished(numbers: Numbers, plan: Plan, work: Pass, sums: Sequence[Sums]) -> dict[Operand, torch.Tensor]:
    """Return the gradients of all operands that want one, in their dtypes."""
    found: dict[Operand, torch.Tensor] = {}
    for stage, of_stage in zip(plan.graph.stages, sums, strict=True):
        for name, gradient in stage.operation.finish(numbers.tensors, of_stage).items():
            if numbers.tensors[name].requires_grad:
                found[name] = gradient if name not in found else found[name] + gradient
    for index in work.active:  # through which no gradient came: what they gave was only cropped away
        for name in plan.graph.stages[index].operation.operands:
            if numbers.tensors[name].requires_grad and name not in found:
                found[name] = torch.zeros_like(numbers.tensors[name])
    return {name: gradient.to(numbers.tensors[name].dtype) for name, gradient in found.items()}
