"""Patches of slides as a dataset for torch's loaders: pixels and labels, each by its number alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers
from fastwsi.augment import generator
from fastwsi.data.class_maps import TUMOUR_GROUPS, Labels, labels_of
from fastwsi.data.sampling import BalancedPatchSampler, Draw
from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastwsi.data.records import SlideRecord
    from fastwsi.slides import Slide
    from fastwsi.slides.backend import Pixels
    from fastwsi.stain import HsdNormalizer

logger = logging.getLogger(__name__)

_MOST_OPEN = 64  # slides, in each process
_CACHES = 512 << 20  # bytes of decoded tiles that they may keep together
_CACHE = 32 << 20  # and each: what openslide keeps
_ATTEMPTS = 32  # at a patch whose label is that of its stream


@dataclass(frozen=True)
class PatchSample:
    """One patch.

    Attributes
    ----------
    pixels : uint8 array, shape (size, size, 3)
        Or (resolutions, size, size, 3) where several are read about one middle.
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
    other). So are patches that cannot be read, and a warning names the slide once; a slide of which no
    attempt can be read is an error. Each process opens each slide once.

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
    context : tuple of float
        Further resolutions, in micrometres per pixel, of patches about the same middle.
    stains : mapping of HsdNormalizer, optional
        By slides' names: pixels come in the reference's colours.
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
        context: tuple[float, ...] = (),
        stains: Mapping[str, HsdNormalizer] | None = None,
        open_options: dict[str, Any] | None = None,
    ) -> None:
        if len(records) != len(sampler.maps):
            raise ValueError(f"records: got {len(records)}, expected {len(sampler.maps)}, one for each map")
        self.records, self.sampler = tuple(records), sampler
        self.size, self.centre = _numbers.whole(size, "size", 1), _numbers.whole(centre, "centre", 1)
        if self.centre > self.size:
            raise ValueError(f"centre: got {centre}, expected at most the size, {size}")
        self.mpp, self.mask, self.tumour = mpp, mask, tumour
        self.context, self.stains = tuple(context), stains
        self._length = _numbers.whole(length, "length", 1)
        # One decoding thread: loaders have workers.
        cache = min(_CACHE, _CACHES // min(len(self.records), _MOST_OPEN))
        self._options = {"threads": 1, "cache": cache, **(open_options or {})}
        self._open: dict[int, tuple[Slide, Labels]] = {}
        self._drawn: dict[int, Labels] = {}  # which take longer to read than slides to open
        self._warned: set[int] = set()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> PatchSample:
        return self.sample(index)

    def sample(self, index: int, out: Pixels | None = None) -> PatchSample:
        """Return a sample; ``out`` is memory for its pixels, where there is some already."""
        error = None
        for attempt in range(_ATTEMPTS + 1):
            try:
                draw = self.sampler.draw(index, attempt % _ATTEMPTS)
                sample = self._sample(draw if attempt < _ATTEMPTS else self._within(draw), out)
            except SlideError as found:
                error = found  # of that place alone, it may be
                self._warn(draw.slide, found)
                continue
            if sample is not None:
                return sample
        path = self.records[draw.slide].path
        if error is not None:
            raise SlideError(path, f"no patch of the slide can be read: {error.reason}") from error
        raise SlideError(path, f"no patch of the stream {draw.stream!r}: its map and its labels disagree")

    def _warn(self, slide: int, error: SlideError) -> None:
        """Tell of a slide that makes trouble, once in each process."""
        if slide not in self._warned:
            self._warned.add(slide)
            logger.warning("%s; other patches of the slide are tried instead", error)

    def _within(self, draw: Draw) -> Draw:
        """Return a draw about one of its cell's annotated pixels: what is tiny, draws all but miss."""
        _, labels = self._opened(draw.slide)
        own = self.sampler.maps[draw.slide]
        corner = tuple(int(c // step * step) for c, step in zip(draw.centre, own.scale, strict=True))
        width, height = (int(step) + 2 for step in own.scale)
        places = np.argwhere(labels.window((corner[0], corner[1]), (width, height)))
        if not len(places):
            return draw
        row, column = places[generator(self.sampler.seed, draw.index, _ATTEMPTS).integers(len(places))]
        return replace(draw, centre=(corner[0] + column + 0.5, corner[1] + row + 0.5))

    def _sample(self, draw: Draw, out: Pixels | None) -> PatchSample | None:
        slide, labels = self._opened(draw.slide)
        scale = (1.0, 1.0) if self.mpp is None else slide.scale(self.mpp)
        around = self._corner(draw.centre, self.centre, scale)
        centre = labels.window(around, (self.centre, self.centre), scale)
        share = np.count_nonzero(centre) / centre.size
        if draw.stream in ("normal", "tumor") and (share > 0) != (draw.stream == "tumor"):
            return None
        if share == 0 and draw.stream != "normal" and not self.records[draw.slide].exhaustive:
            return None  # what is not annotated there is not known to be normal
        xy = self._corner(draw.centre, self.size, scale)
        name = self.records[draw.slide].name
        pixels = self._pixels(slide, draw.centre, name, out)
        mask = labels.window(xy, (self.size, self.size), scale) if self.mask else None
        return PatchSample(pixels, int(share > 0), share, mask, name, xy, draw.index, draw.stream)

    def _pixels(self, slide: Slide, centre: tuple[float, float], name: str, out: Pixels | None) -> Pixels:
        shape = (self.size, self.size, 3)
        if out is None or self.stains is not None:
            pixels = np.empty((1 + len(self.context), *shape) if self.context else shape, np.uint8)
        else:
            pixels = out
        for mpp, target in zip((self.mpp, *self.context), pixels.reshape(-1, *shape), strict=True):
            scale = (1.0, 1.0) if mpp is None else slide.scale(mpp)
            slide.rows(mpp=mpp, xy=self._corner(centre, self.size, scale), size=self.size).fill(0, target)
        return pixels if self.stains is None else self.stains[name](pixels, out=out)

    def _corner(self, centre: tuple[float, float], side: int, scale: tuple[float, float]) -> tuple[int, int]:
        x, y = (int(np.floor(c - side * s / 2)) for c, s in zip(centre, scale, strict=True))
        return x, y

    def _opened(self, index: int) -> tuple[Slide, Labels]:
        found = self._open.pop(index, None)
        if found is None:
            record = self.records[index]
            slide = record.open(**self._options)
            labels = self._drawn.get(index) or labels_of(record, slide, self.tumour)
            if labels.of_shapes:  # masks are files, which cannot all stay open
                self._drawn[index] = labels
            found = slide, labels
            while len(self._open) >= _MOST_OPEN:
                oldest = next(iter(self._open))
                self._open.pop(oldest)[0].close()
        self._open[index] = found  # the last one used comes last
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_drawn": {}}
