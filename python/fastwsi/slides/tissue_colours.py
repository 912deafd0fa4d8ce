"""Colours of tissue, glass and ink, as numbers from 0 to 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from fastwsi.slides.backend import Pixels
    from fastwsi.slides.tissue_mask import Mask

Values = np.ndarray[Any, np.dtype[np.float32]]

_BINS = 256
_LUMA = np.array([0.299, 0.587, 0.114], np.float32) / 255
# Hues in degrees. Haematoxylin and eosin lie between blue-violet and red, DAB in the browns up to 45.
_INK_HUES = (48.0, 232.0)
_INK_SATURATION = 0.22
_RED_INK = 0.72  # saturation; blood and eosin are paler at this resolution
_BLACK_INK = (0.32, 0.3)  # of value and saturation, at most; clumps of nuclei have more of both
_BORDER = 0.16  # value, at most: the parts of a canvas that were not scanned


def grey(pixels: Pixels) -> Values:
    """Return the brightness of RGB pixels."""
    return np.asarray(pixels.astype(np.float32) @ _LUMA, np.float32)


def saturation(pixels: Pixels) -> Values:
    """Return HSV's saturation; 0 for black."""
    high, low = pixels.max(-1).astype(np.float32), pixels.min(-1)
    return np.where(high > 0, (high - low) / np.maximum(high, 1), 0).astype(np.float32)


def hue(pixels: Pixels) -> Values:
    """Return HSV's hue in degrees; 0 where there is no colour."""
    red, green, blue = (pixels[..., i].astype(np.float32) for i in range(3))
    high, low = pixels.max(-1).astype(np.float32), pixels.min(-1).astype(np.float32)
    spread = np.maximum(high - low, 1)
    sextant = np.where(
        high == red, (green - blue) / spread,
        np.where(high == green, 2 + (blue - red) / spread, 4 + (red - green) / spread),
    )  # fmt: skip
    found: Values = np.where(high == low, 0, sextant % 6 * 60).astype(np.float32)
    return found


def otsu(values: Values) -> float:
    """Return the threshold that parts values into two classes farthest from each other: Otsu's.

    Examples
    --------
    >>> 0.1 < otsu(np.array([0.1] * 50 + [0.8] * 20, np.float32)) < 0.8
    True
    """
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return high
    counts, edges = np.histogram(values, _BINS, (low, high))
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    between = np.nan_to_num(between)
    best = np.flatnonzero(between == between.max())  # a gap between the classes has many
    return float(edges[1:-1][best[len(best) // 2]])


def pen_marks(pixels: Pixels) -> Mask:
    """Return where green, blue, red or black ink is, and its soft edges.

    Ink counts where there is a stroke of it: single pixels of such colours occur in tissue.
    """
    colour, depth = hue(pixels), saturation(pixels)
    value = pixels.max(-1).astype(np.float32) / 255
    coloured = (colour > _INK_HUES[0]) & (colour < _INK_HUES[1]) & (depth > _INK_SATURATION)
    red = ((colour < 12) | (colour > 345)) & (depth > _RED_INK) & (value > 0.45)
    black = (value < _BLACK_INK[0]) & (depth < _BLACK_INK[1])
    strokes = ndimage.binary_opening(coloured | red | black, np.ones((2, 2), bool))
    return np.asarray(ndimage.binary_dilation(strokes, np.ones((3, 3), bool), iterations=2), bool)


def dark_borders(pixels: Pixels) -> Mask:
    """Return the black that reaches in from the picture's edges."""
    dark = pixels.max(-1) <= _BORDER * 255
    if not dark.any():
        return np.zeros(dark.shape, bool)
    labels, _ = ndimage.label(dark, np.ones((3, 3), int))
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    outer = np.unique(edge[edge > 0])
    return np.asarray(ndimage.binary_dilation(np.isin(labels, outer), iterations=2), bool)
