"""Patches to network input in one pass: crop, orientation, colour, noise, scaling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi import _arrays, _core
from fastwsi.kernels.patch_params import PatchParams, set_crops

if TYPE_CHECKING:
    from fastwsi._arrays import Array

_SMALLEST_STD = 1e-30  # whose inverse float32 still holds
_DTYPES = ("float32", "float16", "bfloat16", "uint8")


def augment_patches(
    images: Array | Sequence[Array],
    params: PatchParams | None = None,
    out: Array | None = None,
    *,
    size: tuple[int, int] | None = None,
    dtype: Any = None,
    mean: Any = None,
    std: Any = None,
    layout: Literal["NCHW", "NHWC"] = "NCHW",
) -> Array:
    """Cut patches from images, vary them, and scale them to a network's input, reading each pixel once.

    Parameters
    ----------
    images : uint8 array, shape (batch, height, width, 3), or a sequence of such images
        RGB pixels in any memory layout. In a sequence, sizes may differ: views into slides, say.
    params : PatchParams, optional
        What is done to each image; without it, nothing but the crop and the scaling. Under torch.compile,
        made outside of what is compiled: parameters made inside become constants of the graph.
    out : array, optional
        Where to write, in memory of its own; its dtype is the dtype asked for.
    size : (width, height), optional
        Of the patches that come out. Where an image's orientation is odd, its crop has width and height
        exchanged. Without ``params.origin`` the crop is the centre. By default the images' own size.
    dtype : "float32", "float16", "bfloat16" or "uint8", optional
        float32 by default. bfloat16 needs torch. uint8 gives 255 times the clipped value, rounded.
    mean, std : three floats, or three per image, optional
        For the float dtypes the result is (x - mean) / std with x in [0, 1]; 0 and 1 without them.
    layout : "NCHW" or "NHWC"
        Where the channels stand in the result.

    Returns
    -------
    array
        ``out``, or a new one, on the images' device: shape (batch, 3, height, width) or
        (batch, height, width, 3). On a GPU the work is queued on the current stream and nothing waits for
        it. No gradient flows: the input is 8-bit. float32 values are within 1e-5 of exact arithmetic
        (before ``std``) for factors up to some 3, but for pixels that ``contrast_first`` makes nearly grey
        where ``saturation_add`` then colours them: their hue hangs on a difference of nearly equal numbers;
        with ``lch_mul``, within 3e-5, as sRGB is steep near black.
        Results do not depend on the number of threads.

    Examples
    --------
    >>> slide = np.random.default_rng(0).integers(90, 250, (600, 800, 3), np.uint8)
    >>> views = [slide[:307, :307], slide[200:507, 400:707]]
    >>> params = fastwsi.kernels.PatchParams(
    ...     origin=[(0, 8), (3, 4)], orientation=[6, 1], brightness_add=[0.1, -0.2],
    ...     saturation_mul=[1.2, 0.8], hue=[0.02, -0.01], contrast=[1.3, 0.9])
    >>> batch = fastwsi.kernels.augment_patches(views, params, size=(299, 299), mean=[0.5] * 3, std=[0.5] * 3)
    >>> batch.shape, batch.dtype.name, bool(abs(batch).max() <= 1)
    ((2, 3, 299, 299), 'float32', True)
    """
    if params is not None and not isinstance(params, PatchParams):
        raise TypeError(f"params: got {type(params).__name__}, expected PatchParams")
    given: Any = images
    if not hasattr(given, "shape"):
        given = _checked_list(given)
    if _arrays.is_compiling():
        _arrays.refuse_out(out)
        _sizes(given)
        chosen = _arrays.output_dtype(None, dtype, given, _DTYPES)
        patches_shape(0, 1, 1, layout)
        from fastwsi.kernels.augment_torch_ops import augment_patches_in_graph  # noqa: PLC0415

        return augment_patches_in_graph(given, params, size, chosen, mean, std, layout)  # type: ignore[return-value]
    return augment_patches_forward(given, params, out, size, dtype, mean, std, layout)  # type: ignore[no-any-return]


def augment_patches_forward(
    given: Any,
    params: PatchParams | None,
    out: Any,
    size: tuple[int, int] | None,
    dtype: Any,
    mean: Any,
    std: Any,
    layout: str,
) -> Any:
    """Check the rest, and run the kernel: on an array, or on a checked list of them."""
    if params is None:
        params = PatchParams()
    sizes = _sizes(given)
    first = given[0] if isinstance(given, list) else given
    chosen = _arrays.output_dtype(out, dtype, first, _DTYPES)
    scale, shift = plane_scale(mean, std, chosen, len(sizes))
    table = params.table(len(sizes), scale, shift)
    empty = (0, 0) if isinstance(given, list) else (given.shape[2], given.shape[1])
    width, height = _place_crops(table, params, sizes, size, empty)
    shape = patches_shape(len(sizes), height, width, layout)
    target: Any = out
    if target is None:
        target = _arrays.empty(first, shape, chosen)
    elif tuple(target.shape) != shape:
        raise ValueError(f"out: got shape {tuple(target.shape)}, expected {shape}")
    augment_into(given, target, table, layout)
    _arrays.mark_written(out)
    return target


def augment_into(images: Any, out: Any, table: np.ndarray[Any, np.dtype[np.float64]], layout: str) -> None:
    """Run the kernel on checked arguments."""
    workspace = None
    height, width = (out.shape[2:4]) if layout == "NCHW" else (out.shape[1:3])
    if _arrays.is_gpu(out):
        size = _core.augment_patches_workspace(len(table), height, width)
        workspace = _arrays.empty(out, (size,), "float64")
    stream = _arrays.stream_of(out)
    _core.augment_patches(images, _arrays.plain(out), layout == "NCHW", table, workspace, stream)


def patches_shape(count: int, height: int, width: int, layout: str) -> tuple[int, ...]:
    """Return the result's shape.

    Examples
    --------
    >>> patches_shape(8, 64, 48, "NCHW"), patches_shape(8, 64, 48, "NHWC")
    ((8, 3, 64, 48), (8, 64, 48, 3))
    """
    if layout == "NCHW":
        return (count, 3, height, width)
    if layout == "NHWC":
        return (count, height, width, 3)
    raise ValueError(f"layout: got {layout!r}, expected 'NCHW' or 'NHWC'")


def plane_scale(mean: Any, std: Any, dtype: str, count: int) -> tuple[Any, Any]:
    """Return what a value in [0, 1] is multiplied with and what is added: (3,) or (count, 3) each.

    Examples
    --------
    >>> [v.tolist() for v in plane_scale([0.5] * 3, [0.25] * 3, "float32", 1)]
    [[4.0, 4.0, 4.0], [-2.0, -2.0, -2.0]]
    """
    if dtype == "uint8" and (mean is not None or std is not None):
        raise ValueError("mean and std: not for uint8 output; ask for a float dtype")
    means, stds = _threes(mean, 0.0, "mean", count), _threes(std, 1.0, "std", count)
    for i, row in enumerate(np.atleast_2d(stds)):
        if not (row > _SMALLEST_STD).all():
            where = f"image {i}: " if stds.ndim == 2 else ""
            raise ValueError(
                f"{where}std: got {row.tolist()}, expected positive numbers above {_SMALLEST_STD}"
            )
    return 1 / stds, -means / stds


def _threes(values: Any, default: float, name: str, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    if values is None:
        return np.full(3, default)
    if hasattr(values, "detach"):
        values = values.detach()
    try:
        array = np.asarray(values, np.float64)
    except ValueError:
        kind = TypeError if isinstance(values, str) else ValueError  # a ragged list is a ValueError
        raise kind(f"{name}: got {values!r}, expected three numbers, or three per image") from None
    except TypeError:
        raise TypeError(f"{name}: got {values!r}, expected three numbers, or three per image") from None
    if count == 0 and array.size == 0:
        return array.reshape(0, 3)
    if array.shape not in ((3,), (count, 3)):
        raise ValueError(
            f"{name}: got {values!r}, expected three numbers, or three for each of {count} images"
        )
    for i, row in enumerate(np.atleast_2d(array)):
        if not np.isfinite(row).all():
            where = f"image {i}: " if array.ndim == 2 else ""
            raise ValueError(f"{where}{name}: got {row.tolist()}, expected three finite numbers")
    return array


def _checked_list(images: Sequence[Any]) -> list[Any]:
    """Return a sequence of images as a list of one framework's arrays."""
    if not isinstance(images, Sequence) or isinstance(images, str | bytes):
        raise TypeError(
            f"images: got {type(images).__name__}, expected a uint8 array (batch, height, width, 3) "
            "or a sequence of arrays (height, width, 3)"
        )
    if not images:
        raise ValueError("images: got an empty sequence, expected images, or an array (0, height, width, 3)")
    framework = _arrays.framework_of(images[0], "image 0")
    for i, image in enumerate(images):
        if _arrays.framework_of(image, f"image {i}") != framework:
            raise TypeError(
                f"image {i}: got a {_arrays.framework_of(image, 'image')} array, expected a {framework} one, "
                "as image 0 is"
            )
        _check_pixels(image, f"image {i}", 3, "(height, width, 3)")
    return list(images)


