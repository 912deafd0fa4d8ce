"""Gaussian smoothing of heatmaps, by scipy or cupy."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any

from fastwsi import _arrays, _ndimage

if TYPE_CHECKING:
    from fastwsi._arrays import Array

_MODES = ("nearest", "reflect", "mirror", "constant", "wrap")
_DTYPES = ("float32", "float16", "bfloat16", "float64")


def smooth(heatmap: Array, sigma: float, *, mode: str = "nearest", truncate: float = 4.0) -> Array:
    """Smooth heatmaps by a Gaussian: ``scipy.ndimage.gaussian_filter``, or cupy's twin on a GPU.

    Parameters
    ----------
    heatmap : float32, float16, bfloat16 or float64 array, shape (height, width) or (batch, height, width)
        In any memory layout. 16-bit types are computed in float32 and rounded once. On a GPU this needs
        cupy: ``pip install 'fastwsi[cuda]'``.
    sigma : float
        Standard deviation in cells, 0 or more; 0 gives a copy.
    mode : "nearest", "reflect", "mirror", "constant" or "wrap"
        What lies beyond the borders, as scipy defines it: the nearest cell, the map mirrored with its last
        cell doubled or not, zeros, the map repeated.
    truncate : float
        Where the Gaussian is cut off, in standard deviations.

    Returns
    -------
    array
        Of the same shape and dtype, C-contiguous. No gradient flows.

    Examples
    --------
    >>> heatmap = np.zeros((5, 5), np.float32)
    >>> heatmap[2, 2] = 1
    >>> fastwsi.kernels.smooth(heatmap, 1.0)[2].round(3)
    array([0.022, 0.097, 0.159, 0.097, 0.022], dtype=float32)
    """
    dtype = check_map(heatmap, "heatmap")
    width = _finite(sigma, "sigma")
    if width < 0:
        raise ValueError(f"sigma: got {sigma!r}, expected 0 or more")
    cut = _finite(truncate, "truncate")
    if cut <= 0:
        raise ValueError(f"truncate: got {truncate!r}, expected more than 0")
    if mode not in _MODES:
        raise ValueError(f"mode: got {mode!r}, expected one of {', '.join(_MODES)}")
    with _ndimage.opened(heatmap, "heatmap", "smoothing") as image:
        values = image.array
        if values.dtype == "float16":
            values = values.astype("float32")
        if width == 0 or 0 in values.shape:
            smoothed = image.xp.array(values, order="C")
        else:
            sigmas = (0,) * (values.ndim - 2) + (width, width)
            smoothed = image.ndimage.gaussian_filter(values, sigmas, mode=mode, truncate=cut)
        return image.back(image.xp.ascontiguousarray(smoothed), dtype)  # type: ignore[no-any-return]


def check_map(heatmap: Any, name: str) -> str:
    """Raise unless an array is a heatmap or a batch of them; return the name of its dtype."""
    _arrays.framework_of(heatmap, name)
    dtype = _arrays.dtype_name(heatmap)
    if dtype not in _DTYPES:
        raise TypeError(f"{name}: got dtype {dtype}, expected one of {', '.join(_DTYPES)}")
    if len(heatmap.shape) not in (2, 3):
        raise ValueError(
            f"{name}: got shape {tuple(heatmap.shape)}, expected (height, width) or (batch, height, width)"
        )
    return dtype


def _finite(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: got {value!r}, expected a number")
    if not math.isfinite(value):
        raise ValueError(f"{name}: got {value!r}, expected a finite number")
    return float(value)
