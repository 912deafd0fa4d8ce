"""PANDA: prostate biopsies with Gleason grades."""

from __future__ import annotations

from pathlib import Path

from fastwsi.data.files import existing_folder, find, read_table
from fastwsi.data.records import SlideRecord, SlideSet
from fastwsi.slides import SlideError

_CANCER = {"karolinska": (2,), "radboud": (3, 4, 5)}  # in masks: each institute has values of its own


def panda(root: str | Path) -> SlideSet:
    """List the biopsies of PANDA's ``train.csv``; the label is the ISUP grade, 0 to 5.

    Slides are TIFFs or SVSs named by their image_id, masks ``<image_id>_mask.tiff``, anywhere under ``root``.
    """
    folder = existing_folder(root)
    table = find(folder, r"(train)\.csv").get("train")
    if table is None:
        raise SlideError(folder, "no train.csv of PANDA")
    others: list[tuple[str, str]] = []
    slides = find(folder, r"([0-9a-z]+)\.(?:tiff?|svs)", others)
    masks = find(folder, r"([0-9a-z]+)_mask\.tiff?")
    records, missing = [], []
    for row in read_table(table, ("image_id", "isup_grade")):
        name = row["image_id"].lower()
        grade = row["isup_grade"]
        if grade not in ("0", "1", "2", "3", "4", "5"):
            raise SlideError(table, f"{name}: got isup_grade {grade!r}, expected 0 to 5")
        if name not in slides:
            missing.append((name, "slide"))
            continue
        extra = {key: value for key, value in row.items() if key not in ("image_id", "isup_grade")}
        records.append(
            SlideRecord(
                name, slides[name], grade, "train", mask=masks.get(name), extra=extra,
                tumour_values=_CANCER.get(row.get("data_provider", "").lower(), ()),
            )
        )  # fmt: skip
    return SlideSet("PANDA", folder, tuple(records), tuple(others), tuple(missing))
