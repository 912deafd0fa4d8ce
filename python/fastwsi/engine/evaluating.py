"""Results in files held against a data set: FROC, AUC and their intervals."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastwsi.data import SlideSet, find_detections, is_tumour, read_scores, read_truth
from fastwsi.data.detections import find_scores
from fastwsi.data.slide_results import finished, remarks_of, summary_scores, ways_of
from fastwsi.engine.matching import Matching, few, told
from fastwsi.evaluation import (
    Bootstrap,
    Froc,
    FrocInterval,
    FrocWarning,
    Interval,
    OperatingPoint,
    Result,
    SlideMatch,
    Subgroups,
    bootstrap_interval,
    delong_interval,
    froc,
    froc_interval,
    operating_point,
    subgroup_auc,
)
from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.data import SlideRecord
    from fastwsi.evaluation.pooled import FpAxis, Mode

_OFFICIAL_MPP = 0.243  # µm, which the challenge took for every slide
_OWN_COLUMNS = ("label", "patient", "split")


@dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """What results come to.

    Attributes
    ----------
    results, truth : str
        Where they were read.
    split : str
        The slides that were looked at: "test", "validation", "train" or "all".
    mode : "clean" or "official"
    froc : Froc or None
        None where no slide has tumour whose place is known, and where there are no detections.
    froc_over_slides, froc_over_points : FrocInterval or None
        Its intervals, by resampling slides and by resampling points.
    auc : Interval or None
        Of slides, tumour against none, with DeLong's interval; None where there are no scores of slides.
    auc_over_slides : Bootstrap or None
    best_accuracy : OperatingPoint or None
        Where most slides are called right: chosen on these slides, and so too good.
    subgroups : Subgroups or None
        AUC by a column of the data set.
    slide_scores : tuple of dict
        Slide, label and score.
    notes : tuple of str
        What a reader must know.
    """

    results: str
    truth: str
    split: str
    mode: Mode
    froc: Froc | None
    froc_over_slides: FrocInterval | None
    froc_over_points: FrocInterval | None
    auc: Interval | None
    auc_over_slides: Bootstrap | None
    best_accuracy: OperatingPoint | None
    subgroups: Subgroups | None
    slide_scores: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        parts = []
        if self.froc is not None:
            parts.append(f"FROC {self.froc.score:.4f} ({self.froc.mode})")
        if self.auc is not None:
            parts.append(f"AUC {self.auc}")
        return "; ".join([*parts, f"{len(self.slide_scores)} slides with scores"])

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each slide: its score, and what FROC made of its detections."""
        lesions = {row["slide"]: row for row in (self.froc.slides if self.froc else ())}
        scores = {row["slide"]: row for row in self.slide_scores}
        return [
            {"slide": name, "mode": self.mode, **scores.get(name, {}), **lesions.get(name, {})}
            for name in {**scores, **lesions}
        ]


