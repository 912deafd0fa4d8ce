"""A slide cut into patches on a grid that begins at (0, 0)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastwsi.slides.backend import Pixels
    from fastwsi.slides.geometry import Pair
    from fastwsi.slides.slide import Slide
    from fastwsi.slides.tissue_mask import TissueMask

Cells = np.ndarray[Any, np.dtype[np.int32]]
Places = np.ndarray[Any, np.dtype[np.int64]]

_AT_ONCE = 1 << 18  # cells whose tissue is looked up together: what that takes is many times the cells' own


@dataclass(frozen=True)
class Patch:
    """One patch of a grid.

    Attributes
    ----------
    xy : (int, int)
        Its left upper corner at level 0, rounded down; may lie outside the slide.
    cell : (int, int)
        (column, row) of the grid.
    """

    xy: Pair
    cell: Pair


class PatchGrid:
    """The patches of a slide: where they lie, which of them hold tissue, and their pixels.

    Cells lie side by side from (0, 0) on, ``stride`` pixels apart, and cover the whole slide; the middle
    of each is the middle of a patch, to half a pixel. `scale_to_level_0` is the scale of a heatmap of a value
    for each cell.

    Parameters
    ----------
    slide : Slide
    size : int
        Side of a patch in pixels at ``mpp``.
    stride : int, optional
        Side of a cell. Default: ``size``.
    mpp : float, optional
        Micrometres per pixel; default: level 0 as it is.
    tissue : TissueMask, optional
        Only cells of which it covers ``min_tissue`` are patches. Default: all cells.
    min_tissue : float
        From 0 to 1. 0 takes every cell that holds any tissue.

    Attributes
    ----------
    cells : int32 array, shape (n, 2)
        (column, row) of each patch, row by row: eight bytes for each, however large the slide.
    columns, rows : int
        Of all cells, with tissue or without.

    Examples
    --------
    >>> slide = fastwsi.open_slide(np.full((1000, 1300, 3), 200, np.uint8), mpp=0.25)
    >>> grid = fastwsi.slides.PatchGrid(slide, 299, 128)
    >>> grid.columns, grid.rows, len(grid), grid[0].xy, grid.read(0).shape
    (11, 8, 88, (-86, -86), (299, 299, 3))
    """

    def __init__(
        self,
        slide: Slide,
        size: int,
        stride: int | None = None,
        mpp: float | None = None,
        tissue: TissueMask | None = None,
        *,
        min_tissue: float = 0.0,
    ) -> None:
        self.slide, self.mpp = slide, mpp
        self.size = _numbers.whole(size, "size", 1)
        self.stride = self.size if stride is None else _numbers.whole(stride, "stride", 1)
        least = _numbers.finite(min_tissue, "min_tissue", 0)
        if tissue is not None and not hasattr(tissue, "fractions"):
            raise TypeError(f"tissue: got {type(tissue).__name__}, expected a TissueMask; see tissue_mask")
        if least > 1:
            raise ValueError(f"min_tissue: got {min_tissue!r}, expected 0 to 1")
        self.lattice = slide.lattice(mpp)
        across, down = self.lattice.scale
        self.scale_to_level_0 = across * self.stride, down * self.stride
        width, height = slide.dimensions
        self.columns = max(1, math.ceil(width / self.scale_to_level_0[0] - 1e-9))
        self.rows = max(1, math.ceil(height / self.scale_to_level_0[1] - 1e-9))
        self.cells: Cells = np.concatenate([self._with_tissue(part, tissue, least) for part in self._parts()])

    def places(self, patches: Any = slice(None)) -> Places:
        """Return where patches begin: (n, 2), x and y in pixels of the grid's resolution.

        Whole ones, so that patches which overlap have their pixels in common.

        Parameters
        ----------
        patches : int array or slice, optional
            Their numbers. Default: all.
        """
        found: Places = self.cells[patches].astype(np.int64)
        found *= self.stride
        found -= (self.size - self.stride + 1) // 2
        return found

    def _parts(self) -> Iterator[Cells]:
        """Yield all cells, row by row, a number of whole rows at once."""
        step = max(1, _AT_ONCE // self.columns)
        for top in range(0, self.rows, step):
            row, column = np.indices((min(step, self.rows - top), self.columns), np.int32)
            yield np.stack([column.ravel(), row.ravel() + np.int32(top)], 1)

    def _with_tissue(self, cells: Cells, tissue: TissueMask | None, least: float) -> Cells:
        if tissue is None:
            return cells
        covered = tissue.fractions(cells * self.scale_to_level_0, self.scale_to_level_0)
        return cells[(covered > 0) & (covered >= least)]

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, index: int) -> Patch:
        index = _numbers.whole(index, "index")
        (x, y), (column, row) = self._place(index), self.cells[index].tolist()
        across, down = self.lattice.scale
        return Patch((math.floor(x * across), math.floor(y * down)), (column, row))

    def __iter__(self) -> Iterator[Patch]:
        return (self[i] for i in range(len(self)))

    def read(self, index: int) -> Pixels:
        """Return the pixels of a patch: uint8, (size, size, 3)."""
        return self.lattice.read(self._place(_numbers.whole(index, "index")), self.size)

    def _place(self, index: int) -> Pair:
        x, y = self.places([index])[0].tolist()
        return x, y

    def __repr__(self) -> str:
        mpp = "level 0" if self.mpp is None else f"{self.mpp:g} µm"
        return (
            f"<PatchGrid {len(self)} of {self.columns} x {self.rows} cells, patches of {self.size}, stride "
            f"{self.stride}, at {mpp}>"
        )
