"""Training runs that are stopped or killed, and go on: to the very weights of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from safetensors.torch import load_file

from engine.small_task import CPU, SmallTask, recipe, same, weights
from fastwsi.engine import RunFolder, TrainingError, train

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")
TESTS = Path(__file__).parent.parent


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


@pytest.mark.parametrize("every", [1, 3])
def test_stopped_where_a_validation_follows(tmp_path, every):
    """Which may lower the learning rate: the checkpoint comes after it."""
    settings = recipe(schedule="plateau", plateau_patience=0, validate_every=every, steps=12)
    undisturbed = SmallTask(settings)
    train(undisturbed, tmp_path / "whole", **CPU)
    with pytest.raises(TrainingError, match="stopped after update 6"):
        train(SmallTask(settings), tmp_path / "parts", callbacks=[Signal(6, signal.SIGTERM)], **CPU)
    again = SmallTask(settings)
    train(again, tmp_path / "parts", resume=True, **CPU)
    assert same(weights(again), weights(undisturbed))
    one, other = (RunFolder(tmp_path / name).rows() for name in ("whole", "parts"))
    kept = ("update", "learning_rate", "validation_loss")
    assert [[row.get(key) for key in kept] for row in one] == [
        [row.get(key) for key in kept] for row in other
    ]


def test_the_best_stays_the_best(tmp_path):
    """After the last update's validation too, which no checkpoint has seen."""
    train(SmallTask(recipe(steps=10, validate_every=4)), tmp_path, **CPU)
    rows = RunFolder(tmp_path).rows()
    best = max(row["validation_auc"] for row in rows if "validation_auc" in row)
    kept = load_file(tmp_path / "best.safetensors")
    worse = SmallTask(recipe(steps=14, validate_every=4))
    worse.scores = lambda logits: 1 - logits.softmax(1)[:, 1]
    train(worse, tmp_path, resume=True, **CPU)
    later = [
        row["validation_auc"]
        for row in RunFolder(tmp_path).rows()
        if row["update"] > 10 and "validation_auc" in row
    ]
    assert max(later) < best
    assert same(kept, load_file(tmp_path / "best.safetensors"))


def test_a_damaged_checkpoint(tmp_path):
    train(SmallTask(recipe(steps=2)), tmp_path, **CPU)
    last = tmp_path / "last.ckpt"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    with pytest.raises(TrainingError, match=r"last\.ckpt: is damaged .*: delete it, and the run begins anew"):
        train(SmallTask(recipe(steps=4)), tmp_path, resume=True, **CPU)


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
