"""Places along one axis of a map."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Places [start, stop) along one axis of a map that has ``size`` of them.

    Examples
    --------
    >>> Span(2, 5, 8).length
    3
    """

    start: int
    stop: int
    size: int

    @property
    def length(self) -> int:
        """How many places."""
        return self.stop - self.start

    @property
    def whole(self) -> bool:
        """Whether it is all of the axis."""
        return self.start == 0 and self.stop == self.size


def clip(first: int, end: int, size: int) -> tuple[int, int]:
    """Return what of [first, end) lies in [0, size), empty at the nearer edge where nothing does.

    Examples
    --------
    >>> clip(-3, 4, 9), clip(-3, -1, 9)
    ((0, 4), (0, 0))
    """
    start = min(max(first, 0), size)
    return start, min(max(end, start), size)
