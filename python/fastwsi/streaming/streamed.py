"""`Streamed`: a network that takes images of any size."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from fastwsi import _numbers
from fastwsi.kernels.graph_breaks import outside_graphs
from fastwsi.streaming.background import skipping
from fastwsi.streaming.execution import Numbers, trained_of
from fastwsi.streaming.explaining import Explanation, explain
from fastwsi.streaming.function import Call, Stream
from fastwsi.streaming.memory import Price
from fastwsi.streaming.operations import Setting
from fastwsi.streaming.plans import memory_of, plan_for, plan_within
from fastwsi.streaming.progress import Bar
from fastwsi.streaming.schedule import Pace, backward_pass, forward_pass
from fastwsi.streaming.sources import Image, Scale, Witness
from fastwsi.streaming.tracing import Map, Trace, check_hooks, symbolic_graph, trace
from fastwsi.streaming.translating import graph_of
from fastwsi.streaming.units import mismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.streaming.graph import Graph
    from fastwsi.streaming.operations import Operand
    from fastwsi.streaming.plans import Plan
    from fastwsi.streaming.schedule import Pass

_ROWS = 256
_AT_ONCE = 2**19
"""Numbers of a map that a CPU reads or makes at a time: 2 MiB of float32, as fast as more."""
_KEPT = 64 * 2**20
"""Bytes that the C library does not give back at once: glibc's largest threshold for that."""
_REMEMBERED = 100
"""Kinds of call whose plan is kept."""


