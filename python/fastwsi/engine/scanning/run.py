"""Many slides to results in a folder: what is done is skipped, what fails stops nobody."""

from __future__ import annotations

import json
import logging
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi.data import ResultPaths
from fastwsi.data.class_maps import TUMOUR_GROUPS
from fastwsi.data.slide_results import remarks_of, summary_scores
from fastwsi.engine.devices import device_of
from fastwsi.engine.scanning.predicting import predict, settings_of
from fastwsi.engine.scanning.state import (
    NotDoneError,
    about,
    claimed,
    forget,
    keep_failure,
    overlay_of,
    summary_if_done,
)
from fastwsi.engine.slide_result import SlideResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from fastwsi.data import SlideRecord
    from fastwsi.engine.scanning.predicting import Predictor
    from fastwsi.engine.scanning.scan import Scan
    from fastwsi.engine.scanning.scan_recipe import ScanRecipe
    from fastwsi.slides import Annotations, Slide

logger = logging.getLogger(__name__)

_SHOWN = 0.5  # score from which a picture shows detections; files have all of them


@dataclass(frozen=True)
class Predicted:
    """What became of slides.

    Attributes
    ----------
    scores : dict
        Of all slides that are done, by name.
    skipped : tuple of str
        Slides that were done before.
    elsewhere : tuple of str
        Slides that another process is at.
    failed : dict
        From a slide's name to the reason.
    remarks : dict
        From a slide's name to what its score does not tell: that nothing was scanned, or tiles unreadable.
    """

    scores: dict[str, float]
    skipped: tuple[str, ...]
    elsewhere: tuple[str, ...]
    failed: dict[str, str]
    remarks: dict[str, str]


class Watcher:
    """Told how a run goes; does nothing itself."""

    def begins(self, name: str, number: int, slides: int) -> None:
        """Tell that a slide is begun: the ``number``-th of those to be scanned."""

    def moves(self, done: int, patches: int) -> None:
        """Tell how many patches of the slide are done."""

    def ends(self, name: str, result: SlideResult, scan: Scan) -> None:
        """Tell what a slide came to."""

    def fails(self, name: str, reason: str) -> None:
        """Tell why a slide came to nothing."""


def predict_slides(
    model: Predictor,
    slides: Sequence[SlideRecord],
    out: str | Path,
    recipe: ScanRecipe | None = None,
    *,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    readers: int | None = None,
    overwrite: bool = False,
    overlays: bool = False,
    watcher: Watcher | None = None,
) -> Predicted:
    """Scan slides, and write each one's results as soon as they are there.

    Slides whose results are in the folder, by the same model and settings, are skipped: a run that was
    killed goes on with the next. Several processes may work on one folder; each slide is one's alone. A slide
    that fails is told at the end, and in ``<slide>_failed.txt``, and stops no other.

    Parameters
    ----------
    model : Predictor
        A detector, or an ensemble.
    slides : sequence of SlideRecord
    out : path
        Folder for `SlideResult.save`; made where it is not there.
    recipe : ScanRecipe, optional
        Default: the model's.
    device, batch_size, readers
        As of `fastwsi.engine.scan`.
    overwrite : bool
        Replace results that are there, whatever made them.
    overlays : bool
        Also write ``<slide>_overlay.png``, with lesions found and missed where the slide is annotated; of
        slides that were done before, too, where it is missing.
    watcher : Watcher, optional

    Returns
    -------
    Predicted
    """
    folder, how = Path(out), model.scan_recipe if recipe is None else recipe
    told = Watcher() if watcher is None else watcher
    options = {"device": device, "batch_size": batch_size, "readers": readers}
    run = _Run(model, how, folder, options, told, overwrite=overwrite, overlays=overlays)
    _check_names(slides)
    folder.mkdir(parents=True, exist_ok=True)
    for record in () if overwrite else slides:
        with suppress(NotDoneError):  # which is its failure, later, and no one else's
            run.take_if_done(record)
    waiting = [record for record in slides if record.name not in run.done]
    if overlays:
        _draw_missing([record for record in slides if record.name in run.done], folder)
    elsewhere = list(enumerate(waiting, 1))
    for _ in range(2):  # what others are at is looked at again: they may be done, or dead
        held, elsewhere = elsewhere, []
        for number, record in held:
            with claimed(folder, record.name) as free:
                if free:
                    run.scan_or_fail(record, number, len(waiting))
                else:
                    elsewhere.append((number, record))
    remarks = {**remarks_of(run.done), **run.remarks}
    return Predicted(
        {**summary_scores(run.done), **run.scores}, tuple(run.done),
        tuple(record.name for _, record in elsewhere), run.failed, remarks,
    )  # fmt: skip


