"""DeLong's variance, intervals and tests, against the definitions step by step."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evaluation.scored import scored, slides
from fastwsi.evaluation.delong import delong_interval, delong_test, log10_two_sided, paired_delong
from fastwsi.evaluation.roc import roc_auc_score
from reference import roc as reference

Z95 = 1.959963984540054


@given(scored(least=2))
def test_variance_equals_the_definition(sample):
    labels, scores = sample
    found = delong_test(labels, scores, against=0.5)
    variance = reference.covariance(labels, scores, scores)
    assert found.auc == pytest.approx(reference.auc(labels, scores), abs=1e-14)
    if math.isnan(found.z):
        assert variance == pytest.approx(0, abs=1e-28)
    elif found.z:
        assert ((found.auc - 0.5) / found.z) ** 2 == pytest.approx(variance, rel=1e-12)


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_interval_of_many_slides(decimals):
    labels, scores = slides(2, 150, decimals=decimals)
    found = delong_interval(labels, scores)
    error = math.sqrt(reference.covariance(labels, scores, scores))
    assert found.low == pytest.approx(found.estimate - Z95 * error, abs=1e-12)
    assert found.high == pytest.approx(found.estimate + Z95 * error, abs=1e-12)
    narrow = delong_interval(labels, scores, confidence=0.5)
    assert narrow.high - narrow.estimate == pytest.approx(0.6744897501960817 * error, abs=1e-12)


def test_logit_by_the_formula():
    labels, scores = slides(3, 120, shift=2.5)
    found = delong_interval(labels, scores, method="logit")
    area = found.estimate
    error = math.sqrt(reference.covariance(labels, scores, scores)) / (area * (1 - area))
    for bound, side in ((found.low, -1), (found.high, 1)):
        assert math.log(bound / (1 - bound)) == pytest.approx(
            math.log(area / (1 - area)) + side * Z95 * error, abs=1e-11
        )
    assert 0 < found.low < area < found.high < 1


@given(scored(least=2), st.randoms(use_true_random=False))
def test_not_a_bit_changes_with_order_or_a_monotone_transform(sample, random):
    labels, scores = sample
    order = random.sample(range(len(labels)), len(labels))
    ranks = np.unique(scores, return_inverse=True)[1]
    for method in ("normal", "logit"):
        found = delong_interval(labels, scores, method=method)
        assert delong_interval(labels[order], scores[order], method=method) == found
        assert delong_interval(labels, np.exp(ranks / 7), method=method) == found


@given(scored(least=2))
def test_swapped_labels_mirror_the_interval(sample):
    labels, scores = sample
    for method in ("normal", "logit"):
        found, mirrored = (delong_interval(each, scores, method=method) for each in (labels, ~labels))
        assert mirrored.estimate == pytest.approx(1 - found.estimate, abs=1e-14)
        assert mirrored.low == pytest.approx(1 - found.high, abs=1e-12)
        assert mirrored.high == pytest.approx(1 - found.low, abs=1e-12)


def test_by_hand():
    # Negatives 1 2, positives 1.5 3 4. Placements of the positives: 1/2 1 1, of the negatives: 1 2/3.
    # Variances: (1/9 + 1/36 + 1/36) / 2 = 1/12 and 1/18; 1/12 / 3 + 1/18 / 2 = 1/18.
    found = delong_interval([0, 0, 1, 1, 1], [1, 2, 1.5, 3, 4])
    assert found.estimate == pytest.approx(5 / 6, abs=1e-15)
    assert found.low == pytest.approx(5 / 6 - Z95 / math.sqrt(18), abs=1e-12)
    assert found.high == 1
    tested = delong_test([0, 0, 1, 1, 1], [1, 2, 1.5, 3, 4])
    assert tested.z == pytest.approx(1 / 3 * math.sqrt(18), rel=1e-14)
    assert tested.p == pytest.approx(math.erfc(1), rel=1e-14)


@pytest.mark.parametrize(
    ("labels", "note", "estimable"),
    [
        ([0, 0, 0, 1], "one positive", True),
        ([1, 1, 0, 1], "one negative", True),
        ([0, 1], "one positive and one negative", True),
        ([0, 0], "no positives", False),
        ([1], "one positive and no negatives", False),
        ([], "no positives and no negatives", False),
    ],
)
def test_not_estimable(labels, note, estimable):
    scores = [0.3, 0.1, 0.2, 0.25][: len(labels)]
    for method in ("normal", "logit"):
        found = delong_interval(labels, scores, method=method)
        assert not found.estimable
        assert found.note == note
        assert "not estimable" in repr(found)
        assert math.isnan(found.estimate) != estimable
        if estimable:
            assert found.estimate == roc_auc_score(labels, scores)
    tested = delong_test(labels, scores)
    assert math.isnan(tested.p)
    assert tested.note == note
    assert note in repr(tested)
    paired = paired_delong(labels, scores, scores[::-1])
    assert not paired.difference.estimable
    assert paired.difference.note == note
    assert [math.isnan(each) for each in (paired.z, paired.p, paired.log10_p)] == [True] * 3
    assert json.loads(paired.to_json())["p"] is None


@pytest.mark.parametrize("method", ["normal", "logit"])
def test_without_variance_the_interval_is_uninformative(method):
    for labels, area in (([0, 0, 1, 1], 1.0), ([1, 1, 0, 0], 0.0)):
        found = delong_interval(labels, [1, 2, 3, 4], method=method)
        assert (found.low, found.estimate, found.high) == (area, area, area)
        assert "perfect separation" in found.note
        assert "uninformative" in repr(found)
        tested = delong_test(labels, [1, 2, 3, 4])
        assert math.isnan(tested.p)
        assert "variance of 0" in repr(tested)
    tied = delong_interval([0, 0, 1, 1, 1], [7.0] * 5, method=method)
    assert (tied.low, tied.estimate, tied.high) == (0.5, 0.5, 0.5)
    assert "tied" in tied.note
    assert "uninformative" in tied.note
    same = delong_test([0, 0, 1, 1, 1], [7.0] * 5)
    assert (same.z, same.p, same.log10_p) == (0, 1, 0)


def test_intervals_stay_within_bounds():
    labels = [0] * 10 + [1] * 10
    scores = [*range(10), *range(9, 19)]
    normal, logit = (delong_interval(labels, scores, method=method) for method in ("normal", "logit"))
    assert normal.high == 1
    assert logit.high < 1
    assert logit.low < normal.low < normal.estimate == logit.estimate == 0.995


@given(scored(least=2, columns=2))
def test_paired_equals_the_definition(sample):
    labels, a, b = sample
    found = paired_delong(labels, a, b)
    variance = reference.variance_of_difference(labels, a, b)
    difference = reference.auc(labels, a) - reference.auc(labels, b)
    assert found.auc_a == roc_auc_score(labels, a)
    assert found.auc_b == roc_auc_score(labels, b)
    assert found.difference.estimate == pytest.approx(difference, abs=1e-12)
    if math.isnan(found.z) or found.z == 0:
        assert variance == pytest.approx(0, abs=1e-12) or difference == pytest.approx(0, abs=1e-12)
    else:
        assert found.z == pytest.approx(difference / math.sqrt(variance), rel=1e-9)
        assert found.p == pytest.approx(math.erfc(abs(found.z) / math.sqrt(2)), rel=1e-12)
        error = math.sqrt(variance)
        assert found.difference.low == pytest.approx(max(-1, difference - Z95 * error), abs=1e-12)
        assert found.difference.high == pytest.approx(min(1, difference + Z95 * error), abs=1e-12)


@given(scored(least=2, columns=2))
def test_paired_the_other_way_round(sample):
    labels, a, b = sample
    one, other = paired_delong(labels, a, b), paired_delong(labels, b, a)
    assert other.difference.estimate == -one.difference.estimate
    assert (other.difference.low, other.difference.high) == (-one.difference.high, -one.difference.low)
    np.testing.assert_equal(other.p, one.p)


@given(scored(least=2))
def test_the_same_ranks_do_not_differ(sample):
    labels, scores = sample
    assume(len(np.unique(scores / 3 + 1)) == len(np.unique(scores)))
    found = paired_delong(labels, scores, scores / 3 + 1)
    assert (found.difference.low, found.difference.estimate, found.difference.high) == (0, 0, 0)
    assert (found.z, found.p, found.log10_p) == (0, 1, 0)
    assert "same way" in found.difference.note


def test_a_difference_without_variance_has_no_test():
    found = paired_delong([0, 0, 1, 1], [1, 2, 3, 4], [5, 5, 5, 5])
    assert found.difference.estimate == 0.5
    assert math.isnan(found.p)
    assert "uninformative" in repr(found)
    assert "no test" in repr(found)


def test_p_is_told_where_it_underflows():
    rng = np.random.default_rng(5)
    labels = np.arange(200_000) % 2
    found = delong_test(labels, rng.normal(size=len(labels)) + 2 * labels)
    assert found.p == 0
    assert -1e6 < found.log10_p < -308
    assert f"10^{found.log10_p:.1f}" in repr(found)
    paired = paired_delong(labels, rng.normal(size=len(labels)) + 2 * labels, rng.normal(size=len(labels)))
    assert paired.p == 0
    assert math.isfinite(paired.log10_p)
    assert f"10^{paired.log10_p:.1f}" in repr(paired)


@pytest.mark.parametrize("z", [0.0, 1e-9, 0.1, 0.7, 0.71, 1, 1.96, 5, 20, 28.2, 28.3, 37, 40, 100, 1e4, 1e8])
def test_log10_p_equals_scipys(z):
    stats = pytest.importorskip("scipy.stats")
    exact = (stats.norm.logsf(z) + math.log(2)) / math.log(10)
    # Close to p = 1 scipy's logarithm of the tail has lost what log(2) takes away.
    assert log10_two_sided(z) == pytest.approx(exact, rel=1e-13, abs=1e-15)
    assert log10_two_sided(-z) == log10_two_sided(z)


def test_log10_p_near_0():
    slope = math.sqrt(2 / math.pi) / math.log(10)  # of log10 of 1 - z sqrt(2 / pi)
    assert log10_two_sided(1e-9) == pytest.approx(-1e-9 * slope, rel=1e-8)


@given(st.floats(0, 60), st.floats(0, 60))
def test_log10_p_falls(a, b):
    low, high = sorted((a, b))
    assert log10_two_sided(high) <= log10_two_sided(low) <= 0


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"confidence": 1}, ValueError, r"^confidence: got 1, expected"),
        ({"confidence": "95%"}, TypeError, r"^confidence: got '95%', expected"),
        ({"method": "hanley"}, ValueError, r"^method: got 'hanley', expected 'normal' or 'logit'$"),
    ],
)
def test_refused(arguments, kind, text):
    with pytest.raises(kind, match=text):
        delong_interval([0, 0, 1, 1], [1, 3, 2, 4], **arguments)


def test_refused_in_pairs_and_tests():
    with pytest.raises(ValueError, match=r"^scores_b: got 1 values, expected 4"):
        paired_delong([0, 0, 1, 1], [1, 2, 3, 4], [1])
    with pytest.raises(ValueError, match=r"^scores_a: got nan at 0"):
        paired_delong([0, 0, 1, 1], [math.nan, 2, 3, 4], [1])
    with pytest.raises(ValueError, match=r"^against: got 1.5, expected 0 to 1$"):
        delong_test([0, 0, 1, 1], [1, 2, 3, 4], against=1.5)


def test_rows():
    found = paired_delong([0, 0, 0, 1, 1, 1], [1, 3, 6, 4, 8, 9], [3, 8, 5, 4, 6, 7])
    (row,) = found.rows()
    assert row["difference"] == found.difference.estimate
    assert (row["low"], row["high"]) == (found.difference.low, found.difference.high)
    assert row["auc_a"] == pytest.approx(8 / 9)
    assert found.to_csv().startswith("auc_a,auc_b,z,p,log10_p,positives,negatives,difference,low,high")


def test_many_tiles_fit_whole_numbers():
    """Squares of placements summed over millions would not fit int64 at once."""
    labels = np.arange(1_200_000) % 2
    scores = np.random.default_rng(6).integers(0, 50, len(labels)) + labels
    found = delong_test(labels, scores)
    # The same placements in floating point, from the counts of each score.
    counts = np.array([np.bincount(scores[labels == each], minlength=51) for each in (0, 1)])
    n, m = counts.sum(axis=1)
    above = (np.cumsum(counts[0]) - counts[0] / 2) / n
    below = 1 - (np.cumsum(counts[1]) - counts[1] / 2) / m
    variance = sum(
        np.average((x - np.average(x, weights=w)) ** 2, weights=w) / (w.sum() - 1)
        for x, w in ((above, counts[1]), (below, counts[0]))
    )
    assert found.z == pytest.approx(
        (np.average(above, weights=counts[1]) - 0.5) / math.sqrt(variance), rel=1e-9
    )
