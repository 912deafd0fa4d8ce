"""Convolution with a frozen batch norm, another map added and an activation behind it, as one stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812

from fastwsi.streaming.operations import Operand, Operation, Setting, Trained
from fastwsi.streaming.places import Place, padded, pads_of, unpadded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.streaming.sums import Sums

Pair = tuple[int, int]
_PRODUCTS = "products"  # no operand: those have a weight's or a bias's name


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
    centre: torch.Tensor | None


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

    def keeps_inputs(self, trained: Trained) -> bool:
        """Keep them for the weight's gradient."""
        return self.weight in trained

    def keeps_state(self, trained: Trained) -> bool:
        """Keep the convolution's output for the gradient of the norm's weight.

        That gradient follows from the weight's as well, without an output kept, and in float64 it would do.
        In float32 it cancels where a channel's mean is large beside its deviation.
        """
        norm = self.epilogue.norm
        return norm is not None and norm.weight in trained

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
        trained = frozenset(name for name in self.operands if tensors[name].requires_grad)
        norm = self.epilogue.norm
        centre = None if norm is None or not self.keeps_state(trained) else tensors[norm.mean][:, None, None]
        return Prepared(weight, bias, scaled, pinned, self.weight in trained, centre)

    def forward(
        self, slabs: Sequence[torch.Tensor], place: Place, prepared: Prepared
    ) -> tuple[torch.Tensor, Any]:
        """Convolve."""
        slab, padding, _ = self._slab(slabs[0].to(prepared.weight.dtype), place)
        weight, bias = prepared.weight, prepared.bias
        if prepared.pinned:
            found = torch.ops.aten.mkldnn_convolution(
                slab, weight, bias, padding, self.stride, self.dilation, self.groups
            )
        else:
            with torch.autocast(slab.device.type, enabled=False):
                found = F.conv2d(slab, weight, bias, self.stride, padding, self.dilation, self.groups)
        return found, found

    def backward(
        self,
        gradient: torch.Tensor,
        slabs: Sequence[torch.Tensor],
        place: Place,
        prepared: Prepared,
        wanted: Sequence[bool],
        sums: Sums,
        state: Any,
    ) -> list[torch.Tensor | None]:
        """Return the gradient of the slab; add those of the weight."""
        if prepared.centre is not None:
            away = state.to(prepared.centre.dtype) - prepared.centre
            sums.add(_PRODUCTS, (away * gradient).sum((0, 2, 3), dtype=torch.float64))
        if not (prepared.trained or wanted[0]):
            return [None]
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

        With g the gradient of the norm's output: sums hold g's product with the input, which is the weight's
        gradient but for the norm's scale; g itself; and its product with the convolution's output less its
        mean, which is the gradient of the norm's weight but for the deviation. No weight is divided by.
        """
        found: dict[Operand, torch.Tensor] = {}
        norm, raw, channels, products = (
            self.epilogue.norm, sums.get(self.weight), sums.channels, sums.get(_PRODUCTS)
        )  # fmt: skip
        if raw is not None:
            found[self.weight] = raw
            if norm is not None:
                found[self.weight] = (raw.double() * self._scale(tensors)[:, None, None, None]).to(raw.dtype)
        if channels is not None and self.bias is not None:
            found[self.bias] = channels if norm is None else channels * self._scale(tensors)
        if norm is not None and channels is not None and norm.bias is not None:
            found[norm.bias] = channels
        if norm is not None and products is not None and norm.weight is not None:
            found[norm.weight] = products * self._inverse_deviation(tensors)
        return found

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
