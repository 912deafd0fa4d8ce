"""Random numbers by place: the same for the same seed, place and purpose, whoever asks and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from fastwsi.slides.geometry import Pair

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

_STEPS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def uniform(seed: int, purpose: int, x: Ints, y: Ints) -> Floats:
    """Return numbers in [0, 1), one for each place (x, y) of a lattice.

    Examples
    --------
    >>> a = uniform(1, 0, np.arange(3), np.arange(3))
    >>> bool((a == uniform(1, 0, np.arange(5), np.arange(5))[:3]).all()), a.min() >= 0, a.max() < 1
    (True, np.True_, np.True_)
    """
    with np.errstate(over="ignore"):
        mixed = x.astype(np.uint64) * _STEPS[0] + np.uint64(seed % (1 << 63))
        mixed = _scrambled(mixed) + y.astype(np.uint64) * _STEPS[1] + np.uint64(purpose)
        bits = _scrambled(mixed) >> np.uint64(40)
    return np.asarray(bits * np.float64(2**-24), np.float32)


def smooth_noise(rng: np.random.Generator, size: Pair, period: float) -> Floats:
    """Return noise of about unit variance that changes over ``period`` pixels; ``size``: (width, height)."""
    width, height = size
    columns, rows = int(np.ceil(width / period)) + 3, int(np.ceil(height / period)) + 3
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    fine = cv2.resize(
        coarse, (int(columns * period) + 1, int(rows * period) + 1), interpolation=cv2.INTER_CUBIC
    )
    offset = int(period)
    return np.asarray(fine[offset : offset + height, offset : offset + width] * 1.3, np.float32)


def _scrambled(z: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return numbers whose every bit hangs on every bit of those given: the finish of SplitMix64."""
    z = (z ^ (z >> np.uint64(30))) * _STEPS[1]
    z = (z ^ (z >> np.uint64(27))) * _STEPS[2]
    return np.asarray(z ^ (z >> np.uint64(31)))
