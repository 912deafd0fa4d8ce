"""What the policies for whole slides share: an image in a larger square, turned about its middle."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi.augment import sheet
from fastwsi.augment.view import AugmentedView, ImageReader, Matrix, Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self


def inverse_map(
    source_size: Pair,
    size: Pair,
    *,
    angle: float,
    flip: bool,
    shift: tuple[float, float] = (0.0, 0.0),
    centre: tuple[float, float] = (0.0, 0.0),
) -> Matrix:
    """Return the map from output to source: the source's middle on the output's, then flip, turn and move.

    Parameters
    ----------
    angle : float
        Degrees, counter-clockwise as seen on the screen.
    flip : bool
        Left to right, before the turn.
    shift : (x, y)
        Pixels by which the turned image moves.
    centre : (x, y)
        Pixels of the source by which the point that is turned about lies off its middle.

    Examples
    --------
    >>> inverse_map((100, 50), (100, 50), angle=0, flip=False, shift=(3, 0))
    ((1.0, 0.0, -3.0), (0.0, 1.0, 0.0))
    """
    quarter, rest = divmod(angle % 360, 90)
    if rest == 0:  # exact, so that quarter turns move pixels onto pixels
        cosine, sine = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarter) % 4]
    else:
        cosine, sine = float(np.cos(np.deg2rad(angle))), float(np.sin(np.deg2rad(angle)))
    mirror = -1.0 if flip else 1.0
    # Rows point down: a turn that looks counter-clockwise has its signs exchanged.
    linear = np.array([[mirror * cosine, -mirror * sine], [sine, cosine]])
    middle = (np.array(size) - 1) / 2 + shift
    # Padding is in whole pixels: the source's corner lies on a pixel of the output.
    corner = np.array([(a - b) // 2 for a, b in zip(size, source_size, strict=True)])
    source_middle = (np.array(size) - 1) / 2 - corner + centre
    offset = source_middle - linear @ middle + 0.0
    (a, b), (d, e) = (linear + 0.0).tolist()
    return ((a, b, float(offset[0])), (d, e, float(offset[1])))


class SlidePolicy(sheet.ShowsSamples):
    """Draws a map for one whole slide and shows the slide through it, row by row.

    Subclasses are frozen dataclasses with at least the field ``size``: pixels along each side of the view.
    """

    size: int

    @abstractmethod
    def view(self, source: Any, generator: np.random.Generator) -> AugmentedView:
        """Draw a view of one slide."""

    @abstractmethod
    def scaled(self, factor: float) -> Self:
        """Return the same policy for slides at another resolution: lengths in pixels times ``factor``."""

    def samples(
        self, image: sheet.Pixels | None, sources: Sequence[np.random.Generator], side: int | None
    ) -> list[sheet.Pixels]:
        """Return a thumbnail as it is, and one sample for each generator, all scaled down."""
        length = 224 if side is None else side
        if image is None:
            image = sheet.example_tissue(length * 5 // 8)
        cell = (length, length)
        small = self.scaled(length / self.size)
        matrix = inverse_map((image.shape[1], image.shape[0]), cell, angle=0, flip=False, shift=(0, 0))
        views = [AugmentedView(image, cell, matrix)]
        views += [replace(small.view(image, source), size=cell) for source in sources]
        return [view.rows(0, length) for view in views]


def source_size(source: Any) -> Pair:
    """Return (width, height) of an array or reader.

    Examples
    --------
    >>> source_size(np.zeros((3, 5, 3), np.uint8))
    (5, 3)
    """
    if isinstance(source, ImageReader):
        return source.size
    if not hasattr(source, "shape") or len(source.shape) != 3:
        raise TypeError(
            f"source: got {type(source).__name__}, expected a uint8 array (height, width, 3), or a reader "
            "with size and read(x, y, width, height)"
        )
    return (int(source.shape[1]), int(source.shape[0]))
