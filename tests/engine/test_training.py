"""Training runs: what they see, how they go on after being killed, and what they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.small_task import CPU, SmallTask, Squares, recipe, same, weights
from fastwsi.engine import RunFolder, TrainingError, is_first_rank, train

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")
TESTS = Path(__file__).parent.parent


def test_every_sample_once_in_order(whole):
    _, task = whole
    assert task.trained_on == list(range(24 * 8))


def test_what_a_run_leaves(whole):
    folder, _ = whole
    names = {path.name for path in folder.iterdir()}
    assert names >= {"recipe.json", "data.json", "environment.json", "metrics.csv", "curves.png"}
    assert names >= {"last.ckpt", "best.safetensors"}
    asked = json.loads((folder / "recipe.json").read_text())
    assert asked["steps"] == 24
    (told,) = json.loads((folder / "environment.json").read_text())
    assert told["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert told["threads"]["torch"] >= 1
    rows = RunFolder(folder).rows()
    assert [row["update"] for row in rows if "validation_auc" in row] == [10, 20, 24]
    losses = [row for row in rows if "loss" in row]
    assert losses[0]["examples"] == losses[0]["update"] * 8
    assert losses[0]["patches_per_second"] > 0


def two_ranks(folder, what, every):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(TESTS / "engine" / "two_ranks.py"), str(folder), what, str(every)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def ranks_weights(folder):
    return [torch.load(folder / f"weights_{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_two_ranks(tmp_path):
    """Each sees half of what there is, and both end with the same weights."""
    two_ranks(tmp_path, "begin", 6)
    seen = [json.loads((tmp_path / f"seen_{rank}.json").read_text()) for rank in (0, 1)]
    assert seen[0][:8] == [0, 1, 2, 3, 8, 9, 10, 11]
    assert seen[1][:8] == [4, 5, 6, 7, 12, 13, 14, 15]
    assert sorted(seen[0] + seen[1]) == list(range(12 * 8))
    one, other = ranks_weights(tmp_path)
    trained = [name for name in one if "running" not in name]  # each rank's batch norms see its own batches
    assert all(torch.equal(one[name], other[name]) for name in trained)
    rows = RunFolder(tmp_path).rows()
    assert [row["update"] for row in rows if "validation_auc" in row] == [6, 12]


@pytest.mark.slow
def test_two_ranks_of_a_network_with_weights_of_no_use(tmp_path):
    """As torchvision's Inception has in its other head."""
    two_ranks(tmp_path, "two heads", 6)
    one, other = ranks_weights(tmp_path)
    assert torch.equal(one["network.5.weight"], other["network.5.weight"])
    assert torch.equal(one["other.weight"], other["other.weight"])


@pytest.mark.slow
def test_two_ranks_stop_and_go_on(tmp_path):
    """With validations wherever ranks would agree to stop."""
    two_ranks(tmp_path / "whole", "begin", 4)
    two_ranks(tmp_path / "parts", "stop", 4)
    assert (tmp_path / "parts" / "last.ckpt").exists()
    two_ranks(tmp_path / "parts", "resume", 4)
    seen = json.loads((tmp_path / "parts" / "seen_0.json").read_text())
    assert len(seen) == (12 - 8) * 4
    assert all(
        same(a, b)
        for a, b in zip(ranks_weights(tmp_path / "whole"), ranks_weights(tmp_path / "parts"), strict=True)
    )


def test_a_folder_of_another_run(whole):
    folder, _ = whole
    with pytest.raises(ValueError, match="holds a run already; --resume goes on with it"):
        train(SmallTask(recipe()), folder, **CPU)
    with pytest.raises(ValueError, match="holds a run with other settings: batch_size;"):
        train(SmallTask(recipe(steps=30, batch_size=4)), folder, resume=True, **CPU)


def test_a_finished_run_is_left_as_it_is(whole):
    folder, task = whole
    again = SmallTask(recipe())
    train(again, folder, resume=True, **CPU)
    assert again.trained_on == []
    assert same(weights(again), weights(task))


def test_a_loss_that_is_no_number_names_the_patches(tmp_path):
    task = SmallTask(recipe(), nan_at=42)
    with pytest.raises(
        TrainingError, match=r"the loss is nan at update 5; the batch's patches are slide_0 at \(40, 0\)"
    ):
        train(task, tmp_path, **CPU)


