"""Camelyon16, as GigaDB and AWS offer it, with what has been found out about its slides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fastwsi import _numbers
from fastwsi.data.files import existing_folder, find, read_rows, stem
from fastwsi.data.records import SlideRecord, SlideSet
from fastwsi.slides import SlideError

# Tumour slides whose tumour is not annotated everywhere: told by the organisers, and found since.
NOT_EXHAUSTIVE = (15, 18, 20, 29, 33, 44, 46, 51, 54, 55, 79, 92, 95)
NOT_EXHAUSTIVE_EITHER = (10, 25, 34, 56, 67, 85, 110)
_LEFT_OUT = {
    "normal_086": "holds tumour; later releases have it as tumor_111",
    "normal_144": "left out by those who trained on it",
    "test_049": "a copy of tumor_036",
}
_NOT_IN_FROC = "test_114"
_NAMES_OF_LABELS = {"label", "type", "class", "diagnosis"}
_LABELS = {"normal": "normal", "0": "normal", "tumor": "tumor", "tumour": "tumor", "1": "tumor"}


def camelyon16(root: str | Path, *, quirks: bool = True, validation: float = 0.2, seed: int = 0) -> SlideSet:
    """List the slides of Camelyon16.

    Slides, annotations and masks are found by name anywhere under ``root``, in any letters: the layouts of
    GigaDB (training/normal, training/tumor, testing/images) and AWS (images, annotations, masks) and copies
    of them. Labels of test slides come from ``reference.csv``, with or without its header.

    Parameters
    ----------
    root : path
    quirks : bool
        Heed what is known of single slides: normal_086, normal_144 and test_049 are left out; test_114 and
        the tumour slides that are not annotated everywhere are marked as not exhaustive.
    validation : float
        The part of normal and of tumour slides that is set aside, drawn by ``seed``. 0.2 sets Liu's
        32 + 22 aside; with today's 158 + 111 usable slides, 126 + 89 are left.
    seed : int

    Returns
    -------
    SlideSet
    """
    folder = existing_folder(root)
    share = _numbers.finite(validation, "validation", 0)
    if share > 1:
        raise ValueError(f"validation: got {validation!r}, expected 0 to 1")
    others: list[tuple[str, str]] = []
    slides = find(folder, r"((?:normal|tumor|test)_\d{3})\.tiff?", others)
    annotations = find(folder, r"((?:tumor|test)_\d{3})\.xml")
    masks = find(folder, r"((?:normal|tumor|test)_\d{3})(?:_evaluation)?_mask\.tiff?")
    reference = reference_of(folder)
    if not slides:
        raise SlideError(folder, "no slides of Camelyon16: no normal_001.tif, tumor_001.tif, test_001.tif …")
    records, left_out, missing = [], others, []
    for name, path in sorted(slides.items()):
        if quirks and name in _LEFT_OUT:
            left_out.append((name, _LEFT_OUT[name]))
            continue
        kind = name.partition("_")[0]
        told = reference.get(name, {})
        label = told.get("label", "") if kind == "test" else kind
        record = SlideRecord(
            name, path, label, "test" if kind == "test" else "train", annotations.get(name), masks.get(name),
            extra={key: value for key, value in told.items() if key != "label"},
        )  # fmt: skip
        if label == "tumor" and record.annotation is None and record.mask is None:
            missing.append((name, "annotation"))
        if kind == "test" and not label:
            missing.append((name, "label in reference.csv"))
        records.append(_heeded(record) if quirks else record)
    missing += [(name, "slide") for name in sorted(annotations.keys() - slides.keys())]
    return SlideSet("Camelyon16", folder, _split(records, share, seed), tuple(left_out), tuple(missing))


def _heeded(record: SlideRecord) -> SlideRecord:
    kind, _, number = record.name.partition("_")
    if kind == "tumor" and int(number) in NOT_EXHAUSTIVE:
        return record.with_remark("not annotated everywhere, say the organisers", exhaustive=False)
    if kind == "tumor" and int(number) in NOT_EXHAUSTIVE_EITHER:
        return record.with_remark("not annotated everywhere, it was found", exhaustive=False)
    if record.name == _NOT_IN_FROC:
        return record.with_remark("not annotated everywhere: no part of FROC", exhaustive=False)
    return record


def _split(records: list[SlideRecord], share: float, seed: int) -> tuple[SlideRecord, ...]:
    """Return records of which some of each label are set aside."""
    aside: set[str] = set()
    for label in ("normal", "tumor"):
        names = sorted(record.name for record in records if record.split == "train" and record.label == label)
        rng = np.random.default_rng([seed, len(label), label == "tumor"])
        chosen = rng.permutation(len(names))[: round(share * len(names))]
        aside.update(names[i] for i in chosen)
    return tuple(
        replace(record, split="validation") if record.name in aside else record for record in records
    )


def reference_of(folder: Path) -> dict[str, dict[str, str]]:
    """Return what reference.csv says of slides: label, and where it has them, type and size class.

    Empty where there is no such file.
    """
    path = find(folder, r"(reference)\.csv").get("reference")
    if path is None:
        return {}
    found: dict[str, dict[str, str]] = {}
    names: tuple[str, ...] = ("label", "type", "size")
    for number, row in enumerate(read_rows(path)):
        name, cells = stem(row[0]), row[1:]
        told = dict(zip(names, cells, strict=False))
        label = told.get("label", "").lower()
        if number == 0 and _NAMES_OF_LABELS & {cell.lower() for cell in cells}:
            names = _header(cells)
            continue
        if label not in _LABELS:
            raise SlideError(path, f"{row[0]}: got the label {label!r}, expected Normal or Tumor")
        told["label"] = _LABELS[label]
        found[name] = told
    return found


def _header(cells: list[str]) -> tuple[str, ...]:
    """Return the columns' names: whatever a release calls the label, it is "label" here."""
    known = {**dict.fromkeys(_NAMES_OF_LABELS, "label"), "stage": "size"}
    names = [cell.lower() for cell in cells]
    if "label" not in names:
        names = [known.get(name, name) for name in names]
    return tuple(names)
