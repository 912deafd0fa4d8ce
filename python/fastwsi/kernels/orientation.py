"""The eight orientations of a picture: turning it, and averaging what a network says of all eight."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastwsi import _arrays, _core

if TYPE_CHECKING:
    from fastwsi._arrays import Array

_MEAN_DTYPES = ("float32", "float16", "bfloat16", "float64")
_NO_PLANE = (-1, -1)


def orient(
    images: Array,
    k: int | Sequence[int],
    out: Array | None = None,
    *,
    inverse: bool = False,
    axes: tuple[int, int] = (-3, -2),
) -> Array:
    """Turn and mirror images, or maps and masks in step with them: one of eight orientations.

    Orientation k flips left-right first where k is 4 or more, then turns k % 4 quarters counter-clockwise:
    ``np.rot90(x if k < 4 else x[:, ::-1], k % 4)``. Odd k exchange height and width.

    Parameters
    ----------
    images : array of any dtype, shape (..., height, width, channels) with the default ``axes``
        In any memory layout: images, masks, maps of features.
    k : int, or one for each image along the first axis
        0 to 7. Where images are not square, orientations of one batch are all odd or all even.
    out : array like the result, optional
        Where to write, in memory of its own. Not while autograd records.
    inverse : bool
        Undo ``orient(..., k)`` instead.
    axes : (int, int)
        The axes of rows and columns; (-2, -1) for (..., height, width).

    Returns
    -------
    array
        ``out``, or a new C-contiguous array of the same dtype; a copy for k = 0, too. Differentiable in
        images, any number of times.

    Examples
    --------
    >>> image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    >>> fastwsi.kernels.orient(image, 1)[..., 0].tolist()
    [[2, 5], [1, 4], [0, 3]]
    >>> batch = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    >>> turned = fastwsi.kernels.orient(batch, [1, 0, 6])
    >>> np.array_equal(fastwsi.kernels.orient(turned, [1, 0, 6], inverse=True), batch)
    True
    """
    framework = _arrays.framework_of(images, "images")
    rows, columns = _plane_axes(axes, len(images.shape))  # type: ignore[attr-defined]
    orientations = _orientations(k, images, rows, columns)
    if inverse:
        orientations = [_inverse(each) for each in orientations]
    if framework == "torch":
        if _arrays.is_compiling():
            _refuse_out(out, "under torch.compile")
            from fastwsi.kernels.orientation_torch_ops import orient_op  # noqa: PLC0415

            return orient_op(images, orientations, rows, columns)  # type: ignore[no-any-return]
        if _is_differentiable(images) and _arrays.wants_grad(images):
            _refuse_out(out, "for a tensor that requires grad")
            from fastwsi.kernels.orientation_torch_ops import Orient  # noqa: PLC0415

            return Orient.apply(images, orientations, rows, columns)  # type: ignore[no-any-return, no-untyped-call]
    return orient_forward(images, orientations, rows, columns, out)  # type: ignore[no-any-return]


def orient_mean(predictions: Array | Sequence[Array], *, axes: tuple[int, int] | None = None) -> Array:
    """Average what a network says of the eight orientations of a picture (test-time augmentation).

    Parameters
    ----------
    predictions : float32, float16, bfloat16 or float64 array, shape (8, ...), or a sequence of 8 arrays
        ``predictions[k]`` is the network's answer to ``orient(image, k)``. A sequence where the picture is
        not square, and so the maps of odd k have height and width exchanged.
    axes : (int, int), optional
        The axes of rows and columns in one prediction, for maps: each is taken back by the inverse of its
        orientation before it is averaged. None for vectors of probabilities or features.

    Returns
    -------
    array
        A new C-contiguous array of the shape of ``predictions[0]``. 16-bit types are summed in float32 and
        rounded once; the same bits come for any number of threads. Differentiable.

    Examples
    --------
    >>> likelihoods = np.linspace(0, 1, 16, dtype=np.float32).reshape(8, 2)
    >>> fastwsi.kernels.orient_mean(likelihoods).round(3)
    array([0.467, 0.533], dtype=float32)
    >>> image = np.random.default_rng(0).random((4, 6), np.float32)
    >>> maps = [2 * fastwsi.kernels.orient(image, k, axes=(-2, -1)) for k in range(8)]
    >>> np.allclose(fastwsi.kernels.orient_mean(maps, axes=(-2, -1)), 2 * image)
    True
    """
    arrays = _eight(predictions)
    first: Any = arrays[0]
    rows, columns = _NO_PLANE if axes is None else _plane_axes(axes, len(first.shape))
    framework = _check_predictions(arrays, rows, columns)
    if framework == "torch":
        if _arrays.is_compiling():
            from fastwsi.kernels.orientation_torch_ops import orient_mean_op  # noqa: PLC0415

            return orient_mean_op(arrays, rows, columns)  # type: ignore[no-any-return]
        if any(_arrays.wants_grad(array) for array in arrays):
            from fastwsi.kernels.orientation_torch_ops import OrientMean  # noqa: PLC0415

            return OrientMean.apply(rows, columns, *arrays)  # type: ignore[no-any-return, no-untyped-call]
    return orient_mean_forward(arrays, rows, columns)  # type: ignore[no-any-return]


def inverse_orientation(k: int) -> int:
    """Return the orientation that takes a picture back from orientation k.

    Parameters
    ----------
    k : int
        0 to 7.

    Returns
    -------
    int
        Quarter turns are undone by turning the rest of the way; mirrored orientations undo themselves.

    Examples
    --------
    >>> [fastwsi.kernels.inverse_orientation(k) for k in range(8)]
    [0, 3, 2, 1, 4, 5, 6, 7]
    """
    return _inverse(_orientation(k, "k"))


def oriented_shape(shape: Sequence[int], orientations: Sequence[int], rows: int, columns: int) -> list[int]:
    """Return the shape of images after orientations that are all odd or all even, unless they are square.

    Examples
    --------
    >>> oriented_shape((8, 64, 48, 3), [5], 1, 2)
    [8, 48, 64, 3]
    """
    result = list(shape)
    if orientations and orientations[0] % 2:
        result[rows], result[columns] = result[columns], result[rows]
    return result


def orient_forward(images: Any, orientations: list[int], rows: int, columns: int, out: Any = None) -> Any:
    """Run the kernel on checked arguments, without autograd."""
    shape = oriented_shape(images.shape, orientations, rows, columns)
    source = _arrays.carrier(images, "images")
    given = out
    if out is None:
        out = _arrays.empty_as(images, shape)
    else:
        _check_out(out, images, shape)
    _core.orient(
        _arrays.plain(source),
        _arrays.plain(_arrays.carrier(out, "out")),
        orientations,
        rows,
        columns,
        _arrays.stream_of(images),
    )
    if given is not None:
        _arrays.mark_written(given)
    return out


def orient_mean_forward(arrays: list[Any], rows: int, columns: int) -> Any:
    """Run the kernel on checked arguments, without autograd."""
    out = _arrays.empty_as(arrays[0], arrays[0].shape)
    _core.orient_mean(list(map(_arrays.plain, arrays)), out, rows, columns, _arrays.stream_of(arrays[0]))
    return out


def _inverse(k: int) -> int:
    return (4 - k) % 4 if k < 4 else k


def _refuse_out(out: Any, when: str) -> None:
    if out is not None:
        raise ValueError(f"out: not supported {when}; leave it out")


def _is_differentiable(tensor: Any) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


def _integer(value: Any) -> int | None:
    """Return an integer of any framework as int, None for anything else; True and False are no integers."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    try:
        return operator.index(value)
    except TypeError:
        return None


