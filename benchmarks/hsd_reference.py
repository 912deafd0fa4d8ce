"""HSD statistics and normalisation in float64, for checking answers before they are timed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastwsi.kernels import HsdMoments

BAND = 256  # rows at a time, to bound the memory that float64 takes


@dataclass(frozen=True)
class Statistics:
    """Mean (3) and covariance (3 x 3) of (c_x, c_y, D)."""

    mean: np.ndarray
    covariance: np.ndarray

    def differs_from(self, ours: HsdMoments) -> float:
        """Return the largest difference to fastwsi's moments."""
        pairs = [
            (self.mean[:2], ours.chroma_mean),
            (self.mean[2], ours.density_mean),
            (self.covariance[:2, :2], ours.chroma_covariance),
            (self.covariance[2, 2], ours.density_variance),
        ]
        return max(float(np.abs(np.asarray(b) - a).max()) for a, b in pairs)


def coordinates(image: np.ndarray) -> np.ndarray:
    """Return (..., 3) uint8 as (3, ...) float64: c_x, c_y and D."""
    r, g, b = -np.log((np.moveaxis(image, -1, 0).astype(np.float64) + 1) / 257)
    density = (r + g + b) / 3
    return np.stack([r / density - 1, (g - b) / (math.sqrt(3) * density), density])


def statistics(image: np.ndarray) -> Statistics:
    """Measure an image, in two passes."""
    values = coordinates(image).reshape(3, -1)
    return Statistics(values.mean(axis=1), np.cov(values, ddof=0))


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """Raise a symmetric positive definite matrix to a power."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**exponent) @ vectors.T


def normalise(image: np.ndarray, source: Statistics, target: Statistics) -> np.ndarray:
    """Return intensities in [0, 255], not rounded; kept as float32 to save memory."""
    s, s_target = source.covariance[:2, :2], target.covariance[:2, :2]
    half, minus_half = power(s, 0.5), power(s, -0.5)
    t = minus_half @ power(half @ s_target @ half, 0.5) @ minus_half
    gain = math.sqrt(target.covariance[2, 2] / source.covariance[2, 2])

    def band(rows: np.ndarray) -> np.ndarray:
        c_x, c_y, density = coordinates(rows) - source.mean[:, None, None]
        x, y = np.einsum("ij,jhw->ihw", t, np.stack([c_x, c_y])) + target.mean[:2, None, None]
        d = density * gain + target.mean[2]
        y = math.sqrt(3) * y
        densities = np.stack([d * (x + 1), d * (2 - x + y) / 2, d * (2 - x - y) / 2], axis=-1)
        return np.clip(np.exp(-densities) * 257 - 1, 0, 255).astype(np.float32)

    return np.concatenate([band(image[i : i + BAND]) for i in range(0, len(image), BAND)])


def check_bytes(result: np.ndarray, expected: np.ndarray, *, equal: float = 0.0) -> None:
    """Compare bytes to intensities: off by one level at most, and a share of them ``equal``."""
    off = np.abs(result.astype(np.int16) - np.rint(expected).astype(np.int16))
    assert result.dtype == np.uint8
    assert off.max() <= 1, f"got values {off.max()} grey levels off, expected at most 1"
    share = float((off == 0).mean())
    assert share >= equal, f"got {share:.5f} of the values equal, expected {equal}"


def check_planes(
    result: np.ndarray,
    expected: np.ndarray,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    levels: float,
) -> None:
    """Compare (3, height, width) network input to intensities, in grey levels."""
    for plane, channel_mean, channel_std, wanted in zip(
        result, mean, std, np.moveaxis(expected, -1, 0), strict=True
    ):
        off = np.abs((plane.astype(np.float32) * channel_std + channel_mean) * 255 - wanted).max()
        assert off <= levels, f"got values {off:.4f} grey levels off, expected at most {levels}"
