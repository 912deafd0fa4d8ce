"""`fastwsi export` and what becomes of results further on, as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cli.running import run
from fastwsi import data
from fastwsi.engine import SlideResult


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth") / "slides"
    done = run("synth", folder, "--slides", 4, "--test", 3, "--size", "1600x1200", "--mpp", "1.0", "-q")
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def results(truth, tmp_path):
    """What a scan that knows the truth writes: scores of 1 where there is tumour, else 0.25."""
    for record in data.read_truth(truth).of("test").records:
        cells = np.full((75, 100), 0.25, np.float32)
        mask = data.lesion_mask(record)
        if mask is not None:
            places = np.argwhere(mask.pixels) * mask.downsample / 16
            cells[tuple(places.astype(int).T)] = 1
        made = SlideResult.of(
            cells, name=record.name, scale=16, slide_size=(1600, 1200), radius=4, threshold=0.5, mpp=1.0
        )
        made.save(tmp_path / "results")
    return tmp_path / "results"


def test_results_are_evaluated_as_they_are_and_as_they_are_exported(results, truth, tmp_path):
    done = run("evaluate", results, "--truth", truth, "--replicates", 0, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["auc"]["estimate"] == 1
    assert sorted(row["score"] for row in told["slide_scores"]) == [0.25, 0.25, 1]
    assert "no scores of slides: each has that of its best detection" not in told["notes"]
    assert told["froc"]["slides"]
    assert run("evaluate", results, "--truth", truth, "--replicates", 0, "-q").exit_code == 0, "again"
    done = run("export", "camelyon16", results, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "3 slides in" in done.output
    exported = run("evaluate", tmp_path / "out", "--truth", truth, "--replicates", 0, "--json")
    assert exported.exit_code == 0, exported.output
    other = json.loads(exported.output)
    assert {**other, "results": ""} == {**told, "results": ""}


def test_a_slide_that_is_not_done_has_no_score(results, truth, tmp_path):
    summary = sorted(results.glob("test_*.json"))[0]
    summary.unlink()
    told = json.loads(run("evaluate", results, "--truth", truth, "--replicates", 0, "--json").output)
    assert len(told["slide_scores"]) == 2
    assert any(f"without a score: no part of AUC ({summary.stem})" in note for note in told["notes"])
    done = run("export", "camelyon16", results, tmp_path / "out")
    assert done.exit_code == 0
    assert f"1 slide not done: left out ({summary.stem})" in done.output
    assert run("export", "camelyon16", results, tmp_path / "out", "-q").output == ""
    told = json.loads(run("export", "camelyon16", results, tmp_path / "out", "--json").stdout)
    assert (len(told["slides"]), told["unfinished"]) == (2, [summary.stem])


def test_other_programs_json_and_half_written_files_do_no_harm(results, truth):
    for path in results.glob("test_*.json"):
        path.write_text("not ours")
    (results / ".test_001_detections.csv.abcd.csv").write_text("prob,x")
    done = run("evaluate", results, "--truth", truth, "--replicates", 0, "--json")
    assert done.exit_code == 0, done.output
    notes = json.loads(done.output)["notes"]
    assert any("each has that of its best detection" in note for note in notes)
    assert not any("not in the data set" in note for note in notes), "what begins with a dot is no slide"


def test_errors_are_one_line(results, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ((tmp_path / "nowhere", tmp_path / "out"), "there is no such folder"),
        ((tmp_path / "empty", tmp_path / "out"), "no results of slides"),
        ((results, results / "out"), "expected a folder that is not among the results"),
    ):
        done = run("export", "camelyon16", *arguments)
        assert done.exit_code == 1
        assert message in " ".join(done.output.split())
        assert "Traceback" not in done.output


def test_help_has_examples():
    shown = run("export", "camelyon16", "--help").output
    assert "fastwsi export camelyon16 results submission" in shown
    assert "export" in run("--help").output
