"""The augmentation of Liu et al. 2017 for Camelyon16 patches."""

from __future__ import annotations

from dataclasses import dataclass

from fastwsi.augment.draws import Range, check_at_least, check_whole
from fastwsi.augment.patches import PatchPolicy


@dataclass(frozen=True)
class Liu2017Augment(PatchPolicy):
    """Liu et al. 2017: jitter, eight orientations, TensorFlow's brightness, saturation, hue and contrast.

    Attributes
    ----------
    size : (width, height)
        Of the patches.
    jitter : int
        Pixels that the crop may be off the centre. Images must be larger than ``size`` by twice as much.
    orientations : bool
        Four rotations and a flip.
    brightness : float
        Added: from -brightness to brightness, of 1.
    saturation, contrast : float
        Factors from 1 - value to 1 + value.
    hue : float
        Turns added: from -hue to hue.
    mean, std : three floats
        The defaults put patches on [-1, 1].

    Examples
    --------
    >>> tiles = np.random.default_rng(0).integers(90, 250, (2, 315, 315, 3), np.uint8)
    >>> policy = fastwsi.augment.Liu2017Augment()
    >>> batch = policy(tiles, [fastwsi.augment.generator(0, index) for index in (17, 4)])
    >>> batch.shape, bool(abs(batch).max() <= 1)
    ((2, 3, 299, 299), True)
    """

    size: tuple[int, int] | None = (299, 299)
    jitter: int = 8
    orientations: bool = True
    brightness: float = 64 / 255
    saturation: float = 0.25
    hue: float = 0.04
    contrast: float = 0.75
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        check_whole(self, 0, "jitter")
        check_at_least(self, 0, "brightness", "saturation", "hue", "contrast")

    def ranges(self) -> dict[str, Range]:
        """Return what each field of ``PatchParams`` is drawn from."""
        return {
            "brightness_add": (-self.brightness, self.brightness),
            "saturation_mul": (max(0.0, 1 - self.saturation), 1 + self.saturation),
            "hue": (-self.hue, self.hue),
            "contrast": (max(0.0, 1 - self.contrast), 1 + self.contrast),
        }
