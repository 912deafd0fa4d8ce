"""A policy of one's own: any range for any parameter."""

from __future__ import annotations

from dataclasses import dataclass

from fastwsi.augment.draws import Range, check_ranges, check_whole
from fastwsi.augment.patches import STEPS, PatchPolicy


@dataclass(frozen=True)
class Augment(PatchPolicy):
    """Ranges for every parameter of ``PatchParams``; a step whose range is None is left out.

    Attributes
    ----------
    size : (width, height), optional
        Of the patches; the images' own without it.
    jitter : int
        Pixels that the crop may be off the centre.
    orientations : bool
        Whether patches are turned and flipped, all eight ways alike.
    lightness, chroma, hue_angle : (low, high), optional
        What the three numbers of ``lch_mul`` are drawn from; 1 for those left out.
    brightness_mul, brightness_add, saturation_mul, saturation_add, hue, contrast : (low, high), optional
        What the parameter of this name is drawn from; their meaning is that of ``PatchParams``.
    noise_fraction, noise_sigma : (low, high), optional
        Likewise.
    mean, std : three floats
        Floats come out as (x - mean) / std.

    Examples
    --------
    >>> policy = fastwsi.augment.Augment(size=(224, 224), jitter=16, hue=(-0.05, 0.05), contrast=(0.8, 1.25))
    >>> tiles = np.random.default_rng(0).integers(90, 250, (4, 256, 256, 3), np.uint8)
    >>> policy(tiles, fastwsi.augment.generator(0), dtype="float16").shape
    (4, 3, 224, 224)
    """

    size: tuple[int, int] | None = None
    jitter: int = 0
    orientations: bool = True
    lightness: Range | None = None
    chroma: Range | None = None
    hue_angle: Range | None = None
    brightness_mul: Range | None = None
    brightness_add: Range | None = None
    saturation_mul: Range | None = None
    saturation_add: Range | None = None
    hue: Range | None = None
    contrast: Range | None = None
    noise_fraction: Range | None = None
    noise_sigma: Range | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        check_whole(self, 0, "jitter")
        check_ranges(self, "brightness_add", "hue", optional=True)
        check_ranges(self, "saturation_add", least=-255, most=255, optional=True)
        check_ranges(self, "noise_fraction", least=0, most=1, optional=True)
        never_negative = ("brightness_mul", "saturation_mul", "contrast", "noise_sigma")
        check_ranges(self, *never_negative, "lightness", "chroma", "hue_angle", least=0, optional=True)
        if self.jitter and self.size is None:
            raise ValueError(
                f"jitter: got {self.jitter} without a size, expected (width, height) of the patches"
            )

    def ranges(self) -> dict[str, Range]:
        """Return what each field of ``PatchParams`` is drawn from."""
        return {name: getattr(self, name) for name in STEPS if getattr(self, name) is not None}
