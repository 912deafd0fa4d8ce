"""The area under the ROC curve and the curve, against pairs counted one by one and scikit-learn."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluation.scored import scored, slides
from fastwsi.evaluation.roc import check_scores, double_ranks, roc_auc_score, roc_curve
from reference import roc as reference


@given(scored())
def test_equals_counted_pairs(sample):
    labels, scores = sample
    assert roc_auc_score(labels, scores) == pytest.approx(reference.auc(labels, scores), abs=1e-14)


@pytest.mark.parametrize(("decimals", "shift"), [(None, 1.0), (1, 1.0), (0, 0.3), (None, -2.0)])
def test_equals_scikit_learn(decimals, shift):
    metrics = pytest.importorskip("sklearn.metrics")
    labels, scores = slides(1, 700, shift, decimals)
    assert roc_auc_score(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-13)
    found = roc_curve(labels, scores)
    fpr, tpr, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_array_equal(found.thresholds, thresholds)
    np.testing.assert_allclose(found.true_positive_rates, tpr, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.false_positive_rates, fpr, rtol=0, atol=1e-15)


@given(scored(), st.randoms(use_true_random=False))
def test_not_a_bit_changes_with_order_or_a_monotone_transform(sample, random):
    labels, scores = sample
    order = random.sample(range(len(labels)), len(labels))
    area = roc_auc_score(labels, scores)
    assert roc_auc_score(labels[order], scores[order]) == area
    ranks = np.unique(scores, return_inverse=True)[1]
    assert roc_auc_score(labels, np.exp(ranks / 7) - 5) == area


@given(scored())
def test_swapped_labels_and_turned_scores(sample):
    labels, scores = sample
    area = roc_auc_score(labels, scores)
    assert roc_auc_score(~labels, scores) == pytest.approx(1 - area, abs=1e-15)
    assert roc_auc_score(~labels, -scores) == area


@given(scored())
def test_area_of_the_curve_is_the_auc(sample):
    labels, scores = sample
    found = roc_curve(labels, scores)
    x, y = found.false_positive_rates, found.true_positive_rates
    assert np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) == pytest.approx(found.auc, abs=1e-14)
    assert found.auc == roc_auc_score(labels, scores)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    for k, threshold in enumerate(found.thresholds):
        tp, fp, _, _ = reference.thresholded(labels, scores, threshold)
        assert (found.true_positives[k], found.false_positives[k]) == (tp, fp)


def test_by_hand():
    # Pairs won: 0.4 beats 0.1, ties 0.4, loses to 0.7; 0.9 beats all. (1.5 + 3) / 6
    labels, scores = [0, 1, 0, 1, 0], [0.1, 0.4, 0.4, 0.9, 0.7]
    assert roc_auc_score(labels, scores) == 0.75
    found = roc_curve(labels, scores)
    assert found.thresholds.tolist() == [math.inf, 0.9, 0.7, 0.4, 0.1]
    assert found.true_positives.tolist() == [0, 1, 1, 2, 2]
    assert found.false_positives.tolist() == [0, 0, 1, 2, 3]
    assert double_ranks(np.array([3.0, 1.0, 3.0, 3.0, 2.0])).tolist() == [8, 2, 8, 8, 4]


def test_zeros_of_both_signs_are_tied():
    assert roc_auc_score([1, 0], [0.0, -0.0]) == 0.5


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1, 1]])
def test_a_class_that_is_absent(labels):
    scores = np.arange(len(labels))
    assert math.isnan(roc_auc_score(labels, scores))
    found = roc_curve(labels, scores)
    assert math.isnan(found.auc)
    assert np.isnan(found.true_positive_rates).all() == (1 not in labels)
    assert np.isnan(found.false_positive_rates).all() == (0 not in labels)
    assert "not estimable" in repr(found)
    assert json.loads(found.to_json())["auc"] is None


def test_kinds_of_arrays():
    labels, scores = [0, 1, 0, 1], [0.25, 0.5, 0.5, 0.75]
    for given_labels in (labels, np.array(labels, bool), np.array(labels, float), torch.tensor(labels)):
        for given_scores in (
            scores,
            tuple(scores),
            np.array(scores, np.float16),
            torch.tensor(scores, requires_grad=True),
            torch.tensor(scores).bfloat16(),
            np.array(scores)[::-1][::-1],
            (np.array(scores) * 4).astype(np.uint8),
        ):
            assert roc_auc_score(given_labels, given_scores) == 0.875


def test_values_are_float64():
    flags, values = check_scores(torch.tensor([True, False]), np.array([1, 2], np.float32))
    assert flags.tolist() == [True, False]
    assert (flags.dtype, values.dtype) == (np.dtype(bool), np.dtype(np.float64))


WRONG = [
    ([0, 2], [0.1, 0.2], ValueError, r"^labels: got 2 at 1, expected only 0 and 1$"),
    ([0, -1], [0.1, 0.2], ValueError, r"^labels: got -1 at 1, expected"),
    ([0, math.nan], [0.1, 0.2], ValueError, r"^labels: got nan at 1, expected"),
    (["0", "1"], [0.1, 0.2], TypeError, r"^labels: got .*U1, expected 0 and 1, or bool$"),
    ([0, None], [0.1, 0.2], TypeError, r"^labels: got object, expected"),
    ([[0], [1]], [0.1, 0.2], ValueError, r"^labels: got shape \(2, 1\), expected one dimension$"),
    (1, [0.1, 0.2], TypeError, r"^labels: got int, expected one dimension$"),
    ([[0], [1, 0]], [0.1, 0.2], TypeError, r"^labels: got list, expected an array"),
    ([0, 1], [0.1, math.nan], ValueError, r"^scores: got nan at 1, expected finite numbers$"),
    ([0, 1], [math.inf, 0.1], ValueError, r"^scores: got inf at 0, expected finite numbers$"),
    ([0, 1], [0.1, 0.2, 0.3], ValueError, r"^scores: got 3 values, expected 2, one for each label$"),
    ([0, 1], [0.1, "0.2"], TypeError, r"^scores: got .*, expected finite numbers$"),
    ([0, 1], [0.1, 1j], TypeError, r"^scores: got complex128, expected finite numbers$"),
    ([0, 1], np.ones((2, 2)), ValueError, r"^scores: got shape \(2, 2\), expected one dimension$"),
    ([0, 1], np.ma.masked_array([0.1, 0.2], [0, 1]), TypeError, r"^scores: got a masked array"),
    ([0, 1], torch.ones(2).to_sparse(), TypeError, r"^scores: got a sparse"),
    ([0, 1], torch.ones(2, device="meta"), TypeError, r"^scores: got a tensor on meta, expected .* CPU$"),
    ([0, 1], np.array([np.finfo(np.longdouble).max, 0]), ValueError, r"^scores: got .*, expected finite"),
]


@pytest.mark.parametrize(("labels", "scores", "kind", "text"), WRONG)
@pytest.mark.parametrize("function", [roc_auc_score, roc_curve, check_scores])
def test_refused(function, labels, scores, kind, text):
    if isinstance(scores, np.ndarray) and scores.dtype == np.longdouble and np.longdouble(0).nbytes == 8:
        pytest.skip("no number here is larger than float64's")
    with pytest.raises(kind, match=text):
        function(labels, scores)


def test_curve_saves(tmp_path):
    found = roc_curve([0, 1, 0, 1], [0.25, 0.5, 0.5, 0.75])
    assert repr(found) == "<Roc AUC 0.8750, 2 positive, 2 negative, 4 points>"
    found.save(tmp_path / "roc.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "roc.csv").read_text())))
    assert [row["thresholds"] for row in rows] == ["", "0.75", "0.5", "0.25"]
    assert [int(row["true_positives"]) for row in rows] == [0, 1, 2, 2]
    assert [float(row["false_positive_rates"]) for row in rows] == [0, 0, 0.5, 1]
    assert json.loads(found.to_json())["positives"] == 2
