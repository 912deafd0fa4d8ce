"""FROC: how many lesions are found at how many false positives per slide."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi.evaluation.matching import SlideMatch
from fastwsi.evaluation.pooled import FP_AXES, MODES, FpAxis, Mode, pooled
from fastwsi.evaluation.results import Result, plain
from fastwsi.evaluation.sizes import SIZES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastwsi.evaluation.pooled import Pooled

Floats = np.ndarray[Any, np.dtype[np.float64]]
FP_RATES = (
    0.25,
    0.5,
    1.0,
    2.0,
    4.0,
    8.0,
)  # false positives per slide at which Camelyon16 takes sensitivities


class FrocWarning(UserWarning):
    """A curve does not say what it seems to say."""


@dataclass(frozen=True, repr=False, eq=False)
class Froc(Result):
    """A FROC curve.

    Attributes
    ----------
    mode : "clean" or "official"
    fp_axis : "all" or "tumour_negative"
        Over which slides false positives are averaged.
    thresholds, fp_rates, tp_rates : float64 arrays
        The curve: false positives per slide, and the part of the lesions found, at falling thresholds. Its
        first point, at a threshold of infinity, is (0, 0).
    sensitivities : tuple of float
        At `FP_RATES`, between points by a straight line, beyond the last one as there.
    score : float
        Their mean; NaN where there are no lesions.
    n_slides, n_negative, n_lesions, n_itc : int
        Slides in all and without tumour; lesions, and those that are ITC and do not count.
    by_size : tuple of dict
        For each size class the count of lesions and their sensitivities at `FP_RATES`. Those of ITC are told,
        and no part of the score.
    slides : tuple of dict
        A line for each slide.
    notes : tuple of str
        What a reader must know.
    """

    mode: Mode
    fp_axis: FpAxis
    thresholds: Floats
    fp_rates: Floats
    tp_rates: Floats
    sensitivities: tuple[float, ...]
    score: float
    n_slides: int
    n_negative: int
    n_lesions: int
    n_itc: int
    by_size: tuple[dict[str, Any], ...]
    slides: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    @property
    def at_8_fp(self) -> float:
        """The sensitivity at 8 false positives per slide."""
        return self.sensitivities[-1]

    def sensitivity_at(self, fp_rate: float) -> float:
        """Return the sensitivity at any number of false positives per slide."""
        return float(sensitivities_of(self.fp_rates, self.tp_rates, (fp_rate,))[0])

    def __str__(self) -> str:
        score = "not estimable" if math.isnan(self.score) else f"{self.score:.4f}"
        values = ", ".join(
            f"{value:.3f} at {rate:g}" for rate, value in zip(FP_RATES, self.sensitivities, strict=True)
        )
        axis = "slide" if self.fp_axis == "all" else "slide without tumour"
        return (
            f"{score} ({self.mode}; {self.n_lesions} lesions, {self.n_slides} slides; "
            f"{values} false positives per {axis}){''.join(f'; {note}' for note in self.notes)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything; the curve's first threshold, infinity, is None."""
        return {**super().to_dict(), "at_8_fp": plain(self.at_8_fp), "fp_levels": list(FP_RATES)}

    def rows(self) -> list[dict[str, Any]]:
        """Return the curve, a row for each point."""
        return [
            {
                "mode": self.mode,
                "fp_axis": self.fp_axis,
                "threshold": plain(t),
                "false_positives_per_slide": f,
                "sensitivity": plain(s),
            }
            for t, f, s in zip(
                self.thresholds.tolist(), self.fp_rates.tolist(), self.tp_rates.tolist(), strict=True
            )
        ]


def froc(matches: Iterable[SlideMatch], mode: Mode = "clean", *, fp_axis: FpAxis = "all") -> Froc:
    """Return the FROC curve of slides.

    Parameters
    ----------
    matches : iterable of SlideMatch
        Of every slide, those without detections too: they count.
    mode : "clean" or "official"
        "clean" keeps every threshold, in float64. "official" gives the numbers of Camelyon16's published
        script: it drops the smallest of all scores, rounds true positives to float32, and divides by all
        slides.
    fp_axis : "all" or "tumour_negative"
        False positives per slide of all slides, or on slides without tumour per such slide, as the papers
        word it.

    Returns
    -------
    Froc

    Examples
    --------
    >>> first = fastwsi.evaluation.SlideMatch([0.4], [0.9, 0.2], 2)
    >>> second = fastwsi.evaluation.SlideMatch([0.95, 0.3], [], 0)
    >>> fastwsi.evaluation.froc([first, second]).sensitivities
    (0.0, 0.5, 0.5, 1.0, 1.0, 1.0)
    """
    slides = check_matches(matches, mode, fp_axis)
    found = pooled(slides, mode, fp_axis)
    lesions, divisor = int(found.lesions.sum()), int(found.counted.sum())
    fp_rates, tp_rates = _rates(found, mode, lesions, divisor)
    sensitivities = sensitivities_of(fp_rates, tp_rates, FP_RATES)
    notes = _notes(fp_rates, tp_rates, lesions)
    for note in notes:
        warnings.warn(note, FrocWarning, stacklevel=2)
    return Froc(
        mode,
        fp_axis,
        np.concatenate([[np.inf], found.thresholds[: len(fp_rates) - 1]]),
        fp_rates,
        tp_rates,
        tuple(sensitivities.tolist()),
        float(sensitivities.mean()),
        len(slides),
        sum(not match.tumour for match in slides),
        lesions,
        sum(len(match.tp_scores) - match.n_lesions for match in slides),
        _by_size(slides, found, mode, len(fp_rates) - 1),
        tuple(match.row() for match in slides),
        notes,
    )


