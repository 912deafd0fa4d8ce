"""What a network does to bands of rows besides convolving, in one pass.

Tensors are (images, channels, height, width) in either memory format, often rows of a larger buffer. Where
all tensors of a call share a format, float32 and float64 run natively on CPUs, and 16-bit floats too on GPUs;
everything else gets the same result from torch. Nothing here records gradients.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from fastwsi import _arrays, _core
from fastwsi.streaming.row_layout import (
    NATIVE,
    check_band,
    check_like,
    into,
    native_format,
    target_for,
    words,
)
from fastwsi.streaming.row_pooling import max_pool, max_pool_backward

__all__ = ["Act", "act_gate", "affine_act", "batch_norm_terms", "max_pool", "max_pool_backward", "move_rows"]

Act: TypeAlias = Literal["none", "relu", "relu6", "leaky_relu"]

_ACTS = ("none", "relu", "relu6", "leaky_relu")


def affine_act(
    x: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    residual: Tensor | None = None,
    act: Act = "none",
    slope: float = 0.0,
    out: Tensor | None = None,
) -> Tensor:
    """Return act(x * scale[c] + shift[c] + residual); on a CPU with the bits of torch's three operations.

    Parameters
    ----------
    x : tensor, shape (N, C, H, W)
        Of a floating dtype.
    scale, shift : tensor, shape (C,), or both None
        As ``batch_norm_terms`` gives them: of x's dtype, or float32 beside a 16-bit x.
    residual : tensor like x, optional
    act : "none", "relu", "relu6" or "leaky_relu"
    slope : float
        Of leaky_relu below 0.
    out : tensor like x, optional
        Where to write; may be ``x`` or ``residual``. By default a new tensor in x's memory format.

    Returns
    -------
    tensor like x

    Examples
    --------
    >>> import torch
    >>> from fastwsi.streaming.row_kernels import affine_act
    >>> x = torch.tensor([-1.0, 2.0]).reshape(1, 1, 1, 2)
    >>> affine_act(x, torch.tensor([2.0]), torch.tensor([1.0]), act="relu").flatten().tolist()
    [0.0, 5.0]
    """
    check_band("x", x)
    _check_act(act)
    _check_terms(x, scale, shift)
    for name, tensor in (("residual", residual), ("out", out)):
        if tensor is not None:
            check_like(name, tensor, x)
    x, residual = x.detach(), None if residual is None else residual.detach()
    channels_last = native_format(x, residual, out)
    contract = False
    if channels_last is not None and scale is not None and shift is not None:
        scale, shift = scale.detach().contiguous(), shift.detach().contiguous()
        if x.device.type == "cpu":
            known = _torch_contracts(x.dtype, channels_last)
            channels_last, contract = (None, False) if known is None else (channels_last, known)
        elif scale.dtype != torch.promote_types(x.dtype, torch.float32):
            channels_last = None
    if channels_last is None:
        return into(out, _affine_act_torch(x, scale, shift, residual, act, slope))
    target = target_for(out, x, channels_last, x, residual)
    stream = _arrays.stream_of(x)
    _core.row_affine_act(x, scale, shift, residual, target, act, slope, contract, channels_last, stream)
    return into(out, target)


def _affine_act_torch(
    x: Tensor, scale: Tensor | None, shift: Tensor | None, residual: Tensor | None, act: str, slope: float
) -> Tensor:
    y = x
    if scale is not None and shift is not None:
        y = (x * _across(scale) + _across(shift)).to(x.dtype)
    if residual is not None:
        y = y + residual
    if act == "relu":
        return torch.relu(y)
    if act == "relu6":
        return F.relu6(y)
    if act == "leaky_relu":
        return F.leaky_relu(y, slope)
    return y.clone() if y is x else y


def batch_norm_terms(
    weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Return the scale and shift of a batch norm in evaluation, with the bits that torch uses on the CPU.

    Parameters
    ----------
    weight, bias : tensor, shape (C,), optional
    mean, var : tensor, shape (C,)
        The running statistics.
    eps : float
        Added to the variance.

    Returns
    -------
    scale, shift : tensor, shape (C,)
        Of the statistics' dtype; float32 where that is a 16-bit one.

    Examples
    --------
    >>> import torch
    >>> from fastwsi.streaming.row_kernels import batch_norm_terms
    >>> scale, shift = batch_norm_terms(None, None, torch.tensor([2.0]), torch.tensor([4.0]), 0.0)
    >>> scale.item(), shift.item()
    (0.5, -1.0)
    """
    dtype = mean.dtype if mean.dtype in NATIVE else torch.float32
    given = (mean, var, torch.ones_like(mean) if weight is None else weight)
    mean, var, weight = (term.detach().to(dtype).contiguous() for term in given)
    bias = torch.zeros_like(mean) if bias is None else bias.detach().to(dtype).contiguous()
    plain_scale = (var + eps).sqrt().reciprocal() * weight
    plain_shift = bias - mean * plain_scale
    if mean.device.type != "cpu":
        return plain_scale, plain_shift
    # Torch is asked for its own terms, since they depend on how it was compiled: 1 gives the scale where the
    # shift is 0, and a zero gives the shift, so signed that the product is -0, which changes nothing.
    zeros = torch.zeros_like(mean)
    one = torch.ones_like(mean)[None, :, None, None]
    scale = F.batch_norm(one, zeros, var, weight, None, eps=eps).flatten()
    zero = torch.copysign(zeros, -scale)[None, :, None, None]
    shift = F.batch_norm(zero, mean, var, weight, bias, eps=eps).flatten()
    usual = plain_scale.isfinite()
    return torch.where(usual, scale, plain_scale), torch.where(usual, shift, plain_shift)


