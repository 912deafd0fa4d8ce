"""Contact sheets: grids of samples that show what a policy does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi._png import write_png
from fastwsi.augment.draws import generator

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

_GAP = 4  # white pixels between samples
# Optical density of one unit of haematoxylin and of eosin (Ruifrok and Johnston 2001).
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


class ShowsSamples(ABC):
    """What lets a person look at a policy."""

    @abstractmethod
    def samples(
        self, image: Pixels | None, sources: Sequence[np.random.Generator], side: int | None
    ) -> list[Pixels]:
        """Return an image as it is, and one sample for each generator."""

    def contact_sheet(
        self,
        path: str | os.PathLike[str] | None = None,
        image: Pixels | None = None,
        *,
        rows: int = 4,
        columns: int = 6,
        side: int | None = None,
        seed: int = 0,
    ) -> Pixels:
        """Draw a grid of samples for a person to look at; the first one is the image as it is.

        Parameters
        ----------
        path : path, optional
            PNG file to write.
        image : uint8 array, shape (height, width, 3), optional
            What to vary: a tile, or a thumbnail of a slide for the policies of whole slides. By default a
            drawn picture with the colours of H&E.
        rows, columns : int
            Of the grid.
        side : int, optional
            Pixels along each side of a sample: patches are cut to it, slides scaled down. By default patches
            come at their own size, slides at 224.
        seed : int
            What the samples are drawn from.

        Returns
        -------
        uint8 array, shape (grid height, grid width, 3)

        Examples
        --------
        >>> fastwsi.augment.PcamAugment().contact_sheet(rows=2, columns=3).shape
        (204, 304, 3)
        """
        if min(rows, columns) < 1:
            raise ValueError(f"rows and columns: got {rows} and {columns}, expected at least 1")
        sources = [generator(seed, cell) for cell in range(rows * columns - 1)]
        return draw(self.samples(image, sources, side), columns, path)


def cut_to(cells: Sequence[Pixels], side: int | None) -> list[Pixels]:
    """Return the middles of pictures, squares of at most ``side`` pixels.

    Examples
    --------
    >>> cut_to([np.zeros((10, 20, 3), np.uint8)], 8)[0].shape
    (8, 8, 3)
    """
    if side is None:
        return list(cells)
    cut = []
    for cell in cells:
        top, left = (max(0, (length - side) // 2) for length in cell.shape[:2])
        cut.append(cell[top : top + side, left : left + side])
    return cut


def draw(cells: Sequence[Pixels], columns: int, path: str | os.PathLike[str] | None = None) -> Pixels:
    """Lay pictures of any sizes out in rows, on white; write a PNG file where a path is given.

    Examples
    --------
    >>> draw([np.zeros((10, 20, 3), np.uint8)] * 3, columns=2).shape
    (32, 52, 3)
    """
    height, width = (max(cell.shape[axis] for cell in cells) for axis in range(2))
    rows = -(-len(cells) // columns)
    sheet = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        top, left = (
            _GAP + k * (side + _GAP) for k, side in zip(divmod(i, columns), (height, width), strict=True)
        )
        sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    if path is not None:
        write_png(Path(path), sheet)
    return sheet


def example_tissue(side: int, seed: int = 0) -> Pixels:
    """Draw a square with the colours of H&E: stroma in waves, and glands, rings of dark nuclei about a lumen.

    Examples
    --------
    >>> example_tissue(64).shape
    (64, 64, 3)
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side].astype(np.float64)
    eosin = 0.35 + 0.12 * np.sin(x / 23 + 3 * np.sin(y / 61)) + 0.08 * np.sin(y / 9 + x / 31)
    haematoxylin = np.full((side, side), 0.08)
    for centre in rng.uniform(0, side, (max(1, side * side // 9000), 2)):
        lumen = np.clip((24 - np.hypot(x - centre[0], y - centre[1])) / 5, 0, 1)
        eosin, haematoxylin = eosin * (1 - lumen), haematoxylin * (1 - lumen)
        for _ in range(32):
            _add_nucleus(haematoxylin, rng, centre, distance=rng.normal(34, 5))
    for centre in rng.uniform(0, side, (side * side // 900, 2)):
        _add_nucleus(haematoxylin, rng, centre, distance=0.0)
    density = np.stack([haematoxylin, eosin], -1) @ _STAINS
    light = 245 * np.exp(-density) + rng.normal(0, 2, density.shape)
    return np.asarray(np.clip(np.rint(light), 0, 255), np.uint8)


def _add_nucleus(stain: Any, rng: np.random.Generator, centre: Any, distance: float) -> None:
    """Draw an ellipse of a few pixels at a distance from a centre, in a random direction."""
    direction, turn = rng.uniform(0, 2 * np.pi, 2)
    cx, cy = centre[0] + distance * np.cos(direction), centre[1] + distance * np.sin(direction)
    left, top = max(0, int(cx) - 7), max(0, int(cy) - 7)
    window = stain[top : max(0, int(cy) + 8), left : max(0, int(cx) + 8)]
    y, x = np.mgrid[: window.shape[0], : window.shape[1]]
    u, v = x + left - cx, y + top - cy
    long, short = rng.uniform(3, 5), rng.uniform(2, 3.5)
    along, across = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    inside = np.clip(2.5 - 2 * np.hypot(along / long, across / short), 0, 1)
    np.maximum(window, inside * rng.uniform(0.7, 1.3), out=window)
