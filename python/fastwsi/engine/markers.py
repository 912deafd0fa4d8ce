"""Marks on a picture of a slide: rings for detections, outlines for lesions."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np

Picture = np.ndarray[Any, np.dtype[np.uint8]]
Kind = Literal["found", "missed", "hit", "false"]
FOUND: Kind = "found"
MISSED: Kind = "missed"
HIT: Kind = "hit"
FALSE: Kind = "false"
# Found and missed differ in hue that colour-blind eyes tell apart, and missed ones are dashed besides.
_COLOURS = {FOUND: (0, 145, 80), MISSED: (30, 60, 220)}
_INK, _PAPER, _TISSUE = (20, 20, 20), (255, 255, 255), (214, 160, 190)
_BITS = 4  # of a pixel's fraction that OpenCV is told
_DASH, _GAP = 2.2, 1.4  # in units


def draw_outline(picture: Picture, ring: Any, found: bool, unit: float) -> None:
    """Draw the outline of a lesion, solid where it was found and dashed where it was missed.

    Parameters
    ----------
    picture : uint8 array (height, width, 3)
        Is drawn on.
    ring : array, shape (n, 2)
        Its points (x, y) in pixels of the picture.
    found : bool
    unit : float
        The size of marks, in pixels.

    Examples
    --------
    >>> picture = np.full((40, 40, 3), 255, np.uint8)
    >>> draw_outline(picture, np.array([[5, 5], [35, 5], [35, 35]]), True, 3)
    >>> int(picture.min()) < 100
    True
    """
    closed = np.vstack([ring, ring[:1]]).astype(np.float64)
    lines = [closed] if found else _dashes(closed, unit)
    width = max(1, round(unit * 0.4))
    halo = width + 2 * max(1, round(unit * 0.18))
    for colour, thickness in ((_PAPER, halo), (_COLOURS[FOUND if found else MISSED], width)):
        for line in lines:
            cv2.polylines(picture, [_fixed(line)], False, colour, thickness, cv2.LINE_AA, _BITS)


def draw_detection(picture: Picture, place: tuple[float, float], hit: bool | None, unit: float) -> None:
    """Draw a ring around a place; a false detection is a cross.

    Parameters
    ----------
    picture : uint8 array (height, width, 3)
        Is drawn on.
    place : (float, float)
        In pixels of the picture.
    hit : bool or None
        Whether it lies in a lesion, where that is known.
    unit : float
        The ring's radius, in pixels.

    Examples
    --------
    >>> picture = np.full((40, 40, 3), 255, np.uint8)
    >>> draw_detection(picture, (20, 20), None, 5)
    >>> int(picture.min()) < 100
    True
    """
    centre = np.asarray(place, np.float64)
    across, down = _fixed(centre)[0, 0].tolist()
    width = max(1, round(unit * 0.36))
    halo = width + 2 * max(1, round(unit * 0.16))
    arms = 0.8 * unit * np.array([[[-1, -1], [1, 1]], [[-1, 1], [1, -1]]])
    for colour, thickness in ((_INK, halo), (_PAPER, width)):
        if hit is False:
            for arm in arms:
                cv2.polylines(picture, [_fixed(centre + arm)], False, colour, thickness, cv2.LINE_AA, _BITS)
        else:
            radius = round(unit * (1 << _BITS))
            cv2.circle(picture, (across, down), radius, colour, thickness, cv2.LINE_AA, _BITS)


def draw_sample(picture: Picture, kind: Kind, place: tuple[float, float], unit: float) -> None:
    """Draw what stands for a kind of mark in a legend.

    Examples
    --------
    >>> picture = np.full((40, 40, 3), 255, np.uint8)
    >>> draw_sample(picture, MISSED, (20, 20), 5)
    >>> int(picture.min()) < 100
    True
    """
    if kind in _COLOURS:
        angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        ring = np.stack([1.25 * np.cos(angles), 0.95 * np.sin(angles)], axis=-1) * unit
        draw_outline(picture, ring + np.asarray(place), kind == FOUND, unit)
    else:
        x, y = _fixed(place)[0, 0].tolist()
        cv2.circle(picture, (x, y), round(1.7 * unit * (1 << _BITS)), _TISSUE, -1, cv2.LINE_AA, _BITS)
        draw_detection(picture, place, kind == HIT, unit)


def _dashes(line: Any, unit: float) -> list[Any]:
    """Return the pieces of a line that is drawn and not drawn in turn."""
    lengths = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    if along[-1] == 0:
        return [line]
    period = (_DASH + _GAP) * unit
    count = max(2, round(along[-1] / period))
    starts = np.arange(count) * along[-1] / count
    pieces = []
    for start in starts:
        end = start + along[-1] / count * _DASH / (_DASH + _GAP)
        stops = np.concatenate([[start], along[(along > start) & (along < end)], [end]])
        pieces.append(np.stack([np.interp(stops, along, line[:, i]) for i in (0, 1)], axis=-1))
    return pieces


def _fixed(points: Any) -> Any:
    """Return points as OpenCV has fractions of pixels, whose first pixel's centre is 0."""
    return np.round((np.asarray(points, np.float64) - 0.5) * (1 << _BITS)).astype(np.int32).reshape(-1, 1, 2)
