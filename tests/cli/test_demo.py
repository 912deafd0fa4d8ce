"""`fastwsi demo`: the main job from beginning to end."""

from __future__ import annotations

import json
import signal
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fastwsi.cli import app
from fastwsi.detectors import load
from fastwsi.engine.stopping import TrainingStopped

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")
runner = CliRunner()


def demo(folder, *more):
    return runner.invoke(app, ["demo", "--size", "tiny", "--device", "cpu", "--out", str(folder), *more])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    done = demo(folder, "--json")
    assert done.exit_code == 0, done.output
    return folder, json.loads(done.stdout)


def test_it_comes_to_its_end(made):
    folder, told = made
    assert told["evaluation"]["froc"]["n_slides"] == 4
    assert set(told["scores"]) == {f"test_00{number}" for number in (1, 2, 3, 4)}
    assert (folder / "results" / "evaluation_clean.json").exists()
    assert load(folder / "run").recipe.steps == told["departures"]["steps"][1]


def test_it_takes_about_a_minute(made):
    """Of two quiet cores: here only that it is no matter of many."""
    _, told = made
    assert sum(told["seconds"].values()) < 240
    assert set(told["seconds"]) == {"drawing", "training", "scanning", "evaluating"}


def test_what_is_not_the_papers_is_told(made):
    _, told = made
    papers, ours = told["departures"]["optimiser"]
    assert (papers, ours) == ("tensorflow_rmsprop", "adamw")
    assert "seed" not in told["departures"]


def test_pictures(made):
    folder, told = made
    for name in told["scores"]:
        with Image.open(folder / "results" / f"{name}_overlay.png") as image:
            pixels = np.asarray(image)
        assert pixels.shape[1] == 1024
        assert pixels.std() > 10


def test_asked_for_again_it_goes_on_and_is_quick(made):
    folder, told = made
    model, result = folder / "run" / "model.safetensors", folder / "results" / "test_001.json"
    before = model.read_bytes(), result.stat().st_mtime_ns
    for path in (folder / "results").glob("test_002*"):
        path.unlink()
    began = time.perf_counter()
    again = demo(folder)
    assert again.exit_code == 0, again.output
    assert time.perf_counter() - began < max(30, sum(told["seconds"].values()))
    assert (model.read_bytes(), result.stat().st_mtime_ns) == before
    assert (folder / "results" / "test_002.json").exists()
    shown = " ".join(again.stdout.split())
    assert "fastwsi demo, tiny: about a minute on two cores; too little to find anything" in shown
    assert "liu2017-demo, not the paper's (in brackets): steps 30 (" in shown
    for stage in ("drawing slides", "training", "scanning", "evaluating"):
        assert stage in again.stderr


def test_other_settings_in_the_same_folder_are_refused(made):
    folder, _ = made
    done = demo(folder, "--seed", "1")
    assert (done.exit_code, done.stdout.count("\n")) == (1, 1)
    assert "made with other settings" in done.stderr


def test_no_such_size():
    assert runner.invoke(app, ["demo", "--size", "huge"]).exit_code == 2


def test_a_device_that_is_not_there_is_told_before_anything_is_drawn(tmp_path):
    for device in ("bogus", "cuda:99"):
        done = runner.invoke(app, ["demo", "--device", device, "--out", str(tmp_path / "out")])
        assert done.exit_code == 1
        assert f"error: device: got '{device}'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_demo_that_is_stopped_says_how_it_goes_on(tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise TrainingStopped(7, signal.SIGINT)

    monkeypatch.setattr("fastwsi.detectors.Liu2017.fit", stopped)
    done = demo(tmp_path)
    assert done.exit_code == 130
    assert "error: stopped after update 7, as asked; the same command goes on\n" in done.stderr
