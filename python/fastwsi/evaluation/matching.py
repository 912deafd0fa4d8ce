"""Which detections found a lesion of their slide, and which are false."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers
from fastwsi.evaluation.columns import array_of, column
from fastwsi.evaluation.results import Result
from fastwsi.evaluation.sizes import SIZES

if TYPE_CHECKING:
    from fastwsi.evaluation.lesions import Lesions

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, repr=False, eq=False)
class SlideMatch(Result):
    """What the detections of one slide come to.

    The first three are all that FROC needs; the others serve intervals and tables.

    Attributes
    ----------
    fp_scores : float64 array
        Of detections that hit nothing.
    tp_scores : float64 array, shape (lesions,)
        The best score on each lesion; 0 where it was missed, and for ITC.
    n_lesions : int
        Without ITC.
    name : str
        The slide's.
    tumour : bool
        Whether there is any tumour, be it ITC. Default: whether there are ``tp_scores``.
    sizes : tuple of str
        Each lesion's size class; empty where unknown.
    itc_scores : float64 array
        The best score on each lesion that is ITC; 0 where it was missed.
    hit_lesions, hit_scores : arrays, shape (hits,)
        Every detection on a lesion that is not ITC: the lesion's number less one, and the score. Default: the
        best ones.
    on_itc, outside : int
        Detections that count neither way: on ITC, and outside the slide.
    """

    fp_scores: Floats
    tp_scores: Floats
    n_lesions: int
    name: str = ""
    tumour: bool | None = None
    sizes: tuple[str, ...] = ()
    itc_scores: Floats | None = None
    hit_lesions: Ints | None = None
    hit_scores: Floats | None = None
    on_itc: int = 0
    outside: int = 0

    def __post_init__(self) -> None:
        fp, tp = _scores(self.fp_scores, "fp_scores"), _scores(self.tp_scores, "tp_scores")
        lesions = _numbers.whole(self.n_lesions, "n_lesions", 0)
        if lesions > len(tp):
            raise ValueError(f"n_lesions: got {lesions} of {len(tp)} tp_scores, expected at most as many")
        if np.count_nonzero(tp) > lesions:
            raise ValueError(
                f"tp_scores: got {np.count_nonzero(tp)} above 0, expected at most n_lesions, {lesions}"
            )
        itc = _scores(() if self.itc_scores is None else self.itc_scores, "itc_scores")
        hit_lesions, hit_scores = self._hits(tp)
        settled: dict[str, Any] = {
            "fp_scores": fp, "tp_scores": tp, "n_lesions": lesions, "itc_scores": itc,
            "tumour": len(tp) > 0 if self.tumour is None else bool(self.tumour),
            "sizes": self._sizes(len(tp), lesions), "hit_lesions": hit_lesions, "hit_scores": hit_scores,
        }  # fmt: skip
        if len(itc) not in (0, len(tp) - lesions):
            raise ValueError(f"itc_scores: got {len(itc)}, expected {len(tp) - lesions}, one for each ITC")
        for name, value in settled.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    def _hits(self, tp: Floats) -> tuple[Ints, Floats]:
        """Return all hits; the best ones where no others are told."""
        if (self.hit_lesions is None) != (self.hit_scores is None):
            raise ValueError("hit_lesions, hit_scores: got one of them, expected both or none")
        if self.hit_lesions is None:
            return np.flatnonzero(tp), tp[tp > 0]
        lesions, scores = np.array(self.hit_lesions, np.int64), _scores(self.hit_scores, "hit_scores")
        best = np.zeros(len(tp))
        if lesions.shape != scores.shape or (
            lesions.size and not 0 <= lesions.min() <= lesions.max() < len(tp)
        ):
            raise ValueError(
                f"hit_lesions: got {lesions.tolist()}, expected a lesion below {len(tp)} for each score"
            )
        np.maximum.at(best, lesions, scores)
        if (best != tp).any():
            raise ValueError(
                "hit_scores: got others than tp_scores, expected the best on each lesion to be its own"
            )
        return lesions, scores

    def _sizes(self, labels: int, lesions: int) -> tuple[str, ...]:
        sizes = tuple(self.sizes)
        if sizes and (len(sizes) != labels or not set(sizes) <= set(SIZES)):
            raise ValueError(f"sizes: got {sizes}, expected {labels} of {', '.join(SIZES)}")
        if sizes and sizes.count("itc") != labels - lesions:
            raise ValueError(f"sizes: got {sizes.count('itc')} that are ITC, expected {labels - lesions}")
        return sizes

    def __str__(self) -> str:
        return (
            f"{self.name or 'slide'}: {np.count_nonzero(self.tp_scores)} of {self.n_lesions} lesions found, "
            f"{len(self.fp_scores)} false positives"
        )

    def row(self) -> dict[str, Any]:
        """Return a line of a table of slides."""
        return {
            "slide": self.name,
            "tumour": bool(self.tumour),
            "lesions": self.n_lesions,
            "found": int(np.count_nonzero(self.tp_scores)),
            "itc": len(self.tp_scores) - self.n_lesions,
            "false_positives": len(self.fp_scores),
            "best_true": float(self.tp_scores.max(initial=0)),
            "best_false": float(self.fp_scores.max(initial=0)),
            "on_itc": self.on_itc,
            "outside": self.outside,
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return the slide's line."""
        return [self.row()]


