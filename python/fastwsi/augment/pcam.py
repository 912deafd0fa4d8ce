"""The augmentation of the PatchCamelyon study."""

from __future__ import annotations

from dataclasses import dataclass

from fastwsi.augment.draws import Range, check_at_least, check_whole
from fastwsi.augment.patches import PatchPolicy


@dataclass(frozen=True)
class PcamAugment(PatchPolicy):
    """The PatchCamelyon study: flips, quarter turns, and 2 % noise.

    The study does not say what its noise is: read here as the share of pixels that become random colours.

    Attributes
    ----------
    size : (width, height)
        Of the patches.
    jitter : int
        Pixels that the crop may be off the centre.
    orientations : bool
        Flips and rotations by 90, 180 and 270 degrees.
    noise_fraction : float
        Share of the pixels that become random colours.
    noise_sigma : float
        Standard deviation of Gaussian noise, the other reading: 0.02 for 2 %.
    mean, std : three floats
        Floats come out as (x - mean) / std.

    Examples
    --------
    >>> tiles = np.full((5, 96, 96, 3), 128, np.uint8)
    >>> noisy = fastwsi.augment.PcamAugment()(tiles, fastwsi.augment.generator(3))
    >>> noisy.shape, bool(0.01 < (abs(noisy - 128 / 255) > 1e-3).any(axis=1).mean() < 0.03)
    ((5, 3, 96, 96), True)
    """

    size: tuple[int, int] | None = (96, 96)
    jitter: int = 0
    orientations: bool = True
    noise_fraction: float = 0.02
    noise_sigma: float = 0.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        check_whole(self, 0, "jitter")
        check_at_least(self, 0, "noise_fraction", most=1)
        check_at_least(self, 0, "noise_sigma")

    def ranges(self) -> dict[str, Range]:
        """Return what each field of ``PatchParams`` is drawn from."""
        return {
            name: (value, value)
            for name, value in (("noise_fraction", self.noise_fraction), ("noise_sigma", self.noise_sigma))
            if value > 0
        }
