"""Results in files held against small data sets: the numbers of the rooms below, and what is told beside."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fastwsi import data, engine
from fastwsi.evaluation import froc, label_lesions, match_detections, roc_auc_score
from fastwsi.slides import Annotation, Annotations, SlideError, write_asap


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """Four test slides without their slides: two with tumour, two without; and masks of a training slide."""
    root = tmp_path_factory.mktemp("truth")
    for name, (width, height) in {"test_001": (9000, 400), "test_002": (900, 700)}.items():
        corners = np.array(
            [[500, 500], [500 + width, 500], [500 + width, 500 + height], [500, 500 + height]], float
        )
        write_asap(root / f"{name}.xml", Annotations((Annotation("polygon", corners, "_0"),)))
    rows = ["test_001,Tumor,IDC,Macro", "test_002,Tumor,IDC,Micro"]
    rows += [f"test_{i:03d},Normal,None,None" for i in (3, 4)]
    (root / "reference.csv").write_text("\n".join(rows))
    return root


DETECTIONS = {
    "test_001": [(0.9, 1000, 600), (0.95, 5000, 700), (0.3, 100, 4000)],
    "test_002": [(0.4, 900, 900), (0.8, 5, 5)],
    "test_003": [(0.6, 77, 77)],
}


@pytest.fixture
def results(tmp_path):
    for name, points in DETECTIONS.items():
        (tmp_path / f"{name}.csv").write_text("".join(f"{p},{x},{y}\n" for p, x, y in points))
    return tmp_path


def by_hand(truth, mode):
    """What the rooms below make of the same."""
    matches = []
    for record in data.read_truth(truth).records:
        mask = data.lesion_mask(record, mpp=0.243)
        lesions = (
            None if mask is None else label_lesions(mask.pixels, mpp=mask.mpp, downsample=mask.downsample)
        )
        # The mask ends beyond the annotation, not at the slide's edge.
        matches.append(match_detections(DETECTIONS.get(record.name, []), lesions, whole=False))
    return froc(matches, mode)


@pytest.mark.filterwarnings("ignore::fastwsi.evaluation.FrocWarning")
def test_froc_is_that_of_the_room(results, truth):
    done = []
    found = engine.evaluate(
        results, truth, mode="official", replicates=50, progress=lambda *each: done.append(each)
    )
    assert found.froc.mode == "official"
    assert found.froc.sensitivities == by_hand(truth, "official").sensitivities
    assert (found.froc.n_slides, found.froc.n_lesions, found.froc.n_negative) == (4, 2, 2)
    assert found.froc_over_slides.resample == "slides"
    assert found.froc_over_points.replicates == 50
    assert [row["slide"] for row in found.froc.slides] == [f"test_{i:03d}" for i in (1, 2, 3, 4)]
    assert done[-1] == ("test_004", 4, 4)


def test_scores_are_best_detections_where_there_are_none(results, truth):
    found = engine.evaluate(results, truth, mpp=0.243, replicates=50)
    scores = {row["slide"]: row["score"] for row in found.slide_scores}
    assert scores == {"test_001": 0.95, "test_002": 0.8, "test_003": 0.6, "test_004": 0}
    assert found.auc.estimate == 1
    assert any("each has that of its best detection" in note for note in found.notes)
    assert any(
        "1 slide without a file of detections: taken to have none (test_004)" in n for n in found.notes
    )


def test_scores_of_slides(results, truth):
    (results / "slide_scores.csv").write_text(
        "slide,score\ntest_001,0.2\ntest_002,0.9\ntest_003,0.5\nother,1\n"
    )
    found = engine.evaluate(results, truth, mpp=0.243, replicates=0)
    assert found.auc.estimate == roc_auc_score([1, 1, 0], [0.2, 0.9, 0.5]) == 0.5
    assert found.auc_over_slides is None
    assert found.froc_over_slides is None
    assert any("without a score: no part of AUC (test_004)" in note for note in found.notes)
    assert any("1 slide not in the data set: left out (other)" in note for note in found.notes)
    alone = engine.evaluate(results / "slide_scores.csv", truth, replicates=0)
    assert alone.froc is None
    assert alone.auc == found.auc
    other = results / "others.csv"
    other.write_text("test_001,0.9\ntest_002,0.9\ntest_003,0.5\ntest_004,0.1\n")
    assert engine.evaluate(results, truth, mpp=0.243, replicates=0, scores=other).auc.estimate == 1


def test_subgroups(results, truth):
    found = engine.evaluate(results, truth, mpp=0.243, replicates=0, subgroup="size")
    assert {str(each.group): each.positives for each in found.subgroups.groups} == {"Macro": 1, "Micro": 1}
    with pytest.raises(
        ValueError, match="subgroup: got 'colour', expected one of label, patient, size, split, type"
    ):
        engine.evaluate(results, truth, mpp=0.243, replicates=0, subgroup="colour")


def test_subgroups_by_label(results, truth):
    """As Camelyon17's slides have it: the label is the size."""
    sizes = ("macro", "itc", "negative", "negative")
    records = [replace(r, label=size) for r, size in zip(data.read_truth(truth).records, sizes, strict=True)]
    found = engine.evaluate(
        results, data.SlideSet("sizes", truth, tuple(records)), mpp=0.243, replicates=0, subgroup="label"
    )
    assert {str(each.group) for each in found.subgroups.groups} == {"macro", "itc"}


