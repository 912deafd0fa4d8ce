"""Intervals of FROC: against resamples drawn and scored one by one."""

from __future__ import annotations

import numpy as np
import pytest

from fastwsi.evaluation import FP_RATES, SlideMatch, froc, froc_interval, label_lesions, match_detections
from reference import froc as reference

pytestmark = pytest.mark.filterwarnings("ignore::fastwsi.evaluation.FrocWarning")


def slides(count=12, seed=0, decimals=2):
    """Slides with several hits on a lesion, and equal scores."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((60, 120), bool)
    mask[5:40, 5:30] = mask[5:40, 60:90] = True
    mask[50, 110] = True  # isolated cells
    lesions = label_lesions(mask)
    made = []
    for i in range(count):
        points = np.c_[
            rng.random(40).round(decimals), rng.integers(0, 120 * 32, 40), rng.integers(0, 60 * 32, 40)
        ]
        made.append(match_detections(points[: rng.integers(0, 41)], lesions if i % 3 else None))
    return made


def drawn_like(seed, replicates, count):
    """What the bootstrap draws: rows of indices."""
    return np.random.default_rng(seed).integers(count, size=(replicates, count))


@pytest.mark.parametrize(
    ("mode", "axis"), [("clean", "all"), ("clean", "tumour_negative"), ("official", "all")]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_over_slides_is_froc_of_each_resample(mode, axis, seed):
    matches = slides(seed=seed)
    found = froc_interval(matches, mode, fp_axis=axis, replicates=60, seed=5, confidence=0.9)
    scores = []
    for row in drawn_like(5, 60, len(matches)):
        resample = [matches[i] for i in row]
        if axis == "tumour_negative" and all(match.tumour for match in resample):
            continue
        one = froc(resample, mode, fp_axis=axis)
        scores.append([one.score, *one.sensitivities])
    low, high = np.nanquantile(scores, [0.05, 0.95], axis=0)
    assert found.score.low == pytest.approx(low[0], abs=1e-12)
    assert found.score.high == pytest.approx(high[0], abs=1e-12)
    for i, each in enumerate(found.sensitivities):
        assert (each.low, each.high) == pytest.approx((low[i + 1], high[i + 1]), abs=1e-12)
    assert found.score.estimate == pytest.approx(froc(matches, mode, fp_axis=axis).score, abs=1e-12)


@pytest.mark.parametrize("mode", ["clean", "official"])
@pytest.mark.parametrize("seed", [0, 1])
def test_over_points_is_froc_of_each_resample(mode, seed):
    """False positives first, by falling score, then hits lesion by lesion, then those on isolated cells."""
    matches = slides(seed=seed, decimals=6)
    found = froc_interval(matches, mode, resample="points", replicates=40, seed=3)
    false = [(score, i) for i, match in enumerate(matches) for score in match.fp_scores]
    false.sort(key=lambda each: -each[0])
    hits = [
        (i, lesion, score)
        for i, match in enumerate(matches)
        for lesion, score in sorted(
            zip(match.hit_lesions, match.hit_scores, strict=True), key=lambda each: (each[0], -each[1])
        )
    ]
    total = len(false) + len(hits) + sum(match.on_itc for match in matches)
    scores = []
    for row in drawn_like(3, 40, total):
        fps = [[] for _ in matches]
        best = [np.zeros(len(match.tp_scores)) for match in matches]
        for point in row:
            if point < len(false):
                score, i = false[point]
                fps[i].append(score)
            elif point < len(false) + len(hits):
                i, lesion, score = hits[point - len(false)]
                best[i][lesion] = max(best[i][lesion], score)
        resample = [
            SlideMatch(fp, tp, match.n_lesions) for fp, tp, match in zip(fps, best, matches, strict=True)
        ]
        scores.append(froc(resample, mode).score)
    low, high = np.quantile(scores, [0.025, 0.975])
    assert (found.score.low, found.score.high) == pytest.approx((low, high), abs=1e-12)


def test_official_estimates_are_the_scripts():
    matches = slides(seed=4)
    slow = [
        (match.fp_scores.tolist(), match.tp_scores.astype(np.float32), match.n_lesions) for match in matches
    ]
    found = froc_interval(matches, "official", replicates=10)
    assert [each.estimate for each in found.sensitivities] == reference.score(slow).tolist()


def test_many_false_positives_are_cut_where_nothing_is_asked():
    """More than 8 per slide: what lies beyond must not matter, what stands at 8 must."""
    rng = np.random.default_rng(0)
    few = [SlideMatch(rng.random(30).round(1), [0.5, 0.05], 2), SlideMatch(rng.random(40).round(1), [], 0)]
    more = [SlideMatch([*few[0].fp_scores, *np.full(500, 0.01)], [0.5, 0.05], 2), few[1]]
    a, b = (froc_interval(each, replicates=50) for each in (few, more))
    assert [x.low for x in a.sensitivities] == [x.low for x in b.sensitivities]
    assert a.score.estimate == froc(few).score


def test_nothing_to_resample():
    missed = froc_interval([SlideMatch([], [0.0], 1), SlideMatch([], [], 0)], replicates=200)
    assert (missed.score.low, missed.score.high) == (0, 0)
    assert 20 < missed.skipped < 100  # a quarter of the resamples has no lesion
    assert "resamples without lesions or slides left out" in repr(missed)
    none = froc_interval([SlideMatch([0.5], [], 0)], replicates=10)
    assert not none.score.estimable
    assert none.skipped == 10
    points = froc_interval([SlideMatch([], [0.0], 1)], replicates=10, resample="points")
    assert points.score.high == 0


def test_batches_change_nothing(monkeypatch):
    matches = slides()
    for resample in ("slides", "points"):
        whole = froc_interval(matches, replicates=50, resample=resample)
        monkeypatch.setattr("fastwsi.evaluation.froc_bootstrap._CELLS", 1000)
        assert froc_interval(matches, replicates=50, resample=resample).to_dict() == whole.to_dict()
        monkeypatch.undo()


def test_arguments_and_rows():
    matches = slides()
    with pytest.raises(ValueError, match="resample: got 'lesions', expected 'slides' or 'points'"):
        froc_interval(matches, resample="lesions")
    with pytest.raises(ValueError, match="confidence: got 1"):
        froc_interval(matches, confidence=1)
    rows = froc_interval(matches, replicates=5).rows()
    assert [row["false_positives_per_slide"] for row in rows] == ["score", *FP_RATES]
    other = froc_interval(matches, replicates=5, seed=1)
    assert other.to_dict() != froc_interval(matches, replicates=5).to_dict()
