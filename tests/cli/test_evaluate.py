"""`fastwsi evaluate`, as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from fastwsi import data
from fastwsi.cli import app

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, ["evaluate", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """A synthetic set: two test slides, one of them with tumour."""
    folder = tmp_path_factory.mktemp("truth") / "slides"
    done = runner.invoke(
        app,
        ["synth", str(folder), "--slides", "4", "--test", "3", "--size", "1600x1200", "--mpp", "1.0", "-q"],
    )
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def results(truth, tmp_path_factory):
    """A detection in the middle of all tumour, and one in the corner of each slide."""
    folder = tmp_path_factory.mktemp("results")
    for record in data.read_truth(truth).of("test").records:
        lines = ["prob,x,y", "0.25,3,3"]
        mask = data.lesion_mask(record)
        if mask is not None:
            places = np.argwhere(mask.pixels)
            y, x = places[len(places) // 2] * mask.downsample
            lines.append(f"0.9,{int(x)},{int(y)}")
        (folder / f"{record.name}_detections.csv").write_text("\n".join(lines))
    return folder


def test_tables(results, truth):
    done = run(results, "--truth", truth, "--replicates", 50)
    assert done.exit_code == 0, done.output
    for text in (
        "FROC, clean",
        "false positives",
        "score",
        "By size of lesion",
        "AUC",
        "DeLong",
        "evaluation_clean.json",
    ):
        assert text in done.output
    told = json.loads((results / "evaluation_clean.json").read_text())
    assert told["froc"]["n_slides"] == 3
    assert told["auc"]["estimate"] == 1


def test_official_and_json(results, truth, tmp_path):
    out = tmp_path / "official.json"
    done = run(
        results,
        "--truth",
        truth,
        "--mode",
        "official",
        "--mpp",
        "1.0",
        "--replicates",
        0,
        "--json",
        "--out",
        out,
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["froc"]["mode"] == "official"
    assert told["froc_over_slides"] is None
    assert json.loads(out.read_text()) == told


def test_a_table_of_slides(results, truth, tmp_path):
    out = tmp_path / "slides.csv"
    done = run(results, "--truth", truth, "--replicates", 0, "--out", out, "--quiet")
    assert (done.exit_code, done.output) == (0, "")
    assert out.read_text().startswith("slide,mode,label,score,")


def test_another_resolution_is_told(results, truth):
    done = run(results, "--truth", truth, "--mode", "official", "--replicates", 0)
    assert "another resolution in the file than the 0.243 µm" in " ".join(done.output.split())


def test_stages(tmp_path):
    rows = [f"patient_{i:03d}.zip,{stage}" for i, stage in enumerate(["pN0", "pN1", "pN2"])]
    (tmp_path / "stages.csv").write_text("\n".join(["patient,stage", *rows]))
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    done = run(tmp_path / "mine.csv", "--truth", tmp_path / "stages.csv", "--replicates", 20)
    assert done.exit_code == 0, done.output
    assert "kappa 1.0000 [1.0000, 1.0000]" in done.output
    assert "pN0(i+)" in done.output  # a table of all stages
    assert json.loads((tmp_path / "mine_evaluation_kappa.json").read_text())["kappa"] == 1
    scores = tmp_path / "scores_of_nodes.csv"
    scores.write_text("slide,score\npatient_000_node_0,0.5\n")
    assert "got the stage" not in run(scores, "--truth", tmp_path).output
    (tmp_path / "mine.csv").write_text("\n".join(rows[:2]))
    assert "patient_002" in run(tmp_path / "mine.csv", "--truth", tmp_path / "stages.csv").output
    assert run(tmp_path / "mine.csv", "--truth", tmp_path, "--missing", "drop").exit_code == 0
    assert "3 patients" in " ".join(done.output.split())


def test_errors_are_one_line(results, truth, tmp_path):
    for arguments, message in (
        ((tmp_path / "none", "--truth", truth), "there is no such folder"),
        ((tmp_path, "--truth", truth), "no results"),
        ((results, "--truth", tmp_path), "no data set that is known"),
        (
            (results, "--truth", truth, "--out", tmp_path / "a.txt"),
            "expected a name that ends in .json or .csv",
        ),
        ((results, "--truth", truth, "--out", tmp_path / "no" / "a.json"), "--out: the folder"),
        ((results, "--truth", truth, "--mpp", "fine"), "--mpp: got 'fine'"),
        ((results, "--truth", truth, "--mpp", "-1"), "mpp: got -1.0"),
        ((results, "--truth", truth, "--subgroup", "colour"), "subgroup: got 'colour'"),
        ((results, "--truth", truth, "--confidence", 2), "confidence: got 2.0"),
    ):
        done = run(*arguments)
        assert done.exit_code == 1, arguments
        assert message in " ".join(done.output.split())
        assert "Traceback" not in done.output


def test_help_has_examples():
    shown = run("--help").output
    assert "Examples:" in shown
    assert "fastwsi evaluate results --truth" in shown
