"""What there is in a data set's folder, what is missing, and what cannot be read."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastwsi.data.camelyon16 import camelyon16
from fastwsi.data.camelyon17 import camelyon17
from fastwsi.data.files import existing_folder, find, read_rows
from fastwsi.data.panda import panda
from fastwsi.data.patch_camelyon import PatchCamelyon
from fastwsi.data.records import SlideSet
from fastwsi.data.table import slide_table
from fastwsi.slides import AnnotationWarning, SlideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastwsi.data.records import SlideRecord
    from fastwsi.slides import Slide

_MARKS = (  # a file by which each data set is known, and who lists it
    (r"((?:normal|tumor|test)_\d{3})\.tiff?", camelyon16),
    (r"(patient_\d{3}_node_\d)\.tiff?", camelyon17),
)
_SIDE = 256
_WINDOW = 2048


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong with a data set.

    Attributes
    ----------
    kind : str
        "missing", "unreadable", "remark" or "left out".
    name : str
        The slide, or the file.
    reason : str
    """

    kind: str
    name: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """What a look at a data set found.

    Attributes
    ----------
    name : str
        Which data set it is.
    counts : dict
        How many slides there are of each split and label, such as "train tumor".
    troubles : tuple of Trouble
    """

    name: str
    counts: dict[str, int]
    troubles: tuple[Trouble, ...]

    @property
    def usable(self) -> bool:
        """Whether nothing is missing and all can be read."""
        return not any(trouble.kind in ("missing", "unreadable") for trouble in self.troubles)


def recognise(root: str | Path) -> SlideSet:
    """Tell which data set a folder holds, and list it; a CSV file is a table of slides.

    Camelyon16, Camelyon17 and PANDA are known by their files' names; else the folder must hold a single CSV
    file with the columns ``slide`` and ``label``.
    """
    path = Path(root)
    if path.is_file():
        return slide_table(path)
    folder = existing_folder(path)
    for pattern, lister in _MARKS:
        if find(folder, pattern):
            return lister(folder)
    if _is_panda(find(folder, r"(train)\.csv").get("train")):
        return panda(folder)
    tables = sorted(folder.glob("*.csv"))
    if len(tables) == 1:
        return slide_table(tables[0])
    raise SlideError(
        folder,
        "no data set that is known: neither slides of Camelyon16, Camelyon17 or PANDA, nor PatchCamelyon, "
        f"nor a CSV file of slides ({len(tables)} CSV files here)",
    )


def _is_panda(table: Path | None) -> bool:
    """Tell whether a train.csv is PANDA's: others may have one of their own."""
    if table is None:
        return False
    header = [cell.lower() for row in read_rows(table)[:1] for cell in row]
    return "image_id" in header and "isup_grade" in header


