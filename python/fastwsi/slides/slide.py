"""A slide: its levels and resolution, and pixels of any part of it at any of them."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers
from fastwsi._numbers import bytes_of
from fastwsi.kernels import area_resize
from fastwsi.kernels.resizing import LARGEST_SCALE
from fastwsi.slides import registry, resolution
from fastwsi.slides.array_backend import ArrayBackend
from fastwsi.slides.backend import Colour, Options, Pixels, colour_of
from fastwsi.slides.errors import SlideError
from fastwsi.slides.forks import REOPENING
from fastwsi.slides.geometry import Level, Pair, Region, Sampling, pair_of, pixels_in
from fastwsi.slides.lattice import Lattice
from fastwsi.slides.rows import SlideRows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from fastwsi.slides.backend import Backend
    from fastwsi.slides.resolution import Found

_BAND = 1 << 24  # pixels that a resampled region takes from its level at a time


def open_slide(
    source: str | Path | Any,
    *,
    mpp: float | tuple[float, float] | None = None,
    backend: str = "auto",
    fill: Colour | None = None,
    cache: float | str = "64MiB",
    threads: int | None = None,
) -> Slide:
    """Open a slide: a scanner's file, a tiled TIFF, a picture, a zarr folder, or an array.

    Parameters
    ----------
    source : path, URL, or array
        Arrays are uint8 (height, width, 3), numpy's or zarr's, or a list of them, one for each level.
    mpp : float or (x, y), optional
        Micrometres per pixel of level 0, where the file has none or wrong ones: 0.05 to 20.
    backend : str
        "auto", or one of `backends()`.
    fill : (red, green, blue), optional
        What lies outside the slide. Default: what the file says, or white.
    cache : int or str
        Bytes of decoded tiles to keep, such as "64MiB"; 0 keeps none.
    threads : int, optional
        That decode tiles at once. Default: as many as kernels use (`fastwsi.get_num_threads`).

    Returns
    -------
    Slide
        A context manager, which may be pickled, and used by many threads and forked workers at once.

    Raises
    ------
    SlideError
        The file cannot be read; says which and why.

    Examples
    --------
    >>> picture = np.full((200, 300, 3), 240, np.uint8)
    >>> with fastwsi.open_slide(picture, mpp=0.5) as slide:
    ...     slide.dimensions, slide.mpp, slide.read((10, 20), 64).shape, slide.read((0, 0), 50, mpp=2).shape
    ((300, 200), 0.5, (64, 64, 3), (50, 50, 3))
    """
    if backend != "auto" and backend not in registry.backends():
        raise ValueError(
            f"backend: got {backend!r}, expected 'auto' or one of {', '.join(registry.backends())}"
        )
    if threads is not None:
        threads = _numbers.whole(threads, "threads", 1)
    size = 0 if cache == 0 else bytes_of(cache, "cache")
    options = Options(colour_of(fill), size, threads)
    known = None if mpp is None else resolution.given(mpp)
    return Slide(registry.located(source), backend, options, known)


class Slide:
    """One open slide; `open_slide` makes it.

    Places are (x, y) at level 0, sizes (width, height), pixels arrays (height, width, 3) of uint8.
    """

    def __init__(self, source: Path | str | Any, wanted: str, options: Options, known: Found | None) -> None:
        self._source, self._wanted, self._options, self._known = source, wanted, options, known
        self._inherited: list[Backend] = []
        self._closed = False
        # The process, and what is open in it: one name, so that no thread sees the one without the other.
        self._state = os.getpid(), self._open()
        found = known or resolution.found(self._opened.backend.resolutions)
        self._resolution = found

    @property
    def path(self) -> Path | None:
        """The file; None for an array or a URL."""
        return self._source if isinstance(self._source, Path) else None

    @property
    def name(self) -> str:
        """The file's name without its ending, or a URL's; "array" for an array."""
        return Path(self._source).stem if isinstance(self._source, (Path, str)) else "array"

    @property
    def backend(self) -> str:
        """The name of the reader that was chosen."""
        return self._opened.name

    @property
    def detail(self) -> str:
        """What the reader says of the file, and of itself."""
        return self._opened.backend.detail

    @property
    def passed_over(self) -> tuple[tuple[str, str], ...]:
        """Readers that were asked before, and why they left the file to others."""
        return self._opened.passed_over

    @property
    def dimensions(self) -> Pair:
        """(width, height) of level 0."""
        return self.levels[0].size

    @property
    def levels(self) -> tuple[Level, ...]:
        """The resolutions that the file holds, the finest first."""
        return self._opened.backend.levels

    @property
    def properties(self) -> Mapping[str, str]:
        """What the file says of itself, under openslide's names."""
        return self._opened.backend.properties

    @property
    def bounds(self) -> Region:
        """The part of level 0 that was scanned: all of it, unless the file says otherwise (MRXS does)."""
        return self._opened.backend.bounds or Region(0, 0, *self.dimensions)

    @property
    def fill(self) -> Colour:
        """The colour of what lies outside."""
        return self._opened.backend.fill

    @property
    def corrupt(self) -> Mapping[tuple[int, int, int], str]:
        """Tiles that could not be read and are the fill colour, met so far: (level, x, y) to the reason."""
        return dict(self._opened.backend.damage.places)

    @property
    def has_mpp(self) -> bool:
        """Whether the resolution is known."""
        return self._resolution.mpp is not None

    @property
    def mpp_xy(self) -> tuple[float, float]:
        """Micrometres per pixel of level 0, along x and y."""
        if self._resolution.mpp is None:
            raise SlideError(self.path or self.name, self._resolution.missing)
        return self._resolution.mpp

    @property
    def mpp(self) -> float:
        """Micrometres per pixel of level 0: the mean where x and y differ."""
        x, y = self.mpp_xy
        return (x + y) / 2

    @property
    def mpp_source(self) -> str:
        """Where the resolution comes from."""
        return self._resolution.source

    @property
    def objective_power(self) -> float | None:
        """The scanner's objective, 20 or 40 say, where the file tells; nothing depends on it."""
        return resolution.number_in(self.properties.get("openslide.objective-power"))

    def read(
        self,
        xy: tuple[int, int],
        size: int | tuple[int, int],
        *,
        mpp: float | None = None,
        level: int | None = None,
        align: bool = False,
    ) -> Pixels:
        """Read a rectangle of pixels.

        Parameters
        ----------
        xy : (int, int)
            Its left upper corner at level 0. It may lie outside the slide, which is `fill`.
        size : int or (width, height)
            In pixels of what is returned.
        mpp : float, optional
            The resolution to read at: from the nearest finer level, area-averaged; interpolated linearly
            where it is finer than level 0.
        level : int, optional
            The level whose own pixels to read; default, without mpp: 0. Where ``xy`` lies between its
            pixels, neighbours are blended linearly.
        align : bool
            Take the nearest of the level's pixels instead of blending.

        Returns
        -------
        uint8 array, shape (height, width, 3)
        """
        corner, shape = pair_of(xy, "xy"), pair_of(size, "size", 0)
        return self._filled(self._sampling(corner, shape, mpp, level, align=align), shape)

    def read_level(self, level: int, place: tuple[int, int], size: int | tuple[int, int]) -> Pixels:
        """Return pixels from place (x, y) of a level's own grid on, where `read` takes level-0 places."""
        x, y = pair_of(place, "place")
        width, height = pair_of(size, "size", 0)
        out = np.empty((height, width, 3), np.uint8)
        self._reader().read(self._index(level), x, y, out)
        return out

    def scale(self, mpp: float) -> tuple[float, float]:
        """Return how many level-0 pixels one pixel at a resolution spans, along x and y."""
        wanted = _numbers.finite(mpp, "mpp")
        if wanted <= 0:
            raise ValueError(f"mpp: got {mpp!r}, expected more than 0")
        x, y = self.mpp_xy
        return wanted / x, wanted / y

    def lattice(self, mpp: float | None = None) -> Lattice:
        """Return the slide's pixels at a resolution, counted from (0, 0) on; default: level 0 as it is."""
        if mpp is None:
            return Lattice(self, self.dimensions, 0, 1.0, (1.0, 1.0))
        level = self.level_for(mpp)
        return Lattice(self, self.dimensions, level, self.levels[level].downsample, self.scale(mpp))

    def size_at(self, mpp: float) -> Pair:
        """Return the whole slide's (width, height) at a resolution, a part of a pixel counted as one."""
        across, down = self.scale(mpp)
        return pixels_in(self.dimensions[0] / across), pixels_in(self.dimensions[1] / down)

    def level_for(self, mpp: float) -> int:
        """Return the level from which a resolution is read: the coarsest that is fine enough."""
        return self._level_for(min(self.scale(mpp)))

    def thumbnail(self, size: int | tuple[int, int] = 1024) -> Pixels:
        """Return the whole slide in a square or a (width, height), its shape kept, never enlarged."""
        most = pair_of(size, "size", 1)
        width, height = self.dimensions
        factor = max(1.0, width / most[0], height / most[1])
        shape = max(1, min(most[0], round(width / factor))), max(1, min(most[1], round(height / factor)))
        scale = width / shape[0], height / shape[1]
        return self._filled(self._scaled((0, 0), shape, scale, align=False), shape)

    def rows(
        self,
        *,
        mpp: float | None = None,
        level: int | None = None,
        xy: tuple[int, int] = (0, 0),
        size: int | tuple[int, int] | None = None,
    ) -> SlideRows:
        """Return the slide, or a rectangle of it, as a source of rows for `fastwsi.Streamed`."""
        corner = pair_of(xy, "xy")
        shape = self._rest(corner, mpp, level) if size is None else pair_of(size, "size", 0)
        return SlideRows(self, self._sampling(corner, shape, mpp, level, align=False), shape)

    def close(self) -> None:
        """Let go of the file; reading raises then."""
        self._closed = True
        if self._state[0] == os.getpid():
            self._opened.backend.close()

    def __enter__(self) -> Slide:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., Slide], tuple[Any, ...]]:
        return Slide, (self._source, self._wanted, self._options, self._known)

    def __repr__(self) -> str:
        width, height = self.dimensions
        mpp = f"{self.mpp:.4g} µm" if self.has_mpp else "unknown resolution"
        return (
            f"<Slide {self.path or 'array'}: {width} x {height}, {len(self.levels)} levels, {mpp}, "
            f"read by {self.backend} ({self.detail})>"
        )

    @property
    def _opened(self) -> registry.Choice:
        return self._state[1]

    def _open(self) -> registry.Choice:
        if not isinstance(self._source, (Path, str)):
            return registry.Choice(ArrayBackend(self._source, self._options), "array", ())
        return registry.choose(self._source, self._wanted, self._options)

    def _reader(self) -> Backend:
        if self._closed:
            raise SlideError(self.path or self.name, "the slide is closed")
        process, opened = self._state
        if process == os.getpid():
            return opened.backend
        with REOPENING.lock:
            process, opened = self._state
            if process != os.getpid():
                # A fork: the parent's handle stays the parent's; it is kept so that nothing closes it here.
                self._inherited.append(opened.backend)
                opened = self._open()
                self._state = os.getpid(), opened
        return opened.backend

    def _filled(self, sampling: Sampling, size: Pair) -> Pixels:
        out = np.empty((size[1], size[0], 3), np.uint8)
        self.fill_rows(sampling, 0, out)
        return out

    def _sampling(
        self, xy: Pair, size: Pair, mpp: float | None, level: int | None, *, align: bool
    ) -> Sampling:
        """Return from which level a rectangle is read, and how."""
        if mpp is not None and level is not None:
            raise ValueError(f"mpp, level: got {mpp!r} and {level!r}, expected one of them")
        if mpp is not None:
            return self._scaled(xy, size, self.scale(mpp), align=align)
        index = self._index(0 if level is None else level)
        return self._placed(index, xy, (1.0, 1.0), align=align)

    def _index(self, level: int) -> int:
        index = _numbers.whole(level, "level", 0)
        if index >= len(self.levels):
            raise ValueError(f"level: got {level}, expected 0 to {len(self.levels) - 1}")
        return index

    def _scaled(self, xy: Pair, size: Pair, scale: tuple[float, float], *, align: bool) -> Sampling:
        index = self._level_for(min(scale))
        down = self.levels[index].downsample
        across, along = scale[0] / down, scale[1] / down
        if max(abs(across - 1) * size[0], abs(along - 1) * size[1]) <= 0.5:
            across = along = 1.0  # the level's own pixels are nowhere further off than half of one
        return self._placed(index, xy, (across, along), align=align)

    def _placed(self, index: int, xy: Pair, scale: tuple[float, float], *, align: bool) -> Sampling:
        down = self.levels[index].downsample
        x, y = xy[0] / down, xy[1] / down
        return Sampling(index, *((float(round(x)), float(round(y))) if align else (x, y)), scale)

    def fill_rows(self, sampling: Sampling, first: int, out: Pixels) -> None:
        """Write rows of a sampled rectangle, from its row ``first`` on, into ``out``."""
        reader, (across, along) = self._reader(), sampling.scale
        height, width, _ = out.shape
        if sampling.scale == (1.0, 1.0):
            reader.read(sampling.level, sampling.x, sampling.y + first, out)
            return
        if max(across, along) > LARGEST_SCALE:
            raise ValueError(f"size, mpp: pixels would span {max(across, along):.0f} of the slide's each")
        margin = 1 if min(sampling.scale) < 1 else 0  # interpolation looks at neighbours
        left = math.floor(sampling.x) - margin
        right = math.ceil(sampling.x + width * across) + margin
        rows = max(1, int(_BAND / max(1.0, width * across * along)))
        for start in range(0, height, rows):
            part = out[start : start + rows]
            y = sampling.y + (first + start) * along
            top, bottom = math.floor(y) - margin, math.ceil(y + part.shape[0] * along) + margin
            pixels = np.empty((bottom - top, right - left, 3), np.uint8)
            reader.read(sampling.level, left, top, pixels)
            area_resize(
                pixels, part.shape[:2], origin=(sampling.x - left, y - top), scale=sampling.scale, out=part
            )

    def _level_for(self, scale: float) -> int:
        # A hair more than the level's own downsampling still is the level's: sizes are rounded to pixels.
        fine = [i for i, level in enumerate(self.levels) if level.downsample <= scale * (1 + 1e-3)]
        return fine[-1] if fine else 0

    def _rest(self, xy: Pair, mpp: float | None, level: int | None) -> Pair:
        """Return how much of a slide lies right of and below a place."""
        if mpp is not None:
            across, along = self.scale(mpp)
        else:
            across = along = self.levels[0 if level is None else level].downsample
        width, height = self.dimensions
        return pixels_in((width - xy[0]) / across), pixels_in((height - xy[1]) / along)
