"""pN stages by the rules of Camelyon17."""

from __future__ import annotations

import importlib
import itertools
from collections import Counter

import pytest

from fastwsi.evaluation.staging import PATIENT_STAGES, SLIDE_STAGES, pn_stage, stage_patients

NODES = {f"patient_004_node_{node}": "negative" for node in range(5)}


def test_spelled_as_data_does():
    module = importlib.import_module("fastwsi.data.camelyon17")  # its package has a function of this name
    assert (SLIDE_STAGES, PATIENT_STAGES) == (module.SLIDE_STAGES, module.PATIENT_STAGES)


def test_all_1024_combinations():
    found = Counter(pn_stage(labels) for labels in itertools.product(SLIDE_STAGES, repeat=5))
    assert [found[stage] for stage in PATIENT_STAGES] == [1, 31, 211, 600, 181]


@pytest.mark.parametrize(
    ("labels", "stage"),
    [
        ("negative negative negative negative negative", "pN0"),
        ("negative negative itc negative negative", "pN0(i+)"),
        ("itc itc itc itc itc", "pN0(i+)"),
        ("micro negative negative negative negative", "pN1mi"),
        ("micro itc itc itc itc", "pN1mi"),
        ("micro micro micro micro micro", "pN1mi"),  # however many
        ("macro negative negative negative negative", "pN1"),
        ("macro itc itc itc itc", "pN1"),  # ITC are no positive nodes
        ("macro micro micro itc negative", "pN1"),  # three
        ("macro micro micro micro itc", "pN2"),  # four
        ("macro macro macro negative itc", "pN1"),
        ("macro macro macro macro macro", "pN2"),
        ("Macro NORMAL normal ITC Negative", "pN1"),
    ],
)
def test_rules(labels, stage):
    for order in (labels.split(), labels.split()[::-1]):
        assert pn_stage(order) == stage
        assert pn_stage(iter(order)) == stage


def test_other_numbers_of_nodes():
    assert pn_stage(["macro"], nodes=None) == "pN1"
    assert pn_stage(["negative"] * 20 + ["macro"] * 9, nodes=None) == "pN2"
    assert pn_stage(["micro"] * 12, nodes=12) == "pN1mi"
    with pytest.raises(ValueError, match="got 10 positive nodes, which is pN3"):
        pn_stage(["macro"] + ["micro"] * 9, nodes=None)


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        (["itc"] * 4, {}, ValueError, "slide_labels: got 4 of them, expected 5"),
        (["itc"] * 6, {}, ValueError, "slide_labels: got 6 of them, expected 5"),
        ([], {"nodes": None}, ValueError, "slide_labels: got none"),
        (["itc"] * 4 + ["huge"], {}, ValueError, "slide_labels: got 'huge', expected one of negative, itc"),
        (["itc"] * 4 + [3], {}, ValueError, "slide_labels: got 3, expected one of"),
        (["itc"] * 5, {"nodes": 5.0}, TypeError, "nodes: got 5.0"),
        ("macro", {}, TypeError, "slide_labels: got 'macro', expected a list"),
        ({"macro", "itc"}, {"nodes": None}, TypeError, "expected a list"),  # equal ones would be one
        (None, {}, TypeError, "slide_labels: got None"),
    ],
)
def test_errors(labels, options, error, message):
    with pytest.raises(error, match=message):
        pn_stage(labels, **options)


class TestPatients:
    def test_stages(self):
        other = {f"patient_001_node_{node}": "Micro" for node in range(5)}
        found = stage_patients({**NODES, **other, "patient_004": "pN2", "patient_004_node_3": "macro"})
        assert list(found.items()) == [("patient_001", "pN1mi"), ("patient_004", "pN1")]
        assert stage_patients({}) == {}

    def test_missing_nodes_are_named(self):
        slides = {name: label for name, label in NODES.items() if name[-1] not in "13"}
        complete = {f"patient_001_node_{node}": "itc" for node in range(5)}
        with pytest.raises(ValueError, match=r"slides: got patient_004 without node 1, 3, expected") as error:
            stage_patients({**slides, **complete})
        assert "patient_001" not in str(error.value)
        assert stage_patients(slides, nodes=None) == {"patient_004": "pN0"}
        with pytest.raises(ValueError, match="patient_004 with node 5, expected nodes 0 to 4"):
            stage_patients({**NODES, "patient_004_node_5": "itc"})

    @pytest.mark.parametrize(
        ("slides", "error", "message"),
        [
            ({"slide_1": "macro"}, ValueError, "slides: got the name 'slide_1', expected one such as"),
            (
                {**NODES, "patient_004_node_1": "pN1"},
                ValueError,
                r"slides\['patient_004_node_1'\]: got 'pN1'",
            ),
            ({**NODES, "patient_004_node_01": "itc"}, ValueError, "node 1 of patient_004 twice"),
            (["macro"], TypeError, "slides: got list, expected a mapping"),
        ],
    )
    def test_errors(self, slides, error, message):
        with pytest.raises(error, match=message):
            stage_patients(slides)
