"""Pictures that look like H&E slides as far as the colour kernels can tell."""

from __future__ import annotations

import numpy as np

# Optical density that one unit of stain adds to red, green and blue (Ruifrok and Johnston 2001).
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])


def smooth_field(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Interpolate random values in [0, 1) on a grid of ``cells`` cells to ``size`` x ``size``."""
    knots = np.arange(cells + 1)
    at = np.linspace(0, cells, size)
    hats = np.maximum(0, 1 - np.abs(at[:, None] - knots))  # bilinear interpolation is two products
    return hats @ rng.random((cells + 1, cells + 1)) @ hats.T


def stained_tissue(size: int, seed: int, *, haematoxylin: float = 1.8, eosin: float = 0.6) -> np.ndarray:
    """Draw (size, size, 3) uint8: nuclei of a few pixels, patches of tissue, the camera's noise."""
    rng = np.random.default_rng(seed)
    nuclei = haematoxylin * smooth_field(rng, size, size // 12) ** 3 * smooth_field(rng, size, 8)
    stroma = eosin * (0.1 + smooth_field(rng, size, 16))
    density = nuclei[..., None] * HAEMATOXYLIN + stroma[..., None] * EOSIN
    light = 245 * np.exp(-density) + rng.normal(0, 3, density.shape)
    # Rows first and channels last in memory, as decoders write.
    return np.ascontiguousarray(np.clip(np.rint(light), 0, 255).astype(np.uint8))
