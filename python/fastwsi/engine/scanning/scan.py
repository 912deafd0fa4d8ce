"""A slide to its heatmap."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from fastwsi import _numbers
from fastwsi.engine.devices import device_of
from fastwsi.engine.scanning.device import pipeline
from fastwsi.engine.scanning.plan import ScanPlan
from fastwsi.engine.scanning.reading import ReadAhead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fastwsi.engine.patch_input import PatchInput
    from fastwsi.engine.scanning.plan import Indices, Pixels
    from fastwsi.slides import Slide, TissueMask

_AT_ONCE = {"cpu": 16, "cuda": 32}


_ROUNDING = 1e-4  # by which means of probabilities may leave [0, 1]


class PatchModel(Protocol):
    """What can be scanned with: detectors, ensembles of them, and whatever else has these."""

    @property
    def input(self) -> PatchInput:
        """What patches are like."""

    def scorer(
        self, device: torch.device, *, precision: str, orientations: bool | None
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what takes patches, uint8 (n, *`PatchInput.shape`) on the device, to n probabilities.

        ``precision``: "32", "bf16" or "16", of activations. ``orientations``: whether to take the mean over
        eight; None: as the model has been made for.
        """

    def colours(self, slide: Slide) -> Callable[[Pixels], Pixels] | None:
        """Return what normalises a slide's stain, if anything does."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A slide's heatmap, and how it went.

    Attributes
    ----------
    heatmap : float32 array, shape (rows, columns)
        NaN where nothing was scanned.
    scale : (float, float)
        Level-0 pixels that a cell spans, along x and y.
    patches : int
    seconds : float
    reader, host, device : float
        The parts of the time in which threads read (each of them, on average), pixels were put into batches
        and moved, and the device computed. They go on side by side.
    waited : float
        The part in which there was nothing to do but to wait for the reader.
    """

    heatmap: np.ndarray[Any, np.dtype[np.float32]]
    scale: tuple[float, float]
    patches: int
    seconds: float
    reader: float
    host: float
    device: float
    waited: float

    def __str__(self) -> str:
        speed = self.patches / max(1e-9, self.seconds)
        return (
            f"{self.patches:,} patches in {self.seconds:.1f} s, {speed:,.0f} a second; "
            f"reader {self.reader:.0%}, host {self.host:.0%}, device {self.device:.0%}; "
            f"waited for the reader {self.waited:.0%}"
        )


