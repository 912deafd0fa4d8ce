"""Bootstrap intervals, against resamples evaluated one by one."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.scored import scored, slides
from fastwsi.evaluation import bootstrap
from fastwsi.evaluation.bootstrap import bootstrap_interval, paired_bootstrap
from fastwsi.evaluation.delong import delong_interval, paired_delong
from fastwsi.evaluation.roc import roc_auc_score
from reference import roc as reference


@settings(max_examples=30)
@given(scored(least=2), st.booleans())
def test_equals_resamples_one_by_one(sample, stratified):
    labels, scores = sample
    settled = {"replicates": 40, "stratified": stratified, "seed": 3}
    found = bootstrap_interval(labels, scores, **settled)
    seen = []

    def area(flags, values):
        seen.append((flags, values))
        return reference.auc(flags, values)

    slow = bootstrap_interval(labels, scores, statistic=area, **settled)
    assert (found.low, found.estimate, found.high) == pytest.approx(
        (slow.low, slow.estimate, slow.high), abs=1e-12, nan_ok=True
    )
    one_class = sum(flags.all() or not flags.any() for flags, _ in seen)
    assert found.skipped == slow.skipped == one_class
    assert len(seen) == 1 + found.replicates == 41
    known = set(zip(labels.tolist(), scores.tolist(), strict=True))
    for flags, values in seen:
        assert len(flags) == len(labels)
        assert set(zip(flags.tolist(), values.tolist(), strict=True)) <= known
        if stratified:
            assert flags.sum() == labels.sum()
            assert found.skipped == 0


def test_percentiles():
    labels, scores = slides(1, 80)
    areas = []

    def area(flags, values):
        areas.append(reference.auc(flags, values))
        return areas[-1]

    found = bootstrap_interval(labels, scores, statistic=area, replicates=99, confidence=0.9)
    assert found.estimate == areas[0]
    ordered = sorted(areas[1:])  # 5% of the way through 99 values lies between the 5th and the 6th
    assert found.low == pytest.approx(ordered[4] + 0.9 * (ordered[5] - ordered[4]), abs=1e-12)
    assert found.high == pytest.approx(ordered[93] + 0.1 * (ordered[94] - ordered[93]), abs=1e-12)


@pytest.mark.parametrize("stratified", [False, True])
def test_agrees_with_delong_on_many_slides(stratified):
    labels, scores = slides(2, 600)
    found = bootstrap_interval(labels, scores, replicates=10_000, stratified=stratified)
    expected = delong_interval(labels, scores)
    assert found.low == pytest.approx(expected.low, abs=0.003)
    assert found.high == pytest.approx(expected.high, abs=0.003)
    assert found.estimate == roc_auc_score(labels, scores)


@pytest.mark.parametrize("stratified", [False, True])
def test_seed_decides_and_nothing_else(monkeypatch, stratified):
    labels, scores = slides(3, 61, decimals=1)
    settled = {"replicates": 300, "stratified": stratified}
    found = bootstrap_interval(labels, scores, **settled)
    other = bootstrap_interval(labels, scores, seed=1, **settled)
    assert (found.low, found.high) != (other.low, other.high)
    order = np.random.default_rng(0).permutation(len(labels))
    assert bootstrap_interval(labels[order], scores[order], **settled) == found
    assert bootstrap_interval(labels, np.exp(scores), **settled) == found
    paired = paired_bootstrap(labels, scores, -scores, **settled)
    for numbers in (1, 61, 200, 997, 10**6):
        monkeypatch.setattr(bootstrap, "_BATCH", numbers)
        assert bootstrap_interval(labels, scores, **settled) == found
        assert paired_bootstrap(labels, scores, -scores, **settled) == paired


def test_what_a_seed_draws():
    """The recipe: PCG64 of the first child of the seed, slides by label and score, percentiles."""
    found = bootstrap_interval([0, 0, 0, 1, 1], [0.1, 0.5, 0.3, 0.4, 0.8], replicates=500, seed=7)
    draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence(7).spawn(1)[0])).integers(
        0, 5, (500, 5)
    )
    labels, scores = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.3, 0.5, 0.4, 0.8])
    areas = np.array([reference.auc(labels[row], scores[row]) for row in draws])
    kept = areas[~np.isnan(areas)]
    assert found.skipped == 500 - len(kept) > 0
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(kept, [0.025, 0.975])), abs=1e-12)


def test_resamples_of_one_class_are_counted_and_told():
    labels, scores = [0, 0, 0, 0, 0, 0, 1, 1], [1, 4, 2, 3, 6, 5, 4.5, 7]
    found = bootstrap_interval(labels, scores, replicates=5000)
    share = (6 / 8) ** 8 + (2 / 8) ** 8
    assert found.skipped == pytest.approx(5000 * share, abs=5 * math.sqrt(5000 * share * (1 - share)))
    assert f"{found.skipped} of 5000 resamples have one class only" in repr(found)
    assert found.estimable
    assert bootstrap_interval(labels, scores, stratified=True).note == ""


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        ([0, 0, 1], "one positive"),
        ([0, 1, 1], "one negative"),
        ([1, 1, 1], "no negatives"),
        ([], "no slides"),
    ],
)
@pytest.mark.parametrize("stratified", [False, True])
def test_not_estimable(labels, note, stratified):
    scores = [0.2, 0.3, 0.1][: len(labels)]
    found = bootstrap_interval(labels, scores, stratified=stratified)
    assert not found.estimable
    assert found.note == note
    assert (found.replicates, found.skipped) == (0, 0)
    assert math.isnan(found.estimate) == (len(set(labels)) < 2)
    assert "not estimable" in repr(found)
    if labels:
        assert paired_bootstrap(labels, scores, scores[::-1], stratified=stratified).note == note


def test_perfect_separation_is_uninformative():
    found = bootstrap_interval([0] * 20 + [1] * 20, range(40), replicates=100)
    assert (found.low, found.estimate, found.high) == (1, 1, 1)
    assert "uninformative" in repr(found)


def test_any_statistic():
    labels, scores = slides(4, 100)

    def accuracy(flags, values):
        return ((values >= 0.5) == flags).mean()

    found = bootstrap_interval(labels, scores, statistic=accuracy, replicates=400)
    assert found.estimate == pytest.approx(((scores >= 0.5) == labels).mean(), abs=1e-15)
    error = math.sqrt(found.estimate * (1 - found.estimate) / 100)
    assert found.low == pytest.approx(found.estimate - 1.96 * error, abs=0.03)
    assert found.high == pytest.approx(found.estimate + 1.96 * error, abs=0.03)
    assert found.skipped == 0


def test_a_statistic_without_values():
    labels, scores = slides(5, 30)
    never = bootstrap_interval(labels, scores, statistic=lambda flags, values: math.nan, replicates=10)
    assert not never.estimable
    assert math.isnan(never.estimate)
    calls = iter(range(11))
    once = bootstrap_interval(
        labels, scores, replicates=10, statistic=lambda flags, values: 0.5 if next(calls) == 0 else math.inf
    )
    assert (once.estimate, once.replicates, once.skipped) == (0.5, 10, 10)
    assert not once.estimable
    assert "10 of 10 resamples have no value" in repr(once)


def test_pairs_are_drawn_together():
    labels, a = slides(6, 300)
    b = a + np.random.default_rng(7).normal(size=300)
    found = paired_bootstrap(labels, a, b, replicates=4000)
    expected = paired_delong(labels, a, b).difference
    assert found.estimate == pytest.approx(expected.estimate, abs=1e-14)
    assert found.low == pytest.approx(expected.low, abs=0.006)
    assert found.high == pytest.approx(expected.high, abs=0.006)
    same = paired_bootstrap(labels, a, np.exp(a), replicates=50)
    assert (same.low, same.estimate, same.high) == (0, 0, 0)
    assert "uninformative" in same.note


def test_saves():
    found = bootstrap_interval([0, 0, 1, 1], [1, 3, 2, 4], replicates=100, seed=9)
    plain = json.loads(found.to_json())
    assert (plain["estimate"], plain["replicates"], plain["seed"]) == (0.75, 100, 9)
    assert plain["skipped"] == found.skipped
    assert found.rows() == [plain]


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"statistic": "f1"}, ValueError, r"^statistic: got 'f1', expected 'auc' or a function"),
        ({"statistic": lambda flags, values: "0.5"}, TypeError, r"^statistic's value: got '0.5', expected"),
        ({"replicates": 0}, ValueError, r"^replicates: got 0, expected at least 1$"),
        ({"replicates": 10.5}, TypeError, r"^replicates: got 10.5, expected an integer$"),
        ({"confidence": 95}, ValueError, r"^confidence: got 95, expected"),
        ({"seed": -1}, ValueError, r"^seed: got -1, expected at least 0$"),
        ({"seed": None}, TypeError, r"^seed: got None, expected an integer$"),
    ],
)
def test_refused(arguments, kind, text):
    with pytest.raises(kind, match=text):
        bootstrap_interval([0, 0, 1, 1], [1, 3, 2, 4], **arguments)