def test_a_loss_that_is_no_number_in_the_last_step(tmp_path):
    task = SmallTask(recipe(validate_every=0), nan_at=24 * 8 - 1)
    with pytest.raises(TrainingError, match="the loss is nan at update 23"):
        train(task, tmp_path, **CPU)
    assert not (tmp_path / "last.ckpt").exists()


def test_what_goes_by_validations_needs_them(tmp_path):
    for asked in ({"schedule": "plateau"}, {"keep": "best"}):
        with pytest.raises(ValueError, match="validate_every: got 0, expected 1 at least"):
            recipe(validate_every=0, **asked)
    for asked in ({"schedule": "plateau"}, {"keep": "best"}):
        task = SmallTask(recipe(**asked))
        task.samples = lambda *, training: Squares(0) if training else None
        with pytest.raises(TrainingError, match="which goes by validations, and there is no slide for any"):
            train(task, tmp_path, **CPU)


def test_the_best_is_kept_with_averaged_weights(tmp_path):
    task = SmallTask(recipe(weight_average="ema", average_decay=0.5, steps=10, validate_every=10))
    train(task, tmp_path, **CPU)
    kept = load_file(tmp_path / "best.safetensors")
    assert same(kept, weights(task))  # both are the average after the last update


def test_validation_of_one_class_has_no_auc(tmp_path):
    class Dark(Squares):
        def __getitem__(self, index):
            return replace(super().__getitem__(index), label=1)

    task = SmallTask(recipe(steps=2))
    task.samples = lambda *, training: (Squares if training else Dark)(0)
    train(task, tmp_path, **CPU)
    (row,) = RunFolder(tmp_path).rows()
    assert "validation_auc" not in row
    assert row["validation_loss"] > 0
    assert (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "tensorflow_rmsprop"])
def test_half_precision(tmp_path, optimiser):
    task = SmallTask(recipe(precision="bf16", optimiser=optimiser, epsilon=1e-2, steps=40))
    train(task, tmp_path, **CPU)
    assert RunFolder(tmp_path).rows()[-1]["validation_auc"] > 0.95
    assert all(value.dtype == torch.float32 for value in task.network.parameters())


def test_float16_is_for_gpus(tmp_path):
    with pytest.warns(UserWarning, match="Using `precision='bf16-mixed'` instead"):
        train(SmallTask(recipe(precision="16", steps=2)), tmp_path, **CPU)


def test_workers_and_minutes_may_change_when_going_on(whole):
    folder, _ = whole
    train(SmallTask(recipe(workers=1, checkpoint_minutes=3)), folder, resume=True, **CPU)


def test_modes_are_left_as_they_were(tmp_path):
    train(SmallTask(recipe(steps=2, validate_every=0)), tmp_path, **CPU)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_frozen_trunk(tmp_path):
    start = weights(SmallTask(recipe()))
    frozen = SmallTask(recipe(steps=5, freeze_trunk=10, validate_every=0, freeze_batch_norm=True))
    train(frozen, tmp_path / "frozen", **CPU)
    changed = {name for name, value in weights(frozen).items() if not torch.equal(value, start[name])}
    assert changed == {"5.weight", "5.bias"}
    thawed = SmallTask(recipe(steps=5, freeze_trunk=2, validate_every=0))
    train(thawed, tmp_path / "thawed", **CPU)
    assert not torch.equal(weights(thawed)["0.weight"], start["0.weight"])


def test_workers_change_nothing(tmp_path, whole):
    _, task = whole
    other = SmallTask(recipe(workers=2))
    train(other, tmp_path, **CPU)
    assert same(weights(other), weights(task))


def test_a_learning_rate_is_found(tmp_path):
    task = SmallTask(recipe(find_learning_rate=True, steps=120, learning_rate=1e-3, validate_every=0))
    train(task, tmp_path, **CPU)
    assert RunFolder(tmp_path).rows()[-1]["learning_rate"] != 1e-3
    assert task.trained_on[-120 * 8 :] == list(range(120 * 8))
    with pytest.raises(TrainingError, match="find_learning_rate: got 24 batches in all, expected 30"):
        train(SmallTask(recipe(find_learning_rate=True)), tmp_path / "few", **CPU)


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
    ],
)
def test_who_writes(monkeypatch, environment, first):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_rank() is first