def _as_python(value: Any) -> Any:
    """Return arrays and their scalars as Python's own, where booleans show what they are."""
    plain = isinstance(value, int)  # asked first: torch's compiler knows no attributes of a symbolic one
    return value.tolist() if not plain and hasattr(value, "tolist") else value


def _orientation(value: Any, name: str) -> int:
    value = _as_python(value)
    k = _integer(value)
    if k is None:
        raise TypeError(f"{name}: got {value!r}, expected an integer from 0 to 7")
    if not 0 <= k <= 7:
        raise ValueError(f"{name}: got {k}, expected 0 to 7")
    return k


def _orientations(k: Any, images: Any, rows: int, columns: int) -> list[int]:
    """Return one orientation for all images, or one for each along the first axis."""
    k = _as_python(k)
    if isinstance(k, str) or not isinstance(k, Sequence):
        return [_orientation(k, "k")]
    shape = tuple(images.shape)
    if len(shape) < 3 or 0 in (rows, columns):
        raise ValueError(
            f"k: got a sequence for images of shape {shape} with axes {(rows, columns)}, expected one "
            "integer, or images along a first axis that is neither rows nor columns"
        )
    if len(k) != shape[0]:
        raise ValueError(
            f"k: got {len(k)} orientations for images of shape {shape}, expected one, or {shape[0]}, one "
            "for each image"
        )
    orientations = [_orientation(each, f"k[{i}]") for i, each in enumerate(k)]
    if len(set(orientations)) == 1:
        return orientations[:1]
    if shape[rows] != shape[columns]:
        for i, each in enumerate(orientations):
            if each % 2 != orientations[0] % 2:
                raise ValueError(
                    f"k: got {each} for image {i} and {orientations[0]} for image 0, whose results differ in "
                    f"shape; expected all odd or all even where height and width are {shape[rows]} and "
                    f"{shape[columns]}"
                )
    return orientations


