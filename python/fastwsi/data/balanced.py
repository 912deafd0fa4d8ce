"""From the slides of a data set to a dataset of patches: maps, sampler and, where wanted, stains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi.data.class_maps import class_map, labels_of
from fastwsi.data.patches import PatchDataset
from fastwsi.data.sampling import BalancedPatchSampler
from fastwsi.kernels import HsdMoments, hsd_moments
from fastwsi.kernels.hsd_statistics import median_moments
from fastwsi.slides import PatchGrid, Slide, tissue_mask
from fastwsi.stain import HsdNormalizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.data.records import SlideRecord
    from fastwsi.slides.tissue import Method

_STAIN_TILES, _STAIN_SIDE, _STAIN_MPP = 24, 256, 1.0  # by which a slide's colours are known


def balanced_patches(
    records: Sequence[SlideRecord],
    *,
    tissue: Method = "hsv_otsu",
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> PatchDataset:
    """Return patches of slides: a class, a slide that holds it, a place on it, each alike.

    Parameters
    ----------
    records : sequence of SlideRecord
        Slides on which nothing can be drawn are an error if none is left that holds a class.
    tissue : str
        How tissue is found; see `tissue_mask`.
    seed : int
    progress : callable, optional
        Called with a slide's name, slides done, and slides in all, while maps are made.
    options
        `PatchDataset`'s: ``size``, ``centre``, ``mpp``, ``context``, ``stains`` …
    """
    maps = []
    for done, record in enumerate(records, 1):
        with record.open(threads=1) as slide:
            maps.append(class_map(record, slide, labels_of(record, slide), tissue_mask(slide, tissue)))
        if progress is not None:
            progress(record.name, done, len(records))
    return PatchDataset(records, BalancedPatchSampler(maps, seed=seed), **options)


def median_mpp(records: Sequence[SlideRecord]) -> float | None:
    """Return micrometres per level-0 pixel of slides, the median of those whose resolution is known.

    Examples
    --------
    >>> median_mpp([]) is None
    True
    """
    known = []
    for record in records:
        with record.open(threads=1) as slide:
            if slide.has_mpp:
                known.append(slide.mpp)
    return float(np.median(known)) if known else None


def stain_moments(slide: Slide | SlideRecord, *, seed: int = 0) -> HsdMoments:
    """Return the colours of a slide's tissue, of a few tiles that the seed draws; empty without tissue."""
    if not isinstance(slide, Slide):
        with slide.open(threads=1) as opened:
            return stain_moments(opened, seed=seed)
    grid = PatchGrid(slide, _STAIN_SIDE, mpp=_STAIN_MPP, tissue=tissue_mask(slide))
    chosen = np.random.default_rng(seed).permutation(len(grid))[:_STAIN_TILES]
    tiles = (hsd_moments(grid.read(int(i))) for i in sorted(chosen))
    return sum(tiles, HsdMoments.empty())


def stain_of(slide: Slide | SlideRecord, reference: HsdNormalizer) -> HsdNormalizer:
    """Return what takes a slide's colours to the reference's; one without tissue stays as it is."""
    moments = stain_moments(slide)
    return reference.for_slide(moments if moments.count else reference.reference)


def stain_reference(
    records: Sequence[SlideRecord], *, progress: Callable[[str, int, int], None] | None = None
) -> HsdNormalizer:
    """Return a normaliser whose reference are the medians of slides' colours.

    ``progress``: called with a slide's name, slides done, and slides in all.
    """
    found = []
    for done, record in enumerate(records, 1):
        moments = stain_moments(record)
        if moments.count:
            found.append(moments)
        if progress is not None:
            progress(record.name, done, len(records))
    if not found:
        raise ValueError(f"records: none of {len(records)} slides has tissue, expected one at least")
    return HsdNormalizer(median_moments(found))


def stains_of(records: Sequence[SlideRecord], reference: HsdNormalizer) -> dict[str, HsdNormalizer]:
    """Return by slides' names what takes their colours to the reference's; those without tissue stay."""
    return {record.name: stain_of(record, reference) for record in records}
