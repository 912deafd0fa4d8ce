"""HSD statistics and normalisation, formula by formula, in float64."""

from __future__ import annotations

import numpy as np

SQRT3 = np.sqrt(3.0)


def coordinates(images):
    """(..., 3) uint8 to c_x, c_y and D."""
    d = -np.log((images.astype(np.float64) + 1) / 257)
    density = d.mean(axis=-1)
    return d[..., 0] / density - 1, (d[..., 1] - d[..., 2]) / (SQRT3 * density), density


def moments(images, mask=None):
    """Count, mean and covariance of (c_x, c_y), mean and variance of D."""
    keep = np.ones(images.shape[:-1], bool) if mask is None else np.asarray(mask).astype(bool)
    c_x, c_y, density = (values[keep] for values in coordinates(images))
    chroma = np.stack([c_x, c_y])
    return {
        "count": int(keep.sum()),
        "chroma_mean": chroma.mean(axis=1),
        "chroma_covariance": np.cov(chroma, ddof=0),
        "density_mean": density.mean(),
        "density_variance": density.var(),
    }


def matrix_power(matrix, exponent):
    """Power of a symmetric positive semi-definite matrix through its eigenvectors."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0) ** exponent) @ vectors.T


def chroma_map(source, target):
    root, inverse = matrix_power(source, 0.5), matrix_power(source, -0.5)
    return inverse @ matrix_power(root @ target @ root, 0.5) @ inverse


def normalize(images, source, target):
    """(..., 3) uint8 to intensities in [0, 255] as float64, not rounded."""
    c_x, c_y, density = coordinates(images)
    t = chroma_map(np.array(source["chroma_covariance"]), np.array(target["chroma_covariance"]))
    offset = [c - m for c, m in zip((c_x, c_y), source["chroma_mean"], strict=True)]
    x = t[0, 0] * offset[0] + t[0, 1] * offset[1] + target["chroma_mean"][0]
    y = t[1, 0] * offset[0] + t[1, 1] * offset[1] + target["chroma_mean"][1]
    ratio = np.sqrt(target["density_variance"] / source["density_variance"])
    d = (density - source["density_mean"]) * ratio + target["density_mean"]
    new = np.stack([d * (x + 1), d * (2 - x + SQRT3 * y) / 2, d * (2 - x - SQRT3 * y) / 2], axis=-1)
    with np.errstate(over="ignore"):
        return np.clip(np.exp(-new) * 257 - 1, 0, 255)
