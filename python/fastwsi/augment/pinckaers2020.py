"""The augmentation of Pinckaers et al. 2020 for whole biopsies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastwsi.augment.draws import Range, check_at_least, check_ranges, check_whole, uniform
from fastwsi.augment.elastic import elastic_field
from fastwsi.augment.view import AugmentedView
from fastwsi.augment.whole_slides import SlidePolicy, inverse_map, source_size
from fastwsi.kernels import PatchParams


@dataclass(frozen=True)
class PinckaersAugment(SlidePolicy):
    """Pinckaers et al. 2020: elastic deformation, LCh colours, flips, rotation on white, random crop.

    Attributes
    ----------
    size : int
        Pixels along each side of the view.
    flip : bool
        Mirror every other biopsy, left to right; with the rotation that covers up and down as well.
    rotation : (low, high)
        Degrees.
    crop : bool
        Where the biopsy is larger than ``size``, turn about a random point of it and show what lies around
        that; else about its middle.
    elastic_alpha, elastic_sigma, elastic_spacing : float
        The field of displacements, all in pixels: amplitude of the random numbers before they are smoothed,
        the smoothing, and the distance of the nodes. The paper's code draws on a grid of 1/16; the unit of
        its sigma is not printed, and read as pixels of the full image.
    lightness, chroma, hue : (low, high)
        Factors of L, C and h in CIE LCh.
    fill : int
        Value outside the biopsy.
    mean, std : three floats
        The data set's own belong here.

    Examples
    --------
    >>> biopsy = np.full((180, 240, 3), 200, np.uint8)
    >>> view = fastwsi.augment.PinckaersAugment(size=256).view(biopsy, fastwsi.augment.generator(0, 5))
    >>> view.rows(128, 192).shape
    (64, 256, 3)
    """

    size: int = 16_384
    flip: bool = True
    rotation: Range = (0.0, 359.0)
    crop: bool = True
    elastic_alpha: float = 1000.0
    elastic_sigma: float = 150.0
    elastic_spacing: float = 16.0
    lightness: Range = (0.95, 1.05)
    chroma: Range = (0.95, 1.05)
    hue: Range = (0.95, 1.05)
    fill: int = 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        check_whole(self, 1, "size")
        check_at_least(self, 1, "elastic_spacing")
        check_at_least(self, 0, "elastic_alpha", "elastic_sigma")
        check_ranges(self, "rotation")
        check_ranges(self, "lightness", "chroma", "hue", least=0)

    def view(self, source: Any, generator: np.random.Generator) -> AugmentedView:
        """Draw a view of one biopsy.

        Parameters
        ----------
        source : uint8 array, shape (height, width, 3), or ImageReader
            The biopsy at the resolution that the network sees.
        generator : numpy.random.Generator
            What to draw from.
        """
        mirrored = bool(generator.integers(2))
        angle = uniform(generator, self.rotation)
        place = generator.uniform(-0.5, 0.5, 2)
        factors = tuple(uniform(generator, values) for values in (self.lightness, self.chroma, self.hue))
        given, size = source_size(source), (self.size, self.size)
        room = [max(0, whole - self.size) if self.crop else 0 for whole in given]
        matrix = inverse_map(
            given,
            size,
            angle=angle,
            flip=self.flip and mirrored,
            centre=(float(place[0]) * room[0], float(place[1]) * room[1]),
        )
        field = None
        if self.elastic_alpha > 0:
            field = elastic_field(
                generator,
                size,
                alpha=self.elastic_alpha,
                sigma=self.elastic_sigma,
                spacing=self.elastic_spacing,
            )
        colour = PatchParams(lch_mul=factors)
        return AugmentedView(source, size, matrix, field, colour, self.fill, self.mean, self.std)

    def scaled(self, factor: float) -> PinckaersAugment:
        """Return the same policy for biopsies at another resolution."""
        return replace(
            self,
            size=max(1, round(self.size * factor)),
            # As many nodes per sigma as before give the same field in smaller; where nodes would be less
            # than a pixel apart they are a pixel apart, and fewer of them are averaged.
            elastic_alpha=self.elastic_alpha * factor * min(1.0, self.elastic_spacing * factor),
            elastic_sigma=self.elastic_sigma * factor,
            elastic_spacing=max(1.0, self.elastic_spacing * factor),
        )
