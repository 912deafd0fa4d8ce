"""How sure a FROC score is: bootstraps over slides, and over predicted points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi import _numbers
from fastwsi.evaluation.froc import FP_RATES, check_matches, sensitivities_of
from fastwsi.evaluation.intervals import Interval, check_confidence
from fastwsi.evaluation.pooled import FpAxis, Mode, Pooled, pooled
from fastwsi.evaluation.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fastwsi.evaluation.matching import SlideMatch

Floats = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]
_CELLS = 1 << 22  # numbers in memory at once, about

Resample = Literal["slides", "points"]


@dataclass(frozen=True, repr=False)
class FrocInterval(Result):
    """Intervals of a FROC curve's score and sensitivities.

    Attributes
    ----------
    score : Interval
    sensitivities : tuple of Interval
        At `FP_RATES`.
    mode, fp_axis : str
    resample : "slides" or "points"
    replicates, skipped : int
        Resamples, and those of them without lesions or without slides to count false positives on: they have
        no score and are left out.
    """

    score: Interval
    sensitivities: tuple[Interval, ...]
    mode: Mode
    fp_axis: FpAxis
    resample: Resample
    replicates: int
    skipped: int

    def __str__(self) -> str:
        return f"{self.score}, {self.mode}"

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for the score and for each sensitivity."""
        named = [("score", self.score), *zip(FP_RATES, self.sensitivities, strict=True)]
        common = {"mode": self.mode, "fp_axis": self.fp_axis, "resample": self.resample}
        return [{**common, "false_positives_per_slide": name, **each.to_dict()} for name, each in named]


