"""CIE LCh of sRGB pixels and back, in float64, from the standards' own numbers."""

from __future__ import annotations

import numpy as np

# IEC 61966-2-1, from the primaries' and the white point's chromaticities.
PRIMARIES = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])
WHITE = np.array([0.3127, 0.3290])


def xyz_of(chromaticity):
    x, y = chromaticity
    return np.array([x / y, 1, (1 - x - y) / y])


def rgb_to_xyz():
    columns = np.stack([xyz_of(p) for p in PRIMARIES], axis=1)
    return columns * np.linalg.solve(columns, xyz_of(WHITE))


def rgb_to_lch(rgb):
    """(..., 3) on [0, 1] to L in [0, 100], C, and h in [0, 360)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    t = linear @ rgb_to_xyz().T / xyz_of(WHITE)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    a, b = 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])
    lightness = 116 * f[..., 1] - 16
    return np.stack([lightness, np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360], axis=-1)


def lch_to_rgb(lch):
    """The inverse; values may leave [0, 1], negative ones on the straight line."""
    lightness, chroma, hue = np.moveaxis(lch, -1, 0)
    y = (lightness + 16) / 116
    f = np.stack(
        [y + chroma * np.cos(np.radians(hue)) / 500, y, y - chroma * np.sin(np.radians(hue)) / 200], axis=-1
    )
    t = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = t * xyz_of(WHITE) @ np.linalg.inv(rgb_to_xyz()).T
    curved = 1.055 * np.maximum(linear, 1e-3) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curved)


def multiply(rgb, factors):
    """(..., 3) on [0, 1] with lightness, chroma and hue angle times ``factors``."""
    return lch_to_rgb(rgb_to_lch(rgb) * factors)
