"""What a reader of slides offers to `Slide`, whatever the file's format."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastwsi import _numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastwsi.slides.geometry import Level, Region
    from fastwsi.slides.resolution import Resolution

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class Options:
    """How a backend is to read.

    Attributes
    ----------
    fill : (red, green, blue) or None
        What lies outside the slide; None: what the file says, or white.
    cache : int
        Bytes of decoded tiles to keep.
    threads : int or None
        That decode at once; None: as many as kernels use.
    """

    fill: Colour | None = None
    cache: int = 64 << 20
    threads: int | None = None


class Damage:
    """Parts of a slide that could not be read and are the fill colour.

    Attributes
    ----------
    places : dict
        (level, x, y) of a tile on its level's grid, or of the smallest region that fails, to what was wrong
        with it; however often it is met, it counts once.

    Examples
    --------
    >>> damage = Damage()
    >>> damage.note((0, 256, 0), "JPEG: the data end early"), damage.note((0, 256, 0), "again"), len(damage)
    (True, False, 1)
    """

    def __init__(self) -> None:
        self.places: dict[tuple[int, int, int], str] = {}
        self._lock = threading.Lock()

    def note(self, place: tuple[int, int, int], reason: str) -> bool:
        """Remember a place; tell whether it is new."""
        with self._lock:
            new = place not in self.places
            self.places.setdefault(place, reason)
            return new

    def __len__(self) -> int:
        return len(self.places)


class Backend(Protocol):
    """One open file."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The resolutions that there are, the finest first."""

    @property
    def properties(self) -> Mapping[str, str]:
        """What the file says of itself, under openslide's names."""

    @property
    def resolutions(self) -> tuple[tuple[str, Resolution | None], ...]:
        """What it says of micrometres per pixel, each with its source, the vendor's word first."""

    @property
    def bounds(self) -> Region | None:
        """The part of level 0 outside which nothing was scanned, where the file says so."""

    @property
    def fill(self) -> Colour:
        """The colour of what lies outside."""

    @property
    def detail(self) -> str:
        """How it is read, for people."""

    @property
    def damage(self) -> Damage:
        """What could not be read so far."""

    def read(self, level: int, x: float, y: float, out: Pixels) -> None:
        """Write pixels into ``out``, (height, width, 3), from place (x, y) of a level's own grid on.

        Whole numbers give the level's own pixels; between them neighbours are blended linearly. Anything
        outside is filled.
        """

    def close(self) -> None:
        """Let go of the file."""


def colour_of(fill: Sequence[int] | None) -> Colour | None:
    """Return a fill colour that a user gave, checked."""
    if fill is None:
        return None
    values = tuple(_numbers.whole(value, "fill", 0) for value in fill)
    if len(values) != 3 or max(values) > 255:
        raise ValueError(f"fill: got {fill!r}, expected red, green and blue from 0 to 255")
    return values


def read_between(grid: Callable[[int, int, Pixels], None], x: float, y: float, out: Pixels) -> None:
    """Write pixels from place (x, y) on, given what writes a grid's own from whole places on.

    Places count in 128ths of a pixel, as openslide's painter has them.

    Examples
    --------
    >>> def grid(x, y, out):
    ...     out[...] = 10 * np.arange(x, x + out.shape[1], dtype=np.uint8)[:, None]
    >>> out = np.empty((1, 2, 3), np.uint8)
    >>> read_between(grid, 3.5, 0, out)
    >>> out[0, :, 0].tolist()
    [35, 45]
    """
    left, across = divmod(round(x * 128), 128)
    top, down = divmod(round(y * 128), 128)
    if not (across or down):
        grid(left, top, out)
        return
    more = np.empty((out.shape[0] + 1, out.shape[1] + 1, 3), np.uint8)
    grid(left, top, more)
    out[...] = blended(more, across / 128, down / 128)


def blended(pixels: Pixels, x: float, y: float) -> Pixels:
    """Return pixels between those given, (x, y) in [0, 1) from each: one row and one column fewer.

    Examples
    --------
    >>> grey = np.array([[[0], [100]], [[200], [100]]], np.uint8)
    >>> blended(grey, 0.5, 0.5).item()
    100
    """
    # Weights of 1/128, as openslide's painter has them.
    across, down = round(x * 128), round(y * 128)
    wide = pixels.astype(np.uint32)
    rows = wide[:, :-1] * (128 - across) + wide[:, 1:] * across
    found = rows[:-1] * (128 - down) + rows[1:] * down
    # A quarter, not a half: where tiles meet openslide adds up what each has rounded down.
    return ((found + (1 << 12)) >> 14).astype(np.uint8)
