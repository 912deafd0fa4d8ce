"""What results are held against: a data set's labels and lesions, with its slides or without them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi.data.camelyon16 import reference_of
from fastwsi.data.checking import recognise
from fastwsi.data.class_maps import NEGATIVE, TUMOUR_GROUPS, Labels
from fastwsi.data.files import find
from fastwsi.data.records import SlideRecord, SlideSet
from fastwsi.slides import LabelMask, SlideError, open_slide, resolution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastwsi.slides import Annotations

Bools = np.ndarray[Any, np.dtype[np.bool_]]

_CAMELYON_PIXEL = 0.243 * 32  # µm: level 5, at which Camelyon16 counts lesions
_POSITIVE = (
    "tumor", "tumour", "positive", "cancer", "carcinoma", "malignant", "metastasis", "metastases",
    "macro", "micro", "itc", "1", "2", "3", "4", "5",
)  # fmt: skip
_ENDINGS = ("_evaluation_mask", "_mask")


@dataclass(frozen=True)
class LesionMask:
    """Where a slide's tumour is, coarsely.

    Attributes
    ----------
    pixels : bool array, shape (height, width)
    mpp : float
        Micrometres per pixel of it.
    downsample : float
        Level-0 pixels per pixel of it.
    own_mpp : float or None
        What the slide's file says of level 0, whatever was asked for.
    whole : bool
        Whether it covers the slide: where only an annotation is there, it ends beyond its shapes.
    """

    pixels: Bools
    mpp: float
    downsample: float
    own_mpp: float | None
    whole: bool


def read_truth(root: str | Path) -> SlideSet:
    """List the slides that results are held against.

    Parameters
    ----------
    root : path
        A data set that `recognise` knows; or a folder with a ``reference.csv`` and masks or annotations named
        by their slides, without the slides themselves.
    """
    folder = Path(root)
    alone = _without_slides(folder) if folder.is_dir() else None
    try:
        found = recognise(folder)
    except SlideError:
        if alone is None:
            raise
        return alone
    # A reference.csv with the columns slide and label is a table, too: of slides that are not there.
    tabled = alone is not None and found.name == "reference.csv"
    return alone if tabled and alone is not None else found


def is_tumour(record: SlideRecord) -> bool | None:
    """Tell whether a slide's label means tumour; None where it has none. Unknown labels are refused.

    Examples
    --------
    >>> is_tumour(SlideRecord("a", Path("a.tif"), "itc")), is_tumour(SlideRecord("b", Path("b.tif")))
    (True, None)
    """
    label = record.label.strip().lower()
    if label and label not in (*NEGATIVE, *_POSITIVE):
        raise SlideError(
            record.path,
            f"got the label {record.label!r}, expected one of {', '.join((*NEGATIVE, *_POSITIVE))}",
        )
    return label in _POSITIVE if label else None


def lesion_mask(
    record: SlideRecord, *, mpp: float | None = None, downsample: float | None = None
) -> LesionMask | None:
    """Paint a slide's tumour coarsely; None where neither annotation nor mask says anything.

    Parameters
    ----------
    record : SlideRecord
        The slide itself need not be there: a mask has its size, and an annotation ends where its shapes do.
    mpp : float, optional
        Micrometres per level-0 pixel, whatever the slide says. Default: the slide's.
    downsample : float, optional
        Level-0 pixels per pixel of the mask. Default: a power of two for which pixels have 5.5 to 11 µm.
    """
    given = None if mpp is None else resolution.given(mpp).mpp
    if record.annotation is None and record.mask is None:
        return None
    annotations = record.annotations()
    (width, height), own, whole = _extent(record, annotations)
    level_0 = own if given is None else given[0]
    if level_0 is None:
        raise SlideError(record.path, "no resolution is known of the slide: give mpp")
    down = float(2 ** max(0, round(np.log2(_CAMELYON_PIXEL / level_0)))) if downsample is None else downsample
    size = int(np.ceil(width / down)), int(np.ceil(height / down))
    mask = None if record.mask is None else LabelMask(record.mask, (width, height))
    try:
        labels = Labels(annotations, mask, TUMOUR_GROUPS, record.tumour_values)
        pixels = labels.window((0, 0), size, down) > 0
        for x, y in labels.small_places(2 * down):  # between the middles of pixels: none is lost
            if 0 <= x < width and 0 <= y < height:
                pixels[int(y / down), int(x / down)] = True
        return LesionMask(pixels, level_0 * down, down, own, whole)
    finally:
        if mask is not None:
            mask.close()


def slide_size(record: SlideRecord) -> tuple[int, int] | None:
    """Return a slide's size at level 0, of the slide itself or of its mask; None where neither is there."""
    return next((size for size, _ in _opened(record)), None)


def _opened(record: SlideRecord) -> Iterator[tuple[tuple[int, int], float | None]]:
    """Yield size and resolution of the files that have a slide's size."""
    for path in (record.path, record.mask):
        if path is not None and path.exists():
            with open_slide(path, mpp=record.mpp) as slide:
                yield slide.dimensions, slide.mpp if slide.has_mpp else None


def _extent(record: SlideRecord, annotations: Annotations) -> tuple[tuple[int, int], float | None, bool]:
    """Return a slide's size and resolution, and whether it is the slide's and not its annotation's."""
    for size, mpp in _opened(record):
        return size, mpp, True
    corners = [shape.points.max(0) for shape in annotations if len(shape.points)]
    # Room for lesions to grow.
    right, bottom = np.ceil(np.max(corners, axis=0) + 1024) if corners else (1024, 1024)
    return (int(right), int(bottom)), record.mpp, False


def _without_slides(folder: Path) -> SlideSet | None:
    """Return slides that a reference, masks or annotations name."""
    reference = reference_of(folder)
    annotations = find(folder, r"(.+)\.(?:xml|geojson)")
    masks = {_bare(name): path for name, path in find(folder, r"(.+)\.tiff?").items() if _bare(name) != name}
    names = sorted(reference.keys() | annotations.keys() | masks.keys())
    if not names:
        return None
    records = []
    for name in names:
        told = dict(reference.get(name, {}))
        label = told.pop("label", "tumor" if name in annotations or name in masks else "")
        records.append(
            SlideRecord(
                name,
                folder / f"{name}.tif",
                label,
                "test",
                annotations.get(name),
                masks.get(name),
                extra=told,
            )
        )
    return SlideSet(folder.name, folder, tuple(records))


def _bare(name: str) -> str:
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name
