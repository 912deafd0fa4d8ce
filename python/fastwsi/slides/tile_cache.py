"""Decoded tiles, kept while they are likely to be wanted again, in a stated number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable

    from fastwsi.slides.backend import Pixels

_CHUNK = 1 << 22  # bytes: from here on numpy asks for huge pages, of which far fewer must be faulted in
_MOST_SPARE = 1 << 22  # bytes


class Lent:
    """A tile that is read; its memory becomes another's once nobody reads it and it is not kept."""

    __slots__ = ("kept", "readers", "tile")

    def __init__(self, tile: Pixels) -> None:
        self.tile, self.readers, self.kept = tile, 1, False


class TileCache:
    """The tiles that were used last, up to a number of bytes; safe from many threads.

    Memory of tiles that are let go serves for the next ones: fresh memory costs half as much as decoding.

    Examples
    --------
    >>> cache = TileCache(30_000)
    >>> for name in "ab":
    ...     cache.done(cache.put(name, cache.memory(80, 80)))
    >>> cache.get("a") is None, cache.get("b").tile.shape, cache.bytes
    (True, (80, 80, 3), 19200)
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._tiles: OrderedDict[Hashable, Lent] = OrderedDict()
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

    def get(self, key: Hashable) -> Lent | None:
        """Return a tile that is kept, to be read until `done` is called with it."""
        with self._lock:
            lent = self._tiles.get(key)
            if lent is not None:
                self._tiles.move_to_end(key)
                lent.readers += 1
            return lent

    def put(self, key: Hashable, tile: Pixels, *, keep: bool = True) -> Lent:
        """Return a tile to be read until `done`; keep it, and let go of those not used for longest."""
        lent = Lent(tile)
        with self._lock:
            if keep and tile.nbytes <= self.limit and key not in self._tiles:
                lent.kept = True
                self._tiles[key] = lent
                self.bytes += tile.nbytes
                while self.bytes > self.limit:
                    _, dropped = self._tiles.popitem(last=False)
                    self.bytes -= dropped.tile.nbytes
                    dropped.kept = False
                    self._reuse(dropped)
        return lent

    def done(self, lent: Lent) -> None:
        """Tell that a tile has been read."""
        with self._lock:
            lent.readers -= 1
            self._reuse(lent)

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            for lent in self._tiles.values():
                lent.kept = False
            self._tiles.clear()
            self._spare.clear()
            self._chunk = np.empty(0, np.uint8)
            self.bytes = 0

    def _reuse(self, lent: Lent) -> None:
        if lent.readers or lent.kept or not lent.tile.flags.writeable:
            return
        if (len(self._spare) + 1) * lent.tile.nbytes <= _MOST_SPARE:
            self._spare.append(lent.tile)
