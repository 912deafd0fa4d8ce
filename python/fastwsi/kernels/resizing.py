"""Pictures at another resolution."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from fastwsi import _arrays, _core, _numbers
from fastwsi.kernels.graph_breaks import outside_graphs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastwsi._arrays import Array

LARGEST_SCALE = 4095


@outside_graphs
def area_resize(
    image: Array,
    size: tuple[int, int],
    *,
    origin: tuple[float, float] = (0.0, 0.0),
    scale: tuple[float, float] | None = None,
    out: Array | None = None,
) -> Array:
    """Make pictures smaller by averaging, parts of pixels counted in part; or larger, linearly.

    Output pixel (i, j) is the mean of the input over the box of ``scale`` pixels whose corner is
    ``origin + (j, i) * scale``. Pieces of a large picture, each with the origin of its own boxes, are the
    same bits as the whole: arithmetic is in whole 4096ths of a pixel.

    Parameters
    ----------
    image : uint8 array, shape (..., height, width, channels) with 1 to 4 channels, or (height, width)
    size : (height, width)
        Of the result.
    origin : (x, y)
        Where the first box begins, in input pixels.
    scale : (x, y), optional
        Input pixels along a box, up to 4095; below 1 the result is interpolated linearly between the centres
        of pixels. Default: boxes share the whole image.
    out : uint8 array of the result's shape, optional
        Where to write, in memory of its own; its rows without gaps.

    Returns
    -------
    uint8 array, shape (..., *size, channels) or ``size``
        On the image's device. Not differentiable.

    Examples
    --------
    >>> image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    >>> fastwsi.kernels.area_resize(image, (2, 2)).tolist()
    [[3, 5], [11, 13]]
    >>> fastwsi.kernels.area_resize(image, (1, 2), origin=(0.5, 0), scale=(1.5, 1)).tolist()
    [[1, 2]]
    """
    _arrays.framework_of(image, "image")
    given: Any = image
    if _arrays.dtype_name(given) != "uint8":
        raise TypeError(f"image: got dtype {_arrays.dtype_name(given)}, expected uint8")
    shape = tuple(given.shape)
    if len(shape) < 2 or (len(shape) > 2 and not 1 <= shape[-1] <= 4):
        raise ValueError(
            f"image: got shape {shape}, expected (..., height, width, channels) or (height, width)"
        )
    height, width = shape if len(shape) == 2 else shape[-3:-1]
    rows, columns = _whole_pair(size, "size")
    result = (rows, columns) if len(shape) == 2 else (*shape[:-3], rows, columns, shape[-1])
    if (rows and columns) and not (height and width):
        raise ValueError(f"image: got shape {shape}, expected at least one pixel")
    left, top = _real_pair(origin, "origin")
    across, down = (
        (width / max(columns, 1), height / max(rows, 1)) if scale is None else _real_pair(scale, "scale")
    )
    if rows and columns:
        _check_boxes("x", width, columns, left, across)
        _check_boxes("y", height, rows, top, down)
    if out is None:
        target: Any = _arrays.empty(given, result, "uint8")
    else:
        _arrays.check_out(out, given)
        target = out
        kind = _arrays.dtype_name(target)
        if tuple(target.shape) != result or kind != "uint8":
            raise ValueError(f"out: got shape {tuple(target.shape)} of {kind}, expected {result} of uint8")
    for place in _places(shape[:-3]):
        _core.area_resize(
            _packed(given[place] if place else given),
            _picture(target[place] if place else target),
            (left, top),
            (across, down),
            _arrays.stream_of(given),
        )
    _arrays.mark_written(out)
    return target  # type: ignore[no-any-return]


def _check_boxes(axis: str, size: int, boxes: int, origin: float, scale: float) -> None:
    if not 0 < scale <= LARGEST_SCALE:
        raise ValueError(
            f"scale: got {scale:g} along {axis}, expected more than 0 and at most {LARGEST_SCALE}"
        )
    if origin < 0 or origin + boxes * scale > size + 1e-3:
        raise ValueError(
            f"origin, scale: got {boxes} boxes of {scale:g} from {origin:g} on along {axis}, expected them "
            f"within the image's {size} pixels"
        )


def _places(batch: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the index of every picture of a batch."""
    found: list[tuple[int, ...]] = [()]
    for size in batch:
        found = [(*place, i) for place in found for i in range(size)]
    return found


def _packed(image: Any) -> Any:
    """Return a picture with a channel axis and rows without gaps, in its own memory where it has those."""
    picture = _picture(image)
    if hasattr(picture, "is_contiguous"):
        return picture if picture[:1].is_contiguous() else picture.contiguous()
    if picture[:1].flags.c_contiguous:
        return picture
    return (sys.modules["cupy"] if _arrays.is_gpu(picture) else _numpy()).ascontiguousarray(picture)


def _picture(image: Any) -> Any:
    return image[..., None] if len(image.shape) == 2 else image


def _numpy() -> Any:
    return sys.modules["numpy"]


def _whole_pair(values: Any, name: str) -> tuple[int, int]:
    first, second = _pair(values, name)
    return _numbers.whole(first, name, 0), _numbers.whole(second, name, 0)


def _real_pair(values: Any, name: str) -> tuple[float, float]:
    first, second = _pair(values, name)
    return _numbers.finite(first, name), _numbers.finite(second, name)


def _pair(values: Any, name: str) -> tuple[Any, Any]:
    try:
        first, second = values
    except (TypeError, ValueError):
        raise TypeError(f"{name}: got {values!r}, expected two numbers") from None
    return first, second
