"""Detections of all slides in one falling order of thresholds: what FROC and its bootstraps count from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastwsi.evaluation.matching import SlideMatch

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Mode = Literal["clean", "official"]
FpAxis = Literal["all", "tumour_negative"]

MODES = ("clean", "official")
FP_AXES = ("all", "tumour_negative")


@dataclass(frozen=True, eq=False)
class Pooled:
    """Every detection with the first threshold that lets it through.

    Attributes
    ----------
    thresholds : float64 array, shape (T,)
        Falling.
    fp_at, fp_slide : int64 arrays
        Of each false positive: the index of its threshold, rising, and its slide's.
    tp_at, tp_slide, tp_own : int64 arrays
        Of each hit of a lesion: the threshold that lets it through, its slide, and the threshold that is its
        own score.
    tp_lesion : int64 array
        The lesion that each hit is of, counted over all slides; hits of a lesion stand together.
    lesions, unfound : int64 arrays, shape (slides,)
        Lesions without ITC, and entries of score 0: missed lesions and ITC.
    counted : bool array, shape (slides,)
        Slides whose false positives count, over whose number they are averaged.
    """

    thresholds: Floats
    fp_at: Ints
    fp_slide: Ints
    tp_at: Ints
    tp_slide: Ints
    tp_own: Ints
    tp_lesion: Ints
    lesions: Ints
    unfound: Ints
    counted: np.ndarray[Any, np.dtype[np.bool_]]


def pooled(matches: Sequence[SlideMatch], mode: Mode, fp_axis: FpAxis, *, every_hit: bool = False) -> Pooled:
    """Sort the detections of slides; of each lesion its best hit, or every one.

    Examples
    --------
    >>> one = fastwsi.evaluation.SlideMatch([0.5], [0.9, 0.0], 2)
    >>> found = pooled([one], "clean", "all")
    >>> found.thresholds.tolist(), found.fp_at.tolist(), found.tp_at.tolist()
    ([0.9, 0.5], [1], [0])
    """
    counted = np.array([fp_axis == "all" or not match.tumour for match in matches])
    fps = [match.fp_scores if count else np.zeros(0) for match, count in zip(matches, counted, strict=True)]
    fp, fp_slide = _joined(fps)
    lesion, hit = _hits(matches, every_hit=every_hit)
    own, tp_slide = _joined(hit)
    starts = np.cumsum([0, *(len(match.tp_scores) for match in matches[:-1])]).astype(np.int64)
    tp_lesion = np.concatenate([i + start for i, start in zip(lesion, starts, strict=True)])
    if mode == "official":
        own = own.astype(np.float32).astype(
            np.float64
        )  # the script keeps them so, and false ones as they are
    values = np.unique(np.concatenate([fp, own]))
    rising = values[values > 0] if mode == "clean" else values
    thresholds = rising[::-1]
    keep = fp > 0 if mode == "clean" else np.ones(len(fp), bool)
    fp, fp_slide = fp[keep], fp_slide[keep]
    tp_own = len(rising) - 1 - np.searchsorted(rising, own)
    tp_at = tp_own
    if mode == "official":
        # numpy compares a float32 array with a threshold in float32: one that rounds down lets it through.
        rounded = rising.astype(np.float32).astype(np.float64)
        tp_at = len(rising) - np.searchsorted(rounded, own, side="right")
    fp_at = len(rising) - 1 - np.searchsorted(rising, fp)
    falling = np.argsort(fp_at, kind="stable")
    order = np.lexsort([tp_at, tp_lesion])
    return Pooled(
        thresholds,
        fp_at[falling],
        fp_slide[falling],
        tp_at[order],
        tp_slide[order],
        tp_own[order],
        tp_lesion[order],
        np.array([match.n_lesions for match in matches], np.int64),
        np.array([len(match.tp_scores) - np.count_nonzero(match.tp_scores) for match in matches], np.int64),
        counted,
    )


def _hits(matches: Sequence[SlideMatch], *, every_hit: bool) -> tuple[list[Ints], list[Floats]]:
    """Return of each slide the lesions that are hit, and by what scores."""
    if not every_hit:
        found = [np.flatnonzero(match.tp_scores) for match in matches]
        return found, [match.tp_scores[at] for match, at in zip(matches, found, strict=True)]
    lesions, scores = [], []
    for match in matches:
        assert match.hit_lesions is not None
        assert match.hit_scores is not None
        lesions.append(match.hit_lesions)
        scores.append(match.hit_scores)
    return lesions, scores


def _joined(parts: Sequence[Floats]) -> tuple[Floats, Ints]:
    """Return slides' values one after the other, and whose each is."""
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return np.concatenate(parts), owner
