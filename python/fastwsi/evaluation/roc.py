"""ROC curves and the area under them, by ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi.evaluation.columns import column
from fastwsi.evaluation.results import Result

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Flags = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, repr=False, eq=False)
class Roc(Result):
    """A ROC curve: a point for "nothing is positive" and one for each score that occurs.

    Attributes
    ----------
    thresholds : float64, (K,)
        Falling; a score of at least the threshold is positive. The first is infinite, at which nothing is
        (None in JSON, empty in CSV).
    true_positive_rates, false_positive_rates : float64, (K,)
        NaN where there are no positives, or no negatives.
    true_positives, false_positives : int64, (K,)
    positives, negatives : int
    auc : float
        Area under the curve, of straight lines between its points; NaN where a class is absent.

    Examples
    --------
    >>> roc_curve([0, 1], [0.2, 0.7]).rows()[1]["thresholds"]
    0.7
    """

    thresholds: Floats
    true_positive_rates: Floats
    false_positive_rates: Floats
    true_positives: Counts
    false_positives: Counts
    positives: int
    negatives: int
    auc: float

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each point."""
        columns = {
            key: value
            for key, value in self.to_dict().items()
            if key not in ("positives", "negatives", "auc")
        }
        return [dict(zip(columns, point, strict=True)) for point in zip(*columns.values(), strict=True)]

    def __str__(self) -> str:
        area = f"AUC {self.auc:.4f}" if self.positives and self.negatives else "AUC not estimable"
        return f"{area}, {self.positives} positive, {self.negatives} negative, {len(self.thresholds)} points"


def check_labels(labels: ArrayLike, name: str = "labels") -> Flags:
    """Return labels, 0 and 1 of any dtype or bool, as bool.

    Examples
    --------
    >>> check_labels([0, 1, 1])
    array([False,  True,  True])
    """
    array = column(labels, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got {array.dtype}, expected 0 and 1, or bool")
    flags: Flags = array == 1
    strange = ~flags & (array != 0)
    if strange.any():
        raise ValueError(f"{name}: got {array[strange][0]} at {strange.argmax()}, expected only 0 and 1")
    return flags


def check_scores(labels: ArrayLike, scores: ArrayLike, name: str = "scores") -> tuple[Flags, Floats]:
    """Return labels as bool and scores as float64, both checked.

    Parameters
    ----------
    labels : (N,)
        0 or 1, or bool.
    scores : (N,)
        Finite numbers.
    name : str
        What errors call the scores.

    Examples
    --------
    >>> check_scores([0, 1], [0.25, 2])
    (array([False,  True]), array([0.25, 2.  ]))
    """
    flags = check_labels(labels)
    array = column(scores, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got {array.dtype}, expected finite numbers")
    if len(array) != len(flags):
        raise ValueError(f"{name}: got {len(array)} values, expected {len(flags)}, one for each label")
    with np.errstate(over="ignore"):  # a long double too large is found infinite below
        values = array.astype(np.float64)
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise ValueError(f"{name}: got {values[wrong][0]} at {wrong.argmax()}, expected finite numbers")
    return flags, values


def double_ranks(values: Floats) -> Counts:
    """Return twice the midranks, which are whole: from 2 to 2 N; equal values share the middle of theirs.

    Examples
    --------
    >>> double_ranks(np.array([0.1, 0.7, 0.7, 0.9])).tolist()
    [2, 5, 5, 8]
    """
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Counts = (2 * np.cumsum(counts) - counts + 1)[which]
    return ranks


def lacking(positives: int, negatives: int, least: int = 1) -> str:
    """Say which class has fewer members than ``least``; "" where none.

    Examples
    --------
    >>> lacking(0, 5), lacking(1, 1, least=2), lacking(1, 1)
    ('no positives', 'one positive and one negative', '')
    """
    words = [
        f"no {name}s" if count == 0 else f"one {name}"
        for name, count in (("positive", positives), ("negative", negatives))
        if count < least
    ]
    return " and ".join(words)


def roc_auc_score(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve: how often a positive scores above a negative, ties counting half.

    It is found from midranks in whole numbers and rounded once, so that neither the order of the slides nor
    a monotone transform of the scores changes a bit of it.

    Parameters
    ----------
    labels : (N,)
        0 or 1, or bool; numpy array, list or torch tensor on the CPU.
    scores : (N,)
        Finite; higher for positives.

    Returns
    -------
    float
        NaN where there are no positives or no negatives.

    Examples
    --------
    >>> roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    >>> roc_auc_score([1, 1], [0.1, 0.4])
    nan
    """
    flags, values = check_scores(labels, scores)
    positives = int(flags.sum())
    negatives = len(flags) - positives
    if lacking(positives, negatives):
        return float("nan")
    ranks = int(double_ranks(values)[flags].sum())
    return (ranks - positives * (positives + 1)) / (2 * positives * negatives)


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> Roc:
    """Return the ROC curve: every threshold at which something changes, none left out.

    Parameters
    ----------
    labels : (N,)
        0 or 1, or bool; numpy array, list or torch tensor on the CPU.
    scores : (N,)
        Finite; higher for positives.

    Returns
    -------
    Roc

    Examples
    --------
    >>> curve = roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> curve
    <Roc AUC 0.7500, 2 positive, 2 negative, 5 points>
    >>> curve.true_positive_rates.tolist(), curve.false_positive_rates.tolist()
    ([0.0, 0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5, 1.0])
    """
    flags, values = check_scores(labels, scores)
    distinct, which = np.unique(values, return_inverse=True)
    both = np.zeros((2, len(distinct) + 1), np.int64)  # negatives and positives at each score, from the top
    for row, chosen in enumerate((~flags, flags)):
        both[row, 1:] = np.bincount(which[chosen], minlength=len(distinct))[::-1]
    false_positives, true_positives = both.cumsum(axis=1)
    negatives, positives = int(false_positives[-1]), int(true_positives[-1])
    return Roc(
        thresholds=np.concatenate([[np.inf], distinct[::-1]]),
        true_positive_rates=_shares(true_positives, positives),
        false_positive_rates=_shares(false_positives, negatives),
        true_positives=true_positives,
        false_positives=false_positives,
        positives=positives,
        negatives=negatives,
        auc=roc_auc_score(flags, values),
    )


def _shares(counts: Counts, total: int) -> Floats:
    return counts / total if total else np.full(len(counts), np.nan)
