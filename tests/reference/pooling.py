"""Mean pooling and its transpose, window by window, in float64."""

from __future__ import annotations

import numpy as np


def windows(height, width, window, stride):
    """(output row, output column, rows, columns) of every window that lies inside."""
    tall, wide = window
    for i, top in enumerate(range(0, height - tall + 1, stride[0])):
        for j, left in enumerate(range(0, width - wide + 1, stride[1])):
            yield i, j, slice(top, top + tall), slice(left, left + wide)


def output_size(height, width, window, stride):
    return (height - window[0]) // stride[0] + 1, (width - window[1]) // stride[1] + 1


def dense_pool(x, window, stride):
    """Mean of each window of (..., H, W)."""
    wide = np.asarray(x, np.float64)
    out = np.empty((*x.shape[:-2], *output_size(*x.shape[-2:], window, stride)))
    with np.errstate(invalid="ignore"):  # inf and -inf in one window
        for i, j, rows, columns in windows(*x.shape[-2:], window, stride):
            out[..., i, j] = wide[..., rows, columns].sum(axis=(-2, -1)) / (window[0] * window[1])
    return out


def dense_pool_back(g, shape, window, stride):
    """The transpose: each cell of g spread evenly over its window."""
    share = np.asarray(g, np.float64) / (window[0] * window[1])
    out = np.zeros(shape)
    with np.errstate(invalid="ignore"):
        for i, j, rows, columns in windows(*shape[-2:], window, stride):
            out[..., rows, columns] += share[..., i, j, None, None]
    return out
