"""Patterns that repeat without a seam: fibres, grain, fat cells, a scanner's noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from fastwsi.slides.synthetic.chance import Floats

SIDE = 1024  # pixels, after which a pattern repeats
_FAT_CELL = 62.0  # µm across
_MEMBRANE = 1.6  # µm thick


def fibres(mpp: float, rng: np.random.Generator) -> Floats:
    """Return wavy bundles along x, mean 0, about -1 to 1."""
    fine = _blurred(rng.standard_normal((SIDE, SIDE)), 9 / mpp, 0.9 / mpp)
    wide = _blurred(rng.standard_normal((SIDE, SIDE)), 40 / mpp, 5 / mpp)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    waves = 5 / mpp * np.sin(2 * np.pi * (x * 3 + y * 2) / SIDE) + 9 / mpp * np.sin(
        2 * np.pi * (x - y) / SIDE
    )
    both = _unit(fine) + 0.7 * _unit(wide)
    bent = cv2.remap(
        both, x, (y + waves).astype(np.float32) % SIDE, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    return np.asarray(np.clip(_unit(bent) * 0.6, -1, 1), np.float32)


def grain(mpp: float, rng: np.random.Generator) -> Floats:
    """Return blotches of the size of cells, mean 0, about -1 to 1."""
    fine = _unit(_blurred(rng.standard_normal((SIDE, SIDE)), 0.9 / mpp, 0.9 / mpp))
    wide = _unit(_blurred(rng.standard_normal((SIDE, SIDE)), 4 / mpp, 4 / mpp))
    return np.asarray(np.clip(0.35 * fine + 0.45 * wide, -1, 1), np.float32)


def fat(mpp: float, rng: np.random.Generator) -> Floats:
    """Return the membranes of fat cells: 1 on them, 0 in the cells."""
    across = max(2, round(SIDE * mpp / _FAT_CELL))
    step = SIDE / across
    y, x = np.mgrid[:across, :across]
    middles = (
        np.stack([x + rng.uniform(0.12, 0.88, x.shape), y + rng.uniform(0.12, 0.88, y.shape)], -1) * step
    )
    shifts = [np.array([i, j]) * SIDE for i in (-1, 0, 1) for j in (-1, 0, 1)]
    around = np.concatenate([middles.reshape(-1, 2) + shift for shift in shifts])
    from scipy.spatial import cKDTree  # noqa: PLC0415  (only here)

    tree = cKDTree(around)
    y, x = np.mgrid[:SIDE, :SIDE]
    nearest, _ = tree.query(np.stack([x, y], -1).reshape(-1, 2), k=2)
    gap = (nearest[:, 1] - nearest[:, 0]).reshape(SIDE, SIDE) * mpp
    return np.asarray(np.clip((_MEMBRANE - gap) / 1.0 + 0.5, 0, 1), np.float32)


def scanner_noise(rng: np.random.Generator) -> Floats:
    """Return noise of unit variance, slightly blurred, as sensors with colour filters have it."""
    return _unit(_blurred(rng.standard_normal((SIDE, SIDE)), 0.6, 0.6))


def window(texture: Floats, x: int, y: int, width: int, height: int) -> Floats:
    """Return a part of the endless pattern."""
    rows = np.arange(y, y + height) % SIDE
    left = x % SIDE
    repeats = -(-(left + width) // SIDE)
    strip = texture[rows]
    repeated = strip if repeats == 1 else np.tile(strip, (1, repeats))
    return np.asarray(repeated[:, left : left + width])


def _blurred(values: Any, across: float, down: float) -> Any:
    """Blur what repeats: by multiplying its spectrum."""
    frequencies = np.fft.fftfreq(SIDE)
    half = np.fft.rfftfreq(SIDE)
    gain = np.exp(-2 * np.pi**2 * ((half * across) ** 2)[None, :]) * np.exp(
        -2 * np.pi**2 * ((frequencies * down) ** 2)[:, None]
    )
    return np.fft.irfft2(np.fft.rfft2(values) * gain, s=(SIDE, SIDE)).astype(np.float32)


def _unit(values: Any) -> Floats:
    return np.asarray((values - values.mean()) / (values.std() + 1e-9), np.float32)
