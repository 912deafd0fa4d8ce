"""All pixels of a slide at one resolution, counted from (0, 0) on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastwsi.slides.geometry import Sampling, pair_of, pixels_in

if TYPE_CHECKING:
    from fastwsi.slides.backend import Pixels
    from fastwsi.slides.geometry import Pair
    from fastwsi.slides.rows import Sampled

_NEAR = 1e-3  # a level whose resolution is so near the one wanted is it: its pixels are taken as they are


class Lattice:
    """The pixels of a slide at one resolution; `Slide.lattice` makes it.

    Any part that is read has the same pixels as the same place in a larger part: `Slide.read` places its
    first pixel at a level-0 pixel instead.

    Attributes
    ----------
    size : (int, int)
        The whole slide's width and height, a part of a pixel counted as one.
    scale : (float, float)
        Level-0 pixels that a pixel spans, along x and y: exact, and where a level of the file has nearly the
        resolution, that level's.

    Examples
    --------
    >>> slide = fastwsi.open_slide(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), mpp=0.5)
    >>> half = slide.lattice(1.0)
    >>> half.scale, half.size, half.read((1, 0), 1).tolist()
    ((2.0, 2.0), (2, 2), [[[14, 15, 16]]])
    """

    def __init__(
        self, slide: Sampled, dimensions: Pair, level: int, down: float, scale: tuple[float, float]
    ) -> None:
        self._slide, self._level = slide, level
        across, along = scale[0] / down, scale[1] / down
        # Smaller than what a level's own downsampling is rounded by.
        if max(abs(across - 1), abs(along - 1)) <= _NEAR:
            across = along = 1.0
        self._steps = across, along
        self.scale = across * down, along * down
        width, height = dimensions
        self.size = pixels_in(width / self.scale[0]), pixels_in(height / self.scale[1])

    def read(self, place: tuple[int, int], size: int | tuple[int, int]) -> Pixels:
        """Return pixels from place (x, y) of the lattice on; what lies outside the slide is its fill.

        Returns
        -------
        uint8 array, shape (height, width, 3)
        """
        x, y = pair_of(place, "place")
        width, height = pair_of(size, "size", 0)
        out = np.empty((height, width, 3), np.uint8)
        sampling = Sampling(self._level, x * self._steps[0], y * self._steps[1], self._steps)
        self._slide.fill_rows(sampling, 0, out)
        return out

    def __repr__(self) -> str:
        return f"<Lattice {self.size[0]} x {self.size[1]}, {self.scale[0]:g} level-0 pixels each>"
