"""Patches of slides as a dataset for torch's loaders: pixels and labels, each by its number alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers
from fastwsi.data.class_maps import TUMOUR_GROUPS, Labels, labels_of
from fastwsi.data.sampling import BalancedPatchSampler, Draw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastwsi.data.records import SlideRecord
    from fastwsi.slides import Slide
    from fastwsi.slides.backend import Pixels

_ATTEMPTS = 32  # at a patch whose label is that of its stream


@dataclass(frozen=True)
class PatchSample:
    """One patch.

    Attributes
    ----------
    pixels : uint8 array, shape (size, size, 3)
    label : int
        1 where any pixel of the centre is annotated as tumour, else 0.
    share : float
        The part of the centre that is: a soft label.
    mask : uint8 array or None
        Labels of the whole patch's pixels, where they are asked for.
    slide : str
    xy : (int, int)
        The patch's corner at level 0.
    index : int
    stream : str
    """

    pixels: Pixels
    label: int
    share: float
    mask: Pixels | None
    slide: str
    xy: tuple[int, int]
    index: int
    stream: str


class PatchDataset:
    """Patches as a sampler draws them; sample i is the same for any number of workers.

    A patch's label is that of its centre, at level 0 exactly as annotated: drawn again, up to 32 times, until
    it is what its stream promises (near a tumour's edge a cell is of one class and a patch in it of the
    other). Each process opens each slide once.

    Parameters
    ----------
    records : sequence of SlideRecord
        Those of the sampler's maps, in their order.
    sampler : BalancedPatchSampler
    size : int
        Side of a patch in pixels.
    centre : int
        Side of the part that the label is of; Liu's is 128 of 299.
    mpp : float, optional
        Micrometres per pixel; default: level 0 as it is.
    length : int
        Samples in an epoch; numbers beyond are other samples, so that epochs follow each other.
    mask : bool
        Whether samples carry labels for all their pixels.
    tumour : tuple of str
        Groups of annotations that are tumour.
    open_options : dict, optional
        For `fastwsi.open_slide`.
    """

    def __init__(
        self,
        records: Sequence[SlideRecord],
        sampler: BalancedPatchSampler,
        size: int = 299,
        centre: int = 128,
        *,
        mpp: float | None = None,
        length: int = 100_000,
        mask: bool = False,
        tumour: tuple[str, ...] = TUMOUR_GROUPS,
        open_options: dict[str, Any] | None = None,
    ) -> None:
        if len(records) != len(sampler.maps):
            raise ValueError(f"records: got {len(records)}, expected {len(sampler.maps)}, one for each map")
        self.records, self.sampler = tuple(records), sampler
        self.size, self.centre = _numbers.whole(size, "size", 1), _numbers.whole(centre, "centre", 1)
        if self.centre > self.size:
            raise ValueError(f"centre: got {centre}, expected at most the size, {size}")
        self.mpp, self.mask, self.tumour = mpp, mask, tumour
        self._length = _numbers.whole(length, "length", 1)
        # One decoding thread: loaders have workers.
        self._options = {"threads": 1, "cache": "16MiB", **(open_options or {})}
        self._open: dict[int, tuple[Slide, Labels]] = {}

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> PatchSample:
        for attempt in range(_ATTEMPTS):
            draw = self.sampler.draw(index, attempt)
            sample = self._sample(draw)
            if sample is not None:
                return sample
        sample = self._sample(self.sampler.draw(index), insist=False)
        assert sample is not None
        return sample

    def _sample(self, draw: Draw, *, insist: bool = True) -> PatchSample | None:
        slide, labels = self._opened(draw.slide)
        scale = (1.0, 1.0) if self.mpp is None else slide.scale(self.mpp)
        around = self._corner(draw.centre, self.centre, scale)
        centre = labels.window(around, (self.centre, self.centre), scale)
        share = float(centre.mean())
        if insist and draw.stream in ("normal", "tumor") and (share > 0) != (draw.stream == "tumor"):
            return None
        xy = self._corner(draw.centre, self.size, scale)
        pixels = slide.read(xy, self.size, mpp=self.mpp)
        mask = labels.window(xy, (self.size, self.size), scale) if self.mask else None
        name = self.records[draw.slide].name
        return PatchSample(pixels, int(share > 0), share, mask, name, xy, draw.index, draw.stream)

    def _corner(self, centre: tuple[float, float], side: int, scale: tuple[float, float]) -> tuple[int, int]:
        x, y = (int(np.floor(c - side * s / 2)) for c, s in zip(centre, scale, strict=True))
        return x, y

    def _opened(self, index: int) -> tuple[Slide, Labels]:
        if index not in self._open:
            record = self.records[index]
            slide = record.open(**self._options)
            self._open[index] = slide, labels_of(record, slide, self.tumour)
        return self._open[index]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}
