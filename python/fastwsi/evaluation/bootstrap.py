"""Bootstrap intervals by slides: percentiles of what resampled slides give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fastwsi import _numbers
from fastwsi.evaluation.intervals import Interval, check_confidence
from fastwsi.evaluation.roc import Counts, Flags, Floats, check_scores, lacking, roc_auc_score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike

_BATCH = 1 << 16  # numbers drawn at once; what is counted from them stays in a core's cache
_ONE_CLASS = "have one class only and are left out"


@dataclass(frozen=True, repr=False)
class Bootstrap(Interval):
    """An estimate and its bootstrap interval.

    Attributes
    ----------
    replicates : int
        How many resamples were drawn; 0 where there was nothing to draw for.
    skipped : int
        How many of those have no value, such as an AUC of one class, and are left out.
    stratified : bool
    seed : int

    Examples
    --------
    >>> found = bootstrap_interval([0, 1, 0, 1], [0.1, 0.7, 0.4, 0.3], stratified=True)
    >>> found.low, found.estimate, found.high
    (0.0, 0.75, 1.0)
    """

    replicates: int = 0
    skipped: int = 0
    stratified: bool = False
    seed: int = 0


@dataclass(frozen=True)
class _Plan:
    """How to resample, checked."""

    replicates: int
    confidence: float
    stratified: bool
    seed: int

    @classmethod
    def of(cls, replicates: int, confidence: float, stratified: bool, seed: int) -> _Plan:
        return cls(
            _numbers.whole(replicates, "replicates", 1),
            check_confidence(confidence),
            bool(stratified),
            _numbers.whole(seed, "seed", 0),
        )

    @property
    def method(self) -> str:
        return "stratified bootstrap" if self.stratified else "bootstrap"

    def draws(self, flags: Flags) -> Iterator[Counts]:
        """Yield which slides each resample holds: (batch, N). Negatives must come first.

        Each class has a stream of its own, so that the numbers do not depend on the size of a batch.
        """
        total, negatives = len(flags), int((~flags).sum())
        spans = [(0, negatives), (negatives, total)] if self.stratified else [(0, total)]
        streams = [
            np.random.Generator(np.random.PCG64(each))
            for each in np.random.SeedSequence(self.seed).spawn(len(spans))
        ]
        rows = max(1, _BATCH // total)
        for first in range(0, self.replicates, rows):
            count = min(rows, self.replicates - first)
            yield np.concatenate(
                [
                    stream.integers(low, high, size=(count, high - low))
                    for stream, (low, high) in zip(streams, spans, strict=True)
                    if high > low
                ],
                axis=1,
            )

    def none(self, estimate: float, note: str) -> Bootstrap:
        """Return an estimate without an interval, for which nothing is drawn."""
        nan = float("nan")
        return Bootstrap(
            estimate, nan, nan, self.confidence, self.method, note, 0, 0, self.stratified, self.seed
        )

    def summary(self, estimate: float, values: Floats, why_skipped: str) -> Bootstrap:
        """Return the percentiles of those values that are finite."""
        kept = values[np.isfinite(values)]
        skipped = len(values) - len(kept)
        notes = [f"{skipped} of {len(values)} resamples {why_skipped}"] if skipped else []
        low = high = float("nan")
        if len(kept):
            tail = (1 - self.confidence) / 2
            low, high = (float(bound) for bound in np.quantile(kept, [tail, 1 - tail]))
            if kept.min() == kept.max():
                notes.append("all resamples agree, so the interval is uninformative")
        return Bootstrap(
            estimate, low, high, self.confidence, self.method, "; ".join(notes),
            len(values), skipped, self.stratified, self.seed,
        )  # fmt: skip


def bootstrap_interval(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    statistic: Literal["auc"] | Callable[[Flags, Floats], float] = "auc",
    replicates: int = 2000,
    confidence: float = 0.95,
    stratified: bool = False,
    seed: int = 0,
) -> Bootstrap:
    """Return a statistic of slides with its percentile interval over resampled slides.

    Parameters
    ----------
    labels : (N,)
        0 or 1, or bool; numpy array, list or torch tensor on the CPU.
    scores : (N,)
        Finite; higher for positives.
    statistic : "auc" or callable
        Or a function of labels (bool, (N,)) and scores (float64, (N,)), both in ascending order of label,
        then score. A resample for which it returns NaN or an infinity is left out.
    replicates : int
        How many resamples are drawn.
    confidence : float
    stratified : bool
        Draw as many positives and as many negatives as there are. Otherwise a resample may hold one class
        only; it has no AUC, is left out of the percentiles, and is counted.
    seed : int
        The same seed gives the same interval, in whichever order the slides come.

    Returns
    -------
    Bootstrap
        Without bounds where there is no estimate, and for the AUC where a class has one member only, of
        which every resample holds copies.

    Examples
    --------
    >>> labels, scores = [0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.3, 0.6, 0.2, 0.4, 0.8, 0.9, 0.5]
    >>> bootstrap_interval(labels, scores, stratified=True)
    <Bootstrap 0.8750 [0.5000, 1.0000] (95% stratified bootstrap)>
    >>> found = bootstrap_interval(labels, scores, replicates=1000)
    >>> found.replicates, found.skipped
    (1000, 9)
    >>> accuracy = bootstrap_interval(labels, scores, statistic=lambda y, s: ((s >= 0.5) == y).mean())
    >>> accuracy.estimate
    0.75
    """
    if statistic != "auc" and not callable(statistic):
        raise ValueError(f"statistic: got {statistic!r}, expected 'auc' or a function of labels and scores")
    plan = _Plan.of(replicates, confidence, stratified, seed)
    flags, values = check_scores(labels, scores)
    order = _order(flags, values)
    flags, values = flags[order], values[order]
    if len(flags) == 0:
        return plan.none(float("nan"), "no slides")
    if callable(statistic):
        return _bootstrap_of(statistic, flags, values, plan)
    estimate = roc_auc_score(flags, values)
    lack = lacking(int(flags.sum()), int((~flags).sum()), least=2)
    if lack:
        return plan.none(estimate, lack)
    areas = _Areas(flags, values)
    found = np.concatenate([areas.of(draws) for draws in plan.draws(flags)])
    return plan.summary(estimate, found, _ONE_CLASS)


def paired_bootstrap(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    replicates: int = 2000,
    confidence: float = 0.95,
    stratified: bool = False,
    seed: int = 0,
) -> Bootstrap:
    """Return the difference of two scores' AUCs with its percentile interval over resampled slides.

    Parameters
    ----------
    labels : (N,)
        0 or 1, or bool; numpy array, list or torch tensor on the CPU.
    scores_a, scores_b : (N,)
        Finite; of the same slides, drawn together.
    replicates, confidence, stratified, seed
        As for `bootstrap_interval`.

    Returns
    -------
    Bootstrap
        Of the AUC of ``scores_a`` minus that of ``scores_b``.

    Examples
    --------
    >>> labels = [0, 0, 0, 1, 1, 1]
    >>> a, b = [0.1, 0.3, 0.6, 0.4, 0.8, 0.9], [0.3, 0.8, 0.5, 0.4, 0.6, 0.7]
    >>> paired_bootstrap(labels, a, b, stratified=True)
    <Bootstrap 0.3333 [0.0000, 1.0000] (95% stratified bootstrap)>
    """
    plan = _Plan.of(replicates, confidence, stratified, seed)
    flags, a = check_scores(labels, scores_a, "scores_a")
    _, b = check_scores(flags, scores_b, "scores_b")
    order = _order(flags, a, b)
    flags, a, b = flags[order], a[order], b[order]
    difference = roc_auc_score(flags, a) - roc_auc_score(flags, b)
    lack = lacking(int(flags.sum()), int((~flags).sum()), least=2)
    if lack:
        return plan.none(difference, lack)
    areas = _Areas(flags, a), _Areas(flags, b)
    found = np.concatenate([areas[0].of(draws) - areas[1].of(draws) for draws in plan.draws(flags)])
    return plan.summary(difference, found, _ONE_CLASS)


def _order(flags: Flags, *scores: Floats) -> Counts:
    """Return slides by label, then scores: what a seed draws then does not depend on their order."""
    return np.lexsort((*scores[::-1], flags))


def _bootstrap_of(
    statistic: Callable[[Flags, Floats], float], flags: Flags, values: Floats, plan: _Plan
) -> Bootstrap:
    estimate = _numbers.real(statistic(flags, values), "statistic's value")
    if not math.isfinite(estimate):
        return plan.none(estimate, "no value for these slides")
    found = [
        _numbers.real(statistic(flags[row], values[row]), "statistic's value")
        for draws in plan.draws(flags)
        for row in draws
    ]
    return plan.summary(estimate, np.array(found), "have no value and are left out")


class _Areas:
    """The areas under the ROC curves of resamples, from how often each score occurs in each class."""

    def __init__(self, flags: Flags, values: Floats) -> None:
        distinct, which = np.unique(values, return_inverse=True)
        self.kinds = len(distinct)
        self.codes: Counts = which + self.kinds * flags.astype(np.int64)  # which class and which score

    def of(self, draws: Counts) -> Floats:
        """Return the area of each resample, (batch,), of slides (batch, N); NaN where a class is absent."""
        batch, width = len(draws), 2 * self.kinds
        codes = self.codes[draws]
        codes += width * np.arange(batch)[:, None]
        counts = np.bincount(codes.ravel(), minlength=batch * width).reshape(batch, 2, self.kinds)
        negatives, positives = counts[:, 0], counts[:, 1]
        twice_below = negatives.cumsum(axis=1)
        n = twice_below[:, -1].copy()
        pairs = 2 * n * (draws.shape[1] - n)
        twice_below *= 2
        twice_below -= negatives  # those of the same score count half
        wins = np.einsum("ij,ij->i", positives, twice_below)
        areas: Floats = np.divide(wins, pairs, out=np.full(batch, np.nan), where=pairs > 0)
        return areas
