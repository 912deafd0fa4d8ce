"""Pixel operations in float64."""

from __future__ import annotations

import numpy as np


def scale_shift(x, scale, shift):
    """(batch, channels, ...) times scale plus shift, one of each per channel."""
    column = (1, -1) + (1,) * (x.ndim - 2)
    return x.astype(np.float64) * np.reshape(scale, column) + np.reshape(shift, column)
