"""Training runs: what they see, how they go on after being killed, and what they leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from safetensors.torch import load_file

from engine.small_task import SmallTask, Squares
from fastwsi.engine import RunFolder, TrainingError, TrainingRecipe, train

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")
TESTS = Path(__file__).parent.parent
CPU = {"accelerator": "cpu", "devices": 1, "progress": False}
SMALL = {"steps": 24, "batch_size": 8, "validate_every": 10, "validation_patches": 32, "workers": 0}


def recipe(**changes):
    return TrainingRecipe(**{**SMALL, "learning_rate": 0.01, **changes})


def weights(task):
    return {name: value.clone() for name, value in task.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


class StopAfter(pl.Callback):
    """Something that goes wrong."""

    def __init__(self, updates):
        self.updates = updates

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.updates:
            raise KeyboardInterrupt


class Signal(pl.Callback):
    """Ctrl-C, or a system that wants its machine back."""

    def __init__(self, updates, number):
        self.updates, self.number = updates, number

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.updates - 1:
            signal.raise_signal(self.number)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    task = SmallTask(recipe())
    train(task, folder, **CPU)
    return folder, task


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


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("schedule", ["halving", "one_cycle", "plateau"])
def test_a_run_that_was_stopped_goes_on(tmp_path, schedule, accumulate):
    settings = recipe(
        schedule=schedule, halve_every=64, plateau_patience=0, accumulate=accumulate,
        checkpoint_minutes=1e-9,
        optimiser="tensorflow_rmsprop", epsilon=1.0,
        weight_average="ema" if schedule == "halving" else "none",
    )  # fmt: skip
    undisturbed = SmallTask(settings)
    train(undisturbed, tmp_path / "whole", **CPU)
    stopped = SmallTask(settings)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(stopped, tmp_path / "parts", callbacks=[StopAfter(13)], **CPU)
    again = SmallTask(settings)
    train(again, tmp_path / "parts", resume=True, **CPU)
    assert not same(weights(stopped), weights(undisturbed))
    assert same(weights(again), weights(undisturbed))
    seen = set(again.trained_on)
    assert min(seen) > 0
    assert max(seen) == 24 * 8 * accumulate - 1
    one, other = (RunFolder(tmp_path / name).rows() for name in ("whole", "parts"))
    assert [row["update"] for row in one] == [row["update"] for row in other]
    assert [row.get("validation_loss") for row in one] == [row.get("validation_loss") for row in other]


SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
from engine.small_task import SmallTask
from fastwsi.engine import TrainingRecipe, train
recipe = TrainingRecipe(steps=400, batch_size=8, learning_rate=0.01, validate_every=0, workers=1,
                        checkpoint_minutes=1e-9)
task = SmallTask(recipe)
train(task, {folder!r}, resume={resume}, accelerator="cpu", devices=1, progress=False)
torch.save(task.network.state_dict(), {folder!r} + "/weights.pt")
print(task.trained_on[0], task.trained_on[-1])
"""


def script(folder, resume):
    return [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        SCRIPT.format(tests=str(TESTS), folder=str(folder), resume=resume),
    ]


