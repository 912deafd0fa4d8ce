"""Counts of right and wrong decisions, and the shares that are made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi import _numbers
from fastwsi.evaluation.columns import cells, in_order, text_table
from fastwsi.evaluation.intervals import Interval, wilson_interval
from fastwsi.evaluation.results import Result
from fastwsi.evaluation.roc import Counts, Roc, check_scores, roc_auc_score, roc_curve

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike

_RULES = "maximise='accuracy', maximise='balanced_accuracy', sensitivity= or specificity="


@dataclass(frozen=True, repr=False, eq=False)
class Confusion(Result):
    """A confusion matrix, and what follows from it for each label against all others.

    Attributes
    ----------
    labels : tuple
    counts : int64, (K, K)
        Row: the true label; column: the predicted one.
    accuracy : float
    balanced_accuracy : float
        The mean recall of those labels that are somewhere true.
    recall, precision, specificity, f1 : dict
        Of each label; NaN where the share is one of none.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1], [0, 1, 0]).rows()[1]["predicted 0"]
    1
    """

    labels: tuple[Any, ...]
    counts: Counts
    accuracy: float
    balanced_accuracy: float
    recall: dict[Any, float]
    precision: dict[Any, float]
    specificity: dict[Any, float]
    f1: dict[Any, float]

    def interval(self, metric: str, label: Any = None, *, confidence: float = 0.95) -> Interval:
        """Return Wilson's interval of "accuracy", or of a label's "recall", "precision" or "specificity"."""
        if metric == "accuracy":
            return wilson_interval(int(self.counts.trace()), int(self.counts.sum()), confidence=confidence)
        if label not in self.labels:
            raise ValueError(f"label: got {label!r}, expected one of {list(self.labels)}")
        return _wilson(metric, *_against_others(self.counts, self.labels.index(label)), confidence=confidence)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each true label: the counts, then the shares."""
        plain, names = self.to_dict(), ("recall", "precision", "specificity", "f1")
        return [
            {
                "truth": label,
                **{f"predicted {name}": n for name, n in zip(self.labels, row, strict=True)},
                **{name: plain[name][str(label)] for name in names},
            }
            for label, row in zip(self.labels, plain["counts"], strict=True)
        ]

    def __str__(self) -> str:
        table = [["truth \\ predicted", *map(str, self.labels)]]
        table += [[str(a), *map(str, row)] for a, row in zip(self.labels, self.counts.tolist(), strict=True)]
        total = int(self.counts.sum())
        return (
            f"accuracy {self.accuracy:.4f} of {total}, balanced accuracy {self.balanced_accuracy:.4f}\n"
            f"{text_table(table)}"
        )


@dataclass(frozen=True, repr=False)
class BinaryMetrics(Result):
    """What a threshold makes of scores; shares of none are NaN.

    Attributes
    ----------
    threshold : float
    true_positives, false_positives, true_negatives, false_negatives : int
    accuracy, balanced_accuracy, precision, recall, specificity, f1 : float
    auc : float
        Area under the ROC curve of the scores.
    auc_hard : float
        Area under the ROC curve of the decisions alone, which equals the balanced accuracy. Some papers
        print it as their AUC.

    Examples
    --------
    >>> binary_metrics([0, 1, 1], [0.2, 0.7, 0.4]).true_positives
    1
    """

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    accuracy: float
    balanced_accuracy: float
    precision: float
    recall: float
    specificity: float
    f1: float
    auc: float
    auc_hard: float

    def interval(self, metric: str, *, confidence: float = 0.95) -> Interval:
        """Return Wilson's interval of "accuracy", "precision", "recall" or "specificity"."""
        counts = self.true_positives, self.false_positives, self.true_negatives, self.false_negatives
        return _wilson(metric, *counts, confidence=confidence)

    def __str__(self) -> str:
        names = ("accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1")
        shares = ", ".join(f"{name.replace('_', ' ')} {getattr(self, name):.4f}" for name in names)
        return f"AUC {self.auc:.4f}; at {self.threshold:g}: {shares}"


@dataclass(frozen=True, repr=False)
class OperatingPoint(Result):
    """A threshold that was chosen by a rule, and what it reaches.

    Attributes
    ----------
    rule : str
    threshold : float
        A score of at least this is positive; infinite where nothing is to be (None in JSON).
    sensitivity, specificity, accuracy : Interval
        With Wilson's bounds.

    Examples
    --------
    >>> operating_point([0, 1, 1], [0.2, 0.7, 0.4], sensitivity=1).sensitivity
    <Interval 1.0000 [0.3424, 1.0000] (95% Wilson)>
    """

    rule: str
    threshold: float
    sensitivity: Interval
    specificity: Interval
    accuracy: Interval

    def rows(self) -> list[dict[str, Any]]:
        """Return one row; bounds are named like ``sensitivity_low``."""
        plain = self.to_dict()
        row = {name: plain[name] for name in ("rule", "threshold")}
        for name in ("sensitivity", "specificity", "accuracy"):
            row |= {f"{name}{end}": plain[name][of] for end, of in _SPAN}
        return [row]

    def __str__(self) -> str:
        names = ("sensitivity", "specificity", "accuracy")
        return f"{self.rule}: threshold {self.threshold:g}; " + ", ".join(
            f"{name} {getattr(self, name)}" for name in names
        )


