"""DeLong's variance of the area under the ROC curve: intervals, tests, paired comparison.

DeLong, DeLong and Clarke-Pearson (1988), by midranks (Sun and Xu, 2014). Placements and their variances are
found in whole numbers, so that equal ranks give a variance of exactly 0 and order changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi import _numbers
from fastwsi.evaluation.intervals import Interval, check_confidence, normal_quantile
from fastwsi.evaluation.results import Result
from fastwsi.evaluation.roc import Counts, Flags, Floats, check_scores, double_ranks, lacking

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_NAN = float("nan")
_PERFECT = "perfect separation: a variance of 0, so the interval is uninformative"
_TIED = "all scores are tied: a variance of 0, so the interval is uninformative"
_SAME = "both order the slides the same way"
_PERFECT_DIFFERENCE = "a variance of 0, so the interval is uninformative"
_NO_TEST = "a variance of 0"


@dataclass(frozen=True, repr=False)
class AucTest(Result):
    """The area under a ROC curve tested against a fixed value, on both sides.

    Attributes
    ----------
    auc, against : float
    z, p : float
        NaN where there is no variance to test with.
    log10_p : float
        Finite even where ``p`` is too small for a float.
    positives, negatives : int
    note : str
        What a reader must know to judge it; "" where there is nothing.

    Examples
    --------
    >>> found = delong_test([0, 1, 0, 1, 1], [0.1, 0.7, 0.4, 0.3, 0.9])
    >>> round(found.z, 3), round(found.log10_p, 3)
    (1.414, -0.803)
    """

    auc: float
    against: float
    z: float
    p: float
    log10_p: float
    positives: int
    negatives: int
    note: str = ""

    def __str__(self) -> str:
        area = "AUC not estimable" if math.isnan(self.auc) else f"AUC {self.auc:.4f}"
        return f"{area} against {self.against:g}: {_verdict(self.z, self.p, self.log10_p, self.note)}"


@dataclass(frozen=True, repr=False)
class PairedAuc(Result):
    """The areas of two scores of the same slides, and whether they differ.

    Attributes
    ----------
    auc_a, auc_b : float
    difference : Interval
        ``auc_a - auc_b``.
    z, p : float
        Of the test on both sides that there is none; NaN where there is no variance to test with.
    log10_p : float
        Finite even where ``p`` is too small for a float.
    positives, negatives : int

    Examples
    --------
    >>> found = paired_delong([0, 1, 0, 1], [0.1, 0.7, 0.4, 0.3], [0.1, 0.7, 0.4, 0.5])
    >>> found.auc_a, found.auc_b, found.difference.estimate
    (0.75, 1.0, -0.25)
    """

    auc_a: float
    auc_b: float
    difference: Interval
    z: float
    p: float
    log10_p: float
    positives: int
    negatives: int

    def rows(self) -> list[dict[str, Any]]:
        """Return one row; the difference's bounds are ``low`` and ``high``."""
        values = self.to_dict()
        span = values.pop("difference")
        names = ("low", "high", "confidence", "note")
        return [{**values, "difference": span["estimate"], **{name: span[name] for name in names}}]

    def __str__(self) -> str:
        areas = f"AUC {self.auc_a:.4f} and {self.auc_b:.4f}, difference {self.difference}"
        return f"{areas}: {_verdict(self.z, self.p, self.log10_p)}"


def _verdict(z: float, p: float, log10_p: float, note: str = "") -> str:
    if math.isnan(z):
        return f"no test{f' ({note})' if note else ''}"
    shown = f"{p:.3g}" if p > 1e-300 else f"10^{log10_p:.1f}"
    return f"z = {z:.3f}, p = {shown}{f' ({note})' if note else ''}"