def test_slides_not_annotated_everywhere_are_no_part_of_froc(results, truth):
    found = data.read_truth(truth)
    records = tuple(
        record.with_remark("some", exhaustive=False) if record.name == "test_002" else record
        for record in found.records
    )
    partly = engine.evaluate(results, data.SlideSet("some", truth, records), mpp=0.243, replicates=0)
    assert (partly.froc.n_slides, partly.froc.n_lesions) == (3, 1)
    assert len(partly.slide_scores) == 4
    assert any("not annotated everywhere: no part of FROC (test_002)" in note for note in partly.notes)


def test_labels_alone(results, truth):
    """Without masks there is the part about slides."""
    records = [
        data.SlideRecord(name, truth / f"{name}.tif", "tumor" if name < "test_003" else "normal", "test")
        for name in ("test_001", "test_002", "test_003")
    ]
    found = engine.evaluate(results, data.SlideSet("labels", truth, tuple(records)), replicates=20)
    assert found.froc is None
    assert found.auc.estimate == 1
    assert "AUC" in repr(found)


def test_what_has_no_part_in_froc_is_told(results, truth):
    """A slide without a label, and one with tumour that nobody has drawn."""
    known = data.read_truth(truth).records
    records = [known[0], replace(known[1], annotation=None), replace(known[2], label=""), known[3]]
    found = engine.evaluate(results, data.SlideSet("some", truth, tuple(records)), mpp=0.243, replicates=0)
    assert [row["slide"] for row in found.froc.slides] == ["test_001", "test_004"]
    assert any(
        "with tumour and neither mask nor annotation: no part of FROC (test_002)" in n for n in found.notes
    )
    assert any("without label, mask and annotation: no part of FROC (test_003)" in n for n in found.notes)


def test_false_positives_beyond_an_annotation_count(results, truth):
    """Without the slide nobody knows where it ends: what is far from the tumour is on it."""
    before = engine.evaluate(results, truth, mpp=0.243, replicates=0).froc
    with (results / "test_001.csv").open("a") as file:
        file.writelines(f"0.99,{50_000 + i},60000\n" for i in range(40))
    after = engine.evaluate(results, truth, mpp=0.243, replicates=0).froc
    assert before.score > 0
    assert after.score == 0
    assert after.slides[0]["false_positives"] == before.slides[0]["false_positives"] + 40


def test_lesions_that_are_all_isolated_cells(tmp_path, truth):
    """Taken to have so small pixels that nothing is longer than 275 µm."""
    (tmp_path / "test_002.csv").write_text("0.9,900,900\n")
    found = engine.evaluate(
        tmp_path, data.SlideSet("one", truth, data.read_truth(truth).records[1:3]), mpp=0.06, replicates=20
    )
    assert np.isnan(found.froc.score)
    assert found.froc.n_itc == 1
    assert found.froc.by_size[0]["sensitivities"] == [1] * 6
    assert "no lesions: there is no sensitivity" in found.notes


