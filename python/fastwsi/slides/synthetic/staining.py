"""How a slide was stained and scanned: dyes, their strength, light, and the sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Staining:
    """One slide's colours.

    Attributes
    ----------
    haematoxylin, eosin : (red, green, blue)
        Optical density of one unit of each dye.
    glass : (red, green, blue)
        0 to 255, where nothing absorbs.
    noise : float
        Standard deviation of the sensor's, in grey levels.
    blur : float
        Of the optics, in µm.
    """

    haematoxylin: Colour
    eosin: Colour
    glass: Colour
    noise: float
    blur: float


def staining(rng: np.random.Generator) -> Staining:
    """Draw a slide's colours: a laboratory's dyes, their strength, a scanner."""
    haematoxylin = np.array([0.62, 0.70, 0.34]) + rng.normal(0, 0.035, 3)
    eosin = np.array([0.09, 0.78, 0.42]) + rng.normal(0, 0.035, 3)
    eosin = np.clip(eosin, 0.02, None)
    haematoxylin *= rng.uniform(0.8, 1.2)
    eosin *= rng.uniform(0.75, 1.25)
    glass = np.array([242, 240, 243]) + rng.normal(0, 3, 3)
    return Staining(
        _colour(haematoxylin), _colour(eosin), _colour(np.clip(glass, 228, 252)),
        float(rng.uniform(1.0, 2.4)), float(rng.uniform(0.2, 0.45)),
    )  # fmt: skip


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
