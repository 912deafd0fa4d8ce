"""Where on a slide patches of each class can be drawn: a coarse map, from tissue and annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from fastwsi.slides import tissue_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastwsi.data.records import SlideRecord
    from fastwsi.slides import Annotations, LabelMask, Slide, TissueMask

Cells = np.ndarray[Any, np.dtype[np.int32]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

TUMOUR_GROUPS = ("_0", "_1", "Tumor", "Tumour", "tumor", "tumour", "metastases", "Metastases")
EXCLUDED_GROUPS = ("_2", "Exclusion", "exclusion", "normal", "Normal")
NEGATIVE = ("normal", "negative", "benign", "0")
STREAMS = ("normal", "tumor", "boundary", "itc")
_FINE = 8.0  # µm per pixel at which shapes are painted first
_FINE_IN_CELL = 4
CELL_UM = _FINE * _FINE_IN_CELL
_LONGEST_ITC = 200.0  # µm: longer clusters are micrometastases
_BOUNDARY = 2  # cells on either side of a tumour's edge


@dataclass(frozen=True)
class ClassMap:
    """Cells of some 32 µm in which patches of a class have their middle.

    Attributes
    ----------
    columns, rows : int
        The map's size in cells.
    scale : (float, float)
        Level-0 pixels in a cell, along x and y.
    cells : dict
        "normal": tissue away from tumour, where the slide is annotated everywhere. "tumor". "boundary":
        either side of a tumour's edge. "itc": clusters shorter than 0.2 mm. Each a sorted array of row *
        columns + column.
    remark : str
        Why there is nothing to draw, if there is nothing.
    """

    columns: int
    rows: int
    scale: tuple[float, float]
    cells: Mapping[str, Cells]
    remark: str = ""


class Labels:
    """What a slide's annotation says of any window: 1 tumour, 0 not."""

    def __init__(
        self,
        annotations: Annotations,
        mask: LabelMask | None,
        tumour: tuple[str, ...],
        mask_values: tuple[int, ...] = (),
    ) -> None:
        self._annotations, self._mask = annotations, mask
        self._mask_values = dict.fromkeys(mask_values, 1)
        self._values = [(group, 1) for group in tumour] + [(group, 0) for group in EXCLUDED_GROUPS]
        self._painter = annotations.painter(self._values)
        self.of_shapes = mask is None  # no file is needed for them any more
        self.any = mask is not None or any(shape.group in tumour for shape in annotations)

    def window(
        self, xy: tuple[int, int], size: tuple[int, int], scale: float | tuple[float, float] = 1.0
    ) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return labels (height, width) of a window whose pixels span ``scale`` level-0 pixels."""
        if self._mask is not None:
            return self._mask.rasterise(xy, size, scale=scale, values=self._mask_values)
        return self._painter.window(xy, size, scale)

    def small_places(self, longest: float) -> list[tuple[float, float]]:
        """Return places inside tumours that are so small that painting coarsely may miss them.

        ``longest``: of their longer side, in level-0 pixels. A mask has no shapes, and none are returned.
        """
        found: list[tuple[float, float]] = []
        tumour = [group for group, value in self._values if value]
        for shape in self._annotations.of(tumour if self._mask is None else ()):
            if not shape.rings:
                continue
            left, top, right, bottom = shape.bounds
            if max(right - left, bottom - top) <= longest:
                corner = int(np.floor(left)), int(np.floor(top))
                inside = self.window(corner, (int(right - left) + 2, int(bottom - top) + 2))
                found += [(corner[0] + x + 0.5, corner[1] + y + 0.5) for y, x in np.argwhere(inside)]
        return found

    def has_tumour(self, xy: tuple[int, int], size: tuple[int, int]) -> bool:
        """Whether any pixel of a level-0 window is tumour."""
        return self.any and bool(self.window(xy, size).any())


def labels_of(record: SlideRecord, slide: Slide, tumour: tuple[str, ...] = TUMOUR_GROUPS) -> Labels:
    """Return the labels of a slide: of its annotation, or where it has none, of its mask."""
    if record.annotation is not None:
        return Labels(record.annotations(), None, tumour)
    return Labels(record.annotations(), record.label_mask(slide), tumour, record.tumour_values)


def class_map(
    record: SlideRecord, slide: Slide, labels: Labels, tissue: TissueMask | None = None
) -> ClassMap:
    """Make the map of a slide.

    Tumour counts wherever it is annotated. The rest of the tissue is normal on a slide whose label is one of
    `NEGATIVE`, in any letters, and on one that is annotated everywhere; of others only tumour is drawn.
    """
    fine = tuple(_FINE / mpp for mpp in slide.mpp_xy)
    scale = fine[0] * _FINE_IN_CELL, fine[1] * _FINE_IN_CELL
    width, height = slide.dimensions
    columns, rows = max(1, int(np.ceil(width / scale[0]))), max(1, int(np.ceil(height / scale[1])))
    tumour: Flags = np.zeros((rows, columns), bool)
    if labels.any:
        size = columns * _FINE_IN_CELL, rows * _FINE_IN_CELL
        painted = labels.window((0, 0), size, (fine[0], fine[1])).astype(bool)
        tumour = np.asarray(painted.reshape(rows, _FINE_IN_CELL, columns, _FINE_IN_CELL).any((1, 3)))
        for x, y in labels.small_places(2 * max(scale)):
            if 0 <= x < width and 0 <= y < height:
                tumour[int(y / scale[1]), int(x / scale[0])] = True
    found = tissue_mask(slide) if tissue is None else tissue
    row, column = np.divmod(np.arange(rows * columns), columns)
    corners = np.stack([column * scale[0], row * scale[1]], 1)
    covered = found.fractions(corners, scale).reshape(rows, columns) > 0.5
    negative = record.label.lower() in NEGATIVE and not tumour.any()
    # A patch whose middle lies in a cell next to tumour may hold some of it.
    clear = covered & ~ndimage.binary_dilation(tumour, np.ones((3, 3), bool), iterations=2)
    usable = negative or (record.exhaustive and labels.any)
    cells = {
        "normal": clear if usable else np.zeros_like(clear),
        "tumor": tumour,
        "boundary": _boundary(tumour) & (covered | tumour),
        "itc": _itc(tumour),
    }
    remark = ""
    if not any(mask.any() for mask in cells.values()):
        remark = found.remark or "no cell of any class"
    return ClassMap(
        columns,
        rows,
        scale,
        {name: np.flatnonzero(mask).astype(np.int32) for name, mask in cells.items()},
        remark,
    )


def _boundary(tumour: Flags) -> Flags:
    if not tumour.any():
        return tumour
    wide = ndimage.binary_dilation(tumour, iterations=_BOUNDARY)
    core = ndimage.binary_erosion(tumour, iterations=_BOUNDARY)
    return np.asarray(wide & ~core)


def _itc(tumour: Flags) -> Flags:
    """Return clusters whose longer side is short; cells reach a little beyond what is in them."""
    labels, _ = ndimage.label(tumour, np.ones((3, 3), int))
    found = np.zeros_like(tumour)
    most = _LONGEST_ITC / CELL_UM + 1
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        if max(axis.stop - axis.start for axis in place) <= most:
            found[place] |= labels[place] == number
    return found
