"""Quadratic weighted kappa: against hand counts, scikit-learn, and what must hold of any answers."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fastwsi.evaluation.kappa import quadratic_kappa_score, score_patients
from fastwsi.evaluation.staging import PATIENT_STAGES

answers = st.integers(2, 6).flatmap(
    lambda k: st.tuples(
        st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=40)
    )
)
TRUTH = {"patient_000": "pN0", "patient_001": "pN0(i+)", "patient_002": "pN1", "patient_003": "pN2"}


class TestScore:
    def test_by_hand(self):
        # Squared distances: 0, 1, 1, 0. By chance, each of a, a, b, c against each of a, b, c, c:
        # 2 (0 + 1 + 4 + 4) + (1 + 0 + 1 + 1) + (4 + 1 + 0 + 0) = 26 over 4 answers.
        found = quadratic_kappa_score(["a", "a", "b", "c"], ["a", "b", "c", "c"], ["a", "b", "c"])
        assert found == pytest.approx(1 - 2 / (26 / 4), abs=1e-15)

    def test_a_class_that_never_occurs_keeps_others_apart(self):
        truth, predicted = [0, 0, 3, 3, 2], [0, 2, 3, 2, 2]
        # 0 + 4 + 0 + 1 + 0 against 2 (0 + 3·4 + 9) + 2 (9 + 3·1 + 0) + (4 + 0 + 1) over 5.
        assert quadratic_kappa_score(truth, predicted, range(5)) == pytest.approx(1 - 5 / (71 / 5))
        # Without class 1 in between, 0 and 2 are neighbours: 1 + 1 against 2 (3 + 4) + 2 (4 + 3) + (1 + 1).
        assert quadratic_kappa_score(truth, predicted, [0, 2, 3]) == pytest.approx(1 - 2 / (30 / 5))

    def test_order_of_labels_counts(self):
        truth, predicted = ["lo", "mid", "hi"], ["lo", "mid", "mid"]
        assert quadratic_kappa_score(truth, predicted, ["lo", "mid", "hi"]) > quadratic_kappa_score(
            truth, predicted, ["hi", "lo", "mid"]
        )

    @pytest.mark.parametrize("value", [0, 1, 2])
    def test_one_class_throughout(self, value):
        assert quadratic_kappa_score([value] * 3, [value] * 3, range(3)) == 1.0
        # The same constant on either side, but another one: chance does as well.
        assert quadratic_kappa_score([value] * 3, [(value + 1) % 3] * 3, range(3)) == 0.0

    def test_ends(self):
        assert quadratic_kappa_score([0, 4, 2], [0, 4, 2], range(5)) == 1.0
        assert quadratic_kappa_score([0, 4], [4, 0], range(5)) == -1.0

    @given(answers)
    def test_as_scikit_learn(self, drawn):
        metrics = pytest.importorskip("sklearn.metrics")
        k, pairs = drawn
        truth, predicted = zip(*pairs, strict=True)
        assume(len({*truth, *predicted}) > 1)  # 0 / 0: scikit-learn warns and returns NaN
        expected = metrics.cohen_kappa_score(truth, predicted, weights="quadratic", labels=list(range(k)))
        assert quadratic_kappa_score(truth, predicted, range(k)) == pytest.approx(expected, abs=1e-12)

    @given(answers, st.randoms(use_true_random=False))
    def test_symmetries(self, drawn, chance):
        k, pairs = drawn
        truth, predicted = zip(*pairs, strict=True)
        score = quadratic_kappa_score(truth, predicted, range(k))
        assert -1 <= score <= 1
        assert quadratic_kappa_score(predicted, truth, range(k)) == score
        assert quadratic_kappa_score(truth, predicted, range(k)[::-1]) == score
        assert quadratic_kappa_score(truth * 3, predicted * 3, range(k)) == pytest.approx(score, abs=1e-12)
        mixed = random.Random(chance.random()).sample(pairs, len(pairs))
        assert quadratic_kappa_score(*zip(*mixed, strict=True), range(k)) == score
        assert (score == 1) == (truth == predicted)

    def test_kinds_of_values(self):
        import torch

        expected = quadratic_kappa_score([0, 1, 2, 2], [0, 2, 2, 1], [0, 1, 2])
        for kind in (np.array, torch.tensor, tuple):
            assert quadratic_kappa_score(kind([0, 1, 2, 2]), kind([0, 2, 2, 1]), kind([0, 1, 2])) == expected
        labels = [None, ("a", 1), 2.5]
        values = [labels[i] for i in (0, 1, 2, 2)], [labels[i] for i in (0, 2, 2, 1)]
        assert quadratic_kappa_score(*values, labels) == expected
        assert quadratic_kappa_score(iter([0, 1, 2, 2]), iter([0, 2, 2, 1]), iter([0, 1, 2])) == expected

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (([0, 7], [0, 1], [0, 1]), ValueError, "truth: got 7, expected one of 0, 1"),
            (([0, 1], ["x", 1], [0, 1]), ValueError, "predicted: got 'x', expected one of 0, 1"),
            (([0, [1]], [0, 1], [0, 1]), ValueError, r"truth: got \[1\], expected one of"),
            (([0, float("nan")], [0, 1], [0, 1]), ValueError, "truth: got nan"),
            (([0, 1], [0], [0, 1]), ValueError, "predicted: got 1 values, expected 2"),
            (([], [], [0, 1]), ValueError, "truth: got no values"),
            (([0], [0], [0]), ValueError, "labels: got .0., expected two classes at least"),
            (([0], [0], [0, 1, 0]), ValueError, "labels: got 0 twice"),
            (([0], [0], {0, 1}), TypeError, "labels: got set, expected a sequence"),
            (([0], [0], [[0], 1]), TypeError, r"labels: got \[0\], expected values that can be"),
            (("01", "01", ["0", "1"]), TypeError, "truth: got str"),
            (({"a": 0}, {"a": 0}, [0, 1]), TypeError, "truth: got dict"),
            ((0, [0], [0, 1]), TypeError, "truth: got int"),
            ((np.array(0), [0], [0, 1]), TypeError, "truth: got a single value"),
        ],
    )
    def test_errors(self, arguments, error, message):
        with pytest.raises(error, match=message):
            quadratic_kappa_score(*arguments)


class TestPatients:
    def test_table_and_slides_among_patients(self):
        nodes = {"patient_000_node_0": "negative", "patient_003_node_1": "macro"}
        predicted = {**TRUTH, "patient_002": "pN2", **nodes}
        found = score_patients({**nodes, **TRUTH}, predicted, replicates=0)
        assert found.patients == 4
        assert found.labels == PATIENT_STAGES
        assert found.table == ((1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0,) * 5, (0, 0, 0, 0, 1), (0, 0, 0, 0, 1))
        # One square of 1, against those of 0, 1, 3, 4 with 0, 1, 4, 4: 33 + 19 + 15 + 25 over 4.
        assert found.kappa == pytest.approx(1 - 1 / (92 / 4))
        assert found.interval is None
        assert (found.missing, found.extra) == ((), ())

    def test_missing_is_an_error_that_names_them(self):
        with pytest.raises(ValueError, match="no stage of patient_001, patient_003, expected") as error:
            score_patients(TRUTH, {"patient_000": "pN0", "patient_002": "pN1"})
        assert "patient_002" not in str(error.value)

    def test_missing_dropped_or_worst(self):
        predicted = {"patient_000": "pN0", "patient_002": "pN1", "patient_150": "pN2"}
        dropped = score_patients(TRUTH, predicted, missing="drop", replicates=0)
        assert (dropped.patients, dropped.kappa) == (2, 1.0)
        worst = score_patients(TRUTH, predicted, missing="worst", replicates=0)
        assert worst.patients == 4
        assert worst.table[1] == (0, 0, 0, 0, 1)  # three stages off rather than one
        assert worst.table[4] == (1, 0, 0, 0, 0)
        for found in (dropped, worst):
            assert found.missing == ("patient_001", "patient_003")
            assert found.extra == ("patient_150",)
            assert "patient_001, patient_003; not asked for: patient_150" in str(found)

    @pytest.mark.parametrize("stage", PATIENT_STAGES)
    def test_worst_is_worst(self, stage):
        others = {"a": "pN0", "b": "pN2", "c": "pN1mi"}
        truth = {**others, "x": stage}
        worst = score_patients(truth, others, missing="worst", replicates=0).table
        places = [PATIENT_STAGES.index(stage), 0, 4, 2]
        distance = sum(n * (i - j) ** 2 for i, row in enumerate(worst) for j, n in enumerate(row))
        assert distance == max((places[0] - j) ** 2 for j in range(5))

    def test_interval(self):
        rng = np.random.default_rng(0)
        truth = {f"patient_{i:03d}": PATIENT_STAGES[j] for i, j in enumerate(rng.integers(0, 5, 100))}
        guesses = np.clip([PATIENT_STAGES.index(s) for s in truth.values()] + rng.integers(-1, 2, 100), 0, 4)
        predicted = {name: PATIENT_STAGES[j] for name, j in zip(truth, guesses, strict=True)}
        found = score_patients(truth, predicted, seed=3)
        # Resampling the patients themselves, one by one.
        pairs = np.array(
            [[PATIENT_STAGES.index(each[name]) for each in (truth, predicted)] for name in truth]
        )
        kappas = [quadratic_kappa_score(*pairs[rng.integers(0, 100, 100)].T, range(5)) for _ in range(2000)]
        assert found.interval.low == pytest.approx(np.quantile(kappas, 0.025), abs=0.01)
        assert found.interval.high == pytest.approx(np.quantile(kappas, 0.975), abs=0.01)
        assert found.interval.low < found.kappa < found.interval.high
        assert (found.interval.replicates, found.interval.seed, found.interval.note) == (2000, 3, "")
        # Neither the order of the patients nor the run matters; the confidence does.
        again = score_patients(dict(reversed(truth.items())), predicted, seed=3)
        assert again == found
        wide = score_patients(truth, predicted, confidence=0.99, seed=3).interval
        assert wide.low < found.interval.low < found.interval.high < wide.high
        assert score_patients(truth, predicted, seed=4).interval.low != found.interval.low

    def test_uninformative_intervals_say_so(self):
        few = score_patients({"a": "pN0", "b": "pN2"}, {"a": "pN0", "b": "pN1"})
        count, told = few.interval.note.split(maxsplit=1)
        assert told == "of 2000 resamples have one class only and count as 1"
        assert 400 < int(count) < 600  # those of a twice: a quarter
        perfect = score_patients(TRUTH, TRUTH)
        assert "uninformative" in perfect.interval.note

    def test_saves(self, tmp_path):
        found = score_patients(TRUTH, {**TRUTH, "patient_002": "pN2"}, replicates=200)
        found.save(tmp_path / "kappa.json")
        saved = json.loads((tmp_path / "kappa.json").read_text())
        assert saved["table"][3] == [0, 0, 0, 0, 1]
        assert saved["interval"]["low"] == found.interval.low
        header, row = found.to_csv().splitlines()
        assert header == "kappa,low,high,patients,missing,extra"
        assert float(row.split(",")[0]) == found.kappa
        assert repr(found).startswith("<PatientKappa 0.9")

    @pytest.mark.parametrize(
        ("truth", "predicted", "options", "error", "message"),
        [
            (
                TRUTH,
                {**TRUTH, "patient_001": "pN9"},
                {},
                ValueError,
                r"predicted\['patient_001'\]: got 'pN9'",
            ),
            (
                {**TRUTH, "patient_001": "micro"},
                TRUTH,
                {},
                ValueError,
                r"truth\['patient_001'\]: got 'micro'",
            ),
            (TRUTH, TRUTH, {"missing": "zero"}, ValueError, "missing: got 'zero'"),
            (TRUTH, TRUTH, {"replicates": -1}, ValueError, "replicates: got -1"),
            (TRUTH, TRUTH, {"confidence": 95}, ValueError, "confidence: got 95"),
            (TRUTH, TRUTH, {"seed": 0.5}, TypeError, "seed: got 0.5"),
            ({}, TRUTH, {}, ValueError, "truth: got none, expected one patient at least"),
            (TRUTH, {}, {"missing": "drop"}, ValueError, "none of the 4 in predicted"),
            (list(TRUTH), TRUTH, {}, TypeError, "truth: got list, expected a mapping"),
        ],
    )
    def test_errors(self, truth, predicted, options, error, message):
        with pytest.raises(error, match=message):
            score_patients(truth, predicted, **options)
