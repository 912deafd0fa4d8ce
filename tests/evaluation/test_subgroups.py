"""Each group of positives against all negatives."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.scored import scored, slides
from fastwsi.evaluation.delong import delong_interval
from fastwsi.evaluation.intervals import wilson_interval
from fastwsi.evaluation.roc import roc_auc_score
from fastwsi.evaluation.subgroups import subgroup_auc
from reference import roc as reference

LABELS = [0, 0, 0, 1, 1, 1, 1, 1]
SCORES = [0.1, 0.3, 0.6, 0.4, 0.8, 0.9, 0.7, 0.2]
SIZES = ["", "", "", "micro", "macro", "macro", "micro", "ITC"]


@given(scored(least=2), st.data())
def test_each_group_against_all_negatives(sample, data):
    labels, scores = sample
    groups = np.array(data.draw(st.lists(st.sampled_from("abc"), min_size=len(labels), max_size=len(labels))))
    found = subgroup_auc(labels, scores, groups)
    assert [each.group for each in found.groups] == sorted(set(groups[labels]))
    for each in found.groups:
        kept = ~labels | (groups == each.group)
        assert each.auc == delong_interval(labels[kept], scores[kept])
        assert each.auc.estimate == pytest.approx(reference.auc(labels[kept], scores[kept]), abs=1e-14)
        assert each.auc.estimable == (each.positives >= 2)
        assert (each.positives, each.negatives) == (np.sum(labels & kept), np.sum(~labels))
    # Weighed by their positives the areas of the groups make the area of all.
    whole = sum(each.positives * each.auc.estimate for each in found.groups) / labels.sum()
    assert whole == pytest.approx(roc_auc_score(labels, scores), abs=1e-13)


def test_by_hand():
    found = subgroup_auc(LABELS, SCORES, SIZES)
    assert {each.group: each.auc.estimate for each in found.groups} == {
        "ITC": 1 / 3,
        "macro": 1,
        "micro": 5 / 6,
    }
    assert found["ITC"].auc.note == "one positive"
    assert "perfect separation" in found["macro"].auc.note
    assert found.ungrouped == 0
    with pytest.raises(KeyError, match="giant"):
        found["giant"]


def test_recall_of_each_group():
    found = subgroup_auc(LABELS, SCORES, SIZES, threshold=0.7, confidence=0.9)
    assert found["macro"].recall == wilson_interval(2, 2, confidence=0.9)
    assert found["micro"].recall == wilson_interval(1, 2, confidence=0.9)
    assert found["ITC"].recall == wilson_interval(0, 1, confidence=0.9)
    assert subgroup_auc(LABELS, SCORES, SIZES)["ITC"].recall is None


def test_method_and_confidence_are_passed_on():
    labels, scores = slides(1, 90)
    found = subgroup_auc(labels, scores, [1] * 90, confidence=0.8, method="logit")
    assert found[1].auc == delong_interval(labels, scores, confidence=0.8, method="logit")


def test_what_a_column_says_of_negatives_is_not_looked_at():
    one = subgroup_auc(LABELS, SCORES, SIZES)
    for filler in ("macro", None, math.nan, 5):
        assert subgroup_auc(LABELS, SCORES, [filler] * 3 + SIZES[3:]) == one


@pytest.mark.parametrize("nothing", [None, math.nan, ""])
def test_positives_without_a_group_are_counted(nothing):
    found = subgroup_auc(LABELS, SCORES, [*SIZES[:6], nothing, nothing])
    assert found.ungrouped == 2
    assert [each.group for each in found.groups] == ["macro", "micro"]
    assert "2 positives without a group" in repr(found)


def test_columns_of_numbers():
    found = subgroup_auc(LABELS, SCORES, np.array([0, 0, 0, 10, 9, 9, 10, 10]))
    assert [each.group for each in found.groups] == [9, 10]
    assert json.loads(found.to_json())["groups"][1]["positives"] == 3
    flags = subgroup_auc(LABELS, SCORES, np.array(SIZES) == "macro")
    assert [each.group for each in flags.groups] == [False, True]


def test_no_negatives_and_no_positives():
    (alone,) = subgroup_auc([1, 1], [0.1, 0.2], ["a", "a"]).groups
    assert math.isnan(alone.auc.estimate)
    assert alone.auc.note == "no negatives"
    empty = subgroup_auc([0, 0], [0.1, 0.2], ["a", "b"])
    assert empty.groups == ()
    assert "0 groups" in repr(empty)


def test_a_person_can_read_it():
    assert repr(subgroup_auc(LABELS, SCORES, SIZES, threshold=0.5)).splitlines() == [
        "<Subgroups 3 groups",
        "group  positives  negatives     AUC          interval            recall at 0.5",
        "ITC            1          3  0.3333     not estimable  0.0000 [0.0000, 0.7935]",
        "macro          2          3  1.0000     uninformative  1.0000 [0.3424, 1.0000]",
        "micro          2          3  0.8333  [0.3714, 1.0000]  0.5000 [0.0945, 0.9055]>",
    ]
    assert str(subgroup_auc(LABELS, SCORES, SIZES)["micro"]).startswith("micro: 2 against 3, AUC 0.8333 [")


def test_csv():
    text = subgroup_auc(LABELS, SCORES, SIZES, threshold=0.5).to_csv()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["group"] for row in rows] == ["ITC", "macro", "micro"]
    assert (rows[0]["low"], rows[0]["note"]) == ("", "one positive")
    assert float(rows[2]["recall_low"]) == wilson_interval(1, 2).low
    assert "recall" not in subgroup_auc(LABELS, SCORES, SIZES).to_csv()


@pytest.mark.parametrize(
    ("groups", "arguments", "kind", "text"),
    [
        (["a"], {}, ValueError, r"^groups: got 1 values, expected 8, one for each label$"),
        ("abababab", {}, TypeError, r"^groups: got 'abababab', expected a list or an array$"),
        ([("a",)] * 8, {}, TypeError, r"^groups: got \('a',\), expected texts, numbers or bools$"),
        (SIZES, {"threshold": math.nan}, ValueError, r"^threshold: got nan, expected a finite number$"),
        (SIZES, {"confidence": 0}, ValueError, r"^confidence: got 0, expected more than 0"),
    ],
)
def test_refused(groups, arguments, kind, text):
    with pytest.raises(kind, match=text):
        subgroup_auc(LABELS, SCORES, groups, **arguments)