def check(
    root: str | Path,
    *,
    read: bool = True,
    every_tile: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Checked:
    """Look through a data set: list it, and open every slide, annotation and mask.

    Parameters
    ----------
    root : path
        A folder, or a table of slides.
    read : bool
        Whether to open files; else only names are looked at.
    every_tile : bool
        Whether to read all of each slide and mask at its finest level, and every patch; else of a slide its
        thumbnail and its middle, of a mask a coarse look, and three patches of a split.
    progress : callable, optional
        Called with a slide's name, slides done, and slides in all.
    """
    patches = _patches(Path(root), read=read, every=every_tile)
    if patches is not None:
        return patches
    found = recognise(root)
    troubles = [Trouble("missing", name, what) for name, what in found.missing]
    troubles += [Trouble("left out", name, reason) for name, reason in found.left_out]
    counts: dict[str, int] = {}
    for done, record in enumerate(found.records):
        key = f"{record.split or 'unassigned'} {record.label or 'unlabelled'}"
        counts[key] = counts.get(key, 0) + 1
        troubles += [Trouble("remark", record.name, remark) for remark in record.remarks]
        if read and record.path.exists():
            troubles += [Trouble(kind, record.name, reason) for kind, reason in _faults(record, every_tile)]
        if progress is not None:
            progress(record.name, done + 1, len(found.records))
    return Checked(found.name, dict(sorted(counts.items())), tuple(troubles))


def _patches(root: Path, *, read: bool, every: bool) -> Checked | None:
    """Return what there is of PatchCamelyon, if that is what a folder holds."""
    if not root.is_dir() or not find(root, r"(camelyonpatch_level_2_split_\w+|train_labels)\.(?:h5|csv)"):
        return None
    counts: dict[str, int] = {}
    splits = (
        ("train", "validation", "test")
        if find(root, r"(camelyonpatch_level_2_split_\w+)\.h5")
        else ("train",)
    )
    troubles = [trouble for split in splits for trouble in _split(root, split, counts, read, every)]
    return Checked("PatchCamelyon", counts, tuple(troubles))


def _split(root: Path, split: str, counts: dict[str, int], read: bool, every: bool) -> list[Trouble]:
    """Count a split's patches; return what is wrong with it."""
    try:
        patches = PatchCamelyon(root, split)  # type: ignore[arg-type]
    except SlideError as error:
        absent = "no PatchCamelyon" in error.reason
        return [Trouble("missing" if absent else "unreadable", split, error.reason)]
    labels = patches.labels
    for label, name in ((0, "normal"), (1, "tumor"), (-1, "unlabelled")):
        if (labels == label).any():
            counts[f"{split} {name}"] = int((labels == label).sum())
    some = range(len(patches)) if every else sorted({0, len(patches) // 2, len(patches) - 1} - {-1})
    troubles = []
    for number in some if read else ():
        fault = _patch_fault(patches, number)
        if fault:
            troubles.append(Trouble("unreadable", f"{split}, patch {number}", fault))
    return troubles


def _patch_fault(patches: PatchCamelyon, number: int) -> str:
    try:
        patches[number]
    except (SlideError, OSError) as error:  # OSError: HDF5's
        return str(error)
    return ""


def _faults(record: SlideRecord, every_tile: bool) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a slide and the files beside it: kind and reason."""
    try:
        with record.open(threads=1) as slide:
            width, height = slide.dimensions
            slide.thumbnail(_SIDE)
            slide.read((width // 2 - _SIDE // 2, height // 2 - _SIDE // 2), _SIDE)
            for xy, size in _windows(width, height) if every_tile else ():
                slide.read(xy, size)
            for place, why in slide.corrupt.items():
                yield "unreadable", f"level {place[0]}, tile at {place[1:]}: {why}"
            if not slide.has_mpp:
                yield "unreadable", "no resolution in the file; mpp= gives it"
            yield from _faults_beside(record, slide, every_tile)
    except SlideError as error:
        yield "unreadable", error.reason


def _windows(width: int, height: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield corners and sizes of windows that cover a slide."""
    for y in range(0, height, _WINDOW):
        for x in range(0, width, _WINDOW):
            yield (x, y), (min(_WINDOW, width - x), min(_WINDOW, height - y))


def _faults_beside(record: SlideRecord, slide: Slide, every_tile: bool) -> Iterator[tuple[str, str]]:
    faults: list[str] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", AnnotationWarning)
        try:
            record.annotations()
            mask = record.label_mask(slide)
            if mask is not None:
                mask.rasterise(
                    (0, 0), _SIDE, scale=(slide.dimensions[0] / _SIDE, slide.dimensions[1] / _SIDE)
                )
                for xy, size in _windows(*slide.dimensions) if every_tile else ():
                    mask.rasterise(xy, size)
                faults += [
                    f"the mask's level {place[0]}, tile at {place[1:]}: {why}"
                    for place, why in mask.corrupt.items()
                ]
                mask.close()
        except SlideError as error:
            faults.append(f"{error.path.name}: {error.reason}")
    yield from (("unreadable", fault) for fault in faults)
    for each in told:
        if issubclass(each.category, AnnotationWarning):
            yield "remark", str(each.message)
        else:  # no concern of this check: whoever listens for it hears it
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
