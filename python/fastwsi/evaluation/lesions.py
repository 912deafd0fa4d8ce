"""Lesions of a mask as Camelyon16 counts them: tumour grown together, holes filled, numbered, measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastwsi import _numbers
from fastwsi.evaluation.columns import array_of
from fastwsi.evaluation.results import Result
from fastwsi.evaluation.runs import Runs, filled, grown, numbered, painted, runs_of
from fastwsi.evaluation.sizes import MICRO, size_class

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Labels = np.ndarray[Any, np.dtype[np.int32]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

CAMELYON_MPP = 0.243  # µm per pixel at level 0, which the challenge took for all slides
_GROWTH = 75.0  # µm, five tumour cells, split over both sides
_ITC = 275.0  # µm of a grown lesion: isolated tumour cells are shorter
_DIRECTIONS = 90  # in which a length is looked for: none is missed by more than 0.02 %


@dataclass(frozen=True, repr=False, eq=False)
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
        In µm, of what has grown: 4 √λ₁ of the covariance of its pixels' centres. By it the challenge tells
        what is ITC.
    lengths : float64 array
        In µm, of the tumour before it had grown: the largest distance between corners of its pixels.
    mpp : float
        Micrometres per pixel of the mask.
    downsample : float
        Level-0 pixels per pixel of the mask.
    """

    labels: Labels
    itc: Bools
    areas: Floats
    major_axes: Floats
    lengths: Floats
    mpp: float
    downsample: float

    def __len__(self) -> int:
        return len(self.itc)

    def __str__(self) -> str:
        height, width = self.labels.shape
        return f"{len(self)} lesions, {int(self.itc.sum())} of them ITC, on {width} x {height} pixels"

    @property
    def size_classes(self) -> tuple[str, ...]:
        """Of each "macro" or "micro", by its length, or "itc", by what the challenge takes for that."""
        return tuple(
            "itc" if itc else size_class(max(length, MICRO))
            for itc, length in zip(self.itc, self.lengths, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all but the pixels."""
        return {"mpp": self.mpp, "downsample": self.downsample, "lesions": self.rows()}

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each lesion."""
        columns = (self.size_classes, self.lengths.tolist(), self.areas.tolist(), self.major_axes.tolist())
        names = ("size", "length_um", "grown_area_um2", "grown_major_axis_um")
        return [
            {"label": i, **dict(zip(names, values, strict=True))}
            for i, values in enumerate(zip(*columns, strict=True), 1)
        ]


def label_lesions(mask: Any, *, mpp: float = CAMELYON_MPP * 32, downsample: float = 32.0) -> Lesions:
    """Return the lesions of a mask, as Camelyon16's published evaluation counts them.

    Tumour pixels grow by 37.5 µm (what lies closer than 75 µm together is one lesion), holes are filled, and
    pixels that touch at a side or a corner are one lesion. One whose major axis is then below 275 µm is ITC.
    An empty mask has no lesions.

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
    tumour = runs_of(check_mask(mask))
    resolution, down = _positive(mpp, "mpp"), _positive(downsample, "downsample")
    lesions = filled(grown(tumour, _GROWTH / (resolution * 2)))
    region, count = numbered(lesions, corners=True)
    areas, axes = _moments(lesions, region, count)
    return Lesions(
        painted(lesions, region + 1),
        axes < _ITC / resolution,
        areas * resolution**2,
        axes * resolution,
        _lengths(tumour, _region_of(tumour, lesions, region), count) * resolution,
        resolution,
        down,
    )


def check_mask(mask: Any) -> Bools:
    """Return a mask as bool, shape (height, width); refuse what is none.

    Examples
    --------
    >>> check_mask([[0, 255]]).tolist()
    [[False, True]]
    """
    array = array_of(mask, "mask")
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


def _region_of(parts: Runs, whole: Runs, region: Ints) -> Ints:
    """Return the region in which each run lies, of runs that hold them all."""
    far = whole.width + 1
    at = np.searchsorted(whole.row * far + whole.first, parts.row * far + parts.first, side="right") - 1
    return np.asarray(region[at])


def _moments(runs: Runs, region: Ints, count: int) -> tuple[Floats, Floats]:
    """Return areas and major axes in pixels; sums over a run's pixels are whole numbers, and exact."""
    n, a, b, y = runs.lengths, runs.first, runs.last, runs.row
    x = (a + b) * n // 2
    xx = (b * (b + 1) * (2 * b + 1) - (a - 1) * a * (2 * a - 1)) // 6
    sums = np.array([np.bincount(region, part, count) for part in (n, x, y * n, xx, y * y * n, x * y)])
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = sums[1:] / sums[0]
    across, along = mean_xx - mean_x**2, mean_yy - mean_y**2
    half, both = (across + along) / 2, mean_xy - mean_x * mean_y
    greatest = half + np.sqrt(np.maximum(((across - along) / 2) ** 2 + both**2, 0))
    return sums[0], 4 * np.sqrt(np.maximum(greatest, 0))


def _lengths(runs: Runs, region: Ints, count: int) -> Floats:
    """Return the largest distance between corners of each region's pixels, in pixels."""
    if not count:
        return np.zeros(0)
    order = np.argsort(region, kind="stable")
    starts = np.searchsorted(region[order], np.arange(count))
    left, right, top = (each[order].astype(np.float64) for each in (runs.first, runs.last + 1, runs.row))
    longest = np.zeros(count)
    for angle in np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS:
        across, down = np.cos(angle), np.sin(angle)  # down >= 0: bottom corners are further
        near, far = (left, right) if across >= 0 else (right, left)
        low = np.minimum.reduceat(near * across + top * down, starts)
        high = np.maximum.reduceat(far * across + (top + 1) * down, starts)
        np.maximum(longest, high - low, out=longest)
    return longest
