"""What a reader of slides offers to `Slide`, whatever the file's format."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastwsi import _numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastwsi.slides.geometry import Level, Pair, Region
    from fastwsi.slides.resolution import Resolution

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Shares = np.ndarray[Any, np.dtype[np.float32]]
Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
_STEPS = 1 << 16  # of a pixel, in which places between pixels are counted


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


def read_between(
    grid: Callable[[int, int, Pixels], None], x: float, y: float, out: Pixels, tile: Pair | None = None
) -> None:
    """Write pixels from place (x, y) on, given what writes a grid's own from whole places on.

    Places count in 65536ths of a pixel, and values are rounded, as openslide's painter has them: it paints
    tile after tile on a canvas of bytes.

    Parameters
    ----------
    grid : callable
        Called with a whole place and an array to fill.
    x, y : float
    out : uint8 array, shape (height, width, 3)
    tile : (width, height), optional
        Of the tiles that the grid is painted in, which meet between pixels.

    Examples
    --------
    >>> def grid(x, y, out):
    ...     out[...] = 10 * np.arange(x, x + out.shape[1], dtype=np.uint8)[:, None]
    >>> out = np.empty((1, 2, 3), np.uint8)
    >>> read_between(grid, 3.5, 0, out)
    >>> out[0, :, 0].tolist()
    [35, 45]
    """
    left, across = divmod(math.floor(x * _STEPS + 0.5), _STEPS)
    top, down = divmod(math.floor(y * _STEPS + 0.5), _STEPS)
    if not (across or down):
        grid(left, top, out)
        return
    height, width, _ = out.shape
    more = np.empty((height + 1, width + 1, 3), np.uint8)
    grid(left, top, more)
    pixels = more.astype(np.float32) / np.float32(255)
    x_share, y_share = np.float32(across / _STEPS), np.float32(down / _STEPS)
    out[...] = _blended(pixels, x_share, y_share)
    if tile is None:
        return
    # Where tiles meet, each is a layer of its own.
    columns = [i for i in range(width) if across and (left + i + 1) % tile[0] == 0]
    rows = [i for i in range(height) if down and (top + i + 1) % tile[1] == 0]
    for column in columns:
        out[:, column] = _blended(pixels[:, column : column + 2], x_share, y_share, "columns")[:, 0]
    for row in rows:
        out[row] = _blended(pixels[row : row + 2], x_share, y_share, "rows")[0]
        for column in columns:
            corner = pixels[row : row + 2, column : column + 2]
            out[row, column] = _blended(corner, x_share, y_share, "corners")[0, 0]


# Of the four pixels about a place, which belong to one tile: in the order in which tiles are painted.
_LAYERS = {
    "": ((0, 1, 2, 3),),
    "columns": ((1, 3), (0, 2)),
    "rows": ((2, 3), (0, 1)),
    "corners": ((3,), (2,), (1,), (0,)),
}


def _blended(pixels: Shares, x: np.float32, y: np.float32, seams: str = "") -> Pixels:
    """Return pixels between those given, (x, y) in [0, 1) from each: one row and one column fewer."""
    one = np.float32(1)
    values = pixels[:-1, :-1], pixels[:-1, 1:], pixels[1:, :-1], pixels[1:, 1:]
    shares = (one - x) * (one - y), x * (one - y), (one - x) * y, x * y
    canvas, opacity = np.zeros(values[0].shape, np.float32), np.float32(0)
    for layer in _LAYERS[seams]:
        share = np.float32(sum(shares[i] for i in layer))
        room = one - opacity
        fits = one if share <= room else room / share  # what is opaque already takes no more
        canvas = _rounded(canvas + sum(values[i] * shares[i] for i in layer) * fits)
        opacity = _rounded(opacity + share * fits)
    return np.rint(canvas * 255).astype(np.uint8)


def _rounded(values: Any) -> Any:
    """Return values of [0, 1] as bytes hold them: 256 steps of which the last two are one."""
    steps = np.minimum(np.floor(values * np.float32(256)), np.float32(255))
    return steps / np.float32(255)
