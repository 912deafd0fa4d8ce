"""Where a slide holds tissue: glass, pen, and the scanner's black borders told from it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import ndimage

from fastwsi import _numbers
from fastwsi.slides.tissue_colours import dark_borders, grey, otsu, pen_marks, saturation
from fastwsi.slides.tissue_mask import Mask, TissueMask

if TYPE_CHECKING:
    from fastwsi.slides.backend import Pixels
    from fastwsi.slides.slide import Slide

logger = logging.getLogger(__name__)

Method = Literal["hsv_otsu", "otsu", "gray"]
_METHODS = ("hsv_otsu", "otsu", "gray")
_PALEST = 0.05  # saturation: what is paler is glass, whatever Otsu makes of its noise
_BRIGHTEST = 0.92  # likewise of grey values
_LIU = 0.8
_MOST_PIXELS = 1 << 26


def tissue_mask(
    slide: Slide,
    method: Method = "hsv_otsu",
    *,
    mpp: float = 8.0,
    closing: float | None = None,
    min_area: float | None = None,
    artefacts: bool = False,
    mask: Any = None,
) -> TissueMask:
    """Find the tissue of a slide.

    Parameters
    ----------
    slide : Slide
        With a known resolution.
    method : str
        "hsv_otsu": saturation above Otsu's threshold. "otsu": grey values below it, as PFA-ScanNet has it.
        "gray": grey values of at most 0.8, Liu's rule.
    mpp : float
        Micrometres per pixel of the mask.
    closing : float, optional
        Gaps of so many micrometres are closed. Default: 40, and 0 for "gray".
    min_area : float, optional
        Square micrometres below which a piece is no tissue, and a hole no hole. Default: 50,000, and 0 for
        "gray".
    artefacts : bool
        Whether pen marks and the scanner's black borders count as tissue.
    mask : path or array, optional
        A mask of one's own, of the whole slide at any resolution, not 0 where there is tissue; used instead.

    Returns
    -------
    TissueMask
        Where nothing is found it is empty, says so (``found``, ``remark``), and a warning is logged.

    Examples
    --------
    >>> picture = np.full((400, 600, 3), 245, np.uint8)
    >>> picture[100:300, 200:400] = (190, 120, 170)
    >>> slide = fastwsi.open_slide(picture, mpp=8)
    >>> tissue = fastwsi.slides.tissue_mask(slide)
    >>> tissue.found, round(tissue.area_mm2, 2), tissue.fraction((200, 100), (100, 100))
    (True, 2.56, 1.0)
    """
    if mask is not None:
        given = TissueMask.of(slide, _given(slide, mask, mpp))
        return _reported(slide, given, "the mask that was given is empty")
    if method not in _METHODS:
        raise ValueError(f"method: got {method!r}, expected one of {', '.join(_METHODS)}")
    width, height = slide.size_at(_numbers.finite(mpp, "mpp"))
    if width * height > _MOST_PIXELS:
        raise ValueError(
            f"mpp: got {mpp:g}, at which the slide has {width} x {height} pixels, expected one that leaves "
            f"at most {_MOST_PIXELS >> 20} megapixels"
        )
    pixels = slide.read((0, 0), (max(width, 1), max(height, 1)), mpp=mpp)
    reach = _default(closing, 0 if method == "gray" else 40, "closing") / mpp
    least = _default(min_area, 0 if method == "gray" else 50_000, "min_area") / mpp**2
    found = _cleaned(_tissue(pixels, method, artefacts=artefacts), reach, least)
    scale = slide.scale(mpp)
    return _reported(slide, TissueMask(found, scale, slide.mpp_xy), f"{method} found no tissue")


def _tissue(pixels: Pixels, method: Method, *, artefacts: bool) -> Mask:
    """Return what is tissue by its colour."""
    aside = np.zeros(pixels.shape[:2], bool)
    if not artefacts:
        aside = pen_marks(pixels) | dark_borders(pixels)
    if method == "gray":
        return np.asarray((grey(pixels) <= _LIU) & ~aside)
    values = saturation(pixels) if method == "hsv_otsu" else 1 - grey(pixels)
    least = _PALEST if method == "hsv_otsu" else 1 - _BRIGHTEST
    seen = values[~aside]
    threshold = max(least, otsu(seen)) if seen.size else least
    return np.asarray((values > threshold) & ~aside)


def _cleaned(mask: Mask, reach: float, least: float) -> Mask:
    """Return a mask with gaps closed, small pieces taken out and small holes filled."""
    if reach >= 1 and mask.any():
        # Distances rather than a disc: the cost does not grow with the gap.
        border = int(np.ceil(reach)) + 1
        padded = np.pad(mask, border)
        near = ndimage.distance_transform_edt(~padded) <= reach / 2
        closed = ndimage.distance_transform_edt(np.pad(near, 1))[1:-1, 1:-1] > reach / 2
        mask = mask | closed[border:-border, border:-border]
    if least > 1:
        mask = _without_small(mask, least)
        mask = mask | _small_holes(mask, least)
    return mask


def _small_holes(mask: Mask, least: float) -> Mask:
    """Return holes that are small; what reaches the picture's edge is no hole."""
    labels, count = ndimage.label(~mask, np.ones((3, 3), int))
    small = np.bincount(labels.ravel(), minlength=count + 1) < least
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    small[edge] = False
    small[0] = False
    return np.asarray(small[labels], bool)


def _without_small(mask: Mask, least: float) -> Mask:
    labels, count = ndimage.label(mask, np.ones((3, 3), int))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes >= least
    keep[0] = False
    return np.asarray(keep[labels], bool)


def _reported(slide: Slide, mask: TissueMask, remark: str) -> TissueMask:
    if mask.found:
        return mask
    logger.warning("%s: %s", slide.path or slide.name, remark)
    return mask.with_remark(remark)


def _given(slide: Slide, mask: Any, mpp: float) -> Mask:
    """Return a user's mask: of an array as it is, of a file at the resolution that is asked for."""
    if isinstance(mask, (str, Path)):
        from fastwsi.slides.annotations.masks import LabelMask  # noqa: PLC0415  (only for files)

        labels = LabelMask(mask, slide.dimensions)
        try:
            width, height = slide.size_at(mpp)
            scale = slide.dimensions[0] / width, slide.dimensions[1] / height
            return np.asarray(labels.rasterise((0, 0), (width, height), scale=scale) > 0)
        finally:
            labels.close()
    array = np.asarray(mask)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "biu":
        raise TypeError(
            f"mask: got shape {array.shape} of {array.dtype}, expected (height, width) of bool or ints"
        )
    return np.asarray(array != 0)


def _default(value: float | None, default: float, name: str) -> float:
    return default if value is None else _numbers.finite(value, name, least=0)
