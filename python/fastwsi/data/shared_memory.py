"""Memory that a loader's workers fill and the main process reads, and which workers then fill again.

New shared memory costs more than reading what goes into it: each of its pages is a fault of its own, in the
worker and again in the main process.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch

_HEAD = 64  # bytes: the first tells whether the rest is in use
_MOST = 16  # pieces that a worker keeps: a loader asks it for four batches ahead

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class SharedMemory:
    """A piece of shared memory on its way: bytes in a worker, a tensor where it arrives.

    In the worker it is in use until nothing is left of that tensor, nor of any view of it.
    """

    def __init__(self, size: int) -> None:
        new_shared: Any = torch.UntypedStorage._new_shared  # noqa: SLF001  (as torch's collate does)
        self._whole = torch.empty(0, dtype=torch.uint8)
        self._whole.set_(new_shared(_HEAD + size), 0, (_HEAD + size,))  # type: ignore[call-overload]  # torch's stubs
        self._bytes: Bytes = self._whole.numpy()
        self.bytes = self._bytes[_HEAD:]

    @property
    def in_use(self) -> bool:
        """Whether somebody reads it, or fills it."""
        return bool(self._bytes[0])

    @in_use.setter
    def in_use(self, value: bool) -> None:
        self._bytes[0] = value

    def __reduce__(self) -> tuple[Any, tuple[torch.Tensor]]:
        return _arrived, (self._whole,)


def _arrived(whole: torch.Tensor) -> torch.Tensor:
    """Return what was filled as a tensor that lets go of the memory when it is gone."""
    known = whole.numpy()
    filled = known[_HEAD:]
    # The tensor's storage holds this very array, and so do all its views.
    weakref.finalize(filled, known.__setitem__, 0, 0).atexit = False
    return torch.from_numpy(filled)


class Lender:
    """A worker's pieces of memory, each lent again once it is free.

    Examples
    --------
    >>> lender = Lender()
    >>> first, second = lender.lend(100), lender.lend(100)
    >>> first.in_use = False
    >>> lender.lend(100) is first, first.bytes.shape
    (True, (100,))
    """

    def __init__(self) -> None:
        self._kept: list[SharedMemory] = []

    def lend(self, size: int) -> SharedMemory:
        """Return memory for a number of bytes, whatever is in it: in use from now on."""
        for memory in self._kept:
            if not memory.in_use and memory.bytes.size == size:
                break
        else:
            memory = SharedMemory(size)
            # Whoever keeps all batches gets memory for each, and it is gone with the batch.
            self._kept = [*self._kept[1 - _MOST :], memory]
        memory.in_use = True
        return memory
