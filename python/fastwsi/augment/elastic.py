"""Elastic deformation: a field of random displacements, smoothed (Simard et al. 2003)."""

from __future__ import annotations

from typing import Any

import numpy as np

_CACHED_ROWS = 32  # smoothed together, while they stay in the processor's cache

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
    # Axis by axis: the last one is smoothed, the two change places, and once more.
    for _ in range(2):
        noise = _smoothed(noise, sigma / spacing).swapaxes(1, 2)
    return np.ascontiguousarray(np.moveaxis(alpha * noise, 0, -1))


def _smoothed(values: Field, sigma: float) -> Field:
    """Apply a Gaussian filter along the last axis; at the ends what is left of it counts fully.

    Tap by tap, in an order that nothing changes: a product of matrices would be faster, but its bits depend
    on the number of threads of the library that computes it.
    """
    n = values.shape[-1]
    reach = min(n - 1, int(np.ceil(4 * sigma)))
    taps = [float(np.exp(-0.5 * (shift / max(sigma, 1e-6)) ** 2)) for shift in range(reach + 1)]
    rows = values.reshape(-1, n)
    result, weight = rows * taps[0], np.full(n, taps[0])
    for first in range(0, len(rows), _CACHED_ROWS):
        block, target = rows[first : first + _CACHED_ROWS], result[first : first + _CACHED_ROWS]
        for shift in range(1, reach + 1):
            target[:, shift:] += taps[shift] * block[:, :-shift]
            target[:, :-shift] += taps[shift] * block[:, shift:]
    for shift in range(1, reach + 1):
        weight[shift:] += taps[shift]
        weight[:-shift] += taps[shift]
    return np.asarray((result / weight).reshape(values.shape))
