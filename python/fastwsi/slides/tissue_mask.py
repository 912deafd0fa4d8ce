"""A mask over a slide: how much of any rectangle it covers, at the same cost for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi._png import write_png
from fastwsi.slides.geometry import pair_of

if TYPE_CHECKING:
    from fastwsi.slides.backend import Pixels
    from fastwsi.slides.slide import Slide

Mask = np.ndarray[Any, np.dtype[np.bool_]]
_OUTLINE = (0, 140, 60)
_SHADE = 0.45  # how much is left of what is no tissue, in a preview


class TissueMask:
    """Where a slide holds tissue.

    Attributes
    ----------
    mask : bool array, shape (height, width)
    scale : (float, float)
        Level-0 pixels that one of the mask's spans, along x and y; exact.
    remark : str
        What there is to say of it: why it is empty.
    """

    def __init__(
        self, mask: Mask, scale: tuple[float, float], mpp: tuple[float, float] | None, remark: str = ""
    ) -> None:
        self.mask, self.scale, self.remark = mask, scale, remark
        self._mpp = mpp
        # Sums over all that lies above and left: those of a rectangle are four of them.
        sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
        np.cumsum(np.cumsum(mask, 0, dtype=np.int64), 1, out=sums[1:, 1:])
        self._sums = sums

    @classmethod
    def of(cls, slide: Slide, mask: Mask) -> TissueMask:
        """Lay a mask of the whole slide over it, whatever its resolution."""
        width, height = slide.dimensions
        scale = width / mask.shape[1], height / mask.shape[0]
        return cls(np.asarray(mask, bool), scale, slide.mpp_xy if slide.has_mpp else None)

    def with_remark(self, remark: str) -> TissueMask:
        """Return the same with something said of it."""
        return TissueMask(self.mask, self.scale, self._mpp, remark)

    @property
    def found(self) -> bool:
        """Whether there is any tissue."""
        return bool(self._sums[-1, -1])

    @property
    def area_mm2(self) -> float:
        """Square millimetres of tissue; NaN where the slide's resolution is unknown."""
        if self._mpp is None:
            return float("nan")
        side_x, side_y = self.scale[0] * self._mpp[0], self.scale[1] * self._mpp[1]
        return float(self._sums[-1, -1]) * side_x * side_y / 1e6

    def fraction(self, xy: tuple[int, int], size: int | tuple[int, int]) -> float:
        """Return the part of a level-0 rectangle that is tissue; parts of the mask's pixels count in part."""
        x, y = pair_of(xy, "xy")
        width, height = pair_of(size, "size", 1)
        return float(self.fractions(np.array([[x, y]]), (width, height))[0])

    def fractions(self, xy: Any, size: tuple[float, float]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the same for many rectangles of one size; ``xy``: (n, 2) corners at level 0."""
        corners = np.asarray(xy, np.float64).reshape(-1, 2)
        left, right = corners[:, 0] / self.scale[0], (corners[:, 0] + size[0]) / self.scale[0]
        top, bottom = corners[:, 1] / self.scale[1], (corners[:, 1] + size[1]) / self.scale[1]
        total = self._upto(right, bottom) - self._upto(left, bottom)
        total -= self._upto(right, top) - self._upto(left, top)
        return np.clip(total / ((right - left) * (bottom - top)), 0, 1)

    def preview(self, slide: Slide, path: str | Path | None = None, size: int = 1024) -> Pixels:
        """Return the slide's thumbnail, what is no tissue darkened, tissue outlined; ``path``: also a PNG."""
        picture = slide.thumbnail(size)
        height, width, _ = picture.shape
        rows = np.minimum(np.arange(height) * self.mask.shape[0] // height, self.mask.shape[0] - 1)
        columns = np.minimum(np.arange(width) * self.mask.shape[1] // width, self.mask.shape[1] - 1)
        inside = self.mask[np.ix_(rows, columns)]
        shown: Pixels = np.where(inside[..., None], picture, (picture * _SHADE).astype(np.uint8))
        edge = np.zeros_like(inside)
        edge[1:] |= inside[1:] != inside[:-1]
        edge[:, 1:] |= inside[:, 1:] != inside[:, :-1]
        shown[edge] = _OUTLINE
        if path is not None:
            write_png(Path(path), shown)
        return shown

    def _upto(self, x: Any, y: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the tissue left of x and above y, both in the mask's pixels, between them linearly."""
        height, width = self.mask.shape
        x, y = np.clip(x, 0, width), np.clip(y, 0, height)
        column, row = np.minimum(x.astype(np.int64), width - 1), np.minimum(y.astype(np.int64), height - 1)
        across, down = x - column, y - row
        sums = self._sums
        upper = sums[row, column] * (1 - across) + sums[row, column + 1] * across
        lower = sums[row + 1, column] * (1 - across) + sums[row + 1, column + 1] * across
        found: np.ndarray[Any, np.dtype[np.float64]] = upper * (1 - down) + lower * down
        return found

    def __repr__(self) -> str:
        height, width = self.mask.shape
        area = "" if self._mpp is None else f", {self.area_mm2:.2f} mm² of tissue"
        return f"<TissueMask {width} x {height}{area}{': ' + self.remark if self.remark else ''}>"
