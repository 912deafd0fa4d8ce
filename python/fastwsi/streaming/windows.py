"""Window operations that torch's autograd differentiates slab by slab: padding, averages, up-sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional as F  # noqa: N812

from fastwsi.kernels.pooling import dense_pool
from fastwsi.streaming.local import Local
from fastwsi.streaming.places import Place, Slice, padded, pads_of
from fastwsi.streaming.reach import Repeated, Sliding, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.streaming.operations import Operand

Pair = tuple[int, int]


def padding(left: int, right: int, top: int, bottom: int, value: float) -> Local:
    """Return constant padding of the four sides, or cropping where it is negative."""

    def function(slabs: Sequence[torch.Tensor], place: Place, _: dict[Operand, torch.Tensor]) -> torch.Tensor:
        return padded(slabs[0], pads_of(place, 0), value)

    reaches = ((Sliding(1, 1, top, bottom), Sliding(1, 1, left, right)),)
    return Local(reaches, function=function, what="padding", linear=True)


class Averages(NamedTuple):
    """The parameters of average pooling, (rows, columns)."""

    kernel: Pair
    stride: Pair
    padding: Pair
    ceil: bool
    count_padding: bool
    divisor: int | None


def average_pooling(settings: Averages) -> Local:
    """Return average pooling, at borders too as torch counts the cells of a window."""
    down, across = (
        Sliding(span, stride, before, before, settings.ceil)
        for span, stride, before in zip(settings.kernel, settings.stride, settings.padding, strict=True)
    )

    def function(slabs: Sequence[torch.Tensor], place: Place, _: dict[Operand, torch.Tensor]) -> torch.Tensor:
        slab = padded(slabs[0], pads_of(place, 0))
        total = F.avg_pool2d(slab, settings.kernel, settings.stride, divisor_override=1)
        if settings.divisor is not None:
            return total / settings.divisor
        height, width = place.full[0]
        rows = _counts(down, *place.rows, height, count_padding=settings.count_padding)
        columns = _counts(across, *place.columns, width, count_padding=settings.count_padding)
        if min(rows) == max(rows) and min(columns) == max(columns):
            return total / (rows[0] * columns[0])
        of_rows = torch.tensor(rows, dtype=total.dtype, device=total.device)
        of_columns = torch.tensor(columns, dtype=total.dtype, device=total.device)
        return total / (of_rows[:, None] * of_columns)

    return Local(((down, across),), function=function, what="average pooling", linear=True)


def _counts(reach: Sliding, start: int, stop: int, size: int, *, count_padding: bool) -> list[int]:
    """Return by how many cells along an axis each window's sum is divided."""
    low, high = (-reach.before, size + reach.after) if count_padding else (0, size)
    return [min(reach.end(o), high) - max(reach.first(o), low) for o in range(start, stop)]


def dense_pooling(window: Pair, stride: Pair) -> Local:
    """Return average pooling by running sums."""

    def function(slabs: Sequence[torch.Tensor], place: Place, _: dict[Operand, torch.Tensor]) -> torch.Tensor:  # noqa: ARG001
        return dense_pool(slabs[0].contiguous(), window, stride)

    reaches = ((Sliding(window[0], stride[0]), Sliding(window[1], stride[1])),)
    return Local(reaches, function=function, what="dense pooling", linear=True)


def nearest(rows: int, columns: int) -> Local:
    """Return nearest up-sampling by whole factors."""

    def function(slabs: Sequence[torch.Tensor], place: Place, _: dict[Operand, torch.Tensor]) -> torch.Tensor:
        (slab,) = slabs
        tall = F.interpolate(slab, scale_factor=(float(rows), float(columns)), mode="nearest")
        top = place.rows[0] - place.row_slices[0].start * rows
        left = place.columns[0] - place.column_slices[0].start * columns
        height, width = place.rows[1] - place.rows[0], place.columns[1] - place.columns[0]
        return tall[:, :, top : top + height, left : left + width]

    return Local(((Repeated(rows), Repeated(columns)),), function=function, what="up-sampling", linear=True)


class Transposed(NamedTuple):
    """The parameters of a transposed convolution, (rows, columns)."""

    kernel: Pair
    stride: Pair
    padding: Pair
    output_padding: Pair
    dilation: Pair
    groups: int


def transposed_convolution(settings: Transposed, weight: Operand, bias: Operand | None) -> Local:
    """Return a transposed convolution."""
    down, across = (
        Spread((kernel - 1) * dilation + 1, stride, crop, extra)
        for kernel, dilation, stride, crop, extra in zip(
            settings.kernel,
            settings.dilation,
            settings.stride,
            settings.padding,
            settings.output_padding,
            strict=True,
        )
    )

    def function(
        slabs: Sequence[torch.Tensor], place: Place, operands: dict[Operand, torch.Tensor]
    ) -> torch.Tensor:
        (slab,) = slabs
        kernel = operands[weight]
        pads = (
            *_margins(across, place.columns, place.column_slices[0]),
            *_margins(down, place.rows, place.row_slices[0]),
        )
        if slab.shape[2] == 0 or slab.shape[3] == 0:
            height, width = place.rows[1] - place.rows[0], place.columns[1] - place.columns[0]
            spread = slab.new_zeros(slab.shape[0], kernel.shape[1] * settings.groups, height, width)
        else:
            spread = F.conv_transpose2d(
                slab, kernel, None, settings.stride, 0, 0, settings.groups, settings.dilation
            )
            spread = F.pad(spread, list(pads)) if any(pads) else spread
        if bias is None:
            return spread
        return spread + operands[bias].to(spread.dtype)[:, None, None]

    def gains(_: Sequence[int], shape: Callable[[Operand], Sequence[int]]) -> int:
        return shape(weight)[1] * settings.groups

    names = (weight,) if bias is None else (weight, bias)
    return Local(
        ((down, across),),
        function=function,
        names=names,
        what="transposed convolution",
        linear=True,
        gains=gains,
    )


def _margins(reach: Spread, wanted: Pair, piece: Slice) -> Pair:
    """Return what is missing (too much, below 0) before and after what a piece of the input spreads over."""
    first = piece.start * reach.stride
    end = (piece.stop - 1) * reach.stride + reach.span if piece.stop > piece.start else first
    return first - (wanted[0] + reach.crop), wanted[1] + reach.crop - end