def _plane_axes(axes: Any, ndim: int) -> tuple[int, int]:
    """Return the axes of rows and columns, counted from the first."""
    wanted = [_integer(axis) for axis in axes] if isinstance(axes, Sequence) else []
    if len(wanted) != 2 or isinstance(axes, str) or None in wanted:
        raise TypeError(f"axes: got {axes!r}, expected two integers: the axes of rows and of columns")
    rows, columns = (axis + ndim if axis < 0 else axis for axis in wanted if axis is not None)
    if rows == columns or not (0 <= rows < ndim and 0 <= columns < ndim):
        raise ValueError(
            f"axes: got {tuple(axes)} for {ndim} dimensions, expected two different ones of them"
        )
    return rows, columns


def _check_out(out: Any, images: Any, shape: list[int]) -> None:
    _arrays.check_out(out, images)
    if _arrays.dtype_name(out) != _arrays.dtype_name(images):
        raise TypeError(
            f"out: got dtype {_arrays.dtype_name(out)}, expected {_arrays.dtype_name(images)}, as images has"
        )
    if list(out.shape) != shape:
        raise ValueError(f"out: got shape {tuple(out.shape)}, expected {tuple(shape)}, the oriented one")
    if hasattr(out, "is_conj") and out.is_conj():
        raise ValueError("out: got a conjugated view, expected a plain tensor")


def _eight(predictions: Any) -> list[Any]:
    if isinstance(predictions, Sequence):
        arrays = list(predictions)
    else:
        _arrays.framework_of(predictions, "predictions")
        if not len(predictions.shape):
            raise ValueError("predictions: got shape (), expected (8, ...)")
        if predictions.shape[0] != 8:
            raise ValueError(f"predictions: got shape {tuple(predictions.shape)}, expected (8, ...)")
        arrays = [predictions[i] for i in range(8)]
    if len(arrays) != 8:
        raise ValueError(f"predictions: got {len(arrays)}, expected 8, one for each orientation")
    return arrays


def _check_predictions(arrays: list[Any], rows: int, columns: int) -> str:
    """Raise what is wrong, with the index of the prediction; return the framework of all."""
    framework = _arrays.framework_of(arrays[0], "predictions[0]")
    dtype = _arrays.dtype_name(arrays[0])
    if dtype not in _MEAN_DTYPES:
        raise TypeError(f"predictions: got dtype {dtype}, expected one of {', '.join(_MEAN_DTYPES)}")
    shape = list(arrays[0].shape)
    for i, array in enumerate(arrays):
        other = _arrays.framework_of(array, f"predictions[{i}]")
        if other != framework:
            raise TypeError(f"predictions[{i}]: got a {other} array, expected a {framework} one, as [0] is")
        if _arrays.dtype_name(array) != dtype:
            raise TypeError(
                f"predictions[{i}]: got dtype {_arrays.dtype_name(array)}, expected {dtype}, as [0] has"
            )
        expected = shape if rows < 0 else oriented_shape(shape, [i], rows, columns)
        if list(array.shape) != expected:
            raise ValueError(
                f"predictions[{i}]: got shape {tuple(array.shape)}, expected {tuple(expected)}, that of "
                f"orientation {i} where [0] has {tuple(shape)}"
            )
        if framework != "numpy" and array.device != arrays[0].device:
            raise ValueError(
                f"predictions[{i}]: got an array on {array.device}, expected {arrays[0].device}, where [0] is"
            )
    return framework
