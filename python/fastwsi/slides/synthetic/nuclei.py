"""Nuclei as stamps: a few dozen drawings of each kind, set down by the thousand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from fastwsi.slides.synthetic.chance import Floats

_OVERSAMPLING = 4


@dataclass(frozen=True)
class Kind:
    """What nuclei of a kind look like; lengths in µm.

    Attributes
    ----------
    radius : (float, float)
        Smallest and largest.
    longer : (float, float)
        Length over width.
    irregular : float
        How far the outline strays from an ellipse, as a part of the radius.
    depth : float
        Optical density of haematoxylin.
    clumps : float
        How uneven the chromatin is.
    nucleoli : (int, int)
        Fewest and most.
    nucleolus : float
        Radius of one.
    rim : float
        How much darker the membrane is.
    """

    radius: tuple[float, float]
    longer: tuple[float, float]
    irregular: float
    depth: float
    clumps: float
    nucleoli: tuple[int, int] = (0, 0)
    nucleolus: float = 0.0
    rim: float = 0.0


LYMPHOCYTE = Kind((2.7, 3.5), (1.0, 1.25), 0.05, 1.15, 0.35)
CENTROBLAST = Kind((3.9, 5.2), (1.0, 1.3), 0.06, 0.62, 0.35, (0, 2), 0.5, 0.25)
SPINDLE = Kind((1.5, 2.0), (2.6, 5.0), 0.06, 0.95, 0.2)
TUMOUR = Kind((5.0, 7.8), (1.0, 1.6), 0.16, 0.62, 0.4, (1, 3), 1.15, 0.35)
_VARIANTS = 48


def stamps(kind: Kind, mpp: float, rng: np.random.Generator) -> list[Floats]:
    """Return drawings of a kind of nucleus, optical density in float32, at a resolution."""
    return [_drawn(kind, mpp, rng) for _ in range(_VARIANTS)]


def reach(mpp: float) -> int:
    """Return how many pixels a nucleus reaches from its middle at most."""
    widest = max(
        kind.radius[1] * kind.longer[1] ** 0.5 for kind in (LYMPHOCYTE, CENTROBLAST, SPINDLE, TUMOUR)
    )
    return int(np.ceil(1.4 * widest / mpp)) + 2


def _drawn(kind: Kind, mpp: float, rng: np.random.Generator) -> Floats:
    step = mpp / _OVERSAMPLING
    radius = rng.uniform(*kind.radius)
    longer = rng.uniform(*kind.longer) ** 0.5
    half = int(np.ceil(1.35 * radius * longer / mpp)) + 1
    side = (2 * half + 1) * _OVERSAMPLING
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) * step
    turn = rng.uniform(0, np.pi)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    angle = np.arctan2(across * longer, along / longer)
    outline = np.ones_like(angle)
    for wave in (2, 3, 4, 5):
        outline += kind.irregular / wave**0.7 * rng.normal() * np.cos(wave * angle + rng.uniform(0, 6.3))
    away = np.hypot(along / longer, across * longer) / (radius * outline)
    inside = np.clip((1 - away) * radius / 0.5 + 0.5, 0, 1)
    chromatin = cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), 0.55 / step)
    chromatin = chromatin / (chromatin.std() + 1e-9)
    density = kind.depth * (1 + kind.clumps * 0.5 * np.clip(chromatin, -1.5, 1.5))
    density *= 1 + kind.rim * np.exp(-(((away - 0.9) / 0.12) ** 2))
    for _ in range(int(rng.integers(kind.nucleoli[0], kind.nucleoli[1] + 1))):
        place, toward = rng.uniform(0, 0.5) * radius, rng.uniform(0, 6.3)
        size = kind.nucleolus * rng.uniform(0.8, 1.25)
        spot = np.hypot(along - place * np.cos(toward), across - place * np.sin(toward))
        density += 0.75 * np.clip((size - spot) / 0.4 + 0.5, 0, 1)
    return _shrunk(np.maximum(density, 0.05) * inside)


def _shrunk(picture: np.ndarray[Any, np.dtype[np.float64]]) -> Floats:
    side = picture.shape[0] // _OVERSAMPLING
    means = picture.reshape(side, _OVERSAMPLING, side, _OVERSAMPLING).mean((1, 3))
    return np.asarray(means, np.float32)
