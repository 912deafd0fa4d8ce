"""A slide as rows on demand, the protocol that `fastwsi.Streamed` reads images through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from fastwsi.slides.backend import Pixels
    from fastwsi.slides.geometry import Pair, Sampling


class Sampled(Protocol):
    """What has rows: a `Slide`."""

    def fill_rows(self, sampling: Sampling, first: int, out: Pixels) -> None:
        """Write rows of a sampled rectangle, from its row ``first`` on, into ``out``."""


class SlideRows:
    """A rectangle of a slide at one resolution, read row by row.

    Attributes
    ----------
    height, width : int
        In pixels at that resolution.

    Examples
    --------
    >>> slide = fastwsi.open_slide(np.zeros((100, 80, 3), np.uint8), mpp=0.25)
    >>> source = slide.rows(mpp=0.5)
    >>> source.height, source.width, source.rows(10, 20).shape
    (50, 40, (10, 40, 3))
    """

    def __init__(self, slide: Sampled, sampling: Sampling, size: Pair) -> None:
        self._slide, self._sampling = slide, sampling
        self.width, self.height = size

    def rows(self, top: int, bottom: int) -> Pixels:
        """Return rows [top, bottom): uint8, (bottom - top, width, 3)."""
        out = np.empty((bottom - top, self.width, 3), np.uint8)
        self.fill(top, out)
        return out

    def fill(self, top: int, out: Pixels) -> None:
        """Write rows from ``top`` on into memory that the caller has: uint8, (rows, width, 3)."""
        self._slide.fill_rows(self._sampling, top, out)
