"""Tiles laid on a heatmap one by one or in batches: the sums under `Stitcher`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _arrays, _core, _devices, _numbers
from fastwsi.kernels.graph_breaks import outside_graphs

if TYPE_CHECKING:
    from fastwsi._arrays import Array

TILE_DTYPES = ("float32", "float16", "bfloat16", "float64")
HEATMAP_DTYPES = ("float32", "float16")
MODES = ("mean", "max")


@outside_graphs
def accumulate(
    state: Array,
    count: Array,
    tiles: Array,
    x: int | Sequence[int],
    y: int | Sequence[int],
    *,
    mode: str = "mean",
) -> None:
    """Lay tiles on a heatmap, in place: add them to its sums, or keep the maximum.

    Parameters
    ----------
    state : float64 array, shape (2, height, width) or (2, channels, height, width)
        For "mean": the sum over each cell and its rounding error, zeros at first. For "max": a float32 or
        float64 array without the first axis; what it holds at first is of no matter. Written in place.
    count : int32 array, shape (height, width)
        Tiles over each cell, zeros at first. Written in place. In both the columns must lie side by side.
    tiles : float32, float16, bfloat16 or float64 array, shape (h, w) or (batch, h, w)
        (channels, h, w) or (batch, channels, h, w) where the state has channels. In any memory layout; what
        hangs over the heatmap's borders is dropped.
    x, y : int, or one for each tile of a batch
        Column and row of the tile's top left cell. No tile may lie wholly outside.
    mode : "mean" or "max"
        NaN gives NaN in both. Of -0 and 0 the maximum is 0.

    Notes
    -----
    Sum and error together are exact where the values of a cell lie within a factor of 2^60 of each other
    (float64 tiles: of 2^30) and no sum of some of them passes 1.8e308, for up to 4096 tiles over it; the
    order of the tiles then has no influence.
    On a GPU this only queues work on the current stream. Not for two threads at once on one state.

    Examples
    --------
    >>> state, count = np.zeros((2, 2, 3)), np.zeros((2, 3), np.int32)
    >>> tiles = np.array([[[1, 2]], [[5, 6]]], np.float32)
    >>> fastwsi.kernels.accumulate(state, count, tiles, [0, 1], [0, 0])
    >>> state[0].tolist(), count.tolist()
    ([[1.0, 7.0, 6.0], [0.0, 0.0, 0.0]], [[1, 2, 1], [0, 0, 0]])
    """
    maximum = is_maximum(mode)
    channels = _check_state(state, count, maximum)
    for array, name in ((state, "state"), (count, "count")):
        _check_plain(array, name)
    height, width = count.shape  # type: ignore[attr-defined]
    batch = _check_tiles(tiles, state, channels)
    single = len(batch.shape) != len(tiles.shape)  # type: ignore[attr-defined]
    lefts = _positions(x, "x", None if single else batch.shape[0])
    tops = _positions(y, "y", None if single else batch.shape[0])
    _check_inside(lefts, tops, batch.shape[-1], batch.shape[-2], width, height)
    _core.accumulate(state, count, batch, lefts, tops, maximum, _arrays.stream_of(state))
    _arrays.mark_written(state)
    _arrays.mark_written(count)


@outside_graphs
def average(
    state: Array, count: Array, out: Array | None = None, dtype: str = "float32", empty: float = 0.0
) -> Array:
    """Return the heatmap of the sums that `accumulate` made: the mean of the tiles over each cell.

    Parameters
    ----------
    state : float64 array, shape (2, height, width) or (2, channels, height, width)
        Sums and their rounding errors.
    count : int32 array, shape (height, width)
        Tiles over each cell.
    out : float32 or float16 array, shape (height, width) or (channels, height, width), optional
        Where to write, in any memory layout; a memory-mapped file, for one.
    dtype : "float32" or "float16"
        Of a new heatmap; ``out`` brings its own. Means are float64, rounded once.
    empty : float
        The value of cells without a tile.

    Returns
    -------
    array
        ``out``, or a new array.

    Examples
    --------
    >>> state, count = np.zeros((2, 1, 3)), np.zeros((1, 3), np.int32)
    >>> tiles = np.array([[[1, 2]], [[5, 6]]], np.float32)
    >>> fastwsi.kernels.accumulate(state, count, tiles, [-1, 0], [0, 0])
    >>> fastwsi.kernels.average(state, count, empty=-1)
    array([[ 3.5,  6. , -1. ]], dtype=float32)
    """
    _check_state(state, count, maximum=False)
    shape = tuple(state.shape[1:])  # type: ignore[attr-defined]
    if out is None:
        out = _arrays.empty(state, shape, heatmap_dtype(dtype))
    return finish(state, count, out, shape, empty, maximum=False)  # type: ignore[no-any-return]


def finish(state: Any, count: Any, out: Any, shape: tuple[int, ...], empty: Any, *, maximum: bool) -> Any:
    """Write the heatmap of a checked state of either mode into ``out``, which is checked here."""
    _devices.check_beside(out, state, "out", "state")
    _check_plain(out, "out")
    if _arrays.dtype_name(out) not in HEATMAP_DTYPES:
        raise TypeError(f"out: got dtype {_arrays.dtype_name(out)}, expected {' or '.join(HEATMAP_DTYPES)}")
    if tuple(out.shape) != shape:
        raise ValueError(f"out: got shape {tuple(out.shape)}, expected {shape}")
    _core.average(state, count, out, _numbers.real(empty, "empty"), maximum, _arrays.stream_of(state))
    _arrays.mark_written(out)
    return out


def is_maximum(mode: Any) -> bool:
    """Tell whether a mode is "max"; ValueError where it is neither."""
    if not isinstance(mode, str) or mode not in MODES:
        raise ValueError(f"mode: got {mode!r}, expected one of {', '.join(MODES)}")
    return mode == "max"


def heatmap_dtype(dtype: Any) -> str:
    """Return the name of a heatmap's dtype; TypeError where it can have none such."""
    name = _arrays.normalise_dtype(dtype, "dtype")
    if name not in HEATMAP_DTYPES:
        raise TypeError(f"dtype: got {name}, expected {' or '.join(HEATMAP_DTYPES)}")
    return name