def match_detections(
    detections: Any,
    lesions: Lesions | None,
    *,
    name: str = "",
    tumour: bool | None = None,
    size: tuple[float, float] | None = None,
    whole: bool = True,
) -> SlideMatch:
    """Tell true detections of a slide from false ones, by Camelyon16's rules.

    A detection belongs to the lesion at its place. The best one on a lesion counts, more on the same lesion
    cost nothing, and those on ITC count neither way. Where nothing is, it is false.

    Parameters
    ----------
    detections : array, shape (n, 3)
        Score, x and y of each, the place in level-0 pixels. Scores are finite and not negative; one of 0
        detects nothing. n may be 0.
    lesions : Lesions or None
        None: a slide without tumour.
    name : str
    tumour : bool, optional
        Whether the slide is one with tumour, where its label knows better. Default: whether it has lesions.
    size : (width, height), optional
        The slide's at level 0, outside which detections are left out and counted. Default: what the mask
        covers; nothing is outside where there is no mask.
    whole : bool
        Whether the mask covers the slide. Else detections beyond it are on no lesion, and false.

    Returns
    -------
    SlideMatch

    Examples
    --------
    >>> mask = np.zeros((100, 100), bool)
    >>> mask[10:60, 10:60] = True
    >>> lesions = fastwsi.evaluation.label_lesions(mask)
    >>> fastwsi.evaluation.match_detections([[0.9, 640, 640], [0.8, 650, 700], [0.7, 3000, 90]], lesions)
    <SlideMatch slide: 1 of 1 lesions found, 1 false positives>
    """
    points = _points(detections)
    if lesions is not None and size is None and whole:
        size = lesions.labels.shape[1] * lesions.downsample, lesions.labels.shape[0] * lesions.downsample
    inside = (
        (points[:, 1:] >= 0).all(1) if lesions is not None or size is not None else np.ones(len(points), bool)
    )
    if size is not None:
        inside &= (points[:, 1:] < size).all(1)
    outside, points = int((~inside).sum()), points[inside]
    if lesions is None:
        return SlideMatch(points[:, 0], np.zeros(0), 0, name, tumour=bool(tumour), outside=outside)
    scores, label = points[:, 0], _labels_at(points, lesions)
    best = np.zeros(len(lesions) + 1)
    np.maximum.at(best, label, scores)
    on_itc = np.concatenate([[False], lesions.itc])[label]
    hits = (label > 0) & ~on_itc & (scores > 0)
    return SlideMatch(
        scores[label == 0],
        np.where(lesions.itc, 0.0, best[1:]),
        int((~lesions.itc).sum()),
        name,
        tumour=len(lesions) > 0 if tumour is None else tumour,
        sizes=lesions.size_classes,
        itc_scores=best[1:][lesions.itc],
        hit_lesions=label[hits] - 1,
        hit_scores=scores[hits],
        on_itc=int(on_itc.sum()),
        outside=outside,
    )


def _labels_at(points: Floats, lesions: Lesions) -> Ints:
    """Return the lesion at each place, 0 where there is none; beyond the mask there is none."""
    height, width = lesions.labels.shape
    x, y = ((points[:, axis] / lesions.downsample).astype(np.int64) for axis in (1, 2))
    covered = (x < width) & (y < height)
    found = np.zeros(len(points), np.int64)
    found[covered] = lesions.labels[y[covered], x[covered]]
    return found


def _points(detections: Any) -> Floats:
    array = array_of(detections, "detections")
    if array.size == 0:
        return np.zeros((0, 3))
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"detections: got shape {array.shape}, expected (n, 3): score, x, y")
    if array.dtype.kind not in "iufb":
        raise TypeError(f"detections: got {array.dtype}, expected numbers: score, x, y")
    points = array.astype(np.float64)
    if not np.isfinite(points).all():
        row = int(np.flatnonzero(~np.isfinite(points).all(1))[0])
        raise ValueError(f"detections: got {points[row].tolist()} in row {row}, expected finite numbers")
    _scores(points[:, 0], "detections")
    return points


def _scores(values: Any, name: str) -> Floats:
    """Return scores as an array of our own."""
    scores = np.array(column(values, name), np.float64)
    if scores.size and not (np.isfinite(scores).all() and scores.min() >= 0):
        wrong = scores[~(np.isfinite(scores) & (scores >= 0))][0]
        hint = " (of logits, give the sigmoid)" if np.isfinite(wrong) else ""
        raise ValueError(f"{name}: got the score {wrong:g}, expected finite ones of at least 0{hint}")
    return scores
