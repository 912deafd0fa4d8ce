"""Which patches of a slide are scanned, and in which parts of it they are read."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers
from fastwsi.slides import PatchGrid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastwsi.engine.patch_input import PatchInput
    from fastwsi.slides import Slide, TissueMask
    from fastwsi.slides.lattice import Lattice

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Indices = np.ndarray[Any, np.dtype[np.int32]]
Places = np.ndarray[Any, np.dtype[np.int64]]

_BLOCK_SIDE = 1024  # pixels between the first and the last patch of a block, at most
_BLOCK_BYTES = 32 << 20  # of a block's patches, at most


class ScanPlan:
    """The patches of a slide in blocks, each of which is read at once: patches that overlap share pixels.

    Parameters
    ----------
    slide : Slide
    wanted : PatchInput
    stride : int, optional
        Pixels between patches' middles, which is a heatmap's cell. Default: the side of the middle that a
        score is of.
    tissue : TissueMask, optional
        Only cells that hold some of it are scanned. Default: all.
    min_tissue : float
        The part of a cell that has to be tissue; 0: any.

    Attributes
    ----------
    grid : PatchGrid
        Of the finest resolution.

    Examples
    --------
    >>> from fastwsi.engine import PatchInput
    >>> slide = fastwsi.open_slide(np.full((2000, 3000, 3), 200, np.uint8), mpp=0.25)
    >>> plan = ScanPlan(slide, PatchInput(299, 128))
    >>> blocks = list(plan.blocks())
    >>> len(plan.grid), len(blocks), plan.read(blocks[0]).shape
    (384, 6, (64, 299, 299, 3))
    """

    def __init__(
        self,
        slide: Slide,
        wanted: PatchInput,
        stride: int | None = None,
        tissue: TissueMask | None = None,
        *,
        min_tissue: float = 0.0,
    ) -> None:
        self.wanted = wanted
        self.stride = wanted.centre if stride is None else _numbers.whole(stride, "stride", 1)
        finest, *coarser = wanted.resolutions
        self.grid = PatchGrid(slide, wanted.size, self.stride, finest, tissue, min_tissue=min_tissue)
        self._lattices = [self.grid.lattice, *(slide.lattice(mpp) for mpp in coarser)]
        patch = math.prod(self.wanted.shape)
        # Cells along a block's side.
        self._side = max(1, min(_BLOCK_SIDE // self.stride, math.isqrt(max(1, _BLOCK_BYTES // patch))))
        #: Of the pixels of a block's patches, at most.
        self.block_bytes = self._side**2 * patch

    def blocks(self) -> Iterator[Indices]:
        """Yield blocks, each the numbers of its patches in the grid, from the top left to the bottom right.

        They are made as they are asked for: a list of all would be larger than the grid.
        """
        side, cells = self._side, self.grid.cells
        # Cells lie row by row.
        bands = np.searchsorted(cells[:, 1], np.arange(0, self.grid.rows + side, side, dtype=np.int32))
        for first, last in itertools.pairwise(bands.tolist()):
            column = cells[first:last, 0] // side
            order = np.argsort(column, kind="stable")
            ends = np.flatnonzero(np.diff(column[order])) + 1
            numbers = (first + order).astype(np.int32)
            yield from (block for block in np.split(numbers, ends) if len(block))

    def read(self, block: Indices) -> Pixels:
        """Return the pixels of patches: uint8, (n, *`PatchInput.shape`)."""
        size = self.wanted.size
        out = np.empty((len(block), len(self._lattices), size, size, 3), np.uint8)
        finest = self.grid.places(block)
        for t, lattice in enumerate(self._lattices):
            mine = finest if t == 0 else self._about_middles(finest, lattice)
            first = mine.min(0)
            width, height = (mine.max(0) - first + size).tolist()
            if width * height > 2 * len(block) * size**2:  # few and far between
                for i, (x, y) in enumerate(mine.tolist()):
                    out[i, t] = lattice.read((x, y), size)
                continue
            pixels = lattice.read((int(first[0]), int(first[1])), (width, height))
            for i, (x, y) in enumerate((mine - first).tolist()):
                out[i, t] = pixels[y : y + size, x : x + size]
        return out.reshape(len(block), *self.wanted.shape)

    def _about_middles(self, finest: Places, lattice: Lattice) -> Places:
        """Return where patches of another resolution lie that have the finest ones' middles."""
        size = self.wanted.size
        middles = (finest + size / 2) * self.grid.lattice.scale
        places: Places = np.floor(middles / lattice.scale - size / 2 + 0.5).astype(np.int64)
        return places
