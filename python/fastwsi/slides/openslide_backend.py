"""Everything that openslide reads: the formats of some fifteen scanners."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import numpy as np

from fastwsi.slides import resolution
from fastwsi.slides.backend import WHITE, Colour, Damage, Options, Pixels
from fastwsi.slides.errors import SlideError, Unsuited
from fastwsi.slides.geometry import Level, Region

if TYPE_CHECKING:
    from pathlib import Path

    import openslide

    from fastwsi.slides.geometry import Pair
    from fastwsi.slides.resolution import Resolution

logger = logging.getLogger(__name__)

_TILE = (64, 64)  # pixels that are given up at once where a format has no tiles
_LARGEST = 1 << 24  # pixels that are asked for at once; openslide takes four bytes of each, and a copy


class OpenSlideBackend:
    """Reads through openslide, each thread that reads at the same time through a handle of its own.

    An error poisons a handle of openslide's, which is then opened anew; no one else has it meanwhile. All of
    a slide's handles have the memory of one cache.
    """

    def __init__(self, path: Path, options: Options) -> None:
        if path.is_dir():
            raise Unsuited("a folder")
        try:
            import openslide  # noqa: PLC0415  (imported where used)
        except ImportError as error:
            raise Unsuited(f"openslide is not installed ({error})") from error
        self._openslide, self._path, self._options = openslide, path, options
        self._cache = openslide.OpenSlideCache(options.cache)
        self._lock = threading.Lock()  # of the two below
        self._closed = False
        handle = self._opened()
        self._idle: list[openslide.OpenSlide] = [handle]
        properties = dict(handle.properties)
        self.properties = properties
        self.levels = tuple(
            Level(width, height, float(downsample), _tile(properties, i))
            for i, ((width, height), downsample) in enumerate(
                zip(handle.level_dimensions, handle.level_downsamples, strict=True)
            )
        )
        self.fill = options.fill or _background(properties) or WHITE
        self.bounds = _bounds(properties)
        self.resolutions = _resolutions(properties)
        self.damage = Damage()
        self.detail = f"{properties.get('openslide.vendor', 'unknown')}, openslide {_version(openslide)}"

    def read(self, level: int, x: float, y: float, out: Pixels) -> None:
        """Write pixels of a level. openslide takes whole pixels of level 0: (x, y) is rounded to those."""
        down = self.levels[level].downsample
        left, top = round(x * down), round(y * down)
        height, width, _ = out.shape
        if width == 0 or height == 0:
            return
        handle = self._taken()  # after an error it is not given back: it closes when it is let go
        band = max(1, _LARGEST // width)
        for first in range(0, height, band):
            part = out[first : first + band]
            handle = self._paint(handle, part, level, left, top + round(first * down))
        self._give_back(handle)

    def close(self) -> None:
        """Close openslide's handles; those that are being read through, when that is done."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for handle in idle:
            handle.close()

    def _taken(self) -> openslide.OpenSlide:
        """Return a handle that no one else has."""
        with self._lock:
            if self._closed:
                raise SlideError(self._path, "the slide is closed")
            if self._idle:
                return self._idle.pop()
        return self._reopened()

    def _give_back(self, handle: openslide.OpenSlide) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(handle)
                return
        handle.close()

    def _opened(self) -> openslide.OpenSlide:
        try:
            handle = self._openslide.OpenSlide(self._path)
        except self._openslide.OpenSlideUnsupportedFormatError:
            raise Unsuited("openslide does not know the format") from None
        except self._openslide.OpenSlideError as error:
            raise SlideError(self._path, f"openslide: {error}") from None
        handle.set_cache(self._cache)
        return handle

    def _reopened(self) -> openslide.OpenSlide:
        try:
            return self._opened()
        except Unsuited as error:
            raise SlideError(self._path, f"changed while it was open: {error}") from None

    def _paint(
        self, handle: openslide.OpenSlide, out: Pixels, level: int, x: int, y: int
    ) -> openslide.OpenSlide:
        """Fill ``out`` from level-0 place (x, y) on; of what fails, all but the tiles that do.

        Returns the handle, or another one in its place.
        """
        height, width, _ = out.shape
        try:
            image = handle.read_region((x, y), level, (width, height))
        except self._openslide.OpenSlideError as error:
            handle.close()
            handle = self._reopened()
            down = self.levels[level].downsample
            across, along = self.levels[level].tile or _TILE
            left, top = round(x / down), round(y / down)
            column, row = _border(left, width, across), _border(top, height, along)
            if column and (not row or width >= height):
                handle = self._paint(handle, out[:, :column], level, x, y)
                return self._paint(handle, out[:, column:], level, x + round(column * down), y)
            if row:
                handle = self._paint(handle, out[:row], level, x, y)
                return self._paint(handle, out[row:], level, x, y + round(row * down))
            out[...] = self.fill
            place = left // across * across, top // along * along
            if self.damage.note((level, *place), str(error)):
                logger.warning("%s: level %d, tile at %s: %s", self._path, level, place, error)
            return handle
        _over(np.asarray(image), self.fill, out)
        return handle


def _border(first: int, count: int, side: int) -> int:
    """Return how many of ``count`` pixels lie before the border of tiles that is nearest their middle.

    0 where they all lie in one tile.

    Examples
    --------
    >>> _border(10, 300, 128), _border(130, 100, 128), _border(-5, 10, 128)
    (118, 0, 5)
    """
    border = round((first + count / 2) / side) * side - first
    return border if 0 < border < count else 0


def _over(pixels: Pixels, fill: Colour, out: Pixels) -> None:
    """Lay RGBA pixels over a colour."""
    opacity = pixels[..., 3:]
    if opacity.min() == 255:
        out[...] = pixels[..., :3]
        return
    alpha = opacity.astype(np.uint32)
    mixed = pixels[..., :3] * alpha + np.asarray(fill, np.uint32) * (255 - alpha)
    out[...] = (mixed + 127) // 255


def _background(properties: dict[str, str]) -> Colour | None:
    text = properties.get("openslide.background-color", "")
    try:
        value = bytes.fromhex(text)
    except ValueError:
        return None
    return (value[0], value[1], value[2]) if len(value) == 3 else None


def _tile(properties: dict[str, str], level: int) -> Pair | None:
    try:
        width, height = (
            int(properties[f"openslide.level[{level}].tile-{name}"]) for name in ("width", "height")
        )
    except (KeyError, ValueError):
        return None
    return width, height


def _bounds(properties: dict[str, str]) -> Region | None:
    try:
        x, y, width, height = (
            int(properties[f"openslide.bounds-{name}"]) for name in ("x", "y", "width", "height")
        )
    except (KeyError, ValueError):
        return None
    return Region(x, y, width, height)


def _resolutions(properties: dict[str, str]) -> tuple[tuple[str, Resolution | None], ...]:
    x, y = (resolution.number_in(properties.get(f"openslide.mpp-{axis}")) for axis in "xy")
    vendor = None if x is None or y is None else (x, y)
    per_x, per_y = (resolution.number_in(properties.get(f"tiff.{axis}Resolution")) for axis in "XY")
    unit = {"inch": 2, "centimeter": 3}.get(properties.get("tiff.ResolutionUnit", ""), 0)
    tags = None if per_x is None or per_y is None else resolution.from_tags(unit, per_x, per_y)
    return (("openslide.mpp-x, openslide.mpp-y", vendor), ("TIFF tags", tags))


def _version(openslide: object) -> str:
    return str(getattr(openslide, "__library_version__", ""))