def froc_interval(
    matches: Iterable[SlideMatch],
    mode: Mode = "clean",
    *,
    fp_axis: FpAxis = "all",
    resample: Resample = "slides",
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> FrocInterval:
    """Return percentile intervals of the FROC score and of the sensitivities.

    Parameters
    ----------
    matches : iterable of SlideMatch
    mode, fp_axis
        As `froc` has them.
    resample : "slides" or "points"
        Whether slides are drawn, with all that is on them, or the predicted points of all slides, the lesions
        staying as they are, as Liu 2017 has it. Points outside the slides are not drawn.
    replicates : int
    confidence : float
    seed : int

    Examples
    --------
    >>> one = fastwsi.evaluation.SlideMatch([0.5], [0.9, 0.4, 0.0], 3)
    >>> two = fastwsi.evaluation.SlideMatch([0.6, 0.2], [], 0)
    >>> fastwsi.evaluation.froc_interval([one, two], resample="points", replicates=200)
    <FrocInterval 0.5556 [0.0000, 0.6667] (95% bootstrap of 200 over points), clean>
    """
    slides = check_matches(matches, mode, fp_axis)
    if resample not in ("slides", "points"):
        raise ValueError(f"resample: got {resample!r}, expected 'slides' or 'points'")
    count = _numbers.whole(replicates, "replicates", 1)
    level = check_confidence(confidence)
    rng = np.random.default_rng(_numbers.whole(seed, "seed", 0))
    found = pooled(slides, mode, fp_axis, every_hit=resample == "points")
    if resample == "slides":
        curves = _over_slides(found, mode, count, rng)
    else:
        neither = sum(match.on_itc for match in slides)
        if fp_axis == "tumour_negative":  # what is false on other slides counts neither way
            neither += sum(len(match.fp_scores) for match in slides if match.tumour)
        curves = _over_points(found, mode, count, rng, neither)
    sampled = np.full((count, len(FP_RATES)), np.nan)
    for i, (fp_rates, tp_rates) in enumerate(curves):
        sampled[i] = sensitivities_of(fp_rates, tp_rates, FP_RATES)
    kept = sampled[~np.isnan(sampled).any(1)]
    estimates = _plain_estimates(pooled(slides, mode, fp_axis), mode)
    method = f"bootstrap of {count} over {resample}"
    skipped = f"{count - len(kept)} resamples without lesions or slides left out" if len(kept) < count else ""
    columns = np.column_stack([kept.mean(1), kept]) if len(kept) else np.full((1, len(FP_RATES) + 1), np.nan)
    low, high = np.quantile(columns, [(1 - level) / 2, (1 + level) / 2], axis=0)
    intervals = [
        Interval(
            float(e), float(a), float(b), level, method, "; ".join(filter(None, [skipped, _agreed(a, b)]))
        )
        for e, a, b in zip([estimates.mean(), *estimates], low, high, strict=True)
    ]
    return FrocInterval(intervals[0], tuple(intervals[1:]), mode, fp_axis, resample, count, count - len(kept))


def _agreed(low: float, high: float) -> str:
    return "all resamples agree, so the interval is uninformative" if low == high else ""


def _plain_estimates(found: Pooled, mode: Mode) -> Floats:
    """Return the sensitivities of the slides as they are."""
    once = np.ones((1, len(found.lesions)), np.int64)
    fp_rates, tp_rates = next(_curves_of_slides(found, mode, once))
    return sensitivities_of(fp_rates, tp_rates, FP_RATES)


def _batches(replicates: int, width: int) -> Iterator[int]:
    """Yield how many replicates to do at once, so that memory stays bounded."""
    most = max(1, _CELLS // max(1, width))
    for first in range(0, replicates, most):
        yield min(most, replicates - first)


def _drawn(rng: np.random.Generator, rows: int, count: int) -> Counts:
    """Return how often each of ``count`` is drawn in ``count`` draws: (rows, count)."""
    if not count:
        return np.zeros((rows, 0), np.int64)
    draws = rng.integers(count, size=(rows, count)) + np.arange(rows)[:, None] * count
    return np.bincount(draws.ravel(), minlength=rows * count).reshape(rows, count)


def _over_slides(
    found: Pooled, mode: Mode, replicates: int, rng: np.random.Generator
) -> Iterator[tuple[Floats, Floats]]:
    for rows in _batches(replicates, len(found.fp_at) + len(found.tp_at) + len(found.lesions)):
        yield from _curves_of_slides(found, mode, _drawn(rng, rows, len(found.lesions)))


def _curves_of_slides(found: Pooled, mode: Mode, drawn: Counts) -> Iterator[tuple[Floats, Floats]]:
    """Yield the curve of each row of ``drawn``: how often each slide is in it."""
    count = len(found.thresholds)
    fps = _FalsePositives(found).cumulative(drawn[:, found.fp_slide])
    lesions, divisors = drawn @ found.lesions, drawn @ found.counted.astype(np.int64)
    zeros = drawn @ found.unfound > 0
    for i, row in enumerate(fps):
        last = count
        if mode == "official":
            present = found.fp_at[drawn[i, found.fp_slide] > 0], found.tp_own[drawn[i, found.tp_slide] > 0]
            last = _last(found, present, bool(zeros[i]))
        hits = np.repeat(found.tp_at, drawn[i, found.tp_slide])
        yield _curve(row, hits, int(lesions[i]), int(divisors[i]), last)


def _over_points(
    found: Pooled, mode: Mode, replicates: int, rng: np.random.Generator, neither: int
) -> Iterator[tuple[Floats, Floats]]:
    """Yield curves of points drawn from all slides; of ``neither`` true nor false only the number matters."""
    n_fp, n_tp, count = len(found.fp_at), len(found.tp_at), len(found.thresholds)
    starts = np.flatnonzero(np.diff(found.tp_lesion, prepend=-1))
    lesions, divisor = int(found.lesions.sum()), int(found.counted.sum())
    false = _FalsePositives(found)
    for rows in _batches(replicates, n_fp + n_tp + neither):
        drawn = _drawn(rng, rows, n_fp + n_tp + neither)
        fps = false.cumulative(drawn[:, :n_fp])
        taken = drawn[:, n_fp : n_fp + n_tp] > 0
        at, own = (_best(each, taken, starts, count) for each in (found.tp_at, found.tp_own))
        for i, row in enumerate(fps):
            hits = at[i][at[i] < count]
            last = count
            if mode == "official":
                zeros = bool(found.unfound.any()) or len(hits) < len(starts)
                last = _last(found, (found.fp_at[drawn[i, :n_fp] > 0], own[i][own[i] < count]), zeros)
            yield _curve(row, hits, lesions, divisor, last)


def _best(at: Counts, taken: Any, starts: Counts, none: int) -> Counts:
    """Return of each lesion the first threshold that lets one of its drawn hits through: (rows, lesions)."""
    if not at.size:
        return np.zeros((len(taken), 0), np.int64)
    return np.asarray(np.minimum.reduceat(np.where(taken, at, none), starts, axis=1))


def _last(found: Pooled, present: Sequence[Counts], zeros: bool) -> int:
    """Return how many thresholds the official script keeps of a resample: all but the smallest score."""
    lowest = max((int(each.max()) for each in present if each.size), default=-1)
    if zeros and (lowest < 0 or found.thresholds[lowest] > 0):
        return lowest + 1  # the smallest is the 0 of a missed lesion
    return max(lowest, 0)


class _FalsePositives:
    """How many false positives each threshold lets through, for many resamples at once."""

    def __init__(self, found: Pooled) -> None:
        self._count = len(found.thresholds)
        self._rises, self._starts = np.unique(found.fp_at, return_index=True)
        # The last rise at or before each threshold.
        self._before = np.searchsorted(self._rises, np.arange(self._count), side="right")

    def cumulative(self, drawn: Counts) -> Iterator[_Row]:
        """Yield a row for each of ``drawn``: how often each false positive counts."""
        if not self._starts.size:
            yield from (_Row(np.zeros(1, np.int64), self._rises, self._before) for _ in drawn)
            return
        for sums in np.add.reduceat(drawn, self._starts, axis=1):
            yield _Row(np.concatenate([[0], sums.cumsum()]), self._rises, self._before)


@dataclass(frozen=True)
class _Row:
    """False positives of one resample: after each rise."""

    counts: Counts
    rises: Counts
    before: Counts

    def upto(self, most: float) -> Counts:
        """Return the counts at all thresholds up to the first that lets more than ``most`` through."""
        # Nothing is asked of the curve beyond; at ``most`` itself it may stand upright.
        enough = int(np.searchsorted(self.counts, most, side="right"))
        end = self.rises[enough - 1] + 1 if 0 < enough < len(self.counts) else len(self.before)
        return np.asarray(self.counts[self.before[:end]])


def _curve(fps: _Row, hits: Counts, lesions: int, divisor: int, last: int) -> tuple[Floats, Floats]:
    """Return a curve of the first ``last`` thresholds, from (0, 0) on, as far as `FP_RATES` reach."""
    if not lesions or not divisor:
        return np.zeros(1), np.full(1, np.nan)
    false = fps.upto(FP_RATES[-1] * divisor)[:last]
    true = np.bincount(hits, minlength=len(false))[: len(false)].cumsum()
    start = np.zeros(1)
    return np.concatenate([start, false / divisor]), np.concatenate([start, true / lesions])
