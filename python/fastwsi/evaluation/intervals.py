"""A number with how sure we are of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from fastwsi import _numbers
from fastwsi.evaluation.results import Result


@dataclass(frozen=True, repr=False)
class Interval(Result):
    """An estimate and its confidence interval.

    Attributes
    ----------
    estimate, low, high : float
        NaN where they cannot be estimated.
    confidence : float
        Such as 0.95.
    method : str
        How it was found.
    note : str
        What a reader must know to judge it; "" where there is nothing.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    method: str
    note: str = ""

    @property
    def estimable(self) -> bool:
        """Whether there is an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def __str__(self) -> str:
        number = "not estimable" if math.isnan(self.estimate) else f"{self.estimate:.4f}"
        if not self.estimable:
            span = "" if math.isnan(self.estimate) else ", interval not estimable"
        else:
            span = f" [{self.low:.4f}, {self.high:.4f}]"
        note = f"; {self.note}" if self.note else ""
        return f"{number}{span} ({100 * self.confidence:g}% {self.method}{note})"


def check_confidence(confidence: float) -> float:
    """Return a confidence between 0 and 1.

    Examples
    --------
    >>> check_confidence(0.9)
    0.9
    """
    level = _numbers.finite(confidence, "confidence")
    if not 0 < level < 1:
        raise ValueError(f"confidence: got {confidence!r}, expected more than 0 and less than 1")
    return level


def normal_quantile(confidence: float) -> float:
    """Return how many standard deviations a two-sided interval reaches.

    Examples
    --------
    >>> round(normal_quantile(0.95), 3)
    1.96
    """
    return NormalDist().inv_cdf(0.5 + check_confidence(confidence) / 2)


def wilson_interval(k: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share: ``k`` of ``n``, such as an accuracy.

    Parameters
    ----------
    k, n : int
        How many were right, and of how many. Of none nothing can be estimated.
    confidence : float

    Examples
    --------
    >>> wilson_interval(985, 1000)
    <Interval 0.9850 [0.9754, 0.9909] (95% Wilson)>
    >>> wilson_interval(0, 0)
    <Interval not estimable (95% Wilson; none of 0)>
    """
    total = _numbers.whole(n, "n", 0)
    count = _numbers.whole(k, "k", 0)
    if count > total:
        raise ValueError(f"k: got {k!r}, expected at most n, which is {n!r}")
    z = normal_quantile(confidence)
    if total == 0:
        return Interval(math.nan, math.nan, math.nan, confidence, "Wilson", "none of 0")
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # At the ends the bound is the end itself; rounding would put it a hair away.
    low = 0.0 if count == 0 else max(0.0, middle - half)
    high = 1.0 if count == total else min(1.0, middle + half)
    return Interval(share, low, high, confidence, "Wilson")
