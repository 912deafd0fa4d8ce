"""``fastwsi evaluate``."""

from __future__ import annotations

import math
import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fastwsi.cli.failing import failing_in_one_line
from fastwsi.cli.progress import Counter

if TYPE_CHECKING:
    from rich.table import Table

    from fastwsi.engine import Evaluation
    from fastwsi.evaluation import Interval, PatientKappa

EXAMPLES = """Examples:

  fastwsi evaluate results --truth /data/camelyon16

  fastwsi evaluate results --truth /data/camelyon16 --mode official

  fastwsi evaluate slide_scores.csv --truth slides.csv --subgroup size

  fastwsi evaluate submission.csv --truth stage_labels.csv
"""


class Mode(str, Enum):
    """How FROC is reckoned."""

    clean = "clean"
    official = "official"


class FpAxis(str, Enum):
    """Over which slides false positives are averaged."""

    all = "all"
    tumour_negative = "tumour_negative"


class Missing(str, Enum):
    """What becomes of patients that a submission lacks."""

    error = "error"
    worst = "worst"
    drop = "drop"


class Split(str, Enum):
    """Which slides of a data set are looked at."""

    train = "train"
    validation = "validation"
    test = "test"
    all = "all"


def evaluate(
    results: Annotated[
        Path,
        typer.Argument(
            help="A folder that a scan wrote; one of <slide>.csv (prob, x, y) and slide_scores.csv; a CSV "
            "file of slide scores; or one of patients' stages."
        ),
    ],
    truth: Annotated[
        Path,
        typer.Option(
            help="A data set, a CSV file of slides, a folder of reference.csv with masks or annotations, or "
            "a file of patients' stages."
        ),
    ],
    mode: Annotated[
        Mode, typer.Option(help="official: the numbers of Camelyon16's script. clean: every threshold kept.")
    ] = Mode.clean,
    fp_axis: Annotated[
        FpAxis, typer.Option(help="False positives per slide, or per slide without tumour.")
    ] = FpAxis.all,
    split: Annotated[
        Split | None,
        typer.Option(help="The slides to look at. Default: test where there are any, else all."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of slide scores. Default: slide_scores.csv, <slide>.json, or best detections."
        ),
    ] = None,
    mpp: Annotated[
        str | None,
        typer.Option(
            metavar="µM|own",
            help="Micrometres per pixel at level 0 of all slides, or each slide's own. "
            "Default: own; official: 0.243.",
        ),
    ] = None,
    subgroup: Annotated[
        str | None, typer.Option(help="A column of the data set to tell AUC apart by, such as size.")
    ] = None,
    missing: Annotated[
        Missing, typer.Option(help="Of stages: what becomes of patients without one.")
    ] = Missing.error,
    replicates: Annotated[int, typer.Option(min=0, help="Of the bootstraps; 0: none.")] = 2000,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstraps.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="JSON (or CSV, a row for each slide) to write. "
            "Default: evaluation_MODE.json among the results."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; write the file.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Hold detections and slide scores against a data set: FROC, AUC, intervals.

    Every slide of the split counts, those without a file of detections too.
    """
    from fastwsi.data import holds_stages  # noqa: PLC0415  (not for --help)
    from fastwsi.engine import evaluate as hold_against  # noqa: PLC0415
    from fastwsi.engine import evaluate_stages  # noqa: PLC0415

    with failing_in_one_line(debug=debug):
        staged = results.is_file() and holds_stages(results)
        target = _target(out, results, "kappa" if staged else mode.value)
        found: Evaluation | PatientKappa
        if staged:
            found = evaluate_stages(
                results, truth, missing=missing.value, replicates=replicates, confidence=confidence, seed=seed
            )  # fmt: skip
        else:
            with Counter("slides", quiet=quiet or as_json) as counter:
                found = hold_against(
                    results, truth, mode=mode.value, fp_axis=fp_axis.value,
                    split=None if split is None else split.value, scores=scores, mpp=_mpp(mpp),
                    subgroup=subgroup, replicates=replicates, confidence=confidence, seed=seed,
                    progress=counter,
                )  # fmt: skip
        if as_json:
            typer.echo(found.to_json(), nl=False)
        elif not quiet:
            _show(found)
        found.save(target)
    if not (as_json or quiet):
        typer.echo(target)


def _target(out: Path | None, results: Path, kind: str) -> Path:
    """Return the file to write, if it can be written: better to know before the work than after it."""
    name = f"evaluation_{kind}.json" if results.is_dir() else f"{results.stem}_evaluation_{kind}.json"
    target = out or (results if results.is_dir() else results.parent) / name
    if target.suffix not in (".json", ".csv"):
        raise ValueError(f"--out: got {target.name!r}, expected a name that ends in .json or .csv")
    if results.exists() and not os.access(target.parent, os.W_OK):
        there = "cannot be written to" if target.parent.exists() else "is not there"
        raise ValueError(f"--out: the folder {target.parent} {there}; --out names another file")
    return target


def _mpp(text: str | None) -> float | Literal["own"] | None:
    if text is None or text == "own":
        return "own" if text else None
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise ValueError(f"--mpp: got {text!r}, expected micrometres per pixel, or own") from None


def _show(found: Any) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False)
    if hasattr(found, "froc"):
        show_evaluation(console, found)
    else:
        _show_kappa(console, found)


def _show_kappa(console: Any, found: PatientKappa) -> None:
    """Print the stages that patients have and were given, and how well they agree."""
    from rich.markup import escape  # noqa: PLC0415

    table = _table("Patients: stages, and those they were given", "", *found.labels)
    for label, row in zip(found.labels, found.table, strict=True):
        table.add_row(label, *(str(int(count)) for count in row))
    console.print(table)
    console.print(f"quadratic weighted kappa {escape(str(found))}")


def show_evaluation(console: Any, found: Evaluation) -> None:
    """Print tables of FROC and AUC."""
    from rich.markup import escape  # noqa: PLC0415

    if found.froc is not None:
        console.print(_froc_table(found))
        console.print(_sizes_table(found))
    table = _table(f"Slides ({found.split})", "", "estimate", "interval", "method")
    for name, interval in (("AUC", found.auc), ("", found.auc_over_slides)):
        if interval is not None:
            table.add_row(
                name, *_cells(interval), interval.method + (f"; {interval.note}" if interval.note else "")
            )
    if table.row_count:
        console.print(table)
    if found.best_accuracy is not None:
        console.print(f"{escape(str(found.best_accuracy))}; chosen on these slides, and so too good")
    if found.subgroups is not None:
        console.print(escape(str(found.subgroups)))
    for sampled in (found.froc_over_slides, found.froc_over_points):
        if sampled is not None and sampled.score.note:
            console.print(f"[yellow]note[/] FROC over {sampled.resample}: {escape(sampled.score.note)}")
    for note in found.notes:
        console.print(f"[yellow]note[/] {escape(note)}")


def _froc_table(found: Evaluation) -> Table:
    """One line for each number of false positives, and the score."""
    from fastwsi.evaluation import FP_RATES  # noqa: PLC0415

    curve = found.froc
    assert curve is not None
    axis = "slide" if curve.fp_axis == "all" else "slide without tumour"
    spans = [("over slides", found.froc_over_slides), ("over points", found.froc_over_points)]
    there = [(name, interval) for name, interval in spans if interval is not None]
    table = _table(
        f"FROC, {curve.mode}: {curve.n_lesions} lesions on {curve.n_slides} slides",
        f"false positives per {axis}", "sensitivity", *(f"interval {name}" for name, _ in there),
    )  # fmt: skip
    for i, (rate, value) in enumerate(zip(FP_RATES, curve.sensitivities, strict=True)):
        table.add_row(f"{rate:g}", _number(value), *(_cells(each.sensitivities[i])[1] for _, each in there))
    table.add_section()
    table.add_row("score", _number(curve.score), *(_cells(each.score)[1] for _, each in there), style="bold")
    return table


def _sizes_table(found: Evaluation) -> Table:
    from fastwsi.evaluation import FP_RATES  # noqa: PLC0415

    assert found.froc is not None
    table = _table("By size of lesion", "size", "lesions", *(f"at {rate:g}" for rate in FP_RATES))
    for row in found.froc.by_size:
        table.add_row(row["size"], str(row["lesions"]), *(f"{value:.3f}" for value in row["sensitivities"]))
    return table


def _table(title: str, first: str, *others: str) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _number(value: float) -> str:
    return "not estimable" if math.isnan(value) else f"{value:.4f}"


def _cells(interval: Interval) -> tuple[str, str]:
    """Return an estimate and its bounds."""
    if math.isnan(interval.estimate):
        return "not estimable", ""
    if not interval.estimable:
        return f"{interval.estimate:.4f}", "not estimable"
    return f"{interval.estimate:.4f}", f"{interval.low:.4f} to {interval.high:.4f}"