def test_official_works_at_level_5(results, truth):
    found = engine.evaluate(results, truth, mode="official", mpp=0.5, replicates=0)
    assert found.mode == found.froc.mode == "official"
    assert any("painted from an annotation" in note for note in found.notes)
    with pytest.raises(ValueError, match="the official script divides by all slides"):
        engine.evaluate(results, truth, mode="official", fp_axis="tumour_negative")


def test_splits(results, truth):
    found = data.read_truth(truth)
    mixed = data.SlideSet(
        "mixed", truth, (*found.records[:3], data.SlideRecord("test_004", truth / "x.tif", "normal", "train"))
    )
    assert engine.evaluate(results, mixed, mpp=0.243, replicates=0).split == "test"
    assert engine.evaluate(results, mixed, mpp=0.243, replicates=0, split="all").froc.n_slides == 4
    with pytest.raises(SlideError, match="no slides of the split 'validation'"):
        engine.evaluate(results, mixed, split="validation")
    with pytest.raises(ValueError, match="split: got 'some'"):
        engine.evaluate(results, mixed, split="some")


def test_results_of_other_slides_are_an_error(tmp_path, truth):
    (tmp_path / "tumor_077.csv").write_text("0.9,1,2\n")
    with pytest.raises(SlideError, match="among the 4 of the split 'test': the results have tumor_077"):
        engine.evaluate(tmp_path, truth)
    (tmp_path / "tumor_077.csv").unlink()
    with pytest.raises(
        SlideError, match=r"no results: neither <slide>\.csv with detections nor slide_scores.csv"
    ):
        engine.evaluate(tmp_path, truth)


def test_saved(results, truth, tmp_path):
    found = engine.evaluate(results, truth, mpp=0.243, replicates=20)
    found.save(tmp_path / "all.json")
    told = json.loads((tmp_path / "all.json").read_text())
    assert told["froc"]["mode"] == "clean"
    assert told["auc"]["method"] == "DeLong"
    found.save(tmp_path / "all.csv")
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines[0].startswith("slide,mode,label,score,tumour,lesions,found")
    assert len(lines) == 5


class TestStages:
    TRUTH = "patient,stage\n" + "".join(
        f"patient_{i:03d}.zip,{stage}\n" for i, stage in enumerate(["pN0", "pN1", "pN2", "pN0(i+)", "pN1mi"])
    )

    def test_patients(self, tmp_path):
        (tmp_path / "stages.csv").write_text(self.TRUTH)
        (tmp_path / "mine.csv").write_text(self.TRUTH)
        assert (
            engine.evaluate_stages(tmp_path / "mine.csv", tmp_path / "stages.csv", replicates=20).kappa == 1
        )
        assert engine.evaluate_stages(tmp_path / "mine.csv", tmp_path, replicates=0).kappa == 1
        (tmp_path / "mine.csv").write_text(self.TRUTH.replace("patient_001.zip,pN1\n", ""))
        with pytest.raises(ValueError, match="patient_001"):
            engine.evaluate_stages(tmp_path / "mine.csv", tmp_path)

    def test_a_folder_without_stages(self, tmp_path):
        (tmp_path / "mine.csv").write_text(self.TRUTH)
        (tmp_path / "empty").mkdir()
        with pytest.raises(SlideError, match="no stages of patients"):
            engine.evaluate_stages(tmp_path / "mine.csv", tmp_path / "empty")

    def test_nodes(self, tmp_path):
        (tmp_path / "stages.csv").write_text("patient_000.zip,pN1\npatient_001,pN0\n")
        rows = [
            f"patient_{p:03d}_node_{n}.tif,{'macro' if p + n == 0 else 'negative'}"
            for p in (0, 1)
            for n in range(5)
        ]
        (tmp_path / "mine.csv").write_text("\n".join(rows))
        assert engine.evaluate_stages(tmp_path / "mine.csv", tmp_path, replicates=0).kappa == 1
