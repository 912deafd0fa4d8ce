"""Max pooling of slabs of rows: natively on the CPU, by torch elsewhere."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from fastwsi import _arrays, _core
from fastwsi.streaming.row_layout import (
    check_band,
    check_like,
    formats_of,
    into,
    native_format,
    share_memory,
    words,
)

Pair: TypeAlias = tuple[int, int]
Pads: TypeAlias = tuple[int, int, int, int]

_NO_WINNER = 255


def max_pool(
    x: Tensor, pads: Pads, kernel: Pair, stride: Pair, dilation: Pair, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the maxima of a slab's windows, and which place in its window won each.

    Parameters
    ----------
    x : tensor, shape (N, C, H, W)
        A slab of rows and columns.
    pads : (left, right, top, bottom)
        Cells around the slab that windows reach into and that never win, not even over minus infinity.
    kernel, stride, dilation : (y, x)
        At most 255 places in a window.
    out : tensor, shape (N, C, Ho, Wo), optional
        Where the maxima go; apart from x.

    Returns
    -------
    y : tensor, shape (N, C, Ho, Wo)
        Ho is (H + top + bottom - dilation * (kernel - 1) - 1) // stride + 1. As by torch, any NaN wins.
    index : uint8 tensor, shape (N, C, Ho, Wo)
        ky * kernel[1] + kx of the first maximum, or of the last NaN; 255 for a window wholly outside.

    Examples
    --------
    >>> import torch
    >>> from fastwsi.streaming.row_kernels import max_pool
    >>> x = torch.tensor([[1.0, 5.0, 2.0], [7.0, 0.0, 3.0]])[None, None]
    >>> y, index = max_pool(x, (0, 1, 0, 0), (2, 2), (1, 2), (1, 1))
    >>> y.tolist(), index.tolist()
    ([[[[7.0, 3.0]]]], [[[[2, 2]]]])
    """
    check_band("x", x)
    shape = _pooled_shape(x.shape, pads, kernel, stride, dilation)
    x = x.detach()
    if out is not None:
        check_like("out", out, x, shape)
    channels_last = native_format(x, out)
    if channels_last is None:
        y, index = _max_pool_torch(x, shape, pads, kernel, stride, dilation)
        return into(out, y), index
    format_ = torch.channels_last if channels_last else torch.contiguous_format
    apart = out is not None and not share_memory(out, x)
    y = (
        out
        if out is not None and apart
        else torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=format_)
    )
    index = torch.empty(shape, dtype=torch.uint8, device=x.device, memory_format=format_)
    stream = _arrays.stream_of(x)
    _core.row_max_pool(x, y, index, pads, kernel, stride, dilation, channels_last, stream)
    return into(out, y), index


def _max_pool_torch(
    x: Tensor, shape: tuple[int, ...], pads: Pads, kernel: Pair, stride: Pair, dilation: Pair
) -> tuple[Tensor, Tensor]:
    format_ = torch.channels_last if formats_of(x) == {True} else torch.contiguous_format
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=format_).fill_(-torch.inf)
    index = torch.empty_like(y, dtype=torch.uint8).fill_(_NO_WINNER)
    for tap in range(kernel[0] * kernel[1]):
        cells, windows = _tap(x.shape, shape, tap, pads, kernel, stride, dilation)
        value, best, winner = x[cells], y[windows], index[windows]
        wins = (value > best) | value.isnan() | (winner == _NO_WINNER)
        best.copy_(torch.where(wins, value, best))
        winner.masked_fill_(wins, tap)
    return y, index


def max_pool_backward(
    grad: Tensor, index: Tensor, pads: Pads, kernel: Pair, stride: Pair, dilation: Pair, out: Tensor
) -> Tensor:
    """Add the gradient of ``max_pool`` into the slab's: each window's to the cell that won it.

    Parameters
    ----------
    grad : tensor, shape (N, C, Ho, Wo)
    index : uint8 tensor, shape (N, C, Ho, Wo)
        From ``max_pool``.
    pads, kernel, stride, dilation
        As given to ``max_pool``.
    out : tensor, shape (N, C, H, W)
        The gradient of the slab, which is added to; apart from grad.

    Returns
    -------
    tensor
        ``out``.

    Examples
    --------
    >>> import torch
    >>> from fastwsi.streaming.row_kernels import max_pool_backward
    >>> grad, index = torch.tensor([[[[4.0, 2.0]]]]), torch.tensor([[[[2, 2]]]], dtype=torch.uint8)
    >>> sizes = (0, 1, 0, 0), (2, 2), (1, 2), (1, 1)
    >>> max_pool_backward(grad, index, *sizes, torch.zeros(1, 1, 2, 3)).tolist()
    [[[[0.0, 0.0, 0.0], [4.0, 0.0, 2.0]]]]
    """
    check_band("out", out)
    shape = _pooled_shape(out.shape, pads, kernel, stride, dilation)
    check_like("grad", grad, out, shape)
    if index.shape != shape or index.dtype != torch.uint8 or index.device != out.device:
        raise ValueError(f"index: got {words(index)}, expected torch.uint8 {shape} on {out.device}")
    grad = grad.detach()
    target = out.detach()
    channels_last = native_format(grad, target, index=index)
    if channels_last is None or share_memory(grad, target) or share_memory(index, target):
        grad, index = grad.clone(), index.clone()
        # A cell meets each of its windows by another tap; from the last tap on they come in row-major order.
        for tap in reversed(range(kernel[0] * kernel[1])):
            cells, windows = _tap(out.shape, shape, tap, pads, kernel, stride, dilation)
            target[cells] += grad[windows].masked_fill(index[windows] != tap, 0)
        return out
    stream = _arrays.stream_of(grad)
    _core.row_max_pool_backward(target, grad, index, pads, kernel, stride, dilation, channels_last, stream)
    _arrays.mark_written(out)
    return out


def _tap(
    size: torch.Size,
    pooled: tuple[int, ...],
    tap: int,
    pads: Pads,
    kernel: Pair,
    stride: Pair,
    dilation: Pair,
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the cells that a place in the window meets, and the windows for which it does."""
    cells, windows = [slice(None)] * 2, [slice(None)] * 2
    for d, place in enumerate(divmod(tap, kernel[1])):
        before = pads[2 - 2 * d]
        offset = place * dilation[d] - before  # of the cell from where an unpadded window begins
        first = max(0, -(offset // stride[d]))
        last = min(pooled[2 + d], (size[2 + d] - 1 - offset) // stride[d] + 1)
        last = max(first, last)
        begin = first * stride[d] + offset
        windows.append(slice(first, last))
        cells.append(
            slice(begin, begin + max(0, (last - first - 1) * stride[d] + 1) if last > first else begin)
        )
        cells[-1] = slice(cells[-1].start, cells[-1].stop, stride[d])
    return tuple(cells), tuple(windows)


def _pooled_shape(
    size: torch.Size, pads: Pads, kernel: Pair, stride: Pair, dilation: Pair
) -> tuple[int, int, int, int]:
    if min(*kernel, *stride, *dilation) < 1 or kernel[0] * kernel[1] > 255:
        raise ValueError(
            f"kernel, stride, dilation: got {kernel}, {stride}, {dilation}, expected at least 1 and at most"
            " 255 places in a window"
        )
    if len(pads) != 4 or min(pads) < 0:
        raise ValueError(f"pads: got {pads}, expected (left, right, top, bottom), none below 0")
    sides = [
        (size[2 + d] + sum(pads[2 - 2 * d : 4 - 2 * d]) - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1
        for d in range(2)
    ]
    return size[0], size[1], max(sides[0], 0), max(sides[1], 0)
