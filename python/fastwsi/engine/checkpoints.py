"""What a run keeps while it goes: checkpoints to go on from, and the model that did best so far."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from typing_extensions import override

from fastwsi._files import replacing
from fastwsi.engine.stopping import Stopping, TrainingStopped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fastwsi.engine.run_folder import RunFolder

LAST, BEST = "last.ckpt", "best.safetensors"
_AGREEING = 8  # updates between looks at what the first of several ranks wants: each look is waited for


class Checkpoints(pl.Callback):
    """Writes ``last.ckpt`` every so many minutes, at the end, and when the run is asked to stop.

    A file is written beside its place and moved there, so that a run which is killed leaves a whole one.
    Nothing is written between the batches of one update, whose gradients no checkpoint holds.
    """

    def __init__(self, folder: Path, minutes: float, validate_every: int, stopping: Stopping) -> None:
        self._folder, self._seconds = folder, 60 * minutes
        self._validate_every, self._stopping = validate_every, stopping
        self._written = time.monotonic()

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint when it is time."""
        every, update = self._validate_every, trainer.global_step
        if (batch_idx + 1) % pl_module.recipe.accumulate:
            return
        if every and update % every == 0:
            return  # a validation comes first, and may change the learning rate
        if trainer.world_size == 1 or update % _AGREEING == 0:
            self._write_if_due(trainer)

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write one that had to wait for the validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._write_if_due(trainer)

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what came out."""
        self._write(trainer)

    def _write_if_due(self, trainer: pl.Trainer) -> None:
        """Write when it is time, and stop where that is asked; of several ranks the first decides."""
        wanted = time.monotonic() - self._written >= self._seconds, self._stopping.asked
        due, stopping = wanted if trainer.world_size == 1 else trainer.strategy.broadcast(wanted)
        if due or stopping:
            self._write(trainer)
        module: Any = trainer.lightning_module
        if stopping and trainer.global_step < module.recipe.steps:
            raise TrainingStopped(trainer.global_step, int(stopping))

    def _write(self, trainer: pl.Trainer) -> None:
        module: Any = trainer.lightning_module
        module.settle()  # weights that a loss of nan has spoiled are not kept
        if trainer.is_global_zero:
            with replacing(self._folder / LAST) as temporary:
                trainer.save_checkpoint(temporary)
        else:
            trainer.save_checkpoint(self._folder / LAST)  # all take part, the first one writes
        self._written = time.monotonic()


class Best(pl.Callback):
    """Writes the model of the best validation. Stands before what averages weights, to see the averages."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.best = -math.inf

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Go on from the best of what has been validated, after the last checkpoint too."""
        rows = [row for row in self._folder.rows() if row["update"] <= trainer.global_step]
        self.best = max((_score(row) for row in rows if "validation_loss" in row), default=-math.inf)

    @override
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Keep the weights that did best."""
        found = pl_module.conclude_validation()
        score = _score(found)
        if trainer.sanity_checking or not score > self.best:
            return
        self.best = score
        if trainer.is_global_zero:
            pl_module.settle()
            pl_module.task.save(self._folder.path / BEST)


def _score(found: Mapping[str, float]) -> float:
    """Return by what validations are compared: where a class is missing there is no AUC; the loss, then."""
    return found.get("validation_auc", -found["validation_loss"])
