"""Camelyon17: five slides for each patient, stages for both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from fastwsi.data.files import existing_folder, find, is_number, read_rows, stem
from fastwsi.data.records import SlideRecord, SlideSet
from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from fastwsi.data.records import Split

SLIDE_STAGES = ("negative", "itc", "micro", "macro")
PATIENT_STAGES = ("pN0", "pN0(i+)", "pN1mi", "pN1", "pN2")
_NAME = re.compile(r"patient_\d{3}(_node_\d)?")
_NODES = 5
_TRAINING = 100  # patients, of 200
_OF_A_CENTRE = 20  # patients, in the order of their numbers


def camelyon17(root: str | Path) -> SlideSet:
    """List the slides of Camelyon17, each with its stage; see `patient_stages` for those of patients.

    Slides (``patient_000_node_0.tif``), annotations and masks are found by name anywhere under ``root``;
    labels in ``stages.csv`` or ``stage_labels.csv``, of rows "patient_000.zip, pN0" and
    "patient_000_node_0.tif, negative", with or without endings and header. Slides that have a stage other
    than negative and no annotation are marked as not exhaustive: 50 have one.
    """
    folder = existing_folder(root)
    others: list[tuple[str, str]] = []
    slides = find(folder, r"(patient_\d{3}_node_\d)\.tiff?", others)
    if not slides:
        raise SlideError(folder, "no slides of Camelyon17: no patient_000_node_0.tif …")
    annotations = find(folder, r"(patient_\d{3}_node_\d)\.xml")
    masks = find(folder, r"(patient_\d{3}_node_\d)_mask\.tiff?")
    stages = _stages(folder)
    records, missing = [], []
    for name, path in sorted(slides.items()):
        patient = name[: len("patient_000")]
        number = int(patient[-3:])
        split: Split = "train" if number < _TRAINING else "test"
        label = stages.get(name, "")
        annotation = annotations.get(name)
        record = SlideRecord(
            name, path, label, split, annotation, masks.get(name), patient=patient,
            extra={"center": str(number % _TRAINING // _OF_A_CENTRE)},
        )  # fmt: skip
        if label not in ("", "negative") and annotation is None:
            record = record.with_remark("metastases are not annotated", exhaustive=False)
        elif label == "itc":
            record = record.with_remark("isolated tumour cells are not all annotated", exhaustive=False)
        if split == "train" and not label:
            missing.append((name, "stage"))
        records.append(record)
    for patient in sorted({record.patient for record in records}):
        nodes = [f"{patient}_node_{node}" for node in range(_NODES)]
        missing += [(node, "slide") for node in nodes if node not in slides]
    return SlideSet("Camelyon17", folder, tuple(records), tuple(others), tuple(missing))


def patient_stages(root: str | Path) -> dict[str, str]:
    """Return each patient's pN stage, spelled as `PATIENT_STAGES` has them."""
    stages = _stages(existing_folder(root))
    return {name: stage for name, stage in sorted(stages.items()) if "_node_" not in name}


def read_stages(path: str | Path) -> dict[str, str]:
    r"""Read a table of stages: Camelyon17's labels, or a submission to it.

    Rows are "patient_000.zip,pN0" for patients and "patient_000_node_0.tif,negative" for slides, in any order
    and either kind may lack; names with or without endings, in any letters. The first row may be a header.
    Cells after the second are passed over.

    Parameters
    ----------
    path : str or Path
        A CSV file.

    Returns
    -------
    dict of str to str
        Stages by names without ending, such as "patient_000" and "patient_000_node_0", in the order of the
        file, spelled as `PATIENT_STAGES` and `SLIDE_STAGES` have them. SlideError names the row of what
        cannot be understood, and of a second stage for one name; empty rows do not count.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "submission.csv")
    ...     _ = path.write_text("patient,stage\npatient_100.zip,PN1MI\npatient_100_node_0.tif,micro")
    ...     read_stages(path)
    {'patient_100': 'pN1mi', 'patient_100_node_0': 'micro'}
    """
    path = Path(path)
    found: dict[str, str] = {}
    for number, row in enumerate(read_rows(path), 1):
        name, told = stem(row[0]), row[1] if row[1:] else ""
        match = _NAME.fullmatch(name)
        if match is None:
            if number == 1 and _plain(told) not in map(_plain, (*SLIDE_STAGES, *PATIENT_STAGES)):
                continue  # a header
            raise SlideError(path, f"row {number}: got the name {row[0]!r}, expected one such as "
                                   "patient_000.zip or patient_000_node_0.tif")  # fmt: skip
        spelled = {_plain(stage): stage for stage in (SLIDE_STAGES if match[1] else PATIENT_STAGES)}
        if _plain(told) not in spelled:
            raise SlideError(path, f"row {number}, {row[0]}: got the stage {told!r}, expected one of "
                                   f"{', '.join(spelled.values())}")  # fmt: skip
        stage = spelled[_plain(told)]
        if found.setdefault(name, stage) != stage:
            raise SlideError(path, f"row {number}, {row[0]}: got {stage}, expected {found[name]} as "
                                   "in a row above")  # fmt: skip
    if not found:
        raise SlideError(path, "no stages: no row such as patient_000.zip,pN0")
    return found


def holds_stages(path: str | Path) -> bool:
    """Tell whether a CSV file is one of stages: patients or nodes, with what is no number beside them."""
    rows = [row for row in read_rows(Path(path))[:2] if _NAME.fullmatch(stem(row[0]))]
    return bool(rows) and not any(is_number(cell) for row in rows for cell in row[1:2])


def _stages(folder: Path) -> dict[str, str]:
    path = next(iter(find(folder, r"(stages|stage_labels)\.csv").values()), None)
    return {} if path is None else read_stages(path)


def _plain(stage: str) -> str:
    return stage.lower().replace(" ", "")
