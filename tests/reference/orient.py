"""The eight orientations, element by element as their definition says, and their mean in float64."""

from __future__ import annotations

import numpy as np


def orient(x, k, axes):
    """rot90(x if k < 4 else x[:, ::-1], k % 4) over (rows, columns)."""
    return np.rot90(x if k < 4 else np.flip(x, axes[1]), k % 4, axes=axes)


def orient_back(x, k, axes):
    """Undo the turns, then the flip."""
    x = np.rot90(x, -(k % 4), axes=axes)
    return x if k < 4 else np.flip(x, axes[1])


def orient_mean(predictions, axes=None):
    """Mean over the eight, maps taken back first, without rounding to their dtype."""
    wide = [np.asarray(p, np.float64) for p in predictions]
    if axes is not None:
        wide = [orient_back(p, k, axes) for k, p in enumerate(wide)]
    return np.mean(wide, axis=0)
