"""Streaming as one function that torch's autograd knows: parameters in, maps out."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from fastwsi.streaming import graph as graphs
from fastwsi.streaming.execution import Numbers, Outputs, Run
from fastwsi.streaming.graph import Graph
from fastwsi.streaming.operations import Operand, Setting
from fastwsi.streaming.schedule import backward_pass, forward_pass
from fastwsi.streaming.sums import Sums

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from fastwsi.streaming.sources import Image, Witness


@dataclass
class Call:
    """One call of a streamed network: what it works on and how."""

    graph: Graph
    names: tuple[Operand, ...]
    image: Image
    band: int
    layout: torch.memory_format
    dtype: torch.dtype
    device: torch.device
    witness: Witness | None = None
    image_gradient: Callable[[int, torch.Tensor], None] | None = None
    autocast: dict[str, Any] = field(default_factory=dict)

    def under_autocast(self) -> AbstractContextManager[Any]:
        """Return the state of autocast that the call was made in."""
        return torch.autocast(**self.autocast) if self.autocast else nullcontext()

    def setting(self, *, gradients: bool) -> Setting:
        """Return how its passes compute."""
        on = bool(self.autocast.get("enabled"))
        return Setting(self.autocast["dtype"] if on else None, self.layout, gradients)

    def read(self, top: int, bottom: int, left: int, right: int) -> torch.Tensor:
        """Return rows and columns of the image."""
        part = self.image.read(top, bottom, left, right, self.dtype, self.device, self.layout)
        if self.witness is not None:
            self.witness.see(top, part)
        return part


class Stream(torch.autograd.Function):
    """The trunk on the image, forward; and again, with gradients, backward."""

    @staticmethod
    def forward(ctx: Any, call: Call, image: torch.Tensor | None, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the trunk's outputs."""
        outputs = _whole(call, dict(zip(call.names, tensors, strict=True)))
        found = tuple(outputs.tensors[map_] for map_ in call.graph.outputs)
        # One tensor may be returned twice, but must not be one tensor for autograd.
        seen: set[int] = set()
        distinct = tuple(_view_of_seen(tensor, seen) for tensor in found)
        ctx.call = call
        ctx.versions = [(tensor._version, tensor.data_ptr()) for tensor in tensors]
        ctx.save_for_backward(*tensors, *distinct)
        ctx.set_materialize_grads(False)
        return distinct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[Any, ...]:
        """Return the parameters' gradients."""
        call: Call = ctx.call
        saved = ctx.saved_tensors
        tensors, maps = saved[: len(call.names)], saved[len(call.names) :]
        for name, tensor, seen in zip(call.names, tensors, ctx.versions, strict=True):
            if (tensor._version, tensor.data_ptr()) != seen:
                raise RuntimeError(f"{name}: it was changed between the forward and the backward pass")
        asked = ctx.needs_input_grad[2:]
        given = {
            name: tensor.detach().requires_grad_(want and tensor.is_floating_point())
            for name, tensor, want in zip(call.names, tensors, asked, strict=True)
        }
        found, of_image = _gradients(call, given, maps, gradients, image_wanted=ctx.needs_input_grad[1])
        return (None, of_image, *(found.get(name) for name in call.names))


def _view_of_seen(tensor: torch.Tensor, seen: set[int]) -> torch.Tensor:
    if id(tensor) in seen:
        return tensor.clone()
    seen.add(id(tensor))
    return tensor


def spans_of(graph: Graph, height: int, width: int) -> tuple[list[graphs.Span], list[graphs.Span]]:
    """Return what of each map's rows and columns all outputs need."""
    found = []
    for axis, size in enumerate((height, width)):
        sizes = graphs.sizes(graph, size, axis)
        wanted = {output: (0, sizes[output]) for output in graph.outputs}
        found.append(graphs.needed(graph, sizes, wanted, axis))
    return found[0], found[1]


def _whole(call: Call, tensors: dict[Operand, torch.Tensor]) -> Outputs:
    graph = call.graph
    rows, columns = spans_of(graph, call.image.height, call.image.width)
    numbers = Numbers(graph, {k: v.detach() for k, v in tensors.items()}, call.image.channels, call.setting(gradients=False))
    outputs = Outputs({map_: (rows[map_].size, columns[map_].size) for map_ in graph.outputs})
    with torch.no_grad(), call.under_autocast():
        Run(graph, forward_pass(graph), rows, columns, call.band, numbers, call.read, outputs)()
    return outputs


def _gradients(
    call: Call,
    tensors: dict[Operand, torch.Tensor],
    maps: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor | None],
    *,
    image_wanted: bool,
) -> tuple[dict[Operand, torch.Tensor], torch.Tensor | None]:
    graph = call.graph
    rows, columns = spans_of(graph, call.image.height, call.image.width)
    numbers = Numbers(graph, tensors, call.image.channels, call.setting(gradients=True))
    given: dict[int, torch.Tensor] = {}
    for map_, gradient in zip(graph.outputs, gradients, strict=True):
        if gradient is not None:
            given[map_] = gradient if map_ not in given else given[map_] + gradient
    outputs = Outputs({}, dict(zip(graph.outputs, maps, strict=True)))
    of_image, sink = _image_sink(call, image_wanted)
    work = backward_pass(graph, numbers.trained, image_gradient=sink is not None, outputs=frozenset(given))
    sums = [Sums() for _ in graph.stages]
    with torch.no_grad(), call.under_autocast():
        Run(graph, work, rows, columns, call.band, numbers, call.read, outputs, given, sums, sink)()
        return _finished(graph, numbers, sums), of_image


def _image_sink(
    call: Call, wanted: bool
) -> tuple[torch.Tensor | None, Callable[[int, torch.Tensor], None] | None]:
    """Return where the image's gradient goes: to the caller's sink, and to a tensor where autograd wants it."""
    if not wanted:
        return None, call.image_gradient
    tensor = call.image.tensor
    assert tensor is not None
    whole = torch.zeros_like(tensor)

    def sink(top: int, part: torch.Tensor) -> None:
        whole[:, :, top : top + part.shape[2], : part.shape[3]] = part
        if call.image_gradient is not None:
            call.image_gradient(top, part)

    return whole, sink


def _finished(graph: Graph, numbers: Numbers, sums: Sequence[Sums]) -> dict[Operand, torch.Tensor]:
    """Return the gradients of all operands that want one, in their dtypes."""
    found: dict[Operand, torch.Tensor] = {}
    for stage, of_stage in zip(graph.stages, sums, strict=True):
        for name, gradient in stage.operation.finish(numbers.tensors, of_stage).items():
            if numbers.tensors[name].requires_grad:
                found[name] = gradient if name not in found else found[name] + gradient
    return {name: gradient.to(numbers.tensors[name].dtype) for name, gradient in found.items()}
