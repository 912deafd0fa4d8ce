"""Where a piece of work lies: the rows and columns of a map, and what of its inputs it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812

from fastwsi.streaming.spans import clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastwsi.streaming.reach import Reach


@dataclass(frozen=True)
class Slice:
    """Places [start, stop) that an input has, and how many more, before and after, are padding."""

    start: int
    stop: int
    before: int
    after: int

    @property
    def length(self) -> int:
        """How many places, those in padding among them."""
        return self.stop - self.start + self.before + self.after


def slice_of(reach: Reach, start: int, stop: int, size: int) -> Slice:
    """Return what outputs [start, stop) read along an axis of so many places.

    Examples
    --------
    >>> from fastwsi.streaming.reach import Sliding
    >>> slice_of(Sliding(span=7, stride=2, before=3, after=3), 0, 4, 100)
    Slice(start=0, stop=10, before=3, after=0)
    """
    first, end = reach.first(start), reach.end(stop - 1)
    low, high = clip(first, end, size)
    return Slice(low, high, max(0, min(end, 0) - first), max(0, end - max(first, size)))


@dataclass(frozen=True)
class Place:
    """Rows and columns of a stage's map, and the slices of each input that they are computed from.

    ``full`` has the (height, width) of each input, all of it.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    row_slices: tuple[Slice, ...]
    column_slices: tuple[Slice, ...]
    full: tuple[tuple[int, int], ...]


def pads_of(place: Place, position: int) -> tuple[int, int, int, int]:
    """Return the padding of an input as torch orders it: left, right, top, bottom."""
    down, across = place.row_slices[position], place.column_slices[position]
    return across.before, across.after, down.before, down.after


def padded(slab: torch.Tensor, pads: Sequence[int], value: float = 0.0) -> torch.Tensor:
    """Return a slab with padding on its four sides, itself where there is none."""
    if not any(pads):
        return slab
    if slab.shape[2] and slab.shape[3]:
        return F.pad(slab, list(pads), value=value)
    left, right, top, bottom = pads
    height, width = slab.shape[2] + top + bottom, slab.shape[3] + left + right
    return slab.new_full((*slab.shape[:2], height, width), value)


def unpadded(gradient: torch.Tensor, pads: Sequence[int]) -> torch.Tensor:
    """Return the part of a padded slab's gradient that belongs to the slab."""
    left, right, top, bottom = pads
    height, width = gradient.shape[2], gradient.shape[3]
    return gradient[:, :, top : height - bottom, left : width - right]