class _Run:
    """What is scanned how, and what has become of it so far."""

    def __init__(
        self, model: Predictor, how: ScanRecipe, folder: Path, options: dict[str, Any], told: Watcher, *,
        overwrite: bool, overlays: bool,
    ) -> None:  # fmt: skip
        self._model, self._how, self._folder, self._options, self._told = model, how, folder, options, told
        self._overwrite, self._overlays = overwrite, overlays
        self._settings = json.loads(json.dumps(settings_of(model, how, device_of(options["device"]))))
        self._started = time.time()
        self.done: dict[str, dict[str, Any]] = {}  # by an earlier run, or meanwhile by another process
        self.scores: dict[str, float] = {}
        self.remarks: dict[str, str] = {}
        self.failed: dict[str, str] = {}

    def take_if_done(self, record: SlideRecord) -> bool:
        """Take a slide for done if it is; tell whether. ValueError where there is another scan's result."""
        summary = summary_if_done(record, self._folder, self._settings)
        if summary is None:
            return False
        self.done[record.name] = summary
        keep_failure(self._folder, record.name, None)
        return True

    def scan_or_fail(self, record: SlideRecord, number: int, slides: int) -> None:
        """Scan a slide that is claimed; what goes wrong is kept, and stops no other."""
        try:
            wanted = not self._overwrite or _younger(self._folder, record.name, self._started)
            if wanted and self.take_if_done(record):
                return
            self._told.begins(record.name, number, slides)
            result, scan = self._scan(record)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            logger.debug("%s", record.name, exc_info=True)
            self.failed[record.name] = reason
            if not isinstance(error, NotDoneError):  # then whole results are there, of another scan or slide
                with suppress(OSError):  # a disk may be full; the reason is told anyway
                    keep_failure(self._folder, record.name, reason)
            self._told.fails(record.name, reason)
            return
        self.scores[record.name] = result.score
        if result.remarks:
            self.remarks[record.name] = "; ".join(result.remarks)
        self._told.ends(record.name, result, scan)

    def _scan(self, record: SlideRecord) -> tuple[SlideResult, Scan]:
        forget(self._folder, record.name)
        settings = {**self._settings, "slide": about(record)}
        with record.open() as slide:
            result, scan = predict(
                self._model, slide, self._how, name=record.name, progress=self._told.moves,
                settings=settings, **self._options,
            )  # fmt: skip
            result.save(self._folder)
            if self._overlays:
                _draw(result, record, slide, self._folder)
        keep_failure(self._folder, record.name, None)
        return result, scan


def _younger(folder: Path, name: str, started: float) -> bool:
    """Tell whether another process has overwritten a slide's results since this one began."""
    path = ResultPaths.of(folder, name).summary
    return path.exists() and path.stat().st_mtime >= started


def _draw_missing(done: Sequence[SlideRecord], folder: Path) -> None:
    for record in done:
        if not overlay_of(folder, record.name).exists():
            _draw(None, record, None, folder)


def _draw(result: SlideResult | None, record: SlideRecord, slide: Slide | None, folder: Path) -> None:
    """Write a slide's overlay, from its files where no result is given; an error costs the picture alone."""
    try:
        found = SlideResult.load(folder, record.name) if result is None else result
        with nullcontext(slide) if slide is not None else record.open() as opened:
            found.save_overlay(
                overlay_of(folder, record.name), opened, truth=_tumour(record), threshold=_SHOWN
            )
    except Exception as error:
        logger.warning("%s: no overlay: %s", record.name, error)
        logger.debug("%s", record.name, exc_info=True)


def _tumour(record: SlideRecord) -> Annotations | None:
    """Return what of a slide is annotated as tumour; None where that, or part of that, is not known."""
    if not record.exhaustive or (record.annotation is None and record.label != "normal"):
        return None
    return record.annotations().of(TUMOUR_GROUPS)


def _check_names(slides: Sequence[SlideRecord]) -> None:
    """Refuse two slides of one name, upper or lower case: file systems and tables may not tell them apart."""
    seen: dict[str, SlideRecord] = {}
    for record in slides:
        first = seen.setdefault(record.name.lower(), record)
        if first is not record:
            raise ValueError(
                f"slides: {first.path} and {record.path} have one name, {record.name}, and so would "
                "their results"
            )