def test_killed_in_the_middle(tmp_path):
    """By the system, without a chance to say goodbye, workers and all."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        script(tmp_path / "whole", False), env=environment, capture_output=True, check=True, text=True
    )
    assert done.stdout.split() == ["0", "3199"]
    process = subprocess.Popen(
        script(tmp_path / "killed", False),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = subprocess.run(
        script(tmp_path / "killed", True), env=environment, capture_output=True, check=True, text=True
    )
    first, last = map(int, done.stdout.split())
    assert 0 < first < last == 3199
    one, other = (
        torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in ("whole", "killed")
    )
    assert same(one, other)


def test_two_ranks(tmp_path):
    """Each sees half of what there is, and both end with the same weights."""
    command = [sys.executable, str(TESTS / "engine" / "two_ranks.py"), str(tmp_path), "begin"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = [json.loads((tmp_path / f"seen_{rank}.json").read_text()) for rank in (0, 1)]
    assert seen[0][:8] == [0, 1, 2, 3, 8, 9, 10, 11]
    assert seen[1][:8] == [4, 5, 6, 7, 12, 13, 14, 15]
    assert sorted(seen[0] + seen[1]) == list(range(12 * 8))
    one, other = (torch.load(tmp_path / f"weights_{rank}.pt", weights_only=True) for rank in (0, 1))
    trained = [name for name in one if "running" not in name]  # each rank's batch norms see its own batches
    assert all(torch.equal(one[name], other[name]) for name in trained)
    rows = RunFolder(tmp_path).rows()
    assert [row["update"] for row in rows if "validation_auc" in row] == [6, 12]


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop(tmp_path, whole, number):
    """After the update, with all there is; nothing is lost, and signals mean again what they meant."""
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingError, match="stopped after update 13, as asked; --resume") as told:
        train(SmallTask(recipe()), tmp_path, callbacks=[Signal(13, number)], **CPU)
    assert told.value.exit_code == 128 + number
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    again = SmallTask(recipe())
    train(again, tmp_path, resume=True, **CPU)
    assert again.trained_on[0] == 13 * 8
    assert same(weights(again), weights(whole[1]))


def test_more_steps_than_at_first(tmp_path, whole, caplog):
    train(SmallTask(recipe(steps=10)), tmp_path, **CPU)
    again = SmallTask(recipe(learning_rate=0.01))
    train(again, tmp_path, resume=True, **CPU)
    assert same(weights(again), weights(whole[1]))
    assert "goes on with steps 24 instead of 10" in caplog.text
    starts = json.loads((tmp_path / "environment.json").read_text())
    assert [start["changed"] for start in starts] == [{}, {"steps": [10, 24]}]


@pytest.mark.parametrize("schedule", ["constant", "halving", "plateau"])
def test_another_learning_rate_than_at_first(tmp_path, schedule):
    settings = {"schedule": schedule, "validate_every": 5, "plateau_patience": 99}
    train(SmallTask(recipe(steps=10, **settings)), tmp_path, **CPU)
    train(SmallTask(recipe(steps=20, **settings, learning_rate=0.002)), tmp_path, resume=True, **CPU)
    rates = {row["update"]: row["learning_rate"] for row in RunFolder(tmp_path).rows()}
    assert rates[10] == pytest.approx(0.01)
    assert rates[20] == pytest.approx(0.002)


def test_one_cycle_cannot_be_stretched(tmp_path):
    train(SmallTask(recipe(steps=4, schedule="one_cycle")), tmp_path, **CPU)
    with pytest.raises(ValueError, match="steps: a run's one cycle of learning rates cannot be stretched"):
        train(SmallTask(recipe(steps=8, schedule="one_cycle")), tmp_path, resume=True, **CPU)


def test_on_other_slides(tmp_path):
    train(SmallTask(recipe(steps=2)), tmp_path, **CPU)
    other = SmallTask(recipe(steps=2))
    other.data = lambda: {"train": ["slide_0", "slide_9"], "validation": ["slide_2"]}
    with pytest.raises(ValueError, match=r"slides: train: 1 are gone and 1 are new \(slide_1, slide_9\)"):
        train(other, tmp_path, resume=True, **CPU)


def test_what_stopped_before_its_first_checkpoint_begins_anew(tmp_path):
    with pytest.raises(TrainingError, match="the loss is nan"):
        train(SmallTask(recipe(), nan_at=3), tmp_path, **CPU)
    train(SmallTask(recipe(steps=20, batch_size=4)), tmp_path, **CPU)
    assert [row["update"] for row in RunFolder(tmp_path).rows()] == [10, 20, 20]


LOCK = """
import sys, time
from pathlib import Path
from fastwsi.engine import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    time.sleep(60)
"""


def test_two_runs_in_one_folder(tmp_path):
    command = [sys.executable, "-c", LOCK, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match="another process is training in it"):
            train(SmallTask(recipe()), tmp_path, **CPU)
        process.kill()


def test_what_goes_by_validations_needs_them(tmp_path):
    for asked in ({"schedule": "plateau"}, {"keep": "best"}):
        with pytest.raises(ValueError, match="validate_every: got 0, expected 1 at least"):
            recipe(validate_every=0, **asked)
    task = SmallTask(recipe(schedule="plateau"))
    task.samples = lambda *, training: Squares(0) if training else None
    with pytest.raises(TrainingError, match="schedule: got plateau"):
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