def _check_plain(array: Any, name: str) -> None:
    """Raise for a torch tensor that must not be written behind autograd's back."""
    if getattr(array, "requires_grad", False) or (hasattr(array, "is_neg") and array.is_neg()):
        raise ValueError(
            f"{name}: got a tensor that requires grad or is a negative view, expected a plain one"
        )


def _check_state(state: Any, count: Any, maximum: bool) -> int | None:
    """Raise unless state and count belong together; return the number of channels, if there are any."""
    _arrays.framework_of(state, "state")
    _devices.check_beside(count, state, "count", "state")
    dtypes = ("float64", "float32") if maximum else ("float64",)
    if _arrays.dtype_name(state) not in dtypes:
        raise TypeError(f"state: got dtype {_arrays.dtype_name(state)}, expected {' or '.join(dtypes)}")
    if _arrays.dtype_name(count) != "int32":
        raise TypeError(f"count: got dtype {_arrays.dtype_name(count)}, expected int32")
    shape = tuple(state.shape)
    cells = shape if maximum else shape[1:]
    if len(cells) not in (2, 3) or not (maximum or shape[0] == 2) or 0 in cells[:-2]:
        pair = "" if maximum else "2, "
        raise ValueError(
            f"state: got shape {shape}, expected ({pair}height, width) or ({pair}channels, height, width)"
        )
    if tuple(count.shape) != cells[-2:]:
        raise ValueError(f"count: got shape {tuple(count.shape)}, expected {cells[-2:]} beside the state")
    return cells[0] if len(cells) == 3 else None


def _check_tiles(tiles: Any, state: Any, channels: int | None) -> Any:
    """Raise unless tiles suit the state; return them as a batch."""
    _arrays.check_dense(tiles, "tiles")
    _devices.check_beside(tiles, state, "tiles", "state")
    if _arrays.dtype_name(tiles) not in TILE_DTYPES:
        raise TypeError(
            f"tiles: got dtype {_arrays.dtype_name(tiles)}, expected one of {', '.join(TILE_DTYPES)}"
        )
    shape = tuple(tiles.shape)
    ndim = 2 if channels is None else 3
    if len(shape) not in (ndim, ndim + 1) or (channels is not None and shape[-3] != channels):
        one = "" if channels is None else f"{channels}, "
        raise ValueError(
            f"tiles: got shape {shape}, expected ({one}height, width) or (batch, {one}height, width)"
        )
    if 0 in shape[-2:]:
        raise ValueError(f"tiles: got shape {shape}, expected at least one cell each")
    tiles = _arrays.plain(tiles)
    return tiles[None] if len(shape) == ndim else tiles


def _positions(values: Any, name: str, batch: int | None) -> list[int]:
    """Return the positions of a batch, or of one tile where ``batch`` is None."""
    if type(values) is int and batch is None:
        return [values]
    if hasattr(values, "__cuda_array_interface__"):
        raise TypeError(f"{name}: got an array on a GPU, expected integers on the CPU, where they are needed")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name}: got {values!r}, expected integers") from None
    # numpy makes 1 of True among integers, and float64 of nothing.
    mixed = isinstance(values, Sequence) and not {bool, np.bool_}.isdisjoint(map(type, values))
    if mixed or (array.dtype.kind not in "iu" and array.size):
        got = "bools" if mixed else array.dtype
        raise TypeError(f"{name}: got {got} of shape {array.shape}, expected integers")
    if batch is None:
        if array.ndim:
            raise ValueError(f"{name}: got shape {array.shape}, expected one integer for one tile")
        return [int(array)]
    if array.shape != (batch,):
        raise ValueError(f"{name}: got shape {array.shape}, expected ({batch},), one for each tile")
    return array.tolist()  # type: ignore[no-any-return]


def _check_inside(
    lefts: list[int], tops: list[int], tile_width: int, tile_height: int, width: int, height: int
) -> None:
    if not lefts:
        return
    if min(lefts) > -tile_width and max(lefts) < width and min(tops) > -tile_height and max(tops) < height:
        return
    for i, (left, top) in enumerate(zip(lefts, tops, strict=True)):
        if not (-tile_width < left < width and -tile_height < top < height):
            raise ValueError(
                f"x and y: got ({left}, {top}) for tile {i} of {tile_width} x {tile_height} cells, which is "
                f"wholly outside; expected some of it on the heatmap of {width} x {height}"
            )