def log10_two_sided(z: float) -> float:
    """Return log10 of the probability that a standard normal variable is at least ``|z|`` from 0.

    Parameters
    ----------
    z : float
        Any finite number; the probability itself is too small for a float from 38 on.

    Examples
    --------
    >>> round(10 ** log10_two_sided(1.96), 4), round(log10_two_sided(100), 1)
    (0.05, -2173.6)
    """
    x = abs(_numbers.finite(z, "z")) / math.sqrt(2)
    if x < 0.5:  # close to 1, where the logarithm needs the digits that erfc rounds away
        return math.log1p(-math.erf(x)) / math.log(10)
    if x < 20:
        return math.log10(math.erfc(x))
    # Laplace's continued fraction, from its 30th term up; here far fewer would do.
    fraction = x
    for k in range(30, 0, -1):
        fraction = x + k / 2 / fraction
    return -(x * x + math.log(fraction * math.sqrt(math.pi))) / math.log(10)


def delong_interval(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    confidence: float = 0.95,
    method: Literal["normal", "logit"] = "normal",
) -> Interval:
    """Return the area under the ROC curve with DeLong's confidence interval, in O(N log N).

    Parameters
    ----------
    labels : (N,)
        0 or 1, or bool; numpy array, list or torch tensor on the CPU.
    scores : (N,)
        Finite; higher for positives.
    confidence : float
    method : {"normal", "logit"}
        "normal": the area and its standard errors, clipped to [0, 1]. "logit": the same on the logit scale,
        which stays within (0, 1) by itself and is the better one for areas close to 1.

    Returns
    -------
    Interval
        Without bounds where a class has fewer than two members. Where all positives score above all
        negatives, or all scores are the same, the variance is 0 and the note says that the interval is
        uninformative.

    Examples
    --------
    >>> labels, scores = [0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.6, 0.4, 0.8, 0.9]
    >>> delong_interval(labels, scores)
    <Interval 0.8889 [0.5809, 1.0000] (95% DeLong)>
    >>> delong_interval(labels, scores, method="logit")
    <Interval 0.8889 [0.2614, 0.9945] (95% DeLong, logit)>
    >>> delong_interval([0, 0, 1], [0.1, 0.3, 0.2])
    <Interval 0.5000, interval not estimable (95% DeLong; one positive)>
    """
    if method not in ("normal", "logit"):
        raise ValueError(f"method: got {method!r}, expected 'normal' or 'logit'")
    flags, values = check_scores(labels, scores)
    level = check_confidence(confidence)
    name = "DeLong" if method == "normal" else "DeLong, logit"
    above, below = _placements(flags, values)
    note = lacking(len(above), len(below), least=2)
    auc, variance = _moments(above, below)
    if math.isnan(variance):
        return Interval(auc, _NAN, _NAN, level, name, note)
    if variance == 0:
        return Interval(auc, auc, auc, level, name, _PERFECT if auc in (0, 1) else _TIED)
    reach = normal_quantile(level) * math.sqrt(variance)
    if method == "normal":
        return Interval(auc, max(0.0, auc - reach), min(1.0, auc + reach), level, name)
    middle, reach = math.log(auc / (1 - auc)), reach / (auc * (1 - auc))
    return Interval(auc, _logistic(middle - reach), _logistic(middle + reach), level, name)


def delong_test(labels: ArrayLike, scores: ArrayLike, against: float = 0.5) -> AucTest:
    """Test the area under the ROC curve against a fixed value, on both sides, with DeLong's variance.

    Parameters
    ----------
    labels : (N,)
        0 or 1, or bool; numpy array, list or torch tensor on the CPU.
    scores : (N,)
        Finite; higher for positives.
    against : float
        From 0 to 1. 0.5 is what scores without information reach.

    Returns
    -------
    AucTest

    Examples
    --------
    >>> delong_test([0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.6, 0.4, 0.8, 0.9])
    <AucTest AUC 0.8889 against 0.5: z = 2.475, p = 0.0133>
    """
    value = _numbers.finite(against, "against", 0)
    if value > 1:
        raise ValueError(f"against: got {against!r}, expected 0 to 1")
    above, below = _placements(*check_scores(labels, scores))
    auc, variance = _moments(above, below)
    z, p, log10_p = _test(auc - value, variance)
    note = lacking(len(above), len(below), least=2) or (_NO_TEST if math.isnan(z) else "")
    return AucTest(auc, value, z, p, log10_p, len(above), len(below), note)


