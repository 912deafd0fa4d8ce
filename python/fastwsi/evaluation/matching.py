"""Which detections found a lesion of their slide, and which are false."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers
from fastwsi.evaluation.results import Result

if TYPE_CHECKING:
    from fastwsi.evaluation.lesions import Lesions

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, repr=False)
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
        settled: dict[str, Any] = {
            "fp_scores": fp, "tp_scores": tp, "n_lesions": lesions,
            "tumour": len(tp) > 0 if self.tumour is None else bool(self.tumour),
            "itc_scores": np.zeros(0) if self.itc_scores is None else self.itc_scores,
        }  # fmt: skip
        if self.hit_lesions is None or self.hit_scores is None:
            settled["hit_lesions"] = np.flatnonzero(tp)
            settled["hit_scores"] = tp[tp > 0]
        for name, value in settled.items():
            object.__setattr__(self, name, value)

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

    def named(self, name: str) -> SlideMatch:
        """Return the same under a name."""
        return replace(self, name=name)


def match_detections(detections: Any, lesions: Lesions | None, *, name: str = "") -> SlideMatch:
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
    if lesions is None:
        return SlideMatch(points[:, 0], np.zeros(0), 0, name, tumour=False)
    height, width = lesions.labels.shape
    x, y = (points[:, axis] / lesions.downsample for axis in (1, 2))
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    scores, x, y = points[inside, 0], x[inside].astype(np.int64), y[inside].astype(np.int64)
    label = lesions.labels[y, x].astype(np.int64)
    best = np.zeros(len(lesions) + 1)
    np.maximum.at(best, label, scores)
    on_itc = np.concatenate([[False], lesions.itc])[label]
    hits = (label > 0) & ~on_itc & (scores > 0)
    return SlideMatch(
        scores[label == 0],
        np.where(lesions.itc, 0.0, best[1:]),
        int((~lesions.itc).sum()),
        name,
        tumour=len(lesions) > 0,
        sizes=lesions.size_classes,
        itc_scores=best[1:][lesions.itc],
        hit_lesions=label[hits] - 1,
        hit_scores=scores[hits],
        on_itc=int(on_itc.sum()),
        outside=int((~inside).sum()),
    )


def _points(detections: Any) -> Floats:
    points = np.asarray(detections, np.float64)
    if points.size == 0:
        return np.zeros((0, 3))
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"detections: got shape {points.shape}, expected (n, 3): score, x, y")
    if not np.isfinite(points).all():
        row = int(np.flatnonzero(~np.isfinite(points).all(1))[0])
        raise ValueError(f"detections: got {points[row].tolist()} in row {row}, expected finite numbers")
    _scores(points[:, 0], "detections")
    return points


def _scores(values: Any, name: str) -> Floats:
    scores = np.asarray(values, np.float64).reshape(-1)
    if scores.size and not (np.isfinite(scores).all() and scores.min() >= 0):
        wrong = scores[~(np.isfinite(scores) & (scores >= 0))][0]
        raise ValueError(f"{name}: got the score {wrong:g}, expected finite ones of at least 0")
    return scores
