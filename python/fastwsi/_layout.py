"""In which order an array's dimensions lie in memory, and new arrays that keep to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastwsi import _arrays

if TYPE_CHECKING:
    from collections.abc import Sequence


def memory_order(array: Any) -> tuple[int, ...]:
    """Return an array's dimensions from the widest stride to the narrowest: (0, 2, 3, 1) for channels last.

    Examples
    --------
    >>> memory_order(np.zeros((2, 3, 4))), memory_order(np.zeros((2, 4, 5, 3)).transpose(0, 3, 1, 2))
    ((0, 1, 2), (0, 2, 3, 1))
    """
    strides = array.stride() if callable(getattr(array, "stride", None)) else array.strides
    # Along a dimension of one nothing is stepped, and a negative or repeated step tells no order.
    plain_order = any(strides[d] <= 0 for d in range(array.ndim) if array.shape[d] > 1)
    dimensions = range(array.ndim)
    return tuple(dimensions if plain_order else sorted(dimensions, key=lambda d: -strides[d]))


def empty_in_order(like: Any, shape: Sequence[int], order: Sequence[int]) -> Any:
    """Allocate a dense array beside ``like`` and of its dtype, with dimensions that lie in the given order.

    Examples
    --------
    >>> empty_in_order(np.zeros(1), (2, 3, 4, 5), (0, 2, 3, 1)).transpose(0, 2, 3, 1).flags.c_contiguous
    True
    """
    if hasattr(like, "new_empty_strided"):  # no view, which autograd would not let be overwritten
        strides, step = [0] * len(order), 1
        for d in reversed(order):
            strides[d] = step
            step *= shape[d]
        return like.new_empty_strided(tuple(shape), strides)
    laid_out = _arrays.empty_as(like, [shape[d] for d in order])
    back = [0] * len(order)
    for place, d in enumerate(order):
        back[d] = place
    return laid_out.transpose(back)
