"""Gaussian smoothing of heatmaps, by scipy or cupy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastwsi import _ndimage, _numbers
from fastwsi.kernels.graph_breaks import outside_graphs
from fastwsi.kernels.heatmap import check_heatmap

if TYPE_CHECKING:
    from fastwsi._arrays import Array

_MODES = ("nearest", "reflect", "mirror", "constant", "wrap")
# Beyond this many times a map's side, a window only costs time; small maps may have windows of this width.
_MAX_TIMES, _ANYWHERE = 100, 1000


@outside_graphs
def smooth(heatmap: Array, sigma: float, *, mode: str = "nearest", truncate: float = 4.0) -> Array:
    """Smooth heatmaps by a Gaussian: ``scipy.ndimage.gaussian_filter``, or cupy's twin on a GPU.

    Parameters
    ----------
    heatmap : float32, float16, bfloat16 or float64 array, shape (height, width) or (batch, height, width)
        In any memory layout. 16-bit types are computed in float32 and rounded once. On a GPU this needs
        cupy: ``pip install 'fastwsi[cuda]'``.
    sigma : float
        Standard deviation in cells, 0 or more; 0 gives a copy. ``sigma * truncate`` may be 100 times a map's
        longer side, and 1000 in any case.
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
    dtype = check_heatmap(heatmap)
    width = _numbers.finite(sigma, "sigma", 0)
    cut = _numbers.finite(truncate, "truncate", 0)
    if cut == 0:
        raise ValueError(f"truncate: got {truncate!r}, expected more than 0")
    most = max(_ANYWHERE, _MAX_TIMES * max(heatmap.shape[-2:]))  # type: ignore[attr-defined]
    if width * cut > most:
        raise ValueError(
            f"sigma and truncate: got {sigma!r} and {truncate!r}, a window of {width * cut:g} cells to each "
            f"side; expected at most {most} for heatmaps of shape {tuple(heatmap.shape)}"  # type: ignore[attr-defined]
        )
    if not isinstance(mode, str) or mode not in _MODES:
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