class Streamed(torch.nn.Module):
    """A CNN that goes over an image in bands of rows: features and gradients are those of the whole image.

    Every activation is computed once per pass and held only while something needs it, so that memory grows
    with the image's width, not with its height. The backward pass goes over the image a second time.

    The network's parts are registered under their own names, and shared with it: what trains one trains the
    other, and checkpoints of the network load. Batch norm and dropout compute as in evaluation, whatever
    ``train()`` says, since statistics of the whole image are not known in its first band.

    How exact: in float64 to rounding. In float32 features have the bits of the whole image where torch
    computes a band and the whole image with the same code. It does for convolutions larger than 1 x 1 by
    oneDNN; it may choose otherwise for 1 x 1 convolutions, for tiny maps, and on GPUs, and then bands differ
    from the whole image as two correct orders of summation do. Weights in channels-last layout are computed
    with in that layout, as torch would.

    Parameters
    ----------
    trunk : torch.nn.Module
        Any network that ``torch.fx`` traces, made of operations on windows and on positions: convolutions,
        pooling, batch norm, activations, sums, concatenation, up-sampling. It may return several maps.
    rows : int, optional
        Rows of the image that are read at a time; 256 unless ``memory`` decides. Fewer take less memory. Wide
        images lose hardly any time by that down to about 64; narrow ones do: each band has its overhead.
    memory : str or int, optional
        Such as "6GiB", or bytes: what a call (and its backward pass, where there will be one) may take, the
        outputs included. Bands get as high as that allows; where the image is too wide it is cut into upright
        windows, which go over their margins twice.
    mean, std : sequence of float, optional
        For uint8 images, which become (x / 255 - mean) / std.
    check_source : bool
        Compare what is read in the backward pass with what was read in the forward pass.
    progress : bool or callable
        Show a bar, or call ``progress(what, done, total)`` with "forward" or "backward" and rows of the
        image.

    Raises
    ------
    fastwsi.streaming.Unstreamable
        Where the network does something that bands cannot give exactly; the message names the module.

    Examples
    --------
    >>> import torch
    >>> trunk, head = fastwsi.nn.split(fastwsi.nn.resnet18(num_classes=2).eval(), "layer3")
    >>> stream = fastwsi.Streamed(trunk, rows=64, mean=fastwsi.nn.IMAGENET_MEAN, std=fastwsi.nn.IMAGENET_STD)
    >>> image = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    >>> features = stream(image)
    >>> loss = head(features).square().sum()
    >>> loss.backward()
    >>> features.shape, trunk.conv1.weight.grad.shape
    (torch.Size([1, 256, 19, 13]), torch.Size([64, 3, 7, 7]))
    """

    def __init__(
        self,
        trunk: torch.nn.Module,
        rows: int | None = None,
        *,
        memory: str | int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        check_source: bool = False,
        progress: bool | Callable[[str, int, int], None] = False,
    ) -> None:
        super().__init__()
        if rows is not None and memory is not None:
            raise ValueError(f"rows, memory: got {rows!r} and {memory!r}, expected one of them")
        check_hooks(trunk, "trunk")
        self._adopt(trunk)
        for name, module in self.named_modules():
            if module is not self:
                check_hooks(module, name)
        self._rows = _ROWS if rows is None else _numbers.whole(rows, "rows", 1)
        self._memory = None if memory is None else _numbers.bytes_of(memory)
        self._scale = Scale(mean, std)
        self._check_source = check_source
        self._progress = progress
        self._planned_before: dict[tuple[object, ...], tuple[Pace, int]] = {}
        self._symbolic = symbolic_graph(trunk)
        for (
            node
        ) in self._symbolic.nodes:  # tensors that are no parameter or buffer, of a forward's own lines too
            if node.op == "get_attr" and "." not in node.target and not hasattr(self, node.target):
                self.register_buffer(node.target, getattr(trunk, node.target), persistent=False)
        self._stages()

    @outside_graphs
    def forward(
        self,
        image: Any,
        *,
        background: Any = None,
        image_gradient: Callable[[int, int, torch.Tensor], None] | None = None,
    ) -> Any:
        """Return what the network returns for an image.

        Parameters
        ----------
        image : array, tensor or RowSource
            uint8 of shape (H, W, C) or (N, H, W, C), as an array, memmap, zarr array or tensor; or a float
            tensor (N, C, H, W); or an object with height, width and rows(top, bottom). It is read twice,
            and must not change before the backward pass.
        background : (value, mask, downsample), optional
            Pixels to paint with ``value`` (one number or one per channel, of the image's kind) before
            anything else: where ``mask``, bool of shape (ceil(H / downsample), ceil(W / downsample)), is
            True. What sees nothing but background is not computed, but known, exactly, from a small image
            of background. By default the image's own attribute of that name, if it has one.
        image_gradient : callable, optional
            For images whose gradient does not fit in memory: called in the backward pass with (first row,
            first column, gradient of shape (N, C, rows, columns)) from top to bottom, and from window to
            window where the image is cut into some; those overlap, and their gradients add up. Background
            is not skipped then.

        Returns
        -------
        tensor, or what the network returns, with maps as tensors
        """
        template, graph = self._stages()
        names, tensors = self._operands(graph)
        given = Image(image, self._scale, background)
        dtype, device = _kind_of(tensors, given)
        autocast = _autocast(device.type)
        plan = self._plan(graph, names, tensors, given, autocast, dtype, sink=image_gradient is not None)
        call = Call(
            plan,
            names,
            given,
            _layout_of(tensors),
            dtype,
            device,
            Witness(given.width) if self._check_source else None,
            image_gradient,
            Bar() if self._progress is True else self._progress or None,
            autocast,
        )
        # Something must want a gradient for the backward pass to be made, if only the caller's function does.
        handle = None if image_gradient is None else torch.zeros((), requires_grad=True)
        outputs = Stream.apply(call, given.tensor, handle, *tensors)  # type: ignore[no-untyped-call]
        return _filled(template.returned, iter(outputs))

    def explain(self, height: int, width: int, images: int = 1) -> Explanation:
        """Return the plan for images of a size: rows held, memory, work. Print it; it takes milliseconds.

        Parameters
        ----------
        height, width : int
            Of the image, in pixels.
        images : int
            How many at once.

        Examples
        --------
        >>> trunk, _ = fastwsi.nn.split(fastwsi.nn.resnet18(), "layer3")
        >>> plan = fastwsi.Streamed(trunk, rows=128).explain(100_000, 50_000)
        >>> plan.band, plan.field, round(plan.work, 2) < 4 / 3
        (128, (211, 211), True)
        """
        height, width = _numbers.whole(height, "height", 1), _numbers.whole(width, "width", 1)
        _, graph = self._stages()
        names, tensors = self._operands(graph)
        dtype = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)
        channels = self._channels(graph, dict(zip(names, tensors, strict=True)))
        forward, backward, price, pace = self._works(
            graph, names, tensors, channels, _numbers.whole(images, "images", 1), dtype, image_gradient=False
        )
        plan = self._planned(graph, height, width, pace, [forward, backward], price, tensors)
        return explain(
            plan,
            backward,
            price,
            memory_of(plan, forward, price),
            memory_of(plan, backward, price) + _weights(tensors),
            self._notes(graph, tensors),
        )

    def _adopt(self, trunk: torch.nn.Module) -> None:
        """Register a network's parts under their own names."""
        # All names, of a part that has two as well: checkpoints have both.
        children = {k: v for k, v in trunk.named_modules(remove_duplicate=False) if k and "." not in k}
        parameters = dict(trunk.named_parameters(recurse=False, remove_duplicate=False))
        buffers = dict(trunk.named_buffers(recurse=False, remove_duplicate=False))
        saved = trunk.state_dict()
        for name in [*children, *parameters, *buffers]:
            if hasattr(self, name):
                raise ValueError(f"trunk: got a part named {name!r}, which Streamed has a use for; rename it")
        for name, child in children.items():
            self.add_module(name, child)
        for name, parameter in parameters.items():
            self.register_parameter(name, parameter)
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=name in saved)

    def _stages(self) -> tuple[Trace, Graph]:
        """Return the network's stages as they are now: modules may have been replaced, strides changed."""
        for name, module in self.named_modules():
            if module is not self:  # whose own hooks are called
                check_hooks(module, name)
        found = trace(self._symbolic, self)
        return found, graph_of(found, self)

    def _operands(self, graph: Graph) -> tuple[tuple[Operand, ...], list[torch.Tensor]]:
        names = tuple(dict.fromkeys(name for stage in graph.stages for name in stage.operation.operands))
        return names, [operator.attrgetter(name)(self) for name in names]

    def _works(
        self,
        graph: Graph,
        names: tuple[Operand, ...],
        tensors: list[torch.Tensor],
        channels: int,
        images: int,
        dtype: torch.dtype,
        *,
        image_gradient: bool,
    ) -> tuple[Pass, Pass, Price, Pace]:
        """Return the passes of a training step, what their cells cost, and the pace."""
        layout = _layout_of(tensors)
        named = dict(zip(names, tensors, strict=True))
        numbers = Numbers(
            graph, {k: v.detach() for k, v in named.items()}, channels, Setting(None, layout, False)
        )
        trained = trained_of(graph, named)
        cpu = all(tensor.device.type == "cpu" for tensor in tensors)
        reorders = cpu and layout != torch.channels_last
        kept = _KEPT if cpu else 0
        price = Price(tuple(numbers.channels), images, dtype.itemsize, reorders, tuple(trained), kept)
        depths = tuple(images * channels for channels in numbers.channels)
        pace = Pace(self._rows, depths, _AT_ONCE if cpu else None)
        backward = backward_pass(
            graph, trained, image_gradient=image_gradient, outputs=frozenset(graph.outputs)
        )
        return forward_pass(graph), backward, price, pace

    def _planned(
        self,
        graph: Graph,
        height: int,
        width: int,
        pace: Pace,
        works: list[Pass],
        price: Price,
        tensors: list[torch.Tensor],
        extra: int = 0,
    ) -> Plan:
        plan = plan_for(graph, height, width, pace)
        if self._memory is None:
            return plan
        outputs = sum(
            price.cells(map_, plan.layout.size(map_)[1]) * plan.layout.size(map_)[0]
            for map_ in set(graph.outputs)
        )
        fixed = extra + (outputs if len(works) == 1 else 2 * outputs + _weights(tensors))
        key = (graph.geometry, height, width, pace, tuple(works), price, fixed)
        if key not in self._planned_before:  # the same for image after image
            if len(self._planned_before) >= _REMEMBERED:
                self._planned_before.clear()
            found = plan_within(graph, height, width, pace, works, price, self._memory, fixed)
            self._planned_before[key] = found.pace, found.window
        pace, window = self._planned_before[key]
        return replace(plan, pace=pace, window=window)

    def _plan(
        self,
        graph: Graph,
        names: tuple[Operand, ...],
        tensors: list[torch.Tensor],
        image: Image,
        autocast: dict[str, Any],
        dtype: torch.dtype,
        *,
        sink: bool,
    ) -> Plan:
        of_image = image.tensor is not None and image.tensor.requires_grad
        forward, backward, price, pace = self._works(
            graph, names, tensors, image.channels, image.images,
            autocast.get("dtype", dtype),
            image_gradient=sink or of_image,
        )  # fmt: skip
        learns = torch.is_grad_enabled() and bool(backward.active)
        works = [forward, backward] if learns else [forward]
        extra = image.bytes if of_image and len(works) > 1 else 0
        plan = self._planned(graph, image.height, image.width, pace, works, price, tensors, extra)
        if image.background is None:
            return plan
        skip = skipping(plan.layout, image.background, image.height, image.width)
        return replace(plan, skipping=skip)

    def _channels(self, graph: Graph, tensors: dict[Operand, torch.Tensor]) -> int:
        """Return the channels of the image that the network takes, as far as a convolution tells; else 3."""
        for stage in graph.stages:
            expected = stage.operation.expects(lambda name: tensors[name].shape)
            if expected is not None and 0 in stage.inputs:
                return expected
        return 3

    def _notes(self, graph: Graph, tensors: list[torch.Tensor]) -> tuple[str, ...]:
        notes = []
        if any(
            isinstance(m, (torch.nn.BatchNorm2d, torch.nn.SyncBatchNorm, torch.nn.Dropout))
            for m in self.modules()
        ):
            notes.append("batch norm and dropout compute as in evaluation, also after train()")
        across = mismatch(graph, 1)
        if across:
            notes.append(f"it cannot be cut into windows, nor can background be skipped: {across}")
        elif down := mismatch(graph, 0):
            notes.append(f"background cannot be skipped: {down}")
        on_cpu = bool(tensors) and tensors[0].device.type == "cpu"
        if on_cpu and _layout_of(tensors) != torch.channels_last:
            notes.append("on a CPU, trunk.to(memory_format=torch.channels_last) usually makes it faster")
        return tuple(notes)


def _kind_of(tensors: list[torch.Tensor], image: Image) -> tuple[torch.dtype, torch.device]:
    """Return the dtype and device that the network computes in."""
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), image.tensor)
    return (torch.float32, torch.device("cpu")) if like is None else (like.dtype, like.device)


def _weights(tensors: list[torch.Tensor]) -> int:
    """Return the bytes of what a backward pass makes of weights: sums, gradients, scaled copies."""
    return 3 * sum(tensor.numel() * tensor.element_size() for tensor in tensors)


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
        last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
        if last and not tensor.is_contiguous():
            return torch.channels_last
    return torch.contiguous_format


def _autocast(device: str) -> dict[str, Any]:
    """Return the state of autocast, to be entered again."""
    if not torch.is_autocast_enabled(device):
        return {}
    dtype = torch.get_autocast_dtype(device)
    return {"device_type": device, "dtype": dtype, "enabled": True, "cache_enabled": False}
