"""Batches on their way to a device, and scores on their way back, with as little waiting as there can be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastwsi.engine.scanning.plan import Pixels

_SLOTS = 3  # batches on a GPU's side of things: being copied, being scored, being filled


class Pipeline(Protocol):
    """Takes batches one after another, and has their scores in the end.

    Attributes
    ----------
    host, busy : float
        Seconds spent on moving pixels, and those in which the device computed.
    """

    host: float
    busy: float

    def add(self, pixels: Pixels) -> None:
        """Score a batch: uint8, (n, …)."""

    def finish(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return the scores of all patches, in order."""


def pipeline(scorer: Callable[[torch.Tensor], torch.Tensor], device: torch.device, count: int) -> Pipeline:
    """Return what fits a device; ``count``: patches in all."""
    return OnGPU(scorer, device, count) if device.type == "cuda" else OnCPU(scorer)


class OnCPU:
    """Scores at once."""

    def __init__(self, scorer: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._scorer = scorer
        self._found: list[np.ndarray[Any, np.dtype[np.float32]]] = []
        self.host = self.busy = 0.0

    def add(self, pixels: Pixels) -> None:
        """Score a batch."""
        began = time.perf_counter()
        with torch.inference_mode():
            self._found.append(self._scorer(torch.from_numpy(pixels)).float().numpy())
        self.busy += time.perf_counter() - began

    def finish(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return all scores."""
        return np.concatenate(self._found) if self._found else np.zeros(0, np.float32)


class OnGPU:
    """Copies a batch while the one before is scored, and runs no more than a few batches ahead."""

    def __init__(
        self, scorer: Callable[[torch.Tensor], torch.Tensor], device: torch.device, count: int
    ) -> None:
        self._scorer, self._device = scorer, device
        self._scores = torch.zeros(count, device=device)
        self._done = 0
        self._copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's stubs
        self._slots: list[_Slot] = []
        self.host = self.busy = 0.0

    def add(self, pixels: Pixels) -> None:
        """Queue a batch; waits while all slots are in use."""
        slot = self._free_slot(pixels)
        began = time.perf_counter()
        count = len(pixels)
        slot.pinned[:count].numpy()[...] = pixels
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copying):
            slot.there[:count].copy_(slot.pinned[:count], non_blocking=True)
        computing.wait_stream(self._copying)
        slot.begun.record(computing)
        with torch.inference_mode():
            self._scores[self._done : self._done + count] = self._scorer(slot.there[:count])
        slot.ended.record(computing)
        slot.used = True
        self._done += count
        self.host += time.perf_counter() - began

    def _free_slot(self, pixels: Pixels) -> _Slot:
        """Return memory for a batch, new or no longer in use; the first batch is the largest."""
        if len(self._slots) < _SLOTS:
            self._slots.append(_Slot(pixels.shape, self._device))
            # Whatever computed in this memory before it was ours is over when a copy begins.
            self._copying.wait_stream(torch.cuda.current_stream(self._device))
        else:
            self._slots.append(self._slots.pop(0))
            self.busy += self._slots[-1].waited()
        return self._slots[-1]

    def finish(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return all scores."""
        scores: np.ndarray[Any, np.dtype[np.float32]] = self._scores[: self._done].cpu().numpy()
        self.busy += sum(slot.waited() for slot in self._slots)
        return scores


class _Slot:
    """Memory of a batch on both sides, and when it was computed with."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.pinned = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        self.there = torch.empty(shape, dtype=torch.uint8, device=device)
        self.begun, self.ended = _event(), _event()
        self.used = False

    def waited(self) -> float:
        """Wait until the batch is done; return the seconds that it took."""
        if not self.used:
            return 0.0
        self.ended.synchronize()
        self.used = False
        return float(self.begun.elapsed_time(self.ended)) / 1000


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's stubs