def paired_delong(
    labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, *, confidence: float = 0.95
) -> PairedAuc:
    """Compare the areas under the ROC curves of two scores of the same slides, in O(N log N).

    Parameters
    ----------
    labels : (N,)
        0 or 1, or bool; numpy array, list or torch tensor on the CPU.
    scores_a, scores_b : (N,)
        Finite; higher for positives. They need not be of the same scale.
    confidence : float
        Of the interval of the difference, which is a normal one, clipped to [-1, 1].

    Returns
    -------
    PairedAuc
        Where both rank all slides the same way, the difference is 0 and p is 1.

    Examples
    --------
    >>> labels = [0, 0, 0, 1, 1, 1]
    >>> found = paired_delong(labels, [0.1, 0.3, 0.6, 0.4, 0.8, 0.9], [0.3, 0.8, 0.5, 0.4, 0.6, 0.7])
    >>> round(found.auc_a, 4), round(found.auc_b, 4), round(found.p, 4)
    (0.8889, 0.5556, 0.3173)
    >>> found.difference
    <Interval 0.3333 [-0.3200, 0.9867] (95% paired DeLong)>
    """
    level = check_confidence(confidence)
    flags, a = check_scores(labels, scores_a, "scores_a")
    _, b = check_scores(flags, scores_b, "scores_b")
    above_a, below_a = _placements(flags, a)
    above_b, below_b = _placements(flags, b)
    difference, variance = _moments(above_a - above_b, below_a - below_b)
    z, p, log10_p = _test(difference, variance)
    if math.isnan(variance):
        low, high, note = _NAN, _NAN, lacking(len(above_a), len(below_a), least=2)
    else:
        reach = normal_quantile(level) * math.sqrt(variance)
        low, high = max(-1.0, difference - reach), min(1.0, difference + reach)
        same = not (np.any(above_a != above_b) or np.any(below_a != below_b))
        note = "" if variance else _SAME if same else _PERFECT_DIFFERENCE
    return PairedAuc(
        auc_a=_moments(above_a, below_a)[0],
        auc_b=_moments(above_b, below_b)[0],
        difference=Interval(difference, low, high, level, "paired DeLong", note),
        z=z,
        p=p,
        log10_p=log10_p,
        positives=len(above_a),
        negatives=len(below_a),
    )


def _placements(flags: Flags, values: Floats) -> tuple[Counts, Counts]:
    """Return twice how many negatives lie below each positive, and positives above each negative.

    Those that score the same count half, thus 1 here.
    """
    ranks = double_ranks(values)
    above = ranks[flags] - double_ranks(values[flags])
    below = 2 * len(above) - (ranks[~flags] - double_ranks(values[~flags]))
    return above, below


def _moments(above: Counts, below: Counts) -> tuple[float, float]:
    """Return the area, or the difference of two, of placements, and its variance; NaN where there is none."""
    m, n = len(above), len(below)
    if m == 0 or n == 0:
        return _NAN, _NAN
    auc = int(above.sum()) / (2 * m * n)
    if m == 1 or n == 1:
        return auc, _NAN
    return auc, _sample_variance(above) / (4 * n * n * m) + _sample_variance(below) / (4 * m * m * n)


def _sample_variance(numbers: Counts) -> float:
    """Return the variance, N - 1 below the line, of whole numbers, rounded once."""
    count, total = len(numbers), int(numbers.sum())
    largest = int(np.abs(numbers).max())
    step = max(1, 2**62 // max(1, largest * largest))  # as many squares as int64 can hold the sum of
    parts = (numbers[first : first + step] for first in range(0, count, step))
    squares = sum(int(part @ part) for part in parts)
    return (count * squares - total * total) / (count * (count - 1))


def _test(difference: float, variance: float) -> tuple[float, float, float]:
    """Return z, p on both sides and log10 of p."""
    if variance == 0 and difference == 0:
        return 0.0, 1.0, 0.0
    if not variance > 0:
        return _NAN, _NAN, _NAN
    z = difference / math.sqrt(variance)
    return z, math.erfc(abs(z) / math.sqrt(2)), log10_two_sided(z)


def _logistic(x: float) -> float:
    return 0.5 + 0.5 * math.tanh(x / 2)  # which does not overflow