_SPAN = (("", "estimate"), ("_low", "low"), ("_high", "high"))


def confusion_matrix(
    truth: Iterable[Any], predicted: Iterable[Any], labels: Sequence[Any] | None = None
) -> Confusion:
    r"""Count how often each label was predicted as which.

    Parameters
    ----------
    truth, predicted : (N,)
        Texts, whole numbers or bools; lists, numpy arrays or torch tensors on the CPU.
    labels : sequence, optional
        All labels that there may be, in the order of rows and columns. Default: those that occur, sorted.

    Returns
    -------
    Confusion

    Examples
    --------
    >>> found = confusion_matrix(["tumour", "normal", "tumour"], ["tumour", "normal", "normal"])
    >>> found
    <Confusion accuracy 0.6667 of 3, balanced accuracy 0.7500
    truth \ predicted  normal  tumour
    normal                  1       0
    tumour                  1       1>
    >>> found.recall["tumour"], found.interval("recall", "tumour")
    (0.5, <Interval 0.5000 [0.0945, 0.9055] (95% Wilson)>)
    """
    true, guessed = cells(truth, "truth"), cells(predicted, "predicted")
    if len(true) != len(guessed):
        raise ValueError(f"predicted: got {len(guessed)} values, expected {len(true)}, as many as in truth")
    names = in_order({*true, *guessed} - {None}) if labels is None else cells(labels, "labels")
    if None in names or len({str(name) for name in names}) < len(names):
        raise ValueError(f"labels: got {names}, expected each to be something and to read differently")
    index = {name: k for k, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), np.int64)
    places = [_places(true, index, "truth"), _places(guessed, index, "predicted")]
    np.add.at(counts, tuple(places), 1)
    return _confusion(tuple(names), counts)


def binary_metrics(labels: ArrayLike, scores: ArrayLike, threshold: float = 0.5) -> BinaryMetrics:
    """Return what a threshold makes of scores, and the area under their ROC curve.

    Parameters
    ----------
    labels : (N,)
        0 or 1, or bool; numpy array, list or torch tensor on the CPU.
    scores : (N,)
        Finite; higher for positives. Compared in float64.
    threshold : float
        A score of at least this is positive. May be infinite.

    Returns
    -------
    BinaryMetrics

    Examples
    --------
    >>> found = binary_metrics([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9])
    >>> found.auc, found.auc_hard, found.recall, found.specificity, found.f1
    (0.75, 0.75, 1.0, 0.5, 0.8)
    >>> found.interval("precision")
    <Interval 0.6667 [0.2077, 0.9385] (95% Wilson)>
    """
    flags, values = check_scores(labels, scores)
    limit = _numbers.real(threshold, "threshold")
    if math.isnan(limit):
        raise ValueError("threshold: got nan, expected a number")
    hits = values >= limit
    tp, fp = int((flags & hits).sum()), int((~flags & hits).sum())
    tn, fn = int((~flags & ~hits).sum()), int((flags & ~hits).sum())
    shares = {name: _ratio(*share) for name, share in _shares(tp, fp, tn, fn).items()}
    return BinaryMetrics(
        limit, tp, fp, tn, fn,
        balanced_accuracy=(shares["recall"] + shares["specificity"]) / 2,
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        auc=roc_auc_score(flags, values),
        auc_hard=roc_auc_score(flags, hits),
        **shares,
    )  # fmt: skip


def operating_point(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    maximise: Literal["accuracy", "balanced_accuracy"] | None = None,
    sensitivity: float | None = None,
    specificity: float | None = None,
    confidence: float = 0.95,
) -> OperatingPoint:
    """Choose a threshold by one of three rules, among the scores that occur and infinity.

    Infinity stands for "nothing is positive", which is the only way to a specificity that no score reaches.

    Parameters
    ----------
    labels : (N,)
        0 or 1, or bool; numpy array, list or torch tensor on the CPU.
    scores : (N,)
        Finite; higher for positives. A score of at least the threshold is positive.
    maximise : {"accuracy", "balanced_accuracy"}, optional
        Of several thresholds that reach the maximum the highest is taken: the fewest positives.
    sensitivity : float, optional
        From 0 to 1: the highest threshold with at least this sensitivity.
    specificity : float, optional
        From 0 to 1: the lowest threshold with at least this specificity.
    confidence : float
        Of Wilson's intervals.

    Returns
    -------
    OperatingPoint

    Examples
    --------
    >>> labels, scores = [0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.6, 0.4, 0.8, 0.9]
    >>> point = operating_point(labels, scores, maximise="accuracy")
    >>> point.threshold, point.accuracy
    (0.8, <Interval 0.8333 [0.4365, 0.9699] (95% Wilson)>)
    >>> operating_point(labels, scores, sensitivity=1).threshold
    0.4
    >>> operating_point(labels, scores, specificity=0.6).threshold
    0.4
    """
    asked = {"maximise": maximise, "sensitivity": sensitivity, "specificity": specificity}
    given = [(name, value) for name, value in asked.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"rule: got {dict(given)}, expected exactly one of {_RULES}")
    curve = roc_curve(labels, scores)
    ((name, value),) = given
    k = _best(curve, value) if name == "maximise" else _least(curve, name, value)
    tp, fp = int(curve.true_positives[k]), int(curve.false_positives[k])
    m, n = curve.positives, curve.negatives
    return OperatingPoint(
        rule=f"highest {str(value).replace('_', ' ')}" if name == "maximise" else f"{name} >= {value:g}",
        threshold=float(curve.thresholds[k]),
        sensitivity=wilson_interval(tp, m, confidence=confidence),
        specificity=wilson_interval(n - fp, n, confidence=confidence),
        accuracy=wilson_interval(tp + n - fp, m + n, confidence=confidence),
    )


