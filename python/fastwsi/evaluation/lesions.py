"""Lesions of a mask as Camelyon16 counts them: tumour grown together, holes filled, numbered, measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers
from fastwsi.evaluation.results import Result
from fastwsi.evaluation.sizes import MICRO, size_class

if TYPE_CHECKING:
    from collections.abc import Iterator

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Labels = np.ndarray[Any, np.dtype[np.int32]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

CAMELYON_MPP = 0.243  # µm per pixel at level 0, which the challenge took for all slides
_GROWTH = 75.0  # µm, five tumour cells, split over both sides
_ITC = 275.0  # µm of a grown lesion: isolated tumour cells are shorter
_BLOCK = 8  # pixels, in which tumour is looked for coarsely: a byte of bits
_BAND = 1 << 20  # pixels that are measured at once


@dataclass(frozen=True, repr=False)
class Lesions(Result):
    """The lesions of one slide.

    Attributes
    ----------
    labels : int32 array, shape (height, width)
        The number of the lesion at each pixel of the mask, from 1 on in the order of reading; 0: none.
    itc : bool array, shape (lesions,)
        Which are isolated tumour cells: so short that finding them counts neither way.
    areas : float64 array
        In µm², of what has grown.
    major_axes : float64 array
        In µm, of what has grown: 4 √λ₁ of the covariance of its pixels' centres.
    mpp : float
        Micrometres per pixel of the mask.
    downsample : float
        Level-0 pixels per pixel of the mask.
    """

    labels: Labels
    itc: Bools
    areas: Floats
    major_axes: Floats
    mpp: float
    downsample: float

    def __len__(self) -> int:
        return len(self.itc)

    def __str__(self) -> str:
        height, width = self.labels.shape
        return f"{len(self)} lesions, {int(self.itc.sum())} of them ITC, on {width} x {height} pixels"

    @property
    def size_classes(self) -> tuple[str, ...]:
        """Of each "macro", "micro" or "itc": by the length before it had grown by 75 µm."""
        own = self.major_axes - _GROWTH
        # What is ITC the challenge decided; the rest is no smaller than micro, whatever rounding says.
        return tuple(
            "itc" if itc else size_class(max(length, MICRO))
            for itc, length in zip(self.itc, own, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all but the pixels."""
        return {"mpp": self.mpp, "downsample": self.downsample, "lesions": self.rows()}

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each lesion."""
        return [
            {"label": i + 1, "size": size, "area_um2": float(area), "major_axis_um": float(axis)}
            for i, (size, area, axis) in enumerate(
                zip(self.size_classes, self.areas, self.major_axes, strict=True)
            )
        ]


def label_lesions(mask: Any, *, mpp: float = CAMELYON_MPP * 32, downsample: float = 32.0) -> Lesions:
    """Return the lesions of a mask, as Camelyon16's published evaluation counts them.

    Tumour pixels grow by 37.5 µm (what lies closer than 75 µm together is one lesion), holes are filled, and
    pixels that touch at a side or a corner are one lesion. One whose major axis is then below 275 µm is ITC.
    An empty mask has no lesions. The work is done around the tumour only, whatever the mask's size.

    Parameters
    ----------
    mask : array, shape (height, width)
        bool, or numbers of which all are 0 and 1, or all 0 and 255. Any framework's array on the CPU.
    mpp : float
        Micrometres per pixel of the mask. Default: the challenge's, 0.243 µm at level 5.
    downsample : float
        Level-0 pixels per pixel of the mask.

    Returns
    -------
    Lesions

    Examples
    --------
    >>> mask = np.zeros((100, 100), np.uint8)
    >>> mask[10:50, 10:50] = 1
    >>> mask[70:72, 80] = 1
    >>> fastwsi.evaluation.label_lesions(mask)
    <Lesions 2 lesions, 1 of them ITC, on 100 x 100 pixels>
    """
    tumour = check_mask(mask)
    resolution = _positive(mpp, "mpp")
    reach = _GROWTH / (resolution * 2)
    labels = np.zeros(tumour.shape, np.int32)
    parts = [_Part(tumour, box, reach) for box in _boxes(tumour, reach)]
    # Parts are numbered each for itself; lesions in the order of their first pixels over all of the mask.
    firsts = np.concatenate([part.first for part in parts]) if parts else np.zeros(0, np.int64)
    number = np.empty(len(firsts), np.int32)
    number[np.argsort(firsts)] = np.arange(1, len(firsts) + 1, dtype=np.int32)
    areas, axes = np.zeros(len(firsts)), np.zeros(len(firsts))
    done = 0
    for part in parts:
        own = number[done : done + part.count]
        labels[part.box] = np.concatenate([np.zeros(1, np.int32), own])[part.labels]
        areas[own - 1], axes[own - 1] = part.sizes()
        done += part.count
    itc = axes < _ITC / resolution
    return Lesions(
        labels, itc, areas * resolution**2, axes * resolution, resolution, _positive(downsample, "downsample")
    )


def check_mask(mask: Any) -> Bools:
    """Return a mask as bool, shape (height, width); refuse what is none.

    Examples
    --------
    >>> check_mask([[0, 255]]).tolist()
    [[False, True]]
    """
    array = np.asarray(mask)
    if array.ndim != 2:
        raise ValueError(f"mask: got shape {array.shape}, expected (height, width)")
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iuf":
        raise TypeError(f"mask: got {array.dtype}, expected bool, or numbers 0 and 1 or 0 and 255")
    tumour: Bools = array != 0
    if array.size:
        most = array.max()
        if not (most in (0, 1, 255) and array.min() >= 0 and (array[tumour] == most).all()):
            values = np.unique(array)
            shown = ", ".join(f"{value:g}" for value in values[:5]) + (" …" if len(values) > 5 else "")
            raise ValueError(f"mask: got the values {shown}, expected only 0 and 1, or only 0 and 255")
    return tumour


def _positive(value: Any, name: str) -> float:
    number = _numbers.finite(value, name)
    if number <= 0:
        raise ValueError(f"{name}: got {value!r}, expected more than 0")
    return number


def _boxes(tumour: Bools, reach: float) -> Iterator[tuple[slice, slice]]:
    """Yield rectangles that hold all tumour with room to grow, and do not touch each other."""
    from scipy import ndimage  # noqa: PLC0415  (imported where used)

    height, width = tumour.shape
    if not tumour.size:
        return
    bits = np.packbits(tumour, axis=1)
    coarse = np.bitwise_or.reduceat(bits, np.arange(0, height, _BLOCK), axis=0) != 0
    if not coarse.any():
        return
    square = np.ones((3, 3), bool)
    coarse = ndimage.binary_dilation(coarse, square, iterations=math.ceil((math.ceil(reach) + 1) / _BLOCK))
    boxes: list[tuple[slice, slice]] = []
    merged = coarse
    while True:
        boxes = ndimage.find_objects(ndimage.label(merged, square)[0])
        covered = np.zeros_like(coarse)
        for box in boxes:
            covered[box] = True
        if (covered == merged).all():
            break
        merged = covered  # boxes that touch become one: a lesion may lie in the bend or the hole of another
    for rows, columns in boxes:
        yield (
            slice(rows.start * _BLOCK, min(rows.stop * _BLOCK, height)),
            slice(columns.start * _BLOCK, min(columns.stop * _BLOCK, width)),
        )


class _Part:
    """The lesions in one rectangle, with numbers of its own."""

    def __init__(self, tumour: Bools, box: tuple[slice, slice], reach: float) -> None:
        from scipy import ndimage  # noqa: PLC0415

        self.box = box
        self.labels, self.count = ndimage.label(_filled(_grown(tumour[box], reach)), np.ones((3, 3), bool))
        self.first = np.full(self.count, tumour.size, np.int64)  # of the pixels in reading order
        self._moments = np.zeros((6, self.count))
        rows = max(1, _BAND // max(1, self.labels.shape[1]))
        for top in range(0, self.labels.shape[0], rows):
            self._measure(top, self.labels[top : top + rows], tumour.shape[1])

    def _measure(self, top: int, labels: Labels, width: int) -> None:
        y, x = np.nonzero(labels)
        own = labels[y, x] - 1
        y += top
        place = (y + self.box[0].start) * width + x + self.box[1].start
        seen = np.full(self.count, np.iinfo(np.int64).max)
        seen[own[::-1]] = place[::-1]  # of several the last one written stays: the first pixel
        np.minimum(self.first, seen, out=self.first)
        for row, weights in enumerate((None, x, y, x * x, y * y, x * y)):
            self._moments[row] += np.bincount(own, weights, self.count)

    def sizes(self) -> tuple[Floats, Floats]:
        """Return areas and major axes in pixels."""
        n, x, y, xx, yy, xy = self._moments
        across, along, both = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2, xy / n - (x / n) * (y / n)
        half = (across + along) / 2
        greatest = half + np.sqrt(np.maximum(((across - along) / 2) ** 2 + both**2, 0))
        return n, 4 * np.sqrt(np.maximum(greatest, 0))


def _grown(tumour: Bools, reach: float) -> Bools:
    """Return what is nearer than ``reach`` pixels to tumour: a disk's rows, each as wide as it is there."""
    height = tumour.shape[0]
    most = math.ceil(reach) - 1  # dx² + dy² < reach²: strictly
    widths = {dy: math.ceil(math.sqrt(reach**2 - dy**2)) - 1 for dy in range(min(most, height - 1) + 1)}
    wide, reached = tumour.copy(), 0
    grown = np.zeros_like(tumour)
    for dy in sorted(widths, reverse=True):  # from the disk's narrow ends to its middle
        while reached < widths[dy]:
            reached += 1
            wide[:, reached:] |= tumour[:, :-reached]
            wide[:, :-reached] |= tumour[:, reached:]
        grown[dy:] |= wide[: height - dy]
        grown[: height - dy] |= wide[dy:]
    return grown


def _filled(grown: Bools) -> Bools:
    """Fill holes: background that no path over pixels' sides joins to the edge."""
    from scipy import ndimage  # noqa: PLC0415

    background, count = ndimage.label(~grown)
    outside = np.zeros(count + 1, bool)
    outside[0] = True
    for edge in (background[0], background[-1], background[:, 0], background[:, -1]):
        outside[edge] = True
    if outside.all():
        return grown
    filled: Bools = grown | ~outside[background]
    return filled
