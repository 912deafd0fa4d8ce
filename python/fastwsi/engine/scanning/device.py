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
    """Copies a batch while the one before is scored; waits for the GPU at the very end."""

    def __init__(
        self, scorer: Callable[[torch.Tensor], torch.Tensor], device: torch.device, count: int
    ) -> None:
        self._scorer, self._device = scorer, device
        self._scores = torch.zeros(count, device=device)
        self._done = 0
        self._copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's stubs
        self._slots: list[tuple[torch.Tensor, torch.cuda.Event]] = []
        self._spans: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self.host = self.busy = 0.0

    def add(self, pixels: Pixels) -> None:
        """Queue a batch."""
        began = time.perf_counter()
        staged, copied = self._slot(pixels)
        copied.synchronize()  # of the batch that lay here before
        here = staged[: len(pixels)]
        here.numpy()[...] = pixels
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copying):
            there = here.to(self._device, non_blocking=True)
            copied.record(self._copying)
        computing.wait_stream(self._copying)
        there.record_stream(computing)
        begin, end = _event(), _event()
        begin.record(computing)
        with torch.inference_mode():
            self._scores[self._done : self._done + len(pixels)] = self._scorer(there)
        end.record(computing)
        self._done += len(pixels)
        self._spans.append((begin, end))
        self.host += time.perf_counter() - began

    def _slot(self, pixels: Pixels) -> tuple[torch.Tensor, torch.cuda.Event]:
        """Return pinned memory for a batch; the first batch is the largest."""
        if len(self._slots) < _SLOTS:
            staged = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=True)
            self._slots.append((staged, _event()))
            return self._slots[-1]
        self._slots.append(self._slots.pop(0))
        return self._slots[-1]

    def finish(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return all scores."""
        scores: np.ndarray[Any, np.dtype[np.float32]] = self._scores[: self._done].cpu().numpy()
        self.busy = sum(begin.elapsed_time(end) for begin, end in self._spans) / 1000
        return scores


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's stubs
