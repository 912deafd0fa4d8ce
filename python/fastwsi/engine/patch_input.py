"""What a detector of patches looks at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PatchInput:
    """Patches as a network takes them.

    Attributes
    ----------
    size : int
        Side of a patch in pixels.
    centre : int
        Side of the middle that the score is of.
    mpp : tuple of float
        Resolutions about one middle, in micrometres per pixel, finest first; empty: level 0.

    Examples
    --------
    >>> fastwsi.engine.PatchInput(299, 128).shape, fastwsi.engine.PatchInput(107, 32, (1.0, 4.0)).shape
    ((299, 299, 3), (2, 107, 107, 3))
    """

    size: int
    centre: int
    mpp: tuple[float, ...] = ()

    @property
    def resolutions(self) -> tuple[float | None, ...]:
        """The same, level 0 being None."""
        return self.mpp or (None,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one patch: (size, size, 3), or (resolutions, size, size, 3)."""
        side = (self.size, self.size, 3)
        return (len(self.mpp), *side) if len(self.mpp) > 1 else side
