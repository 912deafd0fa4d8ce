"""Many slides to results in a folder: what is done is skipped, what fails stops nobody."""

from __future__ import annotations

import fcntl
import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi._files import write_atomically
from fastwsi.data import ResultPaths
from fastwsi.data.class_maps import TUMOUR_GROUPS
from fastwsi.data.slide_results import read_summary
from fastwsi.engine.scanning.predicting import given_mpp, predict, settings_of
from fastwsi.engine.scanning.scan import device_of
from fastwsi.engine.slide_result import SlideResult
from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from fastwsi.data import SlideRecord
    from fastwsi.engine.scanning.predicting import Predictor
    from fastwsi.engine.scanning.scan import Scan
    from fastwsi.engine.scanning.scan_recipe import ScanRecipe
    from fastwsi.slides import Annotations, Slide

logger = logging.getLogger(__name__)

FAILED = "failed.txt"  # in the folder: slides and reasons, while there are any


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
    """

    scores: dict[str, float]
    skipped: tuple[str, ...]
    elsewhere: tuple[str, ...]
    failed: dict[str, str]


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
    batch_size: int = 32,
    readers: int | None = None,
    overwrite: bool = False,
    overlays: bool = False,
    watcher: Watcher | None = None,
) -> Predicted:
    """Scan slides, and write each one's results as soon as they are there.

    Slides whose results are in the folder, by the same model and settings, are skipped: a run that was
    killed goes on with the next. Several processes may work on one folder; each slide is one's alone. A slide
    that fails is told at the end, and stops no other.

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
    # Once for all slides: it goes over a model's weights.
    common = json.loads(json.dumps(settings_of(model, how, device_of(device))))

    def settings(record: SlideRecord) -> dict[str, Any]:
        return dict(common, **given_mpp(record.mpp))

    _check_names(slides)
    folder.mkdir(parents=True, exist_ok=True)
    done = {} if overwrite else _done(slides, folder, settings)
    scores: dict[str, float] = {}
    elsewhere: list[str] = []
    failed: dict[str, str] = {}
    waiting = [record for record in slides if record.name not in done]
    if overlays:
        failed |= _draw_missing([record for record in slides if record.name in done], folder)
    for number, record in enumerate(waiting, 1):
        with _claimed(folder, record.name) as free:
            if not free:
                elsewhere.append(record.name)
                continue
            if not overwrite and (meanwhile := _done([record], folder, settings)):
                done |= meanwhile  # by another process
                continue
            told.begins(record.name, number, len(waiting))
            try:
                with record.open() as slide:
                    result, scan = predict(
                        model, slide, how, name=record.name, device=device, batch_size=batch_size,
                        readers=readers, progress=told.moves,
                    )  # fmt: skip
                    if overlays:
                        _draw(result, record, slide, folder)
                result.save(folder)
            except Exception as error:
                failed[record.name] = _reason(error)
                logger.debug("%s", record.name, exc_info=True)
                told.fails(record.name, failed[record.name])
                continue
        scores[record.name] = result.score
        told.ends(record.name, result, scan)
    _keep_failures(folder, {record.name for record in slides} - set(elsewhere), failed)
    return Predicted({**done, **scores}, tuple(done), tuple(elsewhere), failed)


def _draw(result: SlideResult, record: SlideRecord, slide: Slide, folder: Path) -> None:
    result.save_overlay(_overlay(folder, record), slide, truth=_tumour(record))


def _draw_missing(done: Sequence[SlideRecord], folder: Path) -> dict[str, str]:
    """Draw the overlays that results lack, of a run that was asked for none; return what fails."""
    failed = {}
    for record in done:
        if _overlay(folder, record).exists():
            continue
        try:
            with record.open() as slide:
                _draw(SlideResult.load(folder, record.name), record, slide, folder)
        except Exception as error:
            failed[record.name] = _reason(error)
            logger.debug("%s", record.name, exc_info=True)
    return failed


def _overlay(folder: Path, record: SlideRecord) -> Path:
    return folder / f"{record.name}_overlay.png"


def _reason(error: Exception) -> str:
    """Return what went wrong, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


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


def _done(
    slides: Sequence[SlideRecord], folder: Path, settings: Callable[[SlideRecord], dict[str, Any]]
) -> dict[str, float]:
    """Return scores of slides that are done; refuse a folder of other settings' results."""
    found = {}
    for record in slides:
        path = ResultPaths.of(folder, record.name).summary
        if not path.exists():
            continue
        try:
            summary = read_summary(path)
        except SlideError as error:
            raise ValueError(f"{error}; --overwrite replaces it") from None
        changed = _changes(summary.get("settings"), settings(record))
        if changed:
            raise ValueError(
                f"{path}: was made otherwise: {changed}; --overwrite replaces it, another --out keeps both"
            )
        found[record.name] = float(summary["score"])
    return found


def _changes(before: Any, now: dict[str, Any], prefix: str = "") -> str:
    """Return what two settings differ in, in words; "" where they are the same."""
    if not isinstance(before, dict):
        return f"{prefix.rstrip('.')}: {before} instead of {now}" if before != now else ""
    parts = []
    for key in sorted({*before, *now}):
        one, other = before.get(key), now.get(key)
        if isinstance(other, dict):
            parts.append(_changes(one, other, f"{prefix}{key}."))
        elif one != other:
            parts.append(f"{prefix}{key} was {one}, and is to be {other}")
    return ", ".join(part for part in parts if part)


@contextmanager
def _claimed(folder: Path, name: str) -> Iterator[bool]:
    """Keep other processes from a slide; give False where one is at it."""
    path = folder / f".{name}.lock"
    with path.open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            yield False
            return
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)


def _keep_failures(folder: Path, seen: set[str], failed: dict[str, str]) -> None:
    """Write down what failed; of slides that this run has not seen, what was written before stays."""
    path = folder / FAILED
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if line.partition(": ")[0] not in seen]
    lines = kept + [f"{name}: {reason}" for name, reason in failed.items()]
    if lines:
        write_atomically(path, "".join(f"{line}\n" for line in lines))
    else:
        path.unlink(missing_ok=True)
