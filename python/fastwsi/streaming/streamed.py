"""`Streamed`: a network that takes images of any size."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch

from fastwsi import _numbers
from fastwsi.streaming.background import skipping
from fastwsi.streaming.function import Call, Stream
from fastwsi.streaming.plans import Plan
from fastwsi.streaming.sources import Image, Scale, Witness
from fastwsi.streaming.tracing import Map, Trace, symbolic_graph, trace
from fastwsi.streaming.translating import graph_of
from fastwsi.streaming.units import layout_of_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.streaming.graph import Graph


class Streamed(torch.nn.Module):
    """A CNN that is run over an image in bands of rows: any height, exactly the whole image's result."""

    def __init__(
        self,
        trunk: torch.nn.Module,
        rows: int = 256,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        check_source: bool = False,
    ) -> None:
        super().__init__()
        self._trunk = (trunk,)  # not registered: its parts are, under their own names
        for name, child in trunk.named_children():
            self.add_module(name, child)
        for name, parameter in trunk.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in trunk.named_buffers(recurse=False):
            self.register_buffer(name, buffer, persistent=name not in trunk._non_persistent_buffers_set)
        self._rows = _numbers.whole(rows, "rows", 1)
        self._scale = Scale(mean, std)
        self._check_source = check_source
        self._window: int | None = None
        self._symbolic = symbolic_graph(trunk)
        self._stages()

    def forward(self, image: Any, *, background: Any = None, image_gradient: Callable[[int, torch.Tensor], None] | None = None) -> Any:
        """Stream."""
        found, graph = self._stages()
        names = tuple(dict.fromkeys(name for stage in graph.stages for name in stage.operation.operands))
        tensors = [operator.attrgetter(name)(self) for name in names]
        given = Image(image, self._scale, background)
        like = next((tensor for tensor in tensors if tensor.is_floating_point()), given.tensor)
        dtype, device = (torch.float32, torch.device("cpu")) if like is None else (like.dtype, like.device)
        layout = layout_of_image(graph, given.height, given.width)
        skip = None if given.background is None else skipping(layout, given.background, given.height, given.width)
        plan = Plan(graph, layout, self._rows, self._window or layout.across.count, skip)
        call = Call(
            plan, names, given, _layout_of(tensors), dtype, device,
            Witness() if self._check_source else None, image_gradient, None, _autocast(device.type),
        )  # fmt: skip
        outputs = Stream.apply(call, given.tensor, *tensors)  # type: ignore[no-untyped-call]
        return _filled(found.returned, iter(outputs))

    def _stages(self) -> tuple[Trace, Graph]:
        found = trace(self._symbolic, self)
        return found, graph_of(found, self)


def _filled(template: Any, tensors: Any) -> Any:
    """Return what the trunk returns, with tensors in place of its maps."""
    if isinstance(template, Map):
        return next(tensors)
    if isinstance(template, (tuple, list)):
        return type(template)(_filled(each, tensors) for each in template)
    if isinstance(template, dict):
        return {key: _filled(each, tensors) for key, each in template.items()}
    return template


def _layout_of(tensors: Sequence[torch.Tensor]) -> torch.memory_format:
    """Return the layout in which torch would compute: channels last where the weights are."""
    for tensor in tensors:
        if tensor.dim() == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last):
            return torch.channels_last
    return torch.contiguous_format


def _autocast(device: str) -> dict[str, Any]:
    """Return the state of autocast, to be entered again."""
    if not torch.is_autocast_enabled(device):
        return {}
    return {"device_type": device, "dtype": torch.get_autocast_dtype(device), "enabled": True, "cache_enabled": False}
