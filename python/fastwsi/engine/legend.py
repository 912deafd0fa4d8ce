"""The strip below a picture that says what its colours and marks mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from fastwsi.engine.markers import Kind, draw_sample

Picture = np.ndarray[Any, np.dtype[np.uint8]]
_INK, _PALE = (40, 40, 40), (120, 120, 120)
_FINER = 3  # text is drawn larger and then reduced: smooth with every version of OpenCV
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WEIGHT = 3
_NARROWEST = 420  # pixels


@dataclass(frozen=True)
class Entry:
    """What a kind of mark is called, one and many of them, and how many there are.

    Examples
    --------
    >>> str(Entry("hit", 2, "detection", "detections"))
    '2 detections'
    """

    kind: Kind
    count: int
    one: str
    many: str

    def __str__(self) -> str:
        return f"{self.count} {self.one if self.count == 1 else self.many}"


def with_legend(picture: Picture, colours: Picture, title: str, entries: list[Entry]) -> Picture:
    """Return a picture with a legend below: title, bar of colours from 0 to 1, and marks with their counts.

    Parameters
    ----------
    picture : uint8 array (height, width, 3)
    colours : uint8 array (n, 3)
        From the lowest score to the highest.
    title : str
    entries : list of Entry
        One for each kind of mark.

    Examples
    --------
    >>> picture = np.zeros((100, 640, 3), np.uint8)
    >>> entry = Entry("hit", 2, "detection", "detections")
    >>> with_legend(picture, np.zeros((256, 3), np.uint8), "tumor_001", [entry]).shape
    (155, 640, 3)
    """
    height, width = picture.shape[:2]
    whole = max(width, _NARROWEST)
    unit = float(np.clip(whole / 80, 10, 15))  # a line's height of small letters, about
    rows = _rows(entries, whole, unit)
    strip = _Strip(whole, round(unit * (3.4 + 2.1 * len(rows))), unit)
    strip.bar(colours, strip.text(title, unit, 1.7 * unit) + 2 * unit, 1.7 * unit)
    for i, row in enumerate(rows):
        for left, entry in row:
            strip.entry(entry, left, (4 + 2.1 * i) * unit)
    canvas = np.full((height, whole, 3), 255, np.uint8)
    left = (whole - width) // 2
    canvas[:, left : left + width] = picture
    return np.vstack([canvas, strip.picture()])


class _Strip:
    """A white strip, drawn on in its own pixels."""

    def __init__(self, width: int, height: int, unit: float) -> None:
        self._size, self._unit = (width, height), unit
        self._drawn = np.full((height * _FINER, width * _FINER, 3), 255, np.uint8)

    def text(self, text: str, left: float, middle: float, colour: tuple[int, int, int] = _INK) -> float:
        """Write a text, and return where it ends."""
        plain = text.encode("ascii", "replace").decode()  # OpenCV's letters
        size = _text_scale(self._unit)
        place = round(left * _FINER), round((middle + 0.38 * self._unit) * _FINER)
        cv2.putText(self._drawn, plain, place, _FONT, size, colour, _WEIGHT, cv2.LINE_AA)
        return left + _text_width(plain, self._unit)

    def bar(self, colours: Picture, left: float, middle: float) -> None:
        """Paint the bar of colours to the right end, or after the title where that is long."""
        unit, width = self._unit, self._size[0]
        long = min(16 * unit, max(6 * unit, width - left - 4 * unit))
        start = max(left + unit, width - long - 3 * unit)
        end = max(start + 2 * unit, width - 3 * unit)
        top, bottom = (round((middle + side * 0.45 * unit) * _FINER) for side in (-1, 1))
        first, last = round(start * _FINER), min(round(end * _FINER), self._drawn.shape[1])
        if first >= last:
            return
        picks = np.linspace(0, len(colours) - 1, last - first).round().astype(int)
        self._drawn[top:bottom, first:last] = colours[picks]
        cv2.rectangle(self._drawn, (first, top), (last - 1, bottom), _PALE, 1)
        self.text("0", start - 1.1 * unit, middle, _PALE)
        self.text("1", end + 0.5 * unit, middle, _PALE)

    def entry(self, entry: Entry, left: float, middle: float) -> None:
        """Draw a mark with its count and meaning."""
        unit = self._unit
        place = (left + unit) * _FINER, middle * _FINER
        draw_sample(self._drawn, entry.kind, place, 0.5 * unit * _FINER)
        self.text(str(entry), left + 2.2 * unit, middle)

    def picture(self) -> Picture:
        """Return the strip, smooth."""
        return np.asarray(cv2.resize(self._drawn, self._size, interpolation=cv2.INTER_AREA), np.uint8)


def _rows(entries: list[Entry], width: int, unit: float) -> list[list[tuple[float, Entry]]]:
    """Return in which row, and where in it, each entry stands."""
    rows: list[list[tuple[float, Entry]]] = []
    left = float(width)
    for entry in entries:
        long = 4 * unit + _text_width(str(entry), unit)
        if left + long > width:
            rows.append([])
            left = 0.6 * unit
        rows[-1].append((left, entry))
        left += long
    return rows


def _text_scale(unit: float) -> float:
    return unit / 21 * _FINER


def _text_width(text: str, unit: float) -> float:
    return float(cv2.getTextSize(text, _FONT, _text_scale(unit), _WEIGHT)[0][0]) / _FINER