def _check_pixels(image: Any, name: str, ndim: int, expected: str) -> None:
    if _arrays.dtype_name(image) != "uint8":
        raise TypeError(f"{name}: got dtype {_arrays.dtype_name(image)}, expected uint8")
    if len(image.shape) != ndim or image.shape[-1] != 3:
        raise ValueError(f"{name}: got shape {tuple(image.shape)}, expected {expected}")


def patch_sizes(images: Any) -> list[tuple[int, int]]:
    """Check a batch or a sequence of images; return (width, height) of each.

    Examples
    --------
    >>> patch_sizes(np.zeros((2, 10, 20, 3), np.uint8))
    [(20, 10), (20, 10)]
    """
    return _sizes(images if hasattr(images, "shape") else _checked_list(images))


def _sizes(images: Any) -> list[tuple[int, int]]:
    """Return (width, height) of each image."""
    if isinstance(images, list):
        return [(image.shape[1], image.shape[0]) for image in images]
    _arrays.framework_of(images, "images")
    _check_pixels(images, "images", 4, "(batch, height, width, 3)")
    return [(images.shape[2], images.shape[1])] * images.shape[0]


def _place_crops(
    table: np.ndarray[Any, np.dtype[np.float64]],
    params: PatchParams,
    sizes: list[tuple[int, int]],
    size: tuple[int, int] | None,
    empty: tuple[int, int],
) -> tuple[int, int]:
    """Write the crops' corners into the table, checked; return the patches' (width, height).

    ``empty``: what it is without images and without ``size``.
    """
    count = len(sizes)
    orientations = _each(params.orientation, 0, count)
    if size is None:
        if params.origin is not None:
            raise ValueError("size: got None with params.origin, expected (width, height) of the crops")
        wanted = _common_size(sizes or [empty], orientations or _each(params.orientation or 0, 0, 1))
    else:
        wanted = _checked_size(size)
    origins = params.origin
    if origins and not isinstance(origins[0], tuple):
        origins = (origins,) * count
    corners = []
    for i, (width, height) in enumerate(sizes):
        w, h = wanted if orientations[i] % 2 == 0 else wanted[::-1]
        x, y = ((width - w) // 2, (height - h) // 2) if origins is None else origins[i]
        if x < 0 or y < 0 or x + w > width or y + h > height:
            raise ValueError(
                f"image {i}: crop: got {w} x {h} pixels from ({x}, {y}), "
                f"expected to lie within the image's {width} x {height}"
            )
        corners.append((x, y))
    set_crops(table, corners)
    return wanted


def _each(value: Any, default: int, count: int) -> Sequence[int]:
    if isinstance(value, tuple):
        return value
    return (default if value is None else value,) * count


def _common_size(sizes: list[tuple[int, int]], orientations: Sequence[int]) -> tuple[int, int]:
    """Return the size that all images have once they are oriented."""
    turned = [s if k % 2 == 0 else s[::-1] for s, k in zip(sizes, orientations, strict=True)]
    for i, (width, height) in enumerate(turned):
        if (width, height) != turned[0]:
            raise ValueError(
                f"image {i}: got {width} x {height} pixels{' once oriented' if any(orientations) else ''}, "
                f"expected {turned[0][0]} x {turned[0][1]}, as image 0 has; pass size=(width, height) to crop"
            )
    return turned[0]


def _checked_size(size: Any) -> tuple[int, int]:
    if not isinstance(size, Sequence) or len(size) != 2:
        raise ValueError(f"size: got {size!r}, expected (width, height)")
    for value in size:
        if not hasattr(value, "__index__") or isinstance(value, bool) or value < 1:
            raise ValueError(f"size: got {size!r}, expected (width, height), whole numbers of at least 1")
    return int(size[0]), int(size[1])
