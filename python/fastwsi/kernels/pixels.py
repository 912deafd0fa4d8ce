"""Operations on the values of image batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastwsi import _arrays, _core

if TYPE_CHECKING:
    from fastwsi._arrays import Array

_DTYPES = ("float32", "float16", "bfloat16", "float64")


def scale_shift(x: Array, scale: Sequence[float], shift: Sequence[float], out: Array | None = None) -> Array:
    """Return x * scale[c] + shift[c] for each channel c: onto a network's input scale, or off it.

    Parameters
    ----------
    x : float32, float16, bfloat16 or float64 array, shape (batch, channels, ...)
        At most 16 channels, in any memory layout. 16-bit types are computed in float32 and rounded once.
    scale, shift : sequence of float
        One number per channel; constants, through which no gradient flows.
    out : array like x, optional
        Where to write; may be ``x`` itself. Not while autograd records.

    Returns
    -------
    array
        ``out``, or a new array. Differentiable in x, any number of times.

    Examples
    --------
    >>> x = np.ones((1, 3, 2, 2), np.float32)
    >>> fastwsi.kernels.scale_shift(x, [1, 2, 3], [0, 0, 1])[0, :, 0, 0].tolist()
    [1.0, 2.0, 4.0]
    """
    framework = _arrays.framework_of(x, "x")
    scales, shifts = _arrays.floats(scale, "scale"), _arrays.floats(shift, "shift")
    _check(x, scales, shifts)
    if framework == "torch":
        if _arrays.is_compiling():
            _refuse_out(out, "under torch.compile")
            from fastwsi.kernels.torch_ops import scale_shift_op  # noqa: PLC0415

            return scale_shift_op(x, scales, shifts)  # type: ignore[no-any-return]
        if _arrays.wants_grad(x):
            _refuse_out(out, "for a tensor that requires grad")
            from fastwsi.kernels.torch_ops import ScaleShift  # noqa: PLC0415

            return ScaleShift.apply(x, scales, shifts)  # type: ignore[no-any-return, no-untyped-call]
    return scale_shift_forward(x, scales, shifts, out)


def scale_shift_forward(x: Array, scale: list[float], shift: list[float], out: Array | None = None) -> Array:
    """Run the kernel on checked arguments, without autograd."""
    if out is None:
        fresh = _arrays.empty_like(x)
        _core.scale_shift(_arrays.plain(x), fresh, scale, shift, _arrays.stream_of(x))
        return fresh  # type: ignore[no-any-return]
    _arrays.check_out(out, x)
    _core.scale_shift(_arrays.plain(x), _arrays.plain(out), scale, shift, _arrays.stream_of(x))
    _arrays.mark_written(out)
    return out


def _refuse_out(out: Any, when: str) -> None:
    if out is not None:
        raise ValueError(f"out: not supported {when}; leave it out")


def _check(x: Any, scale: list[float], shift: list[float]) -> None:
    dtype = _arrays.dtype_name(x)
    if dtype not in _DTYPES:
        raise TypeError(f"x: got dtype {dtype}, expected one of {', '.join(_DTYPES)}")
    shape = x.shape
    if len(shape) < 2:
        raise ValueError(f"x: got shape {tuple(shape)}, expected (batch, channels, ...)")
    if len(scale) != shape[1] or len(shift) != shape[1]:
        raise ValueError(
            f"scale and shift: got {len(scale)} and {len(shift)} values, expected {shape[1]}, one per channel"
        )
