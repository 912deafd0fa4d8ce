"""Average pooling with large, densely overlapping windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastwsi import _arrays, _core, _layout, _numbers

if TYPE_CHECKING:
    from fastwsi._arrays import Array

_DTYPES = ("float32", "float16", "bfloat16", "float64")


def dense_pool(x: Array, window: int | Sequence[int], stride: int | Sequence[int]) -> Array:
    """Return the mean of every window, at a cost per input value that does not grow with the window.

    The same as ``torch.nn.functional.avg_pool2d(x, window, stride)``, which adds up each window anew and so
    takes window² / stride² as long.

    Parameters
    ----------
    x : float32, float16, bfloat16 or float64 array, shape (..., height, width)
        At least two dimensions, in any memory layout (channels last is as fast).
    window : int or (int, int)
        Height and width of a window in cells, at most the input's.
    stride : int or (int, int)
        Cells from one window to the next, down and across. Rows and columns that no whole window reaches
        are left out.

    Returns
    -------
    array
        Shape (..., (height - window) // stride + 1, (width - window) // stride + 1), the dtype and memory
        order of x. Sums are taken in float64 and no value is ever subtracted again: a result is off by no
        more than its own rounding, whatever lies in other windows, and a NaN or infinity touches exactly
        the windows that hold it. The bits depend neither on the threads nor on the batch. On a GPU the work
        is queued on the current stream. Differentiable any number of times.

    Examples
    --------
    >>> x = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    >>> fastwsi.kernels.dense_pool(x, window=4, stride=2)[0].tolist()
    [[13.5, 15.5, 17.5], [29.5, 31.5, 33.5], [45.5, 47.5, 49.5]]
    """
    framework = _arrays.framework_of(x, "x")
    windows, strides = pair(window, "window"), pair(stride, "stride")
    _check(x, windows)
    # Beyond the input there is no second window, and an int of any size may be one in Python alone.
    strides = [min(step, side) for step, side in zip(strides, x.shape[-2:], strict=True)]  # type: ignore[attr-defined]
    if framework == "torch":
        if _arrays.is_compiling():
            from fastwsi.kernels.pooling_torch_ops import dense_pool_op  # noqa: PLC0415

            return dense_pool_op(x, windows, strides)  # type: ignore[no-any-return]
        if _arrays.wants_grad(x):
            from fastwsi.kernels.pooling_torch_ops import DensePool  # noqa: PLC0415

            return DensePool.apply(x, windows, strides)  # type: ignore[no-any-return, no-untyped-call]
    return dense_pool_forward(x, windows, strides)  # type: ignore[no-any-return]


def dense_pool_forward(x: Any, window: Sequence[int], stride: Sequence[int]) -> Any:
    """Run the kernel on checked arguments, without autograd."""
    out = _layout.empty_in_order(x, pooled_shape(x.shape, window, stride), _layout.memory_order(x))
    scratch = _scratch(x, x.shape, window, stride, backward=False)
    _core.dense_pool(_arrays.plain(x), out, window, stride, scratch, _arrays.stream_of(x))
    return out


def dense_pool_backward(
    grad: Any, shape: Sequence[int], order: Sequence[int], window: Sequence[int], stride: Sequence[int]
) -> Any:
    """Return the gradient of an input of this shape and memory order, from that of the output."""
    out = _layout.empty_in_order(grad, shape, order)
    scratch = _scratch(grad, shape, window, stride, backward=True)
    _core.dense_pool_backward(_arrays.plain(grad), out, window, stride, scratch, _arrays.stream_of(grad))
    return out


def pooled_shape(shape: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Return the shape of the result for an input of this shape."""
    sides = zip(shape[-2:], window, stride, strict=True)
    return [*shape[:-2], *((side - w) // s + 1 for side, w, s in sides)]


def pair(value: int | Sequence[int], name: str) -> list[int]:
    """Return a number for both directions, or two, as two; errors name the argument."""
    given = value if isinstance(value, Sequence) else (value, value)
    try:
        numbers = [_numbers.whole(v, name) for v in given]
    except TypeError:
        raise TypeError(f"{name}: got {value!r}, expected an integer or two, (height, width)") from None
    if len(numbers) != 2 or min(numbers) < 1:
        raise ValueError(f"{name}: got {value!r}, expected an integer of at least 1 or two, (height, width)")
    return numbers


def _scratch(
    like: Any, shape: Sequence[int], window: Sequence[int], stride: Sequence[int], *, backward: bool
) -> Any:
    if not _arrays.is_gpu(like):
        return None
    planes = math.prod(shape[:-2])
    size = _core.dense_pool_scratch(planes, list(shape[-2:]), window, stride, backward)
    return _arrays.empty(like, (size,), "float64")


def _check(x: Any, window: list[int]) -> None:
    dtype = _arrays.dtype_name(x)
    if dtype not in _DTYPES:
        raise TypeError(f"x: got dtype {dtype}, expected one of {', '.join(_DTYPES)}")
    if x.ndim < 2:
        raise ValueError(f"x: got shape {tuple(x.shape)}, expected (..., height, width)")
    height, width = x.shape[-2:]
    if window[0] > height or window[1] > width:
        raise ValueError(
            f"window: got ({window[0]}, {window[1]}) for an input of {height} x {width}, "
            "expected at most the input"
        )
