"""What is known of each slide of a data set: its file, label, annotation, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fastwsi.slides import Annotations, LabelMask, Slide, open_slide, read_asap, read_geojson

Split = Literal["train", "validation", "test", ""]


@dataclass(frozen=True)
class SlideRecord:
    """One slide of a data set.

    Attributes
    ----------
    name : str
        Without ending; unique in its data set.
    path : Path
        The slide's file.
    label : str
        "normal" or "tumor", a stage, a grade: what the data set says of the whole slide; "" where unknown.
    split : str
        "train", "validation", "test", or "".
    annotation : Path or None
        ASAP's XML or QuPath's GeoJSON.
    mask : Path or None
        A mask TIFF.
    tumour_values : tuple of int
        The mask's values that are tumour. Default: 1, as the challenges' masks have it, and 255.
    mpp : float or None
        Micrometres per pixel, where the data set knows better than the file.
    patient : str
    exhaustive : bool
        Whether all tumour is annotated, so that the rest of the slide may be called normal.
    remarks : tuple of str
        Known quirks.
    extra : dict
        Whatever other columns the data set has.
    """

    name: str
    path: Path
    label: str = ""
    split: Split = ""
    annotation: Path | None = None
    mask: Path | None = None
    mpp: float | None = None
    patient: str = ""
    exhaustive: bool = True
    remarks: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)
    tumour_values: tuple[int, ...] = (1, 255)

    def open(self, **options: Any) -> Slide:
        """Open the slide; options are those of `fastwsi.open_slide`."""
        return open_slide(self.path, **{"mpp": self.mpp, **options})

    def annotations(self) -> Annotations:
        """Read the annotation; there are no shapes where there is no file."""
        if self.annotation is None:
            return Annotations()
        read = read_geojson if self.annotation.suffix.lower() in (".geojson", ".json") else read_asap
        return read(self.annotation)

    def label_mask(self, slide: Slide) -> LabelMask | None:
        """Open the mask over a slide, where there is one."""
        return None if self.mask is None else LabelMask(self.mask, slide.dimensions)

    def with_remark(self, remark: str, **changes: Any) -> SlideRecord:
        """Return the record changed, and say why."""
        return replace(self, remarks=(*self.remarks, remark), **changes)


@dataclass(frozen=True)
class SlideSet:
    """The slides of a data set, and what was left out of it.

    Attributes
    ----------
    name : str
    root : Path
    records : tuple of SlideRecord
    left_out : tuple of (name, reason)
        Slides that are there and are not used.
    missing : tuple of (name, what)
        Files that the data set should have and has not.
    """

    name: str
    root: Path
    records: tuple[SlideRecord, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    missing: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, name: str) -> SlideRecord:
        for record in self.records:
            if record.name.lower() == name.lower():
                return record
        raise KeyError(f"{name}: no such slide among the {len(self.records)} of {self.name}")

    def of(self, split: Split) -> SlideSet:
        """Return the slides of one split."""
        return replace(self, records=tuple(each for each in self.records if each.split == split))
