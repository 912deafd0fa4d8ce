"""Convolution with a frozen batch norm, another map added and an activation behind it, as one stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812

from fastwsi.streaming.operations import Operand, Operation, Setting
from fastwsi.streaming.places import Place, padded, pads_of, unpadded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.streaming.sums import Sums

Pair = tuple[int, int]


@dataclass(frozen=True)
class Prepared:
    """A convolution's operands in the dtype and layout of a run.

    ``backward_weight`` carries the scale of the batch norm that follows: then the gradient of the norm's
    output need not be multiplied by it on every position.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    backward_weight: torch.Tensor
    pinned: bool
    trained: bool


@dataclass(frozen=True)
class Convolution(Operation):
    """2-d convolution: any kernel, stride, dilation and groups, zero padding."""

    weight: Operand = ""
    bias: Operand | None = None
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def own_operands(self) -> tuple[Operand | None, ...]:
        """Weight and bias."""
        return self.weight, self.bias

    def keeps_inputs(self, trained: bool) -> bool:
        """For the weight's gradient, from which the norm's is had as well."""
        return trained

    def expects(self, shape: Callable[[Operand], Sequence[int]]) -> int:
        """Return the channels that the input must have."""
        return int(shape(self.weight)[1]) * self.groups

    def channels(self, inputs: Sequence[int], shape: Callable[[Operand], Sequence[int]]) -> int:
        """Return the channels of the output."""
        if inputs[0] != self.expects(shape):
            path = self.weight.rpartition(".")[0] or "trunk"
            raise ValueError(f"{path}: got a map of {inputs[0]} channels, expected {self.expects(shape)}")
        return int(shape(self.weight)[0])

    @property
    def spans(self) -> Pair:
        """How far a window reaches, its gaps among it."""
        (rows, columns), (down, across) = self.kernel, self.dilation
        return (rows - 1) * down + 1, (columns - 1) * across + 1

    def cells(self, inputs: int) -> int:
        """Return how many numbers each output is computed from, given the channels of the input."""
        return self.kernel[0] * self.kernel[1] * inputs // self.groups

    def prepare(self, tensors: dict[Operand, torch.Tensor], setting: Setting) -> Prepared:
        """Cast and lay out the weight, once."""
        given = tensors[self.weight]
        dtype = given.dtype if setting.autocast is None else setting.autocast
        weight = given.detach().to(dtype).contiguous(memory_format=setting.layout)
        bias = None if self.bias is None else tensors[self.bias].detach().to(dtype)
        scaled = weight
        if setting.gradients and self.epilogue.norm is not None:
            wide = given.detach().double() * self._scale(tensors)[:, None, None, None]
            scaled = wide.to(dtype).contiguous(memory_format=setting.layout)
        # Which backend torch takes hangs on the size of what it is given. oneDNN's is that of a large image,
        # and is taken for every slab of it.
        pinned = weight.device.type == "cpu" and dtype == torch.float32 and _onednn()
        return Prepared(weight, bias, scaled, pinned, self._trained(tensors))

    def forward(
        self, slabs: Sequence[torch.Tensor], place: Place, prepared: Prepared
    ) -> tuple[torch.Tensor, Any]:
        """Convolve."""
        slab, padding, _ = self._slab(slabs[0].to(prepared.weight.dtype), place)
        weight, bias = prepared.weight, prepared.bias
        if prepared.pinned:
            convolve = torch.ops.aten.mkldnn_convolution
            return convolve(slab, weight, bias, padding, self.stride, self.dilation, self.groups), None
        with torch.autocast(slab.device.type, enabled=False):
            return F.conv2d(slab, weight, bias, self.stride, padding, self.dilation, self.groups), None

    def backward(
        self,
        gradient: torch.Tensor,
        slabs: Sequence[torch.Tensor],
        place: Place,
        prepared: Prepared,
        wanted: Sequence[bool],
        sums: Sums,
        state: Any,  # noqa: ARG002
    ) -> list[torch.Tensor | None]:
        """Return the gradient of the slab; add those of the weight."""
        given = slabs[0]
        slab, padding, around = self._slab(given.to(prepared.weight.dtype), place)
        of_slab, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient.to(prepared.weight.dtype),
            slab,
            prepared.backward_weight,
            None,
            self.stride,
            padding,
            self.dilation,
            False,
            (0, 0),
            self.groups,
            (wanted[0], prepared.trained, False),
        )
        if prepared.trained:
            sums.add(self.weight, of_weight)
        if not wanted[0]:
            return [None]
        return [unpadded(of_slab.to(given.dtype), around)]

    def finish(self, tensors: dict[Operand, torch.Tensor], sums: Sums) -> dict[Operand, torch.Tensor]:
        """Return the gradients of weight, bias and batch norm.

        With g the gradient of the norm's output: what was summed is g's product with the input, G, which is
        the weight's gradient but for the norm's scale. The norm's weight needs the sum of g times the
        convolution's output, which is the inner product of G and the weight: no output is kept for it, and
        none divided by.
        """
        found: dict[Operand, torch.Tensor] = {}
        norm, raw, channels = self.epilogue.norm, sums.get(self.weight), sums.channels
        if raw is not None:
            scale = 1.0 if norm is None else self._scale(tensors)[:, None, None, None]
            found[self.weight] = raw if norm is None else (raw.double() * scale).to(raw.dtype)
        if channels is not None and self.bias is not None:
            found[self.bias] = channels if norm is None else channels * self._scale(tensors)
        if norm is None:
            return found
        if channels is not None and norm.bias is not None:
            found[norm.bias] = channels
        if channels is not None and raw is not None and norm.weight is not None:
            offset = -tensors[norm.mean].double()
            if self.bias is not None:
                offset = offset + tensors[self.bias].double()
            products = (raw.double() * tensors[self.weight].double()).sum((1, 2, 3))
            found[norm.weight] = (products + offset * channels) * self._inverse_deviation(tensors)
        return found

    def _trained(self, tensors: dict[Operand, torch.Tensor]) -> bool:
        """Whether the weight's gradient is needed, for itself or for the norm's weight."""
        norm = self.epilogue.norm
        names = [self.weight] if norm is None or norm.weight is None else [self.weight, norm.weight]
        return any(tensors[name].requires_grad for name in names)

    def _inverse_deviation(self, tensors: dict[Operand, torch.Tensor]) -> torch.Tensor:
        norm = self.epilogue.norm
        assert norm is not None
        return (tensors[norm.variance].double() + norm.epsilon).rsqrt()

    def _scale(self, tensors: dict[Operand, torch.Tensor]) -> torch.Tensor:
        """Return what the norm multiplies by."""
        norm = self.epilogue.norm
        assert norm is not None
        inverse = self._inverse_deviation(tensors)
        return inverse if norm.weight is None else inverse * tensors[norm.weight].detach().double()

    def _slab(self, slab: torch.Tensor, place: Place) -> tuple[torch.Tensor, Pair, list[int]]:
        """Return a padded slab, the padding that the convolution is to add, and the padding that it has.

        Padding of both sides alike costs nothing there; any other is put around the slab.
        """
        left, right, top, bottom = pads_of(place, 0)
        rows, columns = place.rows[1] - place.rows[0], place.columns[1] - place.columns[0]
        down = _implicit(slab.shape[2], top, bottom, self.spans[0], self.stride[0], rows)
        across = _implicit(slab.shape[3], left, right, self.spans[1], self.stride[1], columns)
        around = [0 if across else left, 0 if across else right, 0 if down else top, 0 if down else bottom]
        return padded(slab, around), (top if down else 0, left if across else 0), around


def _implicit(size: int, before: int, after: int, span: int, stride: int, outputs: int) -> bool:
    """Whether padding of ``before`` on both sides gives the outputs that are wanted and no others."""
    return size > 0 and before >= after and (size + 2 * before - span) // stride + 1 == outputs


def _onednn() -> bool:
    """Whether torch may use oneDNN."""
    there = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return there and bool(torch.backends.mkldnn.enabled)
