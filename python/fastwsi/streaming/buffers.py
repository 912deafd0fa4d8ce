"""Rows of maps and of gradients while they are needed."""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import NamedTuple

import torch

from fastwsi.streaming import row_kernels
from fastwsi.streaming.row_layout import layout_of

_SPARSE = 8
"""Of how many rows of memory one is held where the memory is given back."""

_LARGE = 2**20
"""Bytes from which rows on a CPU have pages of their own."""


class Kind(NamedTuple):
    """What the rows of a map are made of."""

    images: int
    channels: int
    width: int
    dtype: torch.dtype
    device: torch.device
    layout: torch.memory_format

    def empty(self, rows: int) -> torch.Tensor:
        """Return so many rows of anything."""
        return torch.empty(
            (self.images, self.channels, rows, self.width),
            dtype=self.dtype,
            device=self.device,
            memory_format=self.layout,
        )


def lasting(kind: Kind, rows: int) -> torch.Tensor:
    """Return so many rows of anything, for long.

    On a CPU large ones have pages of their own, which go back to the system with them. Between what comes
    and goes with each action they would hold holes in the heap open: those took a third as much again.

    Examples
    --------
    >>> kind = Kind(1, 64, 512, torch.float32, torch.device("cpu"), torch.channels_last)
    >>> lasting(kind, 16).shape, lasting(kind, 16).is_contiguous(memory_format=torch.channels_last)
    (torch.Size([1, 64, 16, 512]), True)
    """
    size = kind.images * kind.channels * rows * kind.width
    if kind.device.type != "cpu" or size * kind.dtype.itemsize < _LARGE or not hasattr(mmap, "MAP_ANONYMOUS"):
        return kind.empty(rows)
    pages = mmap.mmap(-1, size * kind.dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # other systems; kernels without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    flat = torch.frombuffer(pages, dtype=kind.dtype)  # which keeps the pages for as long as it lives
    shape = kind.images, kind.channels, rows, kind.width
    if kind.layout == torch.channels_last:
        images, channels, _, width = shape
        return flat.view(images, rows, width, channels).permute(0, 3, 1, 2)
    return flat.view(shape)


class Rows:
    """A window of rows [low, high) of a map, in one piece of memory: appended below, dropped above.

    Examples
    --------
    >>> kind = Kind(1, 2, 3, torch.float32, torch.device("cpu"), torch.contiguous_format)
    >>> rows = Rows(start=10, capacity=4)
    >>> _ = rows.append(3, kind).fill_(1.0)
    >>> rows.drop(12)
    >>> _ = rows.append(2, kind).fill_(2.0)
    >>> rows.read(12, 15)[0, 0, :, 0].tolist()
    [1.0, 2.0, 2.0]
    """

    def __init__(self, start: int, capacity: int) -> None:
        self.low = self.high = start
        self._capacity = capacity
        self._storage: torch.Tensor | None = None
        self._base = start  # the row that lies first in the storage

    def append(self, count: int, kind: Kind) -> torch.Tensor:
        """Return the memory of the next rows, to be written."""
        if self._storage is None:
            self._storage, self._base = lasting(kind, max(self._capacity, count)), self.high
        self._make_room(count, kind)
        self.high += count
        return self.read(self.high - count, self.high)

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Return a view of rows [start, stop)."""
        assert self._storage is not None
        assert self._base <= start <= stop <= self.high
        return self._storage[:, :, start - self._base : stop - self._base]

    def drop(self, before: int) -> None:
        """Let go of the rows before one."""
        self.low = max(self.low, min(before, self.high))
        if self._storage is None:
            return
        if storage_after_drop(self._storage.shape[2], self.high - self.low) == self._storage.shape[2]:
            return
        held = self._storage[:, :, self.low - self._base : self.high - self._base]
        self._storage = held.clone(memory_format=torch.preserve_format)
        self._base = self.low

    def _make_room(self, count: int, kind: Kind) -> None:
        assert self._storage is not None
        held, old = self.high - self.low, self._storage.shape[2]
        new, moved = storage_after_append(old, self.high - self._base, held, count, self._capacity)
        if not moved:
            return
        if new != old:
            wider = lasting(kind, new)
            if held:
                wider[:, :, :held] = self.read(self.low, self.high)
            self._storage = wider
        elif held:
            row_kernels.move_rows(self._storage, self.low - self._base, 0, held)
        self._base = self.low


def storage_after_append(storage: int, used: int, held: int, count: int, capacity: int) -> tuple[int, bool]:
    """Return the rows of memory there are for ``count`` more, and whether those held are moved to its start.

    ``used`` rows of memory lie before the new ones, of which ``held`` are still needed.
    """
    if used + count <= storage:
        return storage, False
    return (storage if held + count <= storage else max(capacity, held + count)), True


def storage_after_drop(storage: int, held: int) -> int:
    """Return how many rows of memory remain.

    Where next to nothing is held, others may have the rest until the next rows come.

    Examples
    --------
    >>> storage_after_drop(64, held=2), storage_after_drop(64, held=30)
    (2, 64)
    """
    return storage if _SPARSE * held > storage else held


class GradientRows:
    """The gradient of a map's rows, to which several readers of the map add, until it is taken.

    Examples
    --------
    >>> rows = GradientRows(start=0)
    >>> rows.add(0, torch.ones(1, 1, 3, 1), owned=True)
    >>> rows.add(2, torch.ones(1, 1, 2, 1), owned=True)
    >>> rows.take(3).flatten().tolist(), rows.take(5).flatten().tolist()
    ([1.0, 1.0, 2.0], [1.0, 0.0])
    """

    def __init__(self, start: int) -> None:
        self._low = start
        self._first = start
        self._part: torch.Tensor | None = None
        self._owned = False

    def add(self, first: int, part: torch.Tensor, *, owned: bool) -> None:
        """Add a gradient of the rows from ``first`` on. ``owned``: it may be kept and changed."""
        if part.shape[2] == 0:
            return
        if self._part is None:
            self._first, self._part, self._owned = first, part, owned
            return
        mine = self._first, self._first + self._part.shape[2]
        other = first, first + part.shape[2]
        if self._owned and mine[0] <= other[0] and other[1] <= mine[1]:
            self._part[:, :, other[0] - mine[0] : other[1] - mine[0]] += part
        elif owned and other[0] <= mine[0] and mine[1] <= other[1]:
            part[:, :, mine[0] - other[0] : mine[1] - other[0]] += self._part
            self._first, self._part, self._owned = first, part, True
        else:
            low, high = min(mine[0], other[0]), max(mine[1], other[1])
            both = _rows_like(self._part, high - low)
            both[:, :, : mine[0] - low] = 0
            both[:, :, mine[0] - low : mine[1] - low] = self._part
            both[:, :, mine[1] - low :] = 0
            both[:, :, other[0] - low : other[1] - low] += part
            self._first, self._part, self._owned = low, both, True

    def take(self, stop: int) -> torch.Tensor | None:
        """Return the gradient of all rows before ``stop`` that were not taken yet; None where it is zero."""
        low, part, self._low = self._low, self._part, stop
        if part is None or stop <= self._first:
            return None
        end = self._first + part.shape[2]
        rest = part[:, :, stop - self._first :] if end > stop else None
        found = part[:, :, : min(end, stop) - self._first]
        if self._first > low or end < stop:
            whole = _rows_like(part, stop - low)
            whole[:, :, : self._first - low] = 0
            whole[:, :, self._first - low : self._first - low + found.shape[2]] = found
            whole[:, :, self._first - low + found.shape[2] :] = 0
            found = whole
        elif not self._owned:
            found = found.clone()
        # A copy, lest a few rows keep all of them in memory.
        self._part = None if rest is None else rest.clone(memory_format=torch.preserve_format)
        self._first, self._owned = stop, True
        return found


def _rows_like(part: torch.Tensor, rows: int) -> torch.Tensor:
    images, channels, _, width = part.shape
    kind = Kind(images, channels, width, part.dtype, part.device, layout_of(part))
    return kind.empty(rows)