def _places(values: list[Any], index: dict[Any, int], name: str) -> list[int]:
    try:
        return [index[value] for value in values]
    except KeyError:
        at, strange = next((k, value) for k, value in enumerate(values) if value not in index)
        got = "nothing" if strange is None else repr(strange)
        raise ValueError(f"{name}: got {got} at {at}, expected one of {list(index)}") from None


def _confusion(labels: tuple[Any, ...], counts: Counts) -> Confusion:
    ones = [_against_others(counts, k) for k in range(len(labels))]
    shares = [_shares(*each) for each in ones]
    recalls = [_ratio(*share["recall"]) for share in shares if share["recall"][1]]
    return Confusion(
        labels=labels,
        counts=counts,
        accuracy=_ratio(int(counts.trace()), int(counts.sum())),
        balanced_accuracy=math.fsum(recalls) / len(recalls) if recalls else math.nan,
        f1={a: _ratio(2 * tp, 2 * tp + fp + fn) for a, (tp, fp, _, fn) in zip(labels, ones, strict=True)},
        **{
            name: {label: _ratio(*share[name]) for label, share in zip(labels, shares, strict=True)}
            for name in ("recall", "precision", "specificity")
        },
    )


def _against_others(counts: Counts, k: int) -> tuple[int, int, int, int]:
    """Return true positives, false positives, true negatives, false negatives of label k."""
    tp, truths, guesses = int(counts[k, k]), int(counts[k].sum()), int(counts[:, k].sum())
    return tp, guesses - tp, int(counts.sum()) - truths - guesses + tp, truths - tp


def _shares(tp: int, fp: int, tn: int, fn: int) -> dict[str, tuple[int, int]]:
    """Return those metrics that are so many of so many."""
    return {
        "accuracy": (tp + tn, tp + fp + tn + fn),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
    }


def _wilson(metric: str, tp: int, fp: int, tn: int, fn: int, *, confidence: float) -> Interval:
    shares = _shares(tp, fp, tn, fn)
    if metric not in shares:
        raise ValueError(
            f"metric: got {metric!r}, expected one of {list(shares)}, which are shares of counts"
        )
    return wilson_interval(*shares[metric], confidence=confidence)


def _ratio(k: int, n: int) -> float:
    return k / n if n else math.nan


def _best(curve: Roc, metric: Any) -> int:
    """Return the first point, thus of the highest threshold, with the most right decisions."""
    m, n = curve.positives, curve.negatives
    if metric not in ("accuracy", "balanced_accuracy"):
        raise ValueError(f"maximise: got {metric!r}, expected 'accuracy' or 'balanced_accuracy'")
    if m + n == 0 or (metric == "balanced_accuracy" and not (m and n)):
        need = "at least one" if metric == "accuracy" else "some of both"
        raise ValueError(f"labels: got {m} positives and {n} negatives, expected {need}")
    # In whole numbers, where ties are ties: a mean of two shares, times 2 m n.
    weights = (1, 1) if metric == "accuracy" else (n, m)
    return int(np.argmax(weights[0] * curve.true_positives - weights[1] * curve.false_positives))


def _least(curve: Roc, name: str, value: Any) -> int:
    """Return the point that has at least this sensitivity, or specificity, and the most of the other."""
    least = _numbers.finite(value, name, 0)
    if least > 1:
        raise ValueError(f"{name}: got {value!r}, expected 0 to 1")
    total = curve.positives if name == "sensitivity" else curve.negatives
    if total == 0:
        raise ValueError(
            f"labels: got no {'positives' if name == 'sensitivity' else 'negatives'}, expected some"
        )
    if name == "sensitivity":
        return int(np.argmax(curve.true_positives / total >= least))
    return int(np.flatnonzero((total - curve.false_positives) / total >= least)[-1])
