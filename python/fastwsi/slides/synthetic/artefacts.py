"""What goes wrong with slides: folds, pen, air bubbles, dust, parts out of focus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fastwsi.slides.synthetic.anatomy import STEP
from fastwsi.slides.synthetic.chance import Floats, smooth_noise

if TYPE_CHECKING:
    from fastwsi.slides.synthetic.anatomy import Classes
    from fastwsi.slides.synthetic.staining import Colour

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
_INKS: tuple[Colour, ...] = ((35, 120, 75), (40, 60, 165), (30, 30, 36))


@dataclass(frozen=True)
class Artefacts:
    """Maps of what went wrong, 4 µm at a time; None where nothing did.

    Attributes
    ----------
    fold : float32 array or None
        Optical density times this.
    ink : uint8 array or None
        How much pen lies on the glass, and its ``ink_colour``.
    focus : uint8 array or None
        How far out of focus, 255 for wholly.
    light : float32 array or None
        Brightness times this: a bubble's edge.
    dust : uint8 array or None
        How much dust.
    """

    fold: Floats | None = None
    ink: Bytes | None = None
    ink_colour: Colour = (0, 0, 0)
    focus: Bytes | None = None
    light: Floats | None = None
    dust: Bytes | None = None


def artefacts(classes: Classes, rng: np.random.Generator) -> Artefacts:
    """Draw what is wrong with a slide; some slides have nothing of a kind."""
    rows, columns = classes.shape
    tissue = classes > 0
    return Artefacts(
        fold=_folds(tissue, rng) if rng.random() < 0.5 else None,
        ink=_ink(tissue, rng) if rng.random() < 0.35 else None,
        ink_colour=_INKS[int(rng.integers(len(_INKS)))],
        focus=_out_of_focus(rows, columns, rng) if rng.random() < 0.5 else None,
        light=_bubbles(rows, columns, rng) if rng.random() < 0.35 else None,
        dust=_dust(rows, columns, rng) if rng.random() < 0.8 else None,
    )


def _folds(tissue: np.ndarray, rng: np.random.Generator) -> Floats:
    """Return strips in which the tissue lies double."""
    rows, columns = tissue.shape
    strip = np.zeros((rows, columns), np.uint8)
    places = np.argwhere(tissue)
    for _ in range(int(rng.integers(1, 3))):
        row, column = places[rng.integers(len(places))]
        angle, length = rng.uniform(0, np.pi), rng.uniform(300, 1100) / STEP
        along = np.linspace(-0.5, 0.5, 24) * length
        sway = rng.normal(0, 1, 24).cumsum() * 20 / STEP / 4
        x = column + along * np.cos(angle) - sway * np.sin(angle)
        y = row + along * np.sin(angle) + sway * np.cos(angle)
        width = max(1, round(rng.uniform(18, 45) / STEP))
        cv2.polylines(strip, [_points(x, y)], False, 255, width, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(strip, (0, 0), 0.7).astype(np.float32) / 255
    return (1 + rng.uniform(0.6, 1.0) * soft).astype(np.float32)


def _ink(tissue: np.ndarray, rng: np.random.Generator) -> Bytes:
    """Return a stroke of a pen around or beside the tissue."""
    rows, columns = tissue.shape
    canvas = np.zeros((rows, columns), np.uint8)
    angle = np.linspace(0, rng.uniform(0.5, 1.6), 60) * np.pi + rng.uniform(0, 6.3)
    x = columns / 2 + columns * rng.uniform(0.42, 0.48) * np.cos(angle)
    y = rows / 2 + rows * rng.uniform(0.42, 0.48) * np.sin(angle)
    wobble = rng.normal(0, 1, (2, 60)).cumsum(1) * 6 / STEP
    width = max(2, round(rng.uniform(90, 170) / STEP))
    cv2.polylines(canvas, [_points(x + wobble[0], y + wobble[1])], False, 255, width, cv2.LINE_AA, 4)
    streaks = 0.88 + 0.05 * smooth_noise(rng, (columns, rows), 24 / STEP)
    return np.asarray(np.clip(canvas * np.clip(streaks, 0.4, 1), 0, 255), np.uint8)


def _out_of_focus(rows: int, columns: int, rng: np.random.Generator) -> Bytes:
    """Return areas that the scanner focused wrongly: soft blobs over a tenth of the slide."""
    noise = smooth_noise(rng, (columns, rows), min(rows, columns) / 3)
    level = np.quantile(noise, rng.uniform(0.86, 0.96))
    return np.asarray(np.clip((noise - level) * 2.5 * 255, 0, 255), np.uint8)


def _bubbles(rows: int, columns: int, rng: np.random.Generator) -> Floats:
    """Return air under the cover slip: a dark edge, a bright line within."""
    light = np.ones((rows, columns), np.float32)
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    for _ in range(int(rng.integers(1, 4))):
        radius = rng.uniform(60, 220)
        away = (
            np.hypot(x - rng.uniform(0, columns), (y - rng.uniform(0, rows)) * rng.uniform(0.8, 1.2)) * STEP
        )
        light *= 1 - 0.5 * np.exp(-(((away - radius) / 7) ** 2))
        light *= 1 + 0.06 * np.exp(-(((away - radius + 16) / 6) ** 2))
        light *= np.where(away < radius - 10, np.float32(1.02), np.float32(1))
    return light


def _dust(rows: int, columns: int, rng: np.random.Generator) -> Bytes:
    canvas = np.zeros((rows, columns), np.uint8)
    for _ in range(int(rng.integers(4, 20))):
        place = np.array([rng.uniform(0, columns), rng.uniform(0, rows)])
        if rng.random() < 0.3:  # a fibre
            turn = rng.normal(0, 0.35, 12).cumsum() + rng.uniform(0, 6.3)
            path = place + np.cumsum(np.stack([np.cos(turn), np.sin(turn)], 1) * 10 / STEP, 0)
            cv2.polylines(canvas, [_points(path[:, 0], path[:, 1])], False, 190, 1, cv2.LINE_AA, 4)
        else:
            middle = tuple((place * 16).astype(int).tolist())
            cv2.circle(canvas, middle, int(rng.uniform(5, 16) / STEP * 16), 225, -1, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), 0.6), np.uint8)


def _points(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return points in OpenCV's sixteenths of a pixel."""
    return np.round(np.stack([x, y], 1) * 16).astype(np.int32)
