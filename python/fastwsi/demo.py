"""The main job from beginning to end, on slides that are drawn: train, scan, evaluate, look."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi import data, slides
from fastwsi.detectors import Liu2017
from fastwsi.engine import evaluate, predict_slides
from fastwsi.engine.devices import device_of, trained_on
from fastwsi.engine.scanning.run import Watcher
from fastwsi.engine.stopping import TrainingStopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastwsi.engine import Evaluation, Predicted

RECIPE, PAPERS = "liu2017-demo", "liu2017-small"
_VALIDATION = 0.25  # of the slides for training


@dataclass(frozen=True)
class DemoSize:
    """How much is made and trained on.

    Attributes
    ----------
    train, test : int
        Slides, half of them with tumour.
    slide : (int, int)
        Width and height in pixels of half a micrometre.
    changes : dict
        Settings other than the recipe's.
    promise : str
        How long it takes on two cores.
    remark : str
        What else to know before.
    """

    train: int
    test: int
    slide: tuple[int, int]
    changes: dict[str, Any]
    promise: str
    remark: str = ""


SIZES = {
    "tiny": DemoSize(
        6, 4, (2048, 1536), {"steps": 30, "validate_every": 15, "validation_patches": 64, "scan.stride": 64},
        "a minute", "too little to find anything",
    ),
    "small": DemoSize(12, 24, (4096, 3072), {}, "6 minutes"),
    "medium": DemoSize(40, 20, (4096, 3072), {"steps": 12_000, "validate_every": 1000}, "an hour"),
}  # fmt: skip


@dataclass(frozen=True)
class Demo:
    """What a demo came to.

    Attributes
    ----------
    out : Path
        The folder, in which are ``slides``, ``run`` and ``results``.
    evaluation : Evaluation
    predicted : Predicted
    seconds : dict
        Of drawing, training, scanning and evaluating.
    departures : dict
        Settings in which the recipe is not the paper's, with both values.
    """

    out: Path
    evaluation: Evaluation
    predicted: Predicted
    seconds: dict[str, float]
    departures: dict[str, tuple[Any, Any]]


def demo(
    out: str | Path,
    size: str = "small",
    *,
    seed: int = 0,
    device: str = "auto",
    progress: bool = False,
    stage: Callable[[str], None] | None = None,
    counter: Callable[[str, int, int], None] | None = None,
    watcher: Watcher | None = None,
) -> Demo:
    """Draw slides, train `Liu2017` on some, scan the others, and evaluate.

    What is there already is gone on with, so that a demo that was stopped can be asked for again.

    Parameters
    ----------
    out : path
        Made where it is not there.
    size : str
        "tiny", "small" or "medium": see `SIZES`.
    seed : int
        Of slides and training.
    device : str
        "auto", "cpu" or "cuda".
    progress : bool
        Whether to show training's bar.
    stage : callable, optional
        Called with what begins.
    counter : callable, optional
        Called with a slide's name, slides done, and slides in all, while slides are drawn or looked at.
    watcher : Watcher, optional
        Of the scan.
    """
    if size not in SIZES:
        raise ValueError(f"size: got {size!r}, expected one of {', '.join(SIZES)}")
    asked, out, where = SIZES[size], Path(out), device_of(device)
    begins = stage or (lambda _: None)
    clock = _Clock()

    begins("drawing slides")
    wanted = slides.SyntheticSet(asked.train, asked.test, asked.slide, 0.5, seed)
    slides.write_camelyon16(out / "slides", wanted, progress=counter)
    clock.note("drawing")

    begins("training")
    found = data.camelyon16(out / "slides", validation=_VALIDATION)
    recipe = Liu2017.recipes[RECIPE].changed({"seed": seed, **asked.changes})
    made = Liu2017(recipe)
    try:
        made.fit(found, out / "run", reading=counter, resume=True, progress=progress, **trained_on(where))
    except TrainingStopped as stopped:
        stopped.args = (f"stopped after update {stopped.update}, as asked; the same command goes on",)
        raise
    clock.note("training")

    begins("scanning")
    predicted = predict_slides(
        made, found.of("test").records, out / "results", device=where, overlays=True, watcher=watcher
    )
    clock.note("scanning")

    begins("evaluating")
    held = evaluate(out / "results", found, split="test")
    held.save(out / "results" / "evaluation_clean.json")
    clock.note("evaluating")
    return Demo(out, held, predicted, clock.seconds, _departures(recipe))


class _Clock:
    """Seconds between notes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now


def _departures(recipe: Any) -> dict[str, tuple[Any, Any]]:
    """Return settings in which a recipe is not the paper's small network."""
    ours, papers = (
        {row["name"]: json.loads(row["value"]) for row in each.rows()}
        for each in (recipe, Liu2017.recipes[PAPERS])
    )
    free = {"seed", "workers", "validate_every", "validation_patches", "checkpoint_minutes"}
    return {
        name: (papers[name], ours[name]) for name in ours if ours[name] != papers[name] and name not in free
    }
