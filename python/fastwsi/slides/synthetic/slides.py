"""Making a synthetic slide: everything about it is drawn from its seed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers
from fastwsi.slides import resolution
from fastwsi.slides.annotations import Annotation, Annotations
from fastwsi.slides.geometry import pair_of
from fastwsi.slides.synthetic.anatomy import LesionSize, anatomy
from fastwsi.slides.synthetic.artefacts import Artefacts, artefacts
from fastwsi.slides.synthetic.painting import Palette, SyntheticSlide, palette
from fastwsi.slides.synthetic.staining import staining

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES: tuple[LesionSize, ...] = ("macro", "micro", "itc")
_LEAST = 256  # pixels: less holds no node


def synthetic_slide(
    seed: int,
    *,
    size: int | tuple[int, int] = (4096, 3072),
    mpp: float = 0.5,
    lesions: Sequence[str] = (),
    wrong: bool = True,
) -> SyntheticSlide:
    """Make a slide of a lymph node that looks as if it were stained with haematoxylin and eosin.

    It has a capsule, sinuses, follicles, cords, vessels and fat; where ``lesions`` asks for it, deposits of
    tumour, whose nuclei are larger, paler and more irregular than a lymph node's own and have nucleoli; and a
    stain and a scanner of its own. It is painted where it is read, a source of rows for `write_slide` and
    `fastwsi.Streamed`. A drawing, to develop and test with: nothing learnt from it says anything of patients.

    Parameters
    ----------
    seed : int
        The same seed and arguments give the same pixels.
    size : int or (width, height)
        In pixels, at least 256 each.
    mpp : float
        Micrometres per pixel: 0.2 to 2.
    lesions : sequence of str
        "macro" (over 2 mm), "micro" and "itc" (under 0.2 mm), one for each deposit wanted. Those for which
        the node has no room are left out: see ``slide.anatomy.lesions``.
    wrong : bool
        Whether folds, pen, air bubbles, dust and parts out of focus may occur.

    Examples
    --------
    >>> slide = fastwsi.slides.synthetic_slide(7, size=512, mpp=1.0, lesions=["itc"])
    >>> slide.rows(0, 64).shape, fastwsi.slides.lesions_of(slide).groups
    ((64, 512, 3), ('_0',))
    """
    whole = _numbers.whole(seed, "seed", 0)
    width, height = check_slide(size, mpp)
    wanted: list[LesionSize] = []
    for lesion in lesions:
        if lesion not in SIZES:
            raise ValueError(f"lesions: got {lesion!r}, expected macro, micro or itc")
        wanted.append(lesion)
    rng = np.random.default_rng([whole, 1])
    plan = anatomy((width * mpp, height * mpp), tuple(wanted), rng)
    # Of their own generator: the same anatomy with and without.
    other = np.random.default_rng([whole, 2])
    stained = staining(other)
    mistakes = artefacts(plan.classes, other) if wrong else Artefacts()
    return SyntheticSlide((width, height), mpp, plan, stained, mistakes, _palette(mpp), whole)


def check_slide(size: int | tuple[int, int], mpp: float) -> tuple[int, int]:
    """Return a synthetic slide's size as a pair; ValueError where it cannot be drawn so."""
    pair = pair_of(size, "size", _LEAST)
    resolution.given(mpp)
    if not 0.2 <= mpp <= 2:
        raise ValueError(f"mpp: got {mpp!r}, expected 0.2 to 2: coarser, nuclei are no more than dots")
    return pair


def lesions_of(slide: SyntheticSlide) -> Annotations:
    """Return a slide's deposits as annotations, exactly; the group is Camelyon16's "_0"."""
    shapes: list[Any] = [
        Annotation("polygon", lesion.outline / slide.mpp, "_0", f"{lesion.size} {i}", (), "#F4FA58")
        for i, lesion in enumerate(slide.anatomy.lesions)
    ]
    return Annotations(tuple(shapes), {"_0": "#F4FA58"} if shapes else {})


@lru_cache(maxsize=4)
def _palette(mpp: float) -> Palette:
    """Return drawings that all slides of a resolution share; each slide picks its own from them."""
    return palette(mpp)
