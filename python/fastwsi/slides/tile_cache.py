"""Decoded tiles, kept while they are likely to be wanted again, in a stated number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable

    from fastwsi.slides.backend import Pixels

_MOST_SPARE = 16  # tiles
_CHUNK = 1 << 22  # bytes: from here on numpy asks for huge pages, of which far fewer must be faulted in


class _Kept:
    """A tile, and how many are reading it: memory that is read must not become another tile's."""

    __slots__ = ("readers", "tile")

    def __init__(self, tile: Pixels) -> None:
        self.tile, self.readers = tile, 1


class TileCache:
    """The tiles that were used last, up to a number of bytes; safe from many threads.

    Memory of tiles that are let go serves for the next ones: fresh memory costs half as much as decoding.

    Examples
    --------
    >>> cache = TileCache(30_000)
    >>> for name in "ab":
    ...     tile = cache.memory(80, 80)
    ...     cache.put(name, tile)
    ...     cache.done(name, tile)
    >>> cache.get("a") is None, cache.get("b").shape, cache.bytes
    (True, (80, 80, 3), 19200)
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._tiles: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._spare: list[Pixels] = []
        self._chunk = np.empty(0, np.uint8)
        self._lock = threading.Lock()

    def memory(self, height: int, width: int) -> Pixels:
        """Return memory for a tile, whatever is in it."""
        size = height * width * 3
        with self._lock:
            while self._spare:
                spare = self._spare.pop()
                if spare.shape == (height, width, 3):
                    return spare
            if size * 4 > _CHUNK:
                return np.empty((height, width, 3), np.uint8)
            if self._chunk.size < size:
                self._chunk = np.empty(_CHUNK, np.uint8)
            found, self._chunk = self._chunk[:size], self._chunk[size:]
            return found.reshape(height, width, 3)

    def get(self, key: Hashable) -> Pixels | None:
        """Return a tile that is kept, to be read until `done` is called with its key."""
        with self._lock:
            kept = self._tiles.get(key)
            if kept is None:
                return None
            self._tiles.move_to_end(key)
            kept.readers += 1
            return kept.tile

    def put(self, key: Hashable, tile: Pixels) -> None:
        """Keep a tile that is being read, until `done`; let go of those that were not used for longest."""
        with self._lock:
            if tile.nbytes > self.limit or key in self._tiles:  # another thread decoded it, too
                return
            self._tiles[key] = _Kept(tile)
            self.bytes += tile.nbytes
            while self.bytes > self.limit:
                _, dropped = self._tiles.popitem(last=False)
                self.bytes -= dropped.tile.nbytes
                if not dropped.readers:
                    self._reuse(dropped.tile)

    def done(self, key: Hashable, tile: Pixels) -> None:
        """Tell that a tile has been read."""
        with self._lock:
            kept = self._tiles.get(key)
            if kept is not None and kept.tile is tile:
                kept.readers -= 1
            else:  # it was let go meanwhile, or never kept
                self._reuse(tile)

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._tiles.clear()
            self._spare.clear()
            self._chunk = np.empty(0, np.uint8)
            self.bytes = 0

    def _reuse(self, tile: Pixels) -> None:
        if len(self._spare) < _MOST_SPARE:
            self._spare.append(tile)
