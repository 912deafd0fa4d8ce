"""Where bands of rows lie in memory, and whether native code can work there."""

from __future__ import annotations

import torch
from torch import Tensor

from fastwsi import _arrays, _core

NATIVE = (torch.float32, torch.float64)
_ON_GPUS = (*NATIVE, torch.float16, torch.bfloat16)


def formats_of(tensor: Tensor) -> set[bool]:
    """Return the formats that a tensor's lines are packed in, as values for ``channels_last``."""
    _, channels, _, width = tensor.shape
    _, plane, _, column = tensor.stride()
    rows = width < 2 or column == 1
    pixels = (channels < 2 or plane == 1) and (width < 2 or column == channels)
    return ({False} if rows else set()) | ({True} if pixels else set())


def native_format(*tensors: Tensor | None, index: Tensor | None = None) -> bool | None:
    """Return the value of ``channels_last`` for native code, None where torch has to do the work."""
    formats = {False, True}
    for tensor in tensors:
        if tensor is None:
            continue
        if not _known(tensor):
            return None
        formats &= formats_of(tensor)
    if index is not None:
        formats &= formats_of(index)
    if not formats or torch.compiler.is_compiling():
        return None
    return False not in formats


def _known(tensor: Tensor) -> bool:
    """Whether native code takes such tensors: wide floats on a CPU, floats on a GPU it was built for."""
    if tensor.is_neg() or type(tensor) is not Tensor:
        return False
    if tensor.device.type == "cpu":
        return tensor.dtype in NATIVE
    return tensor.device.type == "cuda" and bool(_core.cuda_runtime_version) and tensor.dtype in _ON_GPUS


def share_memory(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors lie in one storage, not whether they overlap there."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def same(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors of one shape are the same memory."""
    return a.data_ptr() == b.data_ptr() and a.stride() == b.stride()


def target_for(out: Tensor | None, like: Tensor, channels_last: bool, *inputs: Tensor | None) -> Tensor:
    """Return where native code writes: ``out``, unless it is part of an input's memory but not that input."""
    for tensor in inputs:
        if out is not None and tensor is not None and share_memory(out, tensor) and not same(out, tensor):
            out = None
    if out is not None:
        return out.detach()
    format_ = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(like.shape, dtype=like.dtype, device=like.device, memory_format=format_)


def into(out: Tensor | None, result: Tensor) -> Tensor:
    """Return ``out`` with the result in it, which may be there already; without it the result."""
    if out is None:
        return result
    if same(out, result):
        _arrays.mark_written(out)
    else:
        out.copy_(result)
    return out


def words(tensor: Tensor) -> str:
    """Return what errors say of a tensor."""
    return f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"


def check_band(name: str, tensor: Tensor) -> None:
    """ValueError or TypeError unless this is a band of rows of floats."""
    if tensor.dim() != 4:
        raise ValueError(f"{name}: got shape {tuple(tensor.shape)}, expected (N, C, H, W)")
    if not tensor.is_floating_point():
        raise TypeError(f"{name}: got dtype {tensor.dtype}, expected a floating one")


def check_like(name: str, tensor: Tensor, like: Tensor, shape: tuple[int, ...] | None = None) -> None:
    """ValueError unless dtype, device and shape are those of ``like``, or the shape is that given."""
    wanted = tuple(like.shape) if shape is None else shape
    if tuple(tensor.shape) != wanted or tensor.dtype != like.dtype or tensor.device != like.device:
        raise ValueError(f"{name}: got {words(tensor)}, expected {like.dtype} {wanted} on {like.device}")


def layout_of(x: Tensor) -> torch.memory_format:
    """Return the memory format that new rows beside these should have."""
    return torch.channels_last if x.shape[1] > 1 and x.stride(1) == 1 else torch.contiguous_format