def evaluate(
    results: str | Path,
    truth: str | Path | SlideSet,
    *,
    mode: Mode = "clean",
    fp_axis: FpAxis = "all",
    split: str | None = None,
    scores: str | Path | None = None,
    mpp: float | Literal["own"] | None = None,
    subgroup: str | None = None,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Evaluate detections and scores of slides.

    Every slide of the split counts, those without a file of detections too. Tumour slides that are not
    annotated everywhere are no part of FROC.

    Parameters
    ----------
    results : path
        A folder of files of detections, one CSV for each slide, and of ``slide_scores.csv`` or each slide's
        ``<slide>.json`` if there are such; or a CSV file of slide scores alone.
    truth : path or SlideSet
        A data set, or a folder of ``reference.csv`` with masks or annotations.
    mode, fp_axis
        As `fastwsi.evaluation.froc` has them. "official" counts lesions at level 5, as the challenge did.
    split : "train", "validation", "test" or "all", optional
        Default: "test" where there is one, else all.
    scores : path, optional
        The slides' scores. Default: those in the folder, or else each slide's best detection.
    mpp : float or "own", optional
        Micrometres per level-0 pixel of all slides, or each slide's own. Default: its own; in official mode
        0.243, which the challenge took for every slide.
    subgroup : str, optional
        A column of the data set, or "label" or "patient", by whose values AUC is told apart.
    replicates, confidence, seed
        Of the bootstraps; 0 replicates leave them out.
    progress : callable, optional
        Called with a slide's name, slides done, and slides in all.

    Returns
    -------
    Evaluation
    """
    if mode == "official" and fp_axis != "all":
        raise ValueError(
            f"fp_axis: got {fp_axis!r}, expected 'all': the official script divides by all slides"
        )
    found = truth if isinstance(truth, SlideSet) else read_truth(truth)
    name, records = _chosen(found, split)
    table, files, own = _results(Path(results), None if scores is None else Path(scores))
    notes = _strangers(records, files.keys() | (table or {}).keys(), found, name)
    matching = Matching(mode, _OFFICIAL_MPP if mode == "official" and mpp is None else mpp)
    if files:
        absent = [record.name for record in records if record.name.lower() not in files]
        notes += told(absent, "without a file of detections: taken to have none")
        best = matching.match(records, files, progress)
        notes += matching.notes
        notes += _of_scans(records, files)
    bootstraps: dict[str, Any] = {"replicates": replicates, "confidence": confidence, "seed": seed}
    curve, over_slides, over_points = _froc(matching.matches, mode, fp_axis, bootstraps)
    notes += list(curve.notes) if curve else []
    if table is None and files:
        table = best
        notes.append("no scores of slides: each has that of its best detection")
    labels, values, rows = _scored(records, table or {}, notes)
    areas = _areas(labels, values, bootstraps)
    groups = None if subgroup is None else _subgroups(records, subgroup, rows, confidence)
    return Evaluation(
        str(own),
        str(found.root),
        name,
        mode,
        curve,
        over_slides,
        over_points,
        *areas,
        groups,
        tuple(rows),
        tuple(notes),
    )


def _chosen(found: SlideSet, split: str | None) -> tuple[str, tuple[SlideRecord, ...]]:
    if split not in (None, "train", "validation", "test", "all"):
        raise ValueError(f"split: got {split!r}, expected train, validation, test or all")
    splits = {record.split for record in found.records}
    wanted = split or ("test" if "test" in splits else "all")
    records = tuple(record for record in found.records if wanted in ("all", record.split))
    if not records:
        raise SlideError(found.root, f"no slides of the split {wanted!r}")
    return wanted, records


def _results(results: Path, scores: Path | None) -> tuple[dict[str, float] | None, dict[str, Path], Path]:
    """Return scores of slides, if there are any, files of detections, and where they are."""
    if results.is_file():
        return read_scores(results), {}, results
    files = find_detections(results)
    given = scores or find_scores(results)
    if given is not None:
        files = {name: path for name, path in files.items() if path.resolve() != given.resolve()}
    # Without such a file the slides' own summaries tell their scores, where they are there.
    table = (summary_scores(finished(files)) or None) if given is None else read_scores(given)
    if not files and table is None:
        raise SlideError(results, "no results: neither <slide>.csv with detections nor slide_scores.csv")
    return table, files, results


def _of_scans(records: Sequence[SlideRecord], files: dict[str, Path]) -> list[str]:
    """Tell of slides whose scores are not what they look like."""
    known = {record.name.lower() for record in records}
    summaries = {name: each for name, each in finished(files).items() if name in known}
    notes = [f"{name}: {remark}" for name, remark in remarks_of(summaries).items()]
    ways = ways_of(summaries)
    if ways > 1:
        notes.append(f"slides were scanned in {ways} ways: models or settings differ, and so do their scores")
    return notes


def _strangers(records: Sequence[SlideRecord], names: Any, found: SlideSet, split: str) -> list[str]:
    """Tell of results whose slides are no part of what is evaluated; none of them being part is an error."""
    known = {record.name.lower() for record in records}
    strange = sorted(set(names) - known)
    if strange and not set(names) & known:
        raise SlideError(
            found.root.resolve(),
            f"no slide of the results is among the {len(known)} of the split {split!r}: the results have "
            f"{few(strange)}, the split {few(sorted(known))}",
        )
    listed = {record.name.lower() for record in found.records} | {name.lower() for name, _ in found.left_out}
    return told([name for name in strange if name not in listed], "not in the data set: left out") + told(
        [name for name in strange if name in listed], f"not of the split {split!r}: left out"
    )


def _froc(
    matches: list[SlideMatch], mode: Mode, fp_axis: FpAxis, bootstraps: dict[str, Any]
) -> tuple[Froc | None, FrocInterval | None, FrocInterval | None]:
    if not any(match.tumour for match in matches):
        return None, None, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FrocWarning)  # it is among the notes
        curve = froc(matches, mode, fp_axis=fp_axis)
    if not bootstraps["replicates"] or not curve.n_lesions:
        return curve, None, None
    return (
        curve,
        froc_interval(matches, mode, fp_axis=fp_axis, resample="slides", **bootstraps),
        froc_interval(matches, mode, fp_axis=fp_axis, resample="points", **bootstraps),
    )


def _scored(
    records: Sequence[SlideRecord], table: dict[str, float], notes: list[str]
) -> tuple[list[bool], list[float], list[dict[str, Any]]]:
    """Return labels and scores of the slides that have both."""
    rows: list[dict[str, Any]] = []
    labels, values = [], []
    unscored = [record.name for record in records if record.name.lower() not in table]
    if table:
        notes += told(unscored, "without a score: no part of AUC")
    for record in records:
        score, tumour = table.get(record.name.lower()), is_tumour(record)
        if score is None:
            continue
        rows.append({"slide": record.name, "label": record.label, "score": score})
        if tumour is not None:
            labels.append(tumour)
            values.append(score)
    if rows:
        unlabelled = [str(row["slide"]) for row in rows if not row["label"]]
        notes += told(unlabelled, "without a label: no part of AUC")
    return labels, values, rows


def _areas(
    labels: list[bool], values: list[float], bootstraps: dict[str, Any]
) -> tuple[Interval | None, Bootstrap | None, OperatingPoint | None]:
    if not labels:
        return None, None, None
    area = delong_interval(labels, values, confidence=bootstraps["confidence"])
    if math.isnan(area.estimate):
        return area, None, None
    over = bootstrap_interval(labels, values, **bootstraps) if bootstraps["replicates"] else None
    return area, over, operating_point(labels, values, maximise="accuracy")


def _subgroups(
    records: Sequence[SlideRecord], column: str, rows: list[dict[str, Any]], confidence: float
) -> Subgroups:
    known = sorted({key for record in records for key in record.extra} | set(_OWN_COLUMNS))
    if column not in known:
        raise ValueError(f"subgroup: got {column!r}, expected one of {', '.join(known)}")
    by_name = {record.name: record for record in records}
    scored = [(by_name[row["slide"]], row["score"]) for row in rows]
    labelled = [(record, score) for record, score in scored if is_tumour(record) is not None]
    return subgroup_auc(
        [bool(is_tumour(record)) for record, _ in labelled],
        [score for _, score in labelled],
        [str(record.extra.get(column, getattr(record, column, ""))) for record, _ in labelled],
        confidence=confidence,
    )