@cache
def _torch_contracts(dtype: torch.dtype, channels_last: bool) -> bool | None:
    """Tell whether torch rounds x * scale + shift once here; None where it does now this, now that."""
    # (1 + d)² - 1 is 2 d + d², of which a rounded product keeps 2 d alone.
    d = 3 * torch.finfo(dtype).eps
    channels, width = (67, 1) if channels_last else (3, 67)  # whole vectors and a rest
    shape = (1, channels, 2, width)
    x = torch.full(shape, 1 + d, dtype=dtype)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    ones = torch.ones(channels, dtype=dtype)
    weight, bias = ones + d, -ones
    scale, shift = batch_norm_terms(weight, bias, torch.zeros_like(ones), ones, 0.0)
    found = F.batch_norm(x, torch.zeros_like(ones), ones, weight, bias, eps=0.0)
    apart = x * _across(scale) + _across(shift)
    answers = (found != apart).flatten()
    return bool(answers[0]) if bool((answers == answers[0]).all()) else None


def act_gate(
    grad: Tensor,
    value: Tensor,
    act: Act,
    slope: float = 0.0,
    out: Tensor | None = None,
    sums: Tensor | None = None,
) -> Tensor:
    """Return the gradient before an activation from the one after it, read off the activation's output.

    Parameters
    ----------
    grad : tensor, shape (N, C, H, W)
    value : tensor like grad
        The activation's output.
    act : "none", "relu", "relu6" or "leaky_relu"
    slope : float
        Of leaky_relu, above 0.
    out : tensor like grad, optional
        Where to write; may be ``grad``. By default a new tensor in grad's format, for "none" grad itself.
    sums : float64 tensor, shape (C,), optional
        To which the result's sum over each channel is added.

    Returns
    -------
    tensor like grad

    Examples
    --------
    >>> import torch
    >>> from fastwsi.streaming.row_kernels import act_gate
    >>> grad, value = torch.ones(1, 1, 1, 3), torch.tensor([0.0, 1.0, 2.0]).reshape(1, 1, 1, 3)
    >>> sums = torch.zeros(1, dtype=torch.float64)
    >>> act_gate(grad, value, "relu", sums=sums).flatten().tolist(), sums.item()
    ([0.0, 1.0, 1.0], 2.0)
    """
    check_band("grad", grad)
    _check_act(act)
    for name, tensor in (("value", value), ("out", out)):
        if tensor is not None:
            check_like(name, tensor, grad)
    if act == "leaky_relu" and not slope > 0:
        raise ValueError(
            f"slope: got {slope}, expected a number above 0: else the output does not tell the side"
        )
    if sums is not None:
        _check_sums(sums, grad)
    grad, value = grad.detach(), value.detach()
    if act == "none":
        value = grad
        if sums is None:
            return into(out, grad)
    channels_last = native_format(grad, value, out)
    if channels_last is None or (sums is not None and not sums.is_contiguous()):
        result = _act_gate_torch(grad, value, act, slope)
        if sums is not None:
            sums += result.sum(dim=(0, 2, 3), dtype=torch.float64)
        return into(out, result)
    alone = act == "none" and out is None
    target = grad if alone else target_for(out, grad, channels_last, grad, value)
    within = sums if grad.device.type == "cpu" else None
    _core.row_act_gate(grad, value, target, within, act, slope, channels_last, _arrays.stream_of(grad))
    if sums is not None and within is None:
        sums += target.sum(dim=(0, 2, 3), dtype=torch.float64)
    return grad if alone else into(out, target)