def scan(
    model: PatchModel,
    slide: Slide,
    *,
    stride: int | None = None,
    tissue: TissueMask | None = None,
    min_tissue: float = 0.0,
    orientations: bool | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    readers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """Score a slide's patches, one for each cell of a heatmap.

    Parameters
    ----------
    model : PatchModel
        A detector, or an ensemble.
    slide : Slide
    stride : int, optional
        Pixels between patches' middles. Default: the side of the middle that a score is of.
    tissue : TissueMask, optional
        Where to look. Default: everywhere.
    min_tissue : float
        The part of a cell that has to be tissue; 0: any.
    orientations : bool, optional
        Whether to take the mean over eight orientations. Default: as the model's recipe has it.
    device : str or torch.device
        "auto": a GPU where torch sees one.
    precision : str
        "32", "bf16" or "16", of activations. "auto": "16" on a GPU, "32" on a CPU.
    batch_size : int, optional
        Patches that are scored at once. Default: 32 on a GPU, 16 on a CPU, where more are slower.
    readers : int, optional
        Threads that read. Default: one on a CPU that has to compute as well, beside a GPU up to eight.
    progress : callable, optional
        Called with patches done, and patches in all.

    Returns
    -------
    Scan

    Examples
    --------
    >>> slide = fastwsi.open_slide(np.full((300, 400, 3), 200, np.uint8), mpp=1.0)
    >>> demo = fastwsi.detectors.Liu2017(fastwsi.detectors.Liu2017.recipes["liu2017-demo"])
    >>> found = fastwsi.engine.scan(demo, slide, stride=100, orientations=False)
    >>> found.heatmap.shape, found.scale, found.patches
    ((3, 4), (100.0, 100.0), 12)
    """
    began = time.perf_counter()
    place = device_of(device)
    # Beyond 16 a CPU takes a third longer for the paper's small network: layers leave its caches.
    size = _numbers.whole(_AT_ONCE[place.type] if batch_size is None else batch_size, "batch_size", 1)
    plan = ScanPlan(slide, model.input, stride, tissue, min_tissue=min_tissue)
    count, threads = len(plan.grid), readers_of(readers, place)
    running_precision = precision_of(precision, place)
    scorer = model.scorer(place, precision=running_precision, orientations=orientations)
    ahead = ReadAhead(plan, threads, model.colours(slide))
    running, order, done = pipeline(scorer, place, count), np.empty(count, np.int32), 0
    fetching, asked = 0.0, time.perf_counter()
    for numbers, pixels in batches(ahead, size):
        fetching += time.perf_counter() - asked
        running.add(pixels)
        order[done : done + len(numbers)] = numbers
        done += len(numbers)
        if progress is not None:
            progress(done, count)
        asked = time.perf_counter()
    scores = running.finish()
    _check(scores, slide.name, running_precision)
    heatmap = np.full((plan.grid.rows, plan.grid.columns), np.nan, np.float32)
    column, row = plan.grid.cells[order].T
    heatmap[row, column] = scores
    seconds = max(1e-9, time.perf_counter() - began)
    return Scan(
        heatmap, plan.grid.scale_to_level_0, count, seconds, ahead.busy / threads / seconds,
        (fetching - ahead.waited + running.host) / seconds, running.busy / seconds, ahead.waited / seconds,
    )  # fmt: skip


def _check(scores: np.ndarray[Any, np.dtype[np.float32]], name: str, precision: str) -> None:
    """Refuse what is no probability: in a heatmap it would look like what was not scanned."""
    wrong = np.count_nonzero(~((scores >= -_ROUNDING) & (scores <= 1 + _ROUNDING)))
    if wrong:
        advice = "" if precision == "32" else f"; with precision {precision} values may overflow: try 32"
        raise ValueError(
            f"{name}: {wrong} of {len(scores)} scores are not from 0 to 1, the model is broken{advice}"
        )
    np.clip(scores, 0, 1, out=scores)


def batches(blocks: Iterable[tuple[Indices, Pixels]], size: int) -> Iterator[tuple[Indices, Pixels]]:
    """Yield patches of blocks in batches of one size, the last one apart, whatever blocks they are of.

    Examples
    --------
    >>> blocks = [(np.arange(3), np.zeros((3, 1))), (np.arange(3, 5), np.ones((2, 1)))]
    >>> [numbers.tolist() for numbers, _ in batches(blocks, 4)]
    [[0, 1, 2, 3], [4]]
    """
    numbers: list[Indices] = []
    parts: list[Pixels] = []
    held = 0
    for block, pixels in blocks:
        at = 0
        while at < len(block):
            taken = min(size - held, len(block) - at)
            numbers.append(block[at : at + taken])
            parts.append(pixels[at : at + taken])
            at, held = at + taken, held + taken
            if held == size:
                yield _joined(numbers, parts)
                numbers, parts, held = [], [], 0
    if held:
        yield _joined(numbers, parts)


def _joined(numbers: list[Indices], parts: list[Pixels]) -> tuple[Indices, Pixels]:
    if len(parts) == 1:
        return numbers[0], parts[0]
    return np.concatenate(numbers), np.concatenate(parts)


def precision_of(asked: str, device: torch.device) -> str:
    """Return the precision of activations that is meant on a device.

    Examples
    --------
    >>> precision_of("auto", torch.device("cpu")), precision_of("bf16", torch.device("cpu"))
    ('32', 'bf16')
    """
    known = ("auto", "32", "bf16", "16")
    if asked not in known:
        raise ValueError(f"precision: got {asked!r}, expected one of {', '.join(known)}")
    if asked == "auto":
        return "16" if device.type == "cuda" else "32"
    if asked == "16" and device.type == "cpu":
        raise ValueError("precision: got '16' on a CPU, expected 32 or bf16")
    return asked


def readers_of(asked: int | None, device: torch.device) -> int:
    """Return how many threads read."""
    if asked is not None:
        return _numbers.whole(asked, "readers", 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if device.type == "cpu" else max(1, min(8, cores - 1))
