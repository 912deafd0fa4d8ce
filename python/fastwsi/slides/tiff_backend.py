"""The fast path: tiled TIFF and SVS, tiles decoded side by side straight into the picture."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from fastwsi._native import get_num_threads
from fastwsi.slides.backend import WHITE, Damage, Options, Pixels, read_between
from fastwsi.slides.errors import SlideError, Unsuited
from fastwsi.slides.geometry import levels_of
from fastwsi.slides.tiff_structure import TiledLevel, read_structure
from fastwsi.slides.tiff_tiles import COMPRESSIONS, JPEG2000_KINDS, CorruptTileError, decode, is_subsampled
from fastwsi.slides.tile_cache import Lent, TileCache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

_LONGEST_TILE = 1 << 29  # bytes in the file


class TiffBackend:
    """Reads tiled TIFFs whose tiles do not overlap: generic, Aperio's, Philips'."""

    def __init__(self, path: Path, options: Options) -> None:
        self._structure = read_structure(path)
        self._path, self._options = path, options
        self._levels = self._structure.levels
        tiles = [(level.coding.width, level.coding.height) for level in self._levels]
        self.levels = levels_of(list(self._structure.sizes), tiles)
        self.properties = self._structure.properties
        self.resolutions = self._structure.resolutions
        self.bounds = None
        self.fill = options.fill or WHITE
        self.damage = Damage()
        kinds = sorted({COMPRESSIONS[level.coding.compression] for level in self._levels})
        self.detail = f"{self._structure.vendor}, tiles of {', '.join(kinds)}"
        self._cache = TileCache(options.cache)
        self._corrupt: set[tuple[int, int, int]] = set()
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        # Slides that nobody closes are closed when nobody has them any more.
        self._closing = weakref.finalize(self, os.close, self._file)
        self._size = os.fstat(self._file).st_size
        self._threads = options.threads or get_num_threads()
        self._pool: ThreadPoolExecutor | None = None
        self._check_length()
        self._check_sampling()

    def read(self, level: int, x: float, y: float, out: Pixels) -> None:
        """Write pixels of a level."""
        coding = self._levels[level].coding
        read_between(partial(self._grid, level), x, y, out, (coding.width, coding.height))

    def close(self) -> None:
        """Close the file and let go of tiles and threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._file = -1
        self._closing()
        self._cache.clear()

    def _check_length(self) -> None:
        """Refuse a file that ends before its tiles do: a copy that was not finished."""
        ends = [level.offsets.astype(np.float64) + level.counts for level in self._levels]
        missing = sum(int((end > self._size).sum()) for end in ends)
        if missing:
            self.close()
            tiles = sum(level.counts.size for level in self._levels)
            raise SlideError(
                self._path, f"the file is cut short: {missing} of {tiles} tiles lie behind its end"
            )

    def _check_sampling(self) -> None:
        """Leave JPEG 2000 whose colours are coarser than its brightness to openslide."""
        for level in self._levels:
            there = np.flatnonzero(level.counts)
            if level.coding.compression in JPEG2000_KINDS and there.size:
                number = int(there[0])
                head = self._bytes(int(level.offsets[number]), min(int(level.counts[number]), 4096))
                if is_subsampled(head):
                    self.close()
                    raise Unsuited("JPEG 2000 with subsampled colours")

    def _grid(self, index: int, x: int, y: int, out: Pixels) -> None:
        level, (whole_width, whole_height) = self._levels[index], self.levels[index].size
        height, width, _ = out.shape
        left, right = max(x, 0), min(x + width, whole_width)
        top, bottom = max(y, 0), min(y + height, whole_height)
        if left >= right or top >= bottom:
            out[...] = self.fill
            return
        if (right - left, bottom - top) != (width, height):
            out[...] = self.fill
        # What begins and ends with tiles leaves none half used: the next region will want others.
        keep = not (
            left % level.coding.width == top % level.coding.height == 0
            and (right % level.coding.width == 0 or right == whole_width)
            and (bottom % level.coding.height == 0 or bottom == whole_height)
        )
        tiles = list(
            product(
                range(top // level.coding.height, (bottom - 1) // level.coding.height + 1),
                range(left // level.coding.width, (right - 1) // level.coding.width + 1),
            )
        )

        def paint(place: tuple[int, int]) -> None:
            lent = self._tile(index, level, place, keep=keep)
            tile_top, tile_left = place[0] * level.coding.height, place[1] * level.coding.width
            first, end = max(top, tile_top), min(bottom, tile_top + level.coding.height)
            start, stop = max(left, tile_left), min(right, tile_left + level.coding.width)
            target = out[first - y : end - y, start - x : stop - x]
            if lent is None:
                target[...] = self.fill
            else:
                pixels = lent.tile
                target[...] = pixels[first - tile_top : end - tile_top, start - tile_left : stop - tile_left]
                self._cache.done(lent)

        self._each(paint, tiles)

    def _each(self, paint: Callable[[tuple[int, int]], None], tiles: list[tuple[int, int]]) -> None:
        """Call ``paint`` for tiles, on this thread and as many more as pay."""
        threads = min(self._threads, len(tiles) // 2)
        if threads <= 1:
            for tile in tiles:
                paint(tile)
            return
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads - 1, thread_name_prefix="fastwsi-tiles")
            pool = self._pool
        waiting = iter(tiles)  # next() of a list's iterator is atomic

        def work() -> None:
            for tile in waiting:
                paint(tile)

        helpers = [pool.submit(work) for _ in range(threads - 1)]
        work()
        for helper in helpers:
            helper.result()

    def _tile(self, index: int, level: TiledLevel, place: tuple[int, int], *, keep: bool) -> Lent | None:
        """Lend a tile's pixels; None where the file has none."""
        key = (index, *place)
        found = self._cache.get(key)
        if found is not None:
            return found
        number = place[0] * level.across + place[1]
        count, offset = int(level.counts[number]), int(level.offsets[number])
        if count == 0 or key in self._corrupt:
            return None  # never written, so that nothing was scanned there; or known to be no picture
        try:
            tile = decode(level.coding, self._bytes(offset, count), self._cache.memory)
        except CorruptTileError as error:
            self._corrupt.add(key)
            self._note(key, level, str(error))
            return None
        return self._cache.put(key, tile, keep=keep)

    def _bytes(self, offset: int, count: int) -> bytes:
        if self._file < 0:
            raise SlideError(self._path, "the slide is closed")
        if offset + count > self._size or count > _LONGEST_TILE:
            raise CorruptTileError(f"{count} bytes from byte {offset} on, of a file of {self._size}")
        try:
            data = os.pread(self._file, count, offset)
        except OSError as error:
            raise CorruptTileError(f"the file cannot be read: {error.strerror}") from None
        if len(data) != count:
            raise CorruptTileError(f"{len(data)} of {count} bytes could be read")
        return data

    def _note(self, key: tuple[int, int, int], level: TiledLevel, reason: str) -> None:
        index, row, column = key
        x, y = column * level.coding.width, row * level.coding.height
        if self.damage.note((index, x, y), reason):
            logger.warning("%s: level %d, tile at (%d, %d): %s", self._path, index, x, y, reason)