def _act_gate_torch(grad: Tensor, value: Tensor, act: str, slope: float) -> Tensor:
    if act == "leaky_relu":
        return torch.where(value > 0, grad, grad * slope)
    if act == "none":
        return grad
    shut = value <= 0 if act == "relu" else ~((value > 0) & (value < 6))
    return grad.masked_fill(shut, 0)


def move_rows(buffer: Tensor, source: int, target: int, count: int) -> None:
    """Move the rows [source, source + count) to [target, target + count); the ranges may overlap.

    Parameters
    ----------
    buffer : tensor, shape (N, C, H, W)
        Changed in place.
    source, target, count : int
        Rows.

    Examples
    --------
    >>> import torch
    >>> from fastwsi.streaming.row_kernels import move_rows
    >>> buffer = torch.arange(4.0).reshape(1, 1, 4, 1)
    >>> move_rows(buffer, 1, 0, 3)
    >>> buffer.flatten().tolist()
    [1.0, 2.0, 3.0, 3.0]
    """
    if buffer.dim() != 4:
        raise ValueError(f"buffer: got shape {tuple(buffer.shape)}, expected (N, C, H, W)")
    height = buffer.shape[2]
    if count < 0 or min(source, target) < 0 or max(source, target) + count > height:
        raise ValueError(
            f"source, target, count: got {source}, {target}, {count}, expected rows within {height}"
        )
    channels_last = native_format(buffer)
    if channels_last is None or buffer.device.type != "cpu":
        buffer[:, :, target : target + count] = buffer[:, :, source : source + count].clone()
    else:
        _core.move_rows(buffer.detach(), source, target, count, channels_last)
        _arrays.mark_written(buffer)


def _across(terms: Tensor) -> Tensor:
    return terms[:, None, None]


def _check_act(act: str) -> None:
    if act not in _ACTS:
        raise ValueError(f"act: got {act!r}, expected one of {', '.join(_ACTS)}")


def _check_terms(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> None:
    if (scale is None) != (shift is None):
        raise ValueError("scale and shift: got one of them, expected both or neither")
    dtypes = (x.dtype,) if x.dtype in NATIVE else (x.dtype, torch.float32)
    for name, terms in (("scale", scale), ("shift", shift)):
        if terms is None:
            continue
        if terms.shape != x.shape[1:2] or terms.dtype not in dtypes or terms.device != x.device:
            raise ValueError(
                f"{name}: got {words(terms)}, expected {dtypes[-1]} ({x.shape[1]},) on {x.device}"
            )


def _check_sums(sums: Tensor, grad: Tensor) -> None:
    if sums.shape != grad.shape[1:2] or sums.dtype != torch.float64 or sums.device != grad.device:
        raise ValueError(
            f"sums: got {words(sums)}, expected torch.float64 ({grad.shape[1]},) on {grad.device}"
        )
