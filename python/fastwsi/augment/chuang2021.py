"""The augmentation of Chuang et al. 2021 for whole slides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastwsi.augment.draws import Range, check_at_least, check_ranges, check_whole, uniform
from fastwsi.augment.view import AugmentedView
from fastwsi.augment.whole_slides import SlidePolicy, inverse_map, source_size
from fastwsi.kernels import PatchParams


@dataclass(frozen=True)
class ChuangAugment(SlidePolicy):
    """Chuang et al. 2021: a slide padded with white, flipped, turned, moved and varied in colour.

    Attributes
    ----------
    size : int
        Pixels along each side of the padded slide.
    flip : bool
        Mirror every other slide, left to right; with the rotation that covers up and down as well.
    rotation : (low, high)
        Degrees.
    translation : float
        Pixels that the slide moves at most, along x and along y.
    contrast, brightness : (low, high)
        Factors; contrast comes first, about the mean of the padded slide.
    hue, saturation : float
        Largest change, on the scale 0 to 255, hue to either side (255 is a full turn), saturation added.
    fill : int
        Value of the padding.
    mean, std : three floats
        ImageNet's by default.

    Examples
    --------
    >>> slide = np.full((180, 240, 3), 200, np.uint8)
    >>> policy = fastwsi.augment.ChuangAugment(size=256, translation=6)
    >>> view = policy.view(slide, fastwsi.augment.generator(1, 0, 12))
    >>> view.rows(0, 64, dtype="float32", layout="CHW").shape
    (3, 64, 256)
    """

    size: int = 21_500
    flip: bool = True
    rotation: Range = (0.0, 360.0)
    translation: float = 500.0
    contrast: Range = (0.5, 1.5)
    brightness: Range = (0.65, 1.35)
    hue: float = 32.0
    saturation: float = 32.0
    fill: int = 255
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        check_whole(self, 1, "size")
        check_at_least(self, 0, "translation", "hue")
        check_at_least(self, 0, "saturation", most=255)
        check_ranges(self, "rotation")
        check_ranges(self, "contrast", "brightness", least=0)

    def view(self, source: Any, generator: np.random.Generator) -> AugmentedView:
        """Draw a view of one slide.

        Parameters
        ----------
        source : uint8 array, shape (height, width, 3), or ImageReader
            The slide at the resolution that the network sees. What does not fit into ``size`` is cut off.
        generator : numpy.random.Generator
            What to draw from.
        """
        mirrored = bool(generator.integers(2))
        angle = uniform(generator, self.rotation)
        shift = generator.uniform(-self.translation, self.translation, 2)
        colour = PatchParams(
            contrast_first=True,
            contrast=uniform(generator, self.contrast),
            brightness_mul=uniform(generator, self.brightness),
            hue=uniform(generator, (-self.hue, self.hue)) / 255,
            saturation_add=uniform(generator, (-self.saturation, self.saturation)),
        )
        size = (self.size, self.size)
        matrix = inverse_map(
            source_size(source),
            size,
            angle=angle,
            flip=self.flip and mirrored,
            shift=(float(shift[0]), float(shift[1])),
        )
        return AugmentedView(source, size, matrix, None, colour, self.fill, self.mean, self.std)

    def scaled(self, factor: float) -> ChuangAugment:
        """Return the same policy for slides at another resolution."""
        return replace(self, size=max(1, round(self.size * factor)), translation=self.translation * factor)
