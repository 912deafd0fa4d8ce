"""A picture of a result: the slide, its heatmap in colours over it, detections, lesions found and missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fastwsi import _numbers
from fastwsi.engine.legend import Entry, with_legend
from fastwsi.engine.markers import FALSE, FOUND, HIT, MISSED, draw_detection, draw_outline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastwsi.engine.cells import CellGrid, Exact, Floats
    from fastwsi.engine.likelihood_map import Heatmap

Picture = np.ndarray[Any, np.dtype[np.uint8]]
Ring = np.ndarray[Any, np.dtype[np.float64]]
_PAPER = 244  # grey of a slide that is not there
_SCANNED = 228  # and of what was scanned of it
# Score, red, green and blue: from light to dark, so that more is more in grey too; away from the pinks of HE.
_RAMP = np.array(
    [(0.0, 255, 247, 130), (0.35, 255, 205, 40), (0.65, 250, 110, 15), (0.85, 215, 25, 20), (1.0, 130, 0, 30)]
)
_CLEAR, _FULL = 0.02, 0.5  # scores up to which tissue shows as it is, and from which on colours are fullest


@dataclass(frozen=True)
class _Lesion:
    rings: tuple[Ring, ...]
    found: bool


def draw_overlay(
    heatmap: Heatmap,
    grid: CellGrid,
    detections: Floats,
    slide: Any = None,
    *,
    truth: Any = None,
    threshold: float = 0.0,
    size: int = 1024,
    opacity: float = 0.8,
    title: str = "",
) -> Picture:
    """Return a picture of a slide with its heatmap in colours and its detections marked.

    Parameters
    ----------
    heatmap : float32 array, shape (rows, columns)
        Scores; NaN where nothing was scanned.
    grid : CellGrid
        Where its cells lie.
    detections : float64 array, shape (n, 3)
        Score, x and y at level 0.
    slide : Slide, or uint8 array (height, width, 3), optional
        Or a picture of all of it. Default: grey paper.
    truth : Annotations, or outlines, optional
        Lesions at level 0, each an array (n, 2) of points (x, y). One that a detection lies in is drawn as
        found, others as missed; and detections outside of all as false.
    threshold : float
        Detections of this score or less are left out.
    size : int
        The longer side of the slide in the picture's pixels, at most; a picture that is given keeps its own.
    opacity : float
        Of the highest scores, 0 to 1. Lower ones let more of the tissue through.
    title : str
        Goes below, beside the bar of colours.

    Returns
    -------
    uint8 array (height, width, 3)

    Examples
    --------
    >>> from fastwsi.engine.cells import CellGrid
    >>> grid = CellGrid((100.0, 100.0), (0.0, 0.0), (800, 600))
    >>> tissue = np.full((300, 400, 3), 230, np.uint8)
    >>> picture = draw_overlay(np.eye(6, 8, dtype=np.float32), grid, np.array([[1.0, 50, 50]]), tissue)
    >>> picture.shape[1] >= 400, (picture[:300, :400] != 230).any()
    (True, np.True_)
    """
    if not 0 <= _numbers.finite(opacity, "opacity") <= 1:
        raise ValueError(f"opacity: got {opacity}, expected 0 to 1")
    level = _numbers.real(threshold, "threshold")
    picture = _background(slide, grid, _numbers.whole(size, "size", 16))
    height, width = picture.shape[:2]
    step = grid.slide_size[0] / width, grid.slide_size[1] / height
    values, scanned = _sampled(heatmap, grid, (width, height), step)
    if slide is None:
        picture[scanned > 0.5] = _SCANNED
    picture = _blended(picture, values, opacity)
    shown = detections[detections[:, 0] > level]
    lesions, hits = _judged(truth, shown)
    unit = max(2.5, max(width, height) / 170)
    for lesion in lesions:
        for ring in lesion.rings:
            draw_outline(picture, ring / step, lesion.found, unit)
    for (_, x, y), hit in sorted(zip(shown.tolist(), hits, strict=True), key=lambda each: each[0][0]):
        draw_detection(picture, (x / step[0], y / step[1]), hit, unit)
    entries = _entries(lesions, hits, judged=truth is not None)
    return with_legend(picture, colour_of(np.linspace(0, 1, 256)), title, entries)


def colour_of(scores: Any) -> Picture:
    """Return the colours of scores of 0 to 1, shape (..., 3).

    Examples
    --------
    >>> colour_of([0.0, 1.0]).tolist()
    [[255, 247, 130], [130, 0, 30]]
    """
    channels = [np.interp(scores, _RAMP[:, 0], _RAMP[:, i]) for i in (1, 2, 3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def _background(slide: Any, grid: CellGrid, size: int) -> Picture:
    if slide is None:
        factor = max(1.0, max(grid.slide_size) / size)
        width, height = (max(1, round(side / factor)) for side in grid.slide_size)
        return np.full((height, width, 3), _PAPER, np.uint8)
    if hasattr(slide, "thumbnail"):
        if tuple(slide.dimensions) != grid.slide_size:
            raise ValueError(f"slide: got one of {slide.dimensions} pixels, expected {grid.slide_size}")
        return np.array(slide.thumbnail(size))
    picture = np.array(slide)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise ValueError(f"slide: got {picture.shape} of {picture.dtype}, expected uint8 (height, width, 3)")
    return picture


def _sampled(heatmap: Heatmap, grid: CellGrid, size: tuple[int, int], step: Exact) -> tuple[Any, Any]:
    """Return score and share that was scanned of each pixel, between the cells' centres linearly."""
    scale = grid.scale
    values, scanned = np.nan_to_num(heatmap, nan=0.0), (~np.isnan(heatmap)).astype(np.float32)
    # Where many cells share a pixel the largest is shown: a lesion of one cell must not fall between pixels.
    while max(step[0] / scale[0], step[1] / scale[1]) > 1 and max(values.shape) > 1:
        odd = [(0, side % 2) for side in values.shape]
        values, scanned = (_halved(np.pad(each, odd)) for each in (values, scanned))
        scale = scale[0] * 2, scale[1] * 2
    across = ((np.arange(size[0]) + 0.5) * step[0] - grid.offset[0]) / scale[0] - 0.5
    down = ((np.arange(size[1]) + 0.5) * step[1] - grid.offset[1]) / scale[1] - 0.5
    x, y = np.meshgrid(across.astype(np.float32), down.astype(np.float32))
    return tuple(
        cv2.remap(each, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        for each in (values, scanned)
    )  # type: ignore[return-value]


def _halved(cells: Any) -> Any:
    pairs = np.maximum(cells[::2], cells[1::2])
    return np.maximum(pairs[:, ::2], pairs[:, 1::2])


def _blended(picture: Picture, values: Any, opacity: float) -> Picture:
    ramp = np.clip((values - _CLEAR) / (_FULL - _CLEAR), 0, 1)
    alpha = (opacity * ramp * ramp * (3 - 2 * ramp))[..., None]  # without an edge at either end
    mixed = picture * (1 - alpha) + colour_of(np.clip(values, 0, 1)) * alpha
    return np.asarray(np.round(mixed), np.uint8)


def _judged(truth: Any, points: Floats) -> tuple[list[_Lesion], list[bool | None]]:
    """Return lesions, and of each detection whether it lies in one; None where there is no truth."""
    if truth is None:
        return [], [None] * len(points)
    import shapely  # noqa: PLC0415  (imported where used)

    hits = np.zeros(len(points), bool)
    lesions = []
    for rings in _areas(truth):
        area = shapely.make_valid(shapely.Polygon(rings[0], rings[1:]))
        inside = shapely.intersects_xy(area, points[:, 1], points[:, 2])
        hits |= inside
        lesions.append(_Lesion(rings, bool(inside.any())))
    return lesions, [bool(hit) for hit in hits]


def _areas(truth: Any) -> Iterable[tuple[Ring, ...]]:
    """Yield the rings of each lesion: its outline, and then its holes."""
    for shape in truth:
        rings = shape.rings if hasattr(shape, "rings") else (np.asarray(shape, np.float64),)
        if not rings:  # a line or a dot has no inside
            continue
        if any(ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3 for ring in rings):
            raise ValueError(f"truth: got an outline of shape {rings[0].shape}, expected (n, 2), n >= 3")
        yield tuple(rings)


def _entries(lesions: list[_Lesion], hits: list[bool | None], *, judged: bool) -> list[Entry]:
    if not judged:
        return [Entry(HIT, len(hits), "detection", "detections")]
    found = sum(lesion.found for lesion in lesions)
    right = sum(bool(hit) for hit in hits)
    return [
        Entry(FOUND, found, "lesion found", "lesions found"),
        Entry(MISSED, len(lesions) - found, "lesion missed", "lesions missed"),
        Entry(HIT, right, "detection in a lesion", "detections in lesions"),
        Entry(FALSE, len(hits) - right, "false detection", "false detections"),
    ]
