"""Many slides to results in a folder: what is done is skipped, what fails stops nobody."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi.data import ResultPaths
from fastwsi.data.class_maps import TUMOUR_GROUPS
from fastwsi.data.slide_results import summary_remark, summary_scores
from fastwsi.engine.devices import device_of
from fastwsi.engine.scanning.predicting import predict, settings_of
from fastwsi.engine.scanning.state import about, claimed, keep_failure, summary_if_done
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
    settings = json.loads(json.dumps(settings_of(model, how, device_of(device))))
    _check_names(slides)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.time()
    done: dict[str, dict[str, Any]] = {}  # by an earlier run, or meanwhile by another process
    for record in () if overwrite else slides:
        summary = summary_if_done(record, folder, settings)
        if summary is not None:
            done[record.name] = summary
    scores: dict[str, float] = {}
    remarks: dict[str, str] = {}
    elsewhere: list[str] = []
    failed: dict[str, str] = {}
    waiting = [record for record in slides if record.name not in done]
    if overlays:
        _draw_missing([record for record in slides if record.name in done], folder)
    for number, record in enumerate(waiting, 1):
        with claimed(folder, record.name) as free:
            if not free:
                elsewhere.append(record.name)
                continue
            try:
                if not overwrite or _younger(folder, record.name, started):
                    summary = summary_if_done(record, folder, settings)
                    if summary is not None:
                        done[record.name] = summary
                        continue
                told.begins(record.name, number, len(waiting))
                with record.open() as slide:
                    result, scan = predict(
                        model, slide, how, name=record.name, device=device, batch_size=batch_size,
                        readers=readers, progress=told.moves, settings={**settings, "slide": about(record)},
                    )  # fmt: skip
                    result.save(folder)
                    if overlays:
                        _draw(result, record, slide, folder)
            except Exception as error:
                failed[record.name] = " ".join(str(error).split()) or type(error).__name__
                logger.debug("%s", record.name, exc_info=True)
                keep_failure(folder, record.name, failed[record.name])
                told.fails(record.name, failed[record.name])
                continue
        keep_failure(folder, record.name, None)
        scores[record.name], remarks[record.name] = result.score, result.remark
        told.ends(record.name, result, scan)
    remarks.update((name, summary_remark(summary)) for name, summary in done.items())
    return Predicted(
        {**summary_scores(done), **scores}, tuple(done), tuple(elsewhere), failed,
        {name: remark for name, remark in remarks.items() if remark},
    )  # fmt: skip


def _younger(folder: Path, name: str, started: float) -> bool:
    """Tell whether another process has overwritten a slide's results since this one began."""
    path = ResultPaths.of(folder, name).summary
    return path.exists() and path.stat().st_mtime >= started


def _overlay(folder: Path, record: SlideRecord) -> Path:
    return folder / f"{record.name}_overlay.png"


def _draw_missing(done: Sequence[SlideRecord], folder: Path) -> None:
    for record in done:
        if not _overlay(folder, record).exists():
            with record.open() as slide:
                _draw(SlideResult.load(folder, record.name), record, slide, folder)


def _draw(result: SlideResult, record: SlideRecord, slide: Slide, folder: Path) -> None:
    """Write a slide's overlay; what is wrong with its annotation costs the picture alone."""
    try:
        result.save_overlay(_overlay(folder, record), slide, truth=_tumour(record), threshold=_SHOWN)
    except Exception as error:
        logger.warning("%s: no overlay: %s", record.name, error)
        logger.debug("%s", record.name, exc_info=True)


def _tumour(record: SlideRecord) -> Annotations | None:
    """Return what of a slide is annotated as tumour; None where that is not known."""
    if record.annotation is None and record.label != "normal":
        return None
    return record.annotations().of(TUMOUR_GROUPS)


def _check_names(slides: Sequence[SlideRecord]) -> None:
    seen: dict[str, Path] = {}
    for record in slides:
        if record.name in seen:
            raise ValueError(
                f"slides: {seen[record.name]} and {record.path} have one name, {record.name}, and so would "
                "their results"
            )
        seen[record.name] = record.path
