"""Resampling of large images, any band of the result at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi import _arrays, _core
from fastwsi.kernels.augment import plane_scale
from fastwsi.kernels.patch_params import PatchParams
from fastwsi.kernels.warp_boxes import Pair, WarpGeometry, check_source_holds, checked_pair

if TYPE_CHECKING:
    from fastwsi._arrays import Array

_DTYPES = ("uint8", "float32", "float16", "bfloat16")


def warp(
    source: Array,
    matrix: Any,
    displacement: Any = None,
    out: Array | None = None,
    *,
    size: Pair | None = None,
    rows: Pair | None = None,
    columns: Pair | None = None,
    origin: Pair = (0, 0),
    full_size: Pair | None = None,
    fill: int | Sequence[int] = 255,
    order: Literal[0, 1] = 1,
    upsampling: Literal["cubic", "linear"] = "cubic",
    colour: PatchParams | None = None,
    dtype: Any = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    layout: Literal["HWC", "CHW"] = "HWC",
) -> Array:
    """Rotate, scale, shear, move and bend an image, or compute just a band of the result.

    Output pixel (x, y) shows the source at ``matrix @ (x, y, 1) + displacement(x, y)``, where the centres of
    pixels are whole numbers (OpenCV's ``WARP_INVERSE_MAP``). Rows can be asked for in any pieces, from all of
    the source or from a rectangle of it, and are the same bit for bit: an image of any size passes through
    in bands without ever existing whole.

    Parameters
    ----------
    source : uint8 array, shape (height, width, 3), or (height, width)
        Pixels or labels, in any memory layout: a rectangle of the full image, or all of it.
    matrix : (2, 3) floats, or (3, 3) that ends in (0, 0, 1)
        From output to source. Under torch.compile an array or tensor, if it changes: numbers in lists become
        constants of the graph.
    displacement : (grid rows, grid columns, 2) floats, on the host, optional
        (dx, dy) in source pixels at nodes spread evenly from the first to the last pixel of the output.
        In between it is interpolated smoothly; beyond the outer nodes it would go on in straight lines.
    out : array, optional
        Where to write the band, in memory of its own; its dtype is the dtype asked for.
    size : (width, height), optional
        Of the whole output; that of the full source image by default.
    rows, columns : (first, behind the last), optional
        The part of the output to compute; all of it by default.
    origin : (x, y)
        Where in the full image the source's top-left pixel lies.
    full_size : (width, height), optional
        Of the full image; the source's own size by default.
    fill : int, or three
        Value of all that lies outside the full image.
    order : 0 or 1
        Nearest pixel, for labels; or bilinear.
    upsampling : "cubic" or "linear"
        How the displacement is interpolated: by Catmull-Rom splines, or in straight lines.
    colour : PatchParams, optional
        Colour steps for the unrounded values, of one image and without crop or orientation. A contrast step
        needs ``contrast_mean``, as a band does not know the whole.
    dtype : "uint8", "float32", "float16" or "bfloat16", optional
        uint8 by default: rounded, to even where no colour step is taken. Floats are (x - mean) / std with x
        in [0, 1].
    mean, std : three floats, optional
        For float dtypes of three channels.
    layout : "HWC" or "CHW"
        Where the channels stand in the result; of no meaning for labels.

    Returns
    -------
    array
        ``out``, or a new one, on the source's device: shape (rows, columns, 3), (3, rows, columns) or, for
        labels, (rows, columns).

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(90, 250, (600, 800, 3), np.uint8)
    >>> turn = np.deg2rad(30)
    >>> rotation = [[np.cos(turn), -np.sin(turn), 200], [np.sin(turn), np.cos(turn), -150]]
    >>> whole = fastwsi.kernels.warp(image, rotation)
    >>> band = fastwsi.kernels.warp(image, rotation, rows=(100, 164))
    >>> whole.shape, bool((band == whole[100:164]).all())
    ((600, 800, 3), True)
    """
    if _arrays.is_compiling():
        _arrays.refuse_out(out)
        chosen = _arrays.output_dtype(None, dtype, source, _DTYPES)
        shape_of(_channels(source), (1, 1), layout)
        _check_colour(colour)
        from fastwsi.kernels.augment_torch_ops import warp_in_graph  # noqa: PLC0415

        return warp_in_graph(  # type: ignore[return-value]
            source,
            matrix,
            displacement,
            size,
            rows,
            columns,
            origin,
            full_size,
            fill,
            order,
            upsampling,
            colour,
            chosen,
            mean,
            std,
            layout,
        )
    return warp_forward(  # type: ignore[no-any-return]
        source,
        matrix,
        displacement,
        out,
        size,
        rows,
        columns,
        origin,
        full_size,
        fill,
        order,
        upsampling,
        colour,
        dtype,
        mean,
        std,
        layout,
    )


def warp_forward(
    source: Any,
    matrix: Any,
    displacement: Any,
    out: Any,
    size: Any,
    rows: Any,
    columns: Any,
    origin: Any,
    full_size: Any,
    fill: Any,
    order: Any,
    upsampling: Any,
    colour: Any,
    dtype: Any,
    mean: Any,
    std: Any,
    layout: str,
) -> Any:
    """Check the arguments, and run the kernel."""
    channels = _channels(source)
    here = (int(source.shape[1]), int(source.shape[0]))
    full = here if full_size is None else checked_pair(full_size, "full_size", 1)
    corner = checked_pair(origin, "origin", 0)
    if here != (0, 0) and not all(o + n <= f for o, n, f in zip(corner, here, full, strict=True)):
        raise ValueError(
            f"source: got {here[0]} x {here[1]} pixels from {corner}, expected to lie within the full "
            f"image's {full[0]} x {full[1]}; see origin and full_size"
        )
    geometry = WarpGeometry.checked(
        matrix, displacement, full if size is None else size, full, rows, columns, order, upsampling
    )
    if here != full:
        check_source_holds(geometry.boxes(), corner, here)
    chosen = _arrays.output_dtype(out, dtype, source, _DTYPES)
    table = _colour_table(colour, mean, std, chosen, channels)
    (x0, x1), (y0, y1) = geometry.columns, geometry.rows
    shape = shape_of(channels, (y1 - y0, x1 - x0), layout)
    if out is not None and tuple(out.shape) != shape:
        raise ValueError(f"out: got shape {tuple(out.shape)}, expected {shape}")
    target: Any = _arrays.empty(source, shape, chosen) if out is None else out
    nodes = geometry.displacement
    _core.warp(
        source,
        _arrays.plain(target),
        geometry.matrix.ravel().tolist(),
        None if nodes is None else _arrays.beside(nodes, source),
        geometry.cubic,
        geometry.bilinear,
        [*geometry.size, *geometry.columns, *geometry.rows, *corner, *full],
        _checked_fill(fill, channels),
        channels == 3 and layout == "CHW",
        table,
        _arrays.stream_of(source),
    )
    _arrays.mark_written(out)
    return target


def _channels(source: Any) -> int:
    _arrays.framework_of(source, "source")
    if _arrays.dtype_name(source) != "uint8":
        raise TypeError(f"source: got dtype {_arrays.dtype_name(source)}, expected uint8")
    shape = tuple(source.shape)
    if len(shape) == 2:
        return 1
    if len(shape) == 3 and shape[2] == 3:
        return 3
    raise ValueError(f"source: got shape {shape}, expected (height, width, 3) or (height, width)")


def _check_colour(colour: Any) -> None:
    if colour is not None and not isinstance(colour, PatchParams):
        raise TypeError(f"colour: got {type(colour).__name__}, expected PatchParams")


def _colour_table(colour: Any, mean: Any, std: Any, dtype: str, channels: int) -> Any:
    _check_colour(colour)
    if colour is None:
        colour = PatchParams()
    elif channels == 1:
        raise ValueError("colour: got PatchParams for labels, expected None: they have no colours")
    for name in ("origin", "orientation"):
        if getattr(colour, name) is not None:
            raise ValueError(f"colour: got {name}, expected none: it is the matrix that moves pixels")
    if colour.contrast is not None and colour.contrast_mean is None:
        raise ValueError(
            "colour: got contrast without contrast_mean, expected both: a band does not know the whole's mean"
        )
    if channels == 1 and (mean is not None or std is not None):
        raise ValueError("mean and std: got numbers for labels, expected None: they have one channel")
    return colour.table(1, *plane_scale(mean, std, dtype, 1))


def shape_of(channels: int, plane: tuple[int, int], layout: str) -> tuple[int, ...]:
    """Return the result's shape; ``plane``: rows and columns.

    Examples
    --------
    >>> shape_of(3, (64, 48), "CHW"), shape_of(1, (64, 48), "CHW")
    ((3, 64, 48), (64, 48))
    """
    if layout not in ("HWC", "CHW"):
        raise ValueError(f"layout: got {layout!r}, expected 'HWC' or 'CHW'")
    if channels == 1:
        return plane
    return (*plane, 3) if layout == "HWC" else (3, *plane)


def _checked_fill(fill: Any, channels: int) -> list[int]:
    values = [fill] * channels if np.ndim(fill) == 0 else list(fill)
    if len(values) != channels:
        raise ValueError(f"fill: got {fill!r}, expected one number{' or three' if channels == 3 else ''}")
    for value in values:
        if not hasattr(value, "__index__") or not 0 <= value <= 255:
            raise ValueError(f"fill: got {fill!r}, expected whole numbers from 0 to 255")
    return [int(value) for value in values]