def check_matches(matches: Iterable[SlideMatch], mode: str, fp_axis: str) -> Sequence[SlideMatch]:
    """Return slides as a list, given a mode and an axis that there are, and that they have.

    Examples
    --------
    >>> len(check_matches([fastwsi.evaluation.SlideMatch([], [], 0)], "clean", "all"))
    1
    """
    slides: list[Any] = list(matches) if hasattr(matches, "__iter__") else [None]
    if not all(isinstance(each, SlideMatch) for each in slides):
        got = type(matches).__name__
        raise TypeError(f"matches: got {got}, expected SlideMatch objects, one for each slide")
    if mode not in MODES:
        raise ValueError(f"mode: got {mode!r}, expected one of {', '.join(MODES)}")
    if fp_axis not in FP_AXES:
        raise ValueError(f"fp_axis: got {fp_axis!r}, expected one of {', '.join(FP_AXES)}")
    if not slides:
        raise ValueError("matches: got no slides, expected at least one")
    if mode == "official" and fp_axis != "all":
        raise ValueError(
            f"fp_axis: got {fp_axis!r}, expected 'all': the official script divides by all slides"
        )
    if fp_axis == "tumour_negative" and all(match.tumour for match in slides):
        raise ValueError("fp_axis: got 'tumour_negative' and no slide without tumour, expected 'all'")
    return slides


def sensitivities_of(fp_rates: Floats, tp_rates: Floats, levels: Sequence[float]) -> Floats:
    """Return sensitivities at levels of a curve whose rates rise; where it is upright, its upper end.

    Examples
    --------
    >>> sensitivities_of(np.array([0, 1.0, 1.0]), np.array([0, 0.5, 1.0]), (0.5, 1, 2)).tolist()
    [0.25, 1.0, 1.0]
    """
    return np.asarray(np.interp(levels, fp_rates, tp_rates))


def _rates(found: Pooled, mode: Mode, lesions: int, divisor: int) -> tuple[Floats, Floats]:
    """Return the curve from (0, 0) on."""
    count = len(found.thresholds)
    fps = np.bincount(found.fp_at, minlength=count)[:count].cumsum()
    tps = np.bincount(found.tp_at, minlength=count)[:count].cumsum()
    if mode == "official" and not found.unfound.any() and count:
        # Missed lesions and ITC are scores of 0 to the script, and the smallest score is no threshold.
        fps, tps = fps[:-1], tps[:-1]
    elif mode == "official" and count and found.thresholds[-1] == 0:
        fps, tps = fps[:-1], tps[:-1]  # false positives of score 0
    sensitivity = tps / lesions if lesions else np.full(len(tps), np.nan)
    start = np.zeros(1) if lesions else np.full(1, np.nan)
    return np.concatenate([np.zeros(1), fps / divisor]), np.concatenate([start, sensitivity])


def _notes(fp_rates: Floats, tp_rates: Floats, lesions: int) -> tuple[str, ...]:
    if not lesions:
        return ("no lesions: there is no sensitivity",)
    if fp_rates[-1] < FP_RATES[-1] and tp_rates[-1] < 1:
        note = (
            f"the curve ends at {fp_rates[-1]:.3g} false positives per slide: a lower threshold of detection "
            "might find more lesions before 8"
        )
        return (note,)
    return ()


def _by_size(
    slides: Sequence[SlideMatch], found: Pooled, mode: Mode, kept: int
) -> tuple[dict[str, Any], ...]:
    """Return sensitivities by size class, where classes are known; of the first ``kept`` thresholds."""
    scores: dict[str, list[float]] = {size: [] for size in SIZES}
    for match in slides:
        assert match.itc_scores is not None
        itc = iter(match.itc_scores.tolist())
        for size, score in zip(match.sizes, match.tp_scores.tolist(), strict=False):
            scores[size].append(next(itc, 0.0) if size == "itc" else score)
    false = np.sort(found.thresholds[found.fp_at])
    rows = []
    for size, values in scores.items():
        if not values:
            continue
        own = np.sort(values)
        thresholds = found.thresholds[:kept]
        if mode == "official":
            own = own.astype(np.float32).astype(np.float64)
        if size == "itc":  # whose scores are no thresholds of the curve
            thresholds = np.union1d(thresholds, own[own > 0])[::-1]
        asked = thresholds.astype(np.float32).astype(np.float64) if mode == "official" else thresholds
        fp_rates = (len(false) - np.searchsorted(false, thresholds)) / found.counted.sum()
        tp_rates = (len(own) - np.searchsorted(own, asked)) / len(own)
        at = sensitivities_of(np.append(0.0, fp_rates), np.append(0.0, tp_rates), FP_RATES)
        rows.append({"size": size, "lesions": len(values), "sensitivities": at.tolist()})
    return tuple(rows)
