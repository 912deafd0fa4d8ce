"""Elastic deformation: a field of random displacements, smoothed (Simard et al. 2003)."""

from __future__ import annotations

from typing import Any

import numpy as np

Field = np.ndarray[Any, np.dtype[np.float64]]


def elastic_field(
    source: np.random.Generator, size: tuple[int, int], *, alpha: float, sigma: float, spacing: float
) -> Field:
    """Draw displacements at nodes ``spacing`` pixels apart.

    Parameters
    ----------
    source : numpy.random.Generator
        What to draw from.
    size : (width, height)
        Of the image, in pixels.
    alpha : float
        Pixels that a random number from -1 to 1 stands for, before smoothing.
    sigma : float
        Standard deviation of the Gaussian that smooths, in pixels.
    spacing : float
        Pixels from node to node, roughly: the outer nodes lie on the image's outer pixels.

    Returns
    -------
    float64 array, shape (grid rows, grid columns, 2)
        (dx, dy) in pixels, as ``fastwsi.kernels.warp`` takes it.

    Examples
    --------
    >>> elastic_field(np.random.default_rng(0), (320, 160), alpha=100, sigma=40, spacing=16).shape
    (11, 21, 2)
    """
    columns, rows = (max(2, int(np.ceil(side / spacing)) + 1) for side in size)
    noise = source.uniform(-1, 1, (2, rows, columns))
    smooth_rows, smooth_columns = (_smoothing(n, sigma / spacing) for n in (rows, columns))
    # Smoothing along an axis is a product with a matrix.
    field = alpha * (smooth_rows @ noise @ smooth_columns.T)
    return np.ascontiguousarray(np.moveaxis(field, 0, -1))


def _smoothing(n: int, sigma: float) -> Field:
    """Return the (n, n) matrix of a Gaussian filter; at the ends what is left of it counts fully."""
    distance = np.arange(n)[:, None] - np.arange(n)
    weights = np.exp(-0.5 * (distance / max(sigma, 1e-6)) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
