"""Confusion matrices, metrics at a threshold and operating points, against scikit-learn and by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluation.scored import scored, slides
from fastwsi.evaluation.classification import binary_metrics, confusion_matrix, operating_point
from fastwsi.evaluation.intervals import wilson_interval
from fastwsi.evaluation.roc import roc_auc_score
from reference import roc as reference

SCORES = [0.1, 0.3, 0.6, 0.4, 0.8, 0.9]
LABELS = [0, 0, 0, 1, 1, 1]
STAGES = ["pN0", "pN1", "pN2"]


class TestConfusion:
    TRUTH = ("pN0", "pN0", "pN0", "pN1", "pN1", "pN2")
    PREDICTED = ("pN0", "pN0", "pN1", "pN1", "pN0", "pN1")

    def test_by_hand(self):
        found = confusion_matrix(self.TRUTH, self.PREDICTED)
        assert found.labels == ("pN0", "pN1", "pN2")
        assert found.counts.tolist() == [[2, 1, 0], [1, 1, 0], [0, 1, 0]]
        assert found.accuracy == 0.5
        assert found.recall == {"pN0": 2 / 3, "pN1": 0.5, "pN2": 0}
        assert found.balanced_accuracy == pytest.approx((2 / 3 + 0.5) / 3, abs=1e-15)
        assert found.precision["pN0"] == 2 / 3
        assert found.precision["pN1"] == 1 / 3
        assert math.isnan(found.precision["pN2"])  # never predicted
        assert found.specificity == {"pN0": 2 / 3, "pN1": 0.5, "pN2": 1}
        assert found.f1 == {"pN0": 4 / 6, "pN1": 2 / 5, "pN2": 0}

    def test_intervals(self):
        found = confusion_matrix(self.TRUTH, self.PREDICTED)
        assert found.interval("accuracy") == wilson_interval(3, 6)
        assert found.interval("recall", "pN0", confidence=0.9) == wilson_interval(2, 3, confidence=0.9)
        assert found.interval("precision", "pN1") == wilson_interval(1, 3)
        assert found.interval("specificity", "pN2") == wilson_interval(5, 5)
        assert not found.interval("precision", "pN2").estimable
        with pytest.raises(ValueError, match=r"^metric: got 'f1', expected one of"):
            found.interval("f1", "pN0")
        with pytest.raises(ValueError, match=r"^label: got None, expected one of \['pN0'"):
            found.interval("recall")

    @pytest.mark.filterwarnings("ignore:A single label was found")
    @given(st.lists(st.tuples(st.sampled_from(STAGES), st.sampled_from(STAGES)), min_size=1, max_size=40))
    def test_equals_scikit_learn(self, pairs):
        metrics = pytest.importorskip("sklearn.metrics")
        truth, predicted = zip(*pairs, strict=True)
        found = confusion_matrix(truth, predicted, labels=STAGES)
        np.testing.assert_array_equal(found.counts, metrics.confusion_matrix(truth, predicted, labels=STAGES))
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            truth, predicted, labels=STAGES, zero_division=np.nan
        )
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
            np.testing.assert_allclose(list(getattr(found, name).values()), values, atol=1e-15)
        assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, predicted), abs=1e-15)
        if set(predicted) <= set(truth):
            expected = metrics.balanced_accuracy_score(truth, predicted)
            assert found.balanced_accuracy == pytest.approx(expected, abs=1e-14)

    def test_a_person_can_read_it(self):
        found = confusion_matrix(self.TRUTH, self.PREDICTED)
        assert repr(found).splitlines() == [
            "<Confusion accuracy 0.5000 of 6, balanced accuracy 0.3889",
            r"truth \ predicted  pN0  pN1  pN2",
            "pN0                  2    1    0",
            "pN1                  1    1    0",
            "pN2                  0    1    0>",
        ]

    def test_saves(self):
        found = confusion_matrix([0, 1, 1], [0, 1, 0])
        plain = json.loads(found.to_json())
        assert plain["labels"] == [0, 1]
        assert plain["counts"] == [[1, 0], [1, 1]]
        assert plain["recall"] == {"0": 1, "1": 0.5}
        assert found.to_csv().splitlines() == [
            "truth,predicted 0,predicted 1,recall,precision,specificity,f1",
            f"0,1,0,1.0,0.5,0.5,{2 / 3}",
            f"1,1,1,0.5,1.0,1.0,{2 / 3}",
        ]

    def test_kinds_of_labels(self):
        for truth, predicted in (
            (np.array([2, 10]), torch.tensor([2, 2])),
            (iter([np.int64(2), 10]), (2, 2)),
        ):
            found = confusion_matrix(truth, predicted)
            assert found.labels == (2, 10)
            assert found.counts.tolist() == [[1, 0], [1, 0]]
        assert confusion_matrix([True, False], np.array([True, True])).labels == (False, True)
        assert confusion_matrix(["a", 1], ["a", "a"]).labels == (1, "a")

    def test_a_fixed_set_keeps_its_order(self):
        found = confusion_matrix(["b"], ["a"], labels=["b", "c", "a"])
        assert found.counts.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
        assert math.isnan(found.recall["c"])
        assert found.balanced_accuracy == 0

    def test_of_nothing(self):
        for labels in (None, ["a", "b"]):
            found = confusion_matrix([], [], labels)
            assert math.isnan(found.accuracy)
            assert math.isnan(found.balanced_accuracy)
            assert not found.interval("accuracy").estimable

    @pytest.mark.parametrize(
        ("truth", "predicted", "labels", "kind", "text"),
        [
            (["a"], ["a", "b"], None, ValueError, r"^predicted: got 2 values, expected 1"),
            (
                ["a", "b"],
                ["a", "c"],
                ["a", "b"],
                ValueError,
                r"^predicted: got 'c' at 1, expected one of \['a'",
            ),
            (["a", ""], ["a", "a"], None, ValueError, r"^truth: got nothing at 1, expected one of"),
            ([1, 2], [1, math.nan], None, ValueError, r"^predicted: got nothing at 1, expected one of"),
            ([0, 1], ["0", "1"], None, ValueError, r"^labels: got .*, expected each .* to read differently$"),
            (["a"], ["a"], ["a", "a"], ValueError, r"^labels: got \['a', 'a'\], expected"),
            ("ab", ["a", "b"], None, TypeError, r"^truth: got 'ab', expected a list or an array$"),
            ([["a"]], [["a"]], None, TypeError, r"^truth: got \['a'\], expected texts, numbers or bools$"),
            (
                np.ones((2, 2)),
                [1, 1],
                None,
                ValueError,
                r"^truth: got shape \(2, 2\), expected one dimension$",
            ),
        ],
    )
    def test_refused(self, truth, predicted, labels, kind, text):
        with pytest.raises(kind, match=text):
            confusion_matrix(truth, predicted, labels)


class TestBinary:
    @given(scored(), st.floats(-4, 4))
    def test_counts_one_by_one(self, sample, threshold):
        labels, scores = sample
        found = binary_metrics(labels, scores, threshold)
        tp, fp, tn, fn = reference.thresholded(labels, scores, threshold)
        counts = found.true_positives, found.false_positives, found.true_negatives, found.false_negatives
        assert counts == (tp, fp, tn, fn)
        assert found.auc == roc_auc_score(labels, scores)
        assert found.auc_hard == pytest.approx(found.balanced_accuracy, abs=1e-15)
        assert found.interval("accuracy").estimate == found.accuracy == (tp + tn) / len(labels)
        assert found.interval("recall") == wilson_interval(tp, tp + fn)
        assert found.interval("specificity") == wilson_interval(tn, tn + fp)
        assert found.interval("precision").estimable == (tp + fp > 0) == (not math.isnan(found.precision))

    def test_equals_scikit_learn(self):
        metrics = pytest.importorskip("sklearn.metrics")
        labels, scores = slides(1, 400, decimals=1)
        hits = scores >= 0.5
        found = binary_metrics(labels, scores)
        expected = {
            "accuracy": metrics.accuracy_score(labels, hits),
            "balanced_accuracy": metrics.balanced_accuracy_score(labels, hits),
            "precision": metrics.precision_score(labels, hits),
            "recall": metrics.recall_score(labels, hits),
            "specificity": metrics.recall_score(labels, hits, pos_label=0),
            "f1": metrics.f1_score(labels, hits),
            "auc": metrics.roc_auc_score(labels, scores),
            "auc_hard": metrics.roc_auc_score(labels, hits),
        }
        assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, abs=1e-13)

    def test_the_threshold_itself_is_positive(self):
        assert binary_metrics(LABELS, SCORES, 0.8).recall == 2 / 3
        assert binary_metrics(LABELS, SCORES, math.nextafter(0.8, 1)).recall == 1 / 3
        assert binary_metrics(LABELS, SCORES, math.inf).recall == 0
        assert binary_metrics(LABELS, SCORES, -math.inf).specificity == 0

    def test_what_is_undefined_is_nan(self):
        names = (
            "accuracy",
            "balanced_accuracy",
            "precision",
            "recall",
            "specificity",
            "f1",
            "auc",
            "auc_hard",
        )

        def undefined(*arguments):
            found = binary_metrics(*arguments)
            assert json.loads(found.to_json())["auc"] is None or not math.isnan(found.auc)
            return {name for name in names if math.isnan(getattr(found, name))}

        assert undefined(LABELS, SCORES, 1) == {"precision"}
        assert undefined([0, 0], [0.1, 0.2]) == set(names) - {"accuracy", "specificity"}
        assert undefined([1, 1], [0.1, 0.2]) == set(names) - {"accuracy", "recall", "f1"}
        assert undefined([], []) == set(names)

    def test_a_person_can_read_it(self):
        assert repr(binary_metrics(LABELS, SCORES)) == (
            "<BinaryMetrics AUC 0.8889; at 0.5: accuracy 0.6667, balanced accuracy 0.6667, precision 0.6667, "
            "recall 0.6667, specificity 0.6667, f1 0.6667>"
        )

    def test_refused(self):
        with pytest.raises(ValueError, match=r"^threshold: got nan, expected a number$"):
            binary_metrics(LABELS, SCORES, math.nan)
        with pytest.raises(TypeError, match=r"^threshold: got '0.5', expected a number$"):
            binary_metrics(LABELS, SCORES, "0.5")
        with pytest.raises(ValueError, match=r"^metric: got 'f1', expected one of \['accuracy'"):
            binary_metrics(LABELS, SCORES).interval("f1")


RATE = st.floats(0, 1)


class TestOperatingPoint:
    @staticmethod
    def every(labels, scores):
        """(threshold, sensitivity, specificity, accuracy) of every threshold, the highest first."""
        found = []
        for threshold in [math.inf, *sorted(set(scores.tolist()), reverse=True)]:
            tp, fp, tn, fn = reference.thresholded(labels, scores, threshold)
            found.append((threshold, tp / (tp + fn), tn / (tn + fp), (tp + tn) / len(labels)))
        return found

    @given(scored(), RATE)
    def test_equals_a_search(self, sample, rate):
        labels, scores = sample
        points = self.every(labels, scores)
        most = max(point[3] for point in points)
        expected = {
            "maximise": next(point for point in points if point[3] == most),
            "sensitivity": next(point for point in points if point[1] >= rate),
            "specificity": next(point for point in reversed(points) if point[2] >= rate),
        }
        for name, value in (("maximise", "accuracy"), ("sensitivity", rate), ("specificity", rate)):
            found = operating_point(labels, scores, **{name: value})
            shares = found.sensitivity.estimate, found.specificity.estimate, found.accuracy.estimate
            assert (found.threshold, *shares) == expected[name]

    @given(scored())
    def test_best_balanced_accuracy(self, sample):
        labels, scores = sample
        found = operating_point(labels, scores, maximise="balanced_accuracy")
        sums = [round((point[1] + point[2]) * 132 * 132) for point in self.every(labels, scores)]
        thresholds = [point[0] for point in self.every(labels, scores)]
        reached = found.sensitivity.estimate + found.specificity.estimate
        assert round(reached * 132 * 132) == max(sums)
        assert sums[thresholds.index(found.threshold)] == max(sums)

    def test_ties(self):
        # 5 of 6 are right at 0.8 and at 0.4: the higher has fewer positives.
        found = operating_point(LABELS, SCORES, maximise="accuracy")
        assert (found.threshold, found.accuracy) == (0.8, wilson_interval(5, 6))
        # No slide is lost between 0.8 and 0.4 of a specificity of 2/3.
        assert operating_point(LABELS, SCORES, specificity=2 / 3).threshold == 0.4
        assert operating_point(LABELS, SCORES, specificity=0.7).threshold == 0.8
        assert operating_point(LABELS, SCORES, sensitivity=2 / 3).threshold == 0.8
        assert operating_point(LABELS, SCORES, sensitivity=0.7).threshold == 0.4
        # Shares as they are written: 0.95 is 19 of 20.
        labels, scores = np.arange(40) >= 20, np.r_[0:20, 0:20]
        assert operating_point(labels, scores, sensitivity=0.95).threshold == 1
        assert operating_point(labels, scores, specificity=0.95).threshold == 19

    def test_where_nothing_is_to_be_positive(self):
        found = operating_point([0, 0, 1], [1, 9, 5], specificity=1)
        assert found.threshold == math.inf
        assert (found.sensitivity.estimate, found.specificity.estimate) == (0, 1)
        assert "threshold inf" in repr(found)
        assert json.loads(found.to_json())["threshold"] is None
        assert operating_point([0, 0, 1], [1, 9, 5], sensitivity=0).threshold == math.inf
        assert operating_point([0, 0, 0], [1, 9, 5], maximise="accuracy").threshold == math.inf

    def test_intervals_and_rows(self):
        found = operating_point(LABELS, SCORES, sensitivity=1, confidence=0.9)
        assert found.rule == "sensitivity >= 1"
        assert found.specificity == wilson_interval(2, 3, confidence=0.9)
        (row,) = found.rows()
        assert row["specificity_low"] == found.specificity.low
        assert row["accuracy"] == 5 / 6
        assert repr(found).startswith("<OperatingPoint sensitivity >= 1: threshold 0.4; sensitivity 1.0000 [")

    @pytest.mark.parametrize(
        ("labels", "arguments", "kind", "text"),
        [
            (LABELS, {}, ValueError, r"^rule: got \{\}, expected exactly one of maximise="),
            (
                LABELS,
                {"sensitivity": 0.9, "specificity": 0.9},
                ValueError,
                r"^rule: got .*, expected exactly one",
            ),
            (LABELS, {"maximise": "f1"}, ValueError, r"^maximise: got 'f1', expected 'accuracy' or"),
            (LABELS, {"sensitivity": 95}, ValueError, r"^sensitivity: got 95, expected 0 to 1$"),
            (LABELS, {"specificity": "high"}, TypeError, r"^specificity: got 'high', expected a number$"),
            ([0] * 6, {"sensitivity": 0.9}, ValueError, r"^labels: got no positives, expected some$"),
            ([1] * 6, {"specificity": 0.9}, ValueError, r"^labels: got no negatives, expected some$"),
            (
                [1] * 6,
                {"maximise": "balanced_accuracy"},
                ValueError,
                r"^labels: got 6 positives and 0 negatives",
            ),
        ],
    )
    def test_refused(self, labels, arguments, kind, text):
        with pytest.raises(kind, match=text):
            operating_point(labels, SCORES, **arguments)

    def test_nothing_to_choose_from(self):
        with pytest.raises(
            ValueError, match=r"^labels: got 0 positives and 0 negatives, expected at least one$"
        ):
            operating_point([], [], maximise="accuracy")
