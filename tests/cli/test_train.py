"""`fastwsi train` and `fastwsi recipes`, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cli.running import TINY, run
from fastwsi.detectors import load

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train") / "slides"
    done = run("synth", folder, "--slides", 10, "--test", 0, "--size", "900x700", "--mpp", "1.0", "-q")
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    return [
        "--recipe",
        "liu2017-small",
        "--config",
        tmp_path / "tiny.yaml",
        "--device",
        "cpu",
        "--devices",
        1,
    ]


def test_a_run_and_going_on_with_it(slides, tiny, tmp_path):
    out = tmp_path / "run"
    done = run("train", "liu2017", slides, "--out", out, *tiny, "--set", "batch_size=2", "--seed", 3)
    assert done.exit_code == 0, done.output
    assert "validation AUC" in done.output
    assert (out / "model.safetensors").exists()
    asked = json.loads((out / "recipe.json").read_text())
    assert (asked["system"], asked["batch_size"], asked["seed"], asked["width"]) == ("liu2017", 2, 3, 0.1)
    twice = run("train", "liu2017", slides, "--out", out, *tiny, "--set", "batch_size=2", "--seed", 3)
    assert twice.exit_code == 1
    assert "--resume goes on with it" in " ".join(twice.output.split())
    again = run(
        "train",
        "liu2017",
        slides,
        "--out",
        out,
        *tiny,
        "--set",
        "batch_size=2",
        "--seed",
        3,
        "--resume",
        "-q",
    )
    assert (again.exit_code, again.output) == (0, "")


def test_going_on_takes_the_runs_recipe(slides, tiny, tmp_path):
    out = tmp_path / "run"
    assert run("train", "liu2017", slides, "--out", out, *tiny, "-q").exit_code == 0
    more = ["--resume", "--device", "cpu", "--devices", 1]
    done = run("train", "liu2017", slides, "--out", out, *more, "--set", "steps=6", "-q")
    assert done.exit_code == 0, done.output
    asked = json.loads((out / "recipe.json").read_text())
    assert (asked["patch"], asked["steps"]) == (75, 6)
    done = run("train", "liu2017", slides, "--out", out, *more, "--set", "patch=80")
    assert done.exit_code == 1
    assert "holds a run with other settings: patch;" in " ".join(done.output.split())


def test_an_ensemble(slides, tiny, tmp_path):
    command = (
        "train", "liu2017", slides, "--out", tmp_path / "two", *tiny, "--members", 2, "--seed", 5, "--json"
    )  # fmt: skip
    done = run(*command)
    assert done.exit_code == 0, done.output
    both = load(tmp_path / "two")
    assert [member.recipe.seed for member in both.members] == [5, 6]
    told = json.loads(done.stdout)
    assert [each["run"] for each in told] == [str(tmp_path / "two" / f"member-{number}") for number in (0, 1)]
    for each in told:
        assert each["model"] == f"{each['run']}/model.safetensors"
        assert each["last"]["update"] == 4
        assert each["best"]["validation_auc"] >= each["last"]["validation_auc"]
    again = run(*command, "--resume")  # the command that began it goes on with it
    assert again.exit_code == 0, again.output
    (tmp_path / "two" / "member-1" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="member-1 of 2 members"):
        load(tmp_path / "two")


@pytest.mark.slow
def test_torchrun(slides, tmp_path):
    """Two processes that torchrun starts: one model, one report, each patch once."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = [
        *(sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"),
        *("fastwsi", "train", "liu2017", str(slides), "--out", str(tmp_path / "run"), "--recipe"),
        *("liu2017-small", "--config", str(tmp_path / "tiny.yaml"), "--device", "cpu", "--devices", "2"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model.safetensors") == 1
    (start,) = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert start["ranks"] == 2
    assert load(tmp_path / "run").recipe.patch == 75
    alone = run("train", "liu2017", slides, "--out", tmp_path / "run", "--resume", "--device", "cpu",
                "--devices", 1)  # fmt: skip
    assert alone.exit_code == 1
    assert "holds a run of 2 processes, got 1" in " ".join(alone.output.split())


def test_errors_are_one_line(slides, tiny, tmp_path):
    for arguments, message in (
        (["train", "liu", slides, "--out", tmp_path / "a"], "detector: got 'liu', expected one of liu2017"),
        (["train", "liu2017", tmp_path, "--out", tmp_path / "a"], "no data set that is known"),
        (["train", "liu2017", slides, "--out", tmp_path / "a", "--recipe", "big"], "--recipe: got 'big'"),
        (["train", "liu2017", slides, "--out", tmp_path / "a", "--set", "step=1"], "step: no such setting"),
        (
            ["train", "liu2017", slides, "--out", tmp_path / "a", *tiny, "--device", "tpu"],
            "--device: got 'tpu'",
        ),
        (
            ["train", "liu2017", slides, "--out", tmp_path / "a", *tiny, "--devices", "0"],
            "--devices: got '0', expected auto or how many",
        ),
        (
            ["recipes", "show", "liu"],
            "recipe: got 'liu', expected one of liu2017, liu2017-small, liu2017-demo",
        ),
    ):
        done = run(*arguments)
        assert done.exit_code == 1, arguments
        assert message in " ".join(done.output.split())
        assert "Traceback" not in done.output


def test_recipes():
    listed = run("recipes", "list").output
    assert "liu2017-small" in listed
    (first, *_) = json.loads(run("recipes", "list", "--json").output)
    assert (first["detector"], first["recipes"][0]) == ("liu2017", "liu2017")
    shown = run("recipes", "show", "liu2017").output
    assert "learning_rate" in shown
    assert "0.05" in shown
    assert "Liu 2017" in shown
    told = json.loads(run("recipes", "show", "liu2017-small", "--json").output)
    assert told["width"] == 0.1


def test_help_has_examples():
    for command in (["train"], ["recipes", "show"]):
        assert "Examples:" in run(*command, "--help").output
