"""Slides of one's own, listed in a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastwsi.data.files import read_table
from fastwsi.data.records import SlideRecord, SlideSet
from fastwsi.slides import SlideError, resolution

if TYPE_CHECKING:
    from fastwsi.data.records import Split

_OWN = ("slide", "label", "annotation", "mask", "mpp", "split", "patient", "exhaustive")
_SPLITS: dict[str, Split] = {
    "": "", "train": "train", "training": "train", "validation": "validation", "valid": "validation",
    "val": "validation", "tune": "validation", "test": "test", "testing": "test",
}  # fmt: skip
_YES, _NO = ("", "1", "yes", "true"), ("0", "no", "false")


def slide_table(path: str | Path) -> SlideSet:
    r"""List the slides of a CSV file.

    Columns: ``slide`` (a file, its path from the CSV file's folder on) and ``label``; and as many as wanted
    of ``annotation`` (ASAP's XML or GeoJSON), ``mask`` (a mask TIFF), ``mpp``, ``split`` (train, validation,
    test), ``patient``, ``exhaustive`` (no: the rest of the slide is not known to be normal). Others are kept
    in each record's ``extra``.

    Examples
    --------
    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "slides.csv"
    >>> _ = (table.parent / "a.tif").write_bytes(b"")
    >>> _ = table.write_text("slide,label,mpp,split\na.tif,tumor,0.25,train\n")
    >>> fastwsi.data.slide_table(table).records[0].mpp
    0.25
    """
    path = Path(path)
    folder = path.parent
    records, missing, seen = [], [], set()
    for number, row in enumerate(read_table(path, ("slide", "label")), 2):
        where = f"row {number}"
        if not row["slide"]:
            raise SlideError(path, f"{where}: got no slide")
        slide = folder / row["slide"]
        name = slide.stem
        if name in seen:
            raise SlideError(path, f"{where}: {name} is listed twice")
        seen.add(name)
        split = row.get("split", "").lower()
        if split not in _SPLITS:
            raise SlideError(path, f"{where}: got the split {split!r}, expected train, validation or test")
        files = {key: folder / row[key] for key in ("annotation", "mask") if row.get(key)}
        missing += [(name, key) for key, file in {"slide": slide, **files}.items() if not file.exists()]
        records.append(
            SlideRecord(
                name,
                slide,
                row["label"],
                _SPLITS[split],
                files.get("annotation"),
                files.get("mask"),
                _mpp(path, where, row.get("mpp", "")),
                row.get("patient", ""),
                _flag(path, where, row.get("exhaustive", "")),
                extra={key: value for key, value in row.items() if key not in _OWN},
            )
        )
    return SlideSet(path.name, folder, tuple(records), (), tuple(missing))


def _mpp(path: Path, where: str, text: str) -> float | None:
    if not text:
        return None
    value = resolution.number_in(text)
    if value is None or not resolution.believable(value):
        raise SlideError(
            path, f"{where}: got mpp {text!r}, expected {resolution.SMALLEST} to {resolution.LARGEST:g}"
        )
    return value


def _flag(path: Path, where: str, text: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise SlideError(path, f"{where}: got exhaustive {text!r}, expected yes or no")
    return text.lower() in _YES
