"""What a run keeps while it goes: checkpoints to go on from, and the model that did best so far."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from typing_extensions import override

from fastwsi.engine.stopping import Stopping, TrainingStopped

if TYPE_CHECKING:
    from pathlib import Path

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
        every = self._validate_every
        if every > 1 and trainer.global_step % every == 0:
            return  # a validation comes first, and may change the learning rate
        if (batch_idx + 1) % pl_module.recipe.accumulate:
            return
        due, stopping = self._wanted(trainer)
        if due or stopping:
            self._write(trainer)
        if stopping and trainer.global_step < pl_module.recipe.steps:
            raise TrainingStopped(trainer.global_step, stopping)

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what came out."""
        self._write(trainer)

    def _wanted(self, trainer: pl.Trainer) -> tuple[bool, int]:
        """Tell whether to write, and by which signal to stop; of several ranks the first decides."""
        own = time.monotonic() - self._written >= self._seconds, self._stopping.asked
        if trainer.world_size == 1:
            return own
        if trainer.global_step % _AGREEING:
            return False, 0
        due, stopping = trainer.strategy.broadcast(own)
        return bool(due), int(stopping)

    def _write(self, trainer: pl.Trainer) -> None:
        module: Any = trainer.lightning_module
        module.settle()  # weights that a loss of nan has spoiled are not kept
        temporary = self._folder / f".{LAST}.writing"
        try:
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                temporary.replace(self._folder / LAST)
        finally:
            if trainer.is_global_zero:
                temporary.unlink(missing_ok=True)
        self._written = time.monotonic()


class Best(pl.Callback):
    """Writes the model of the best validation. Stands before what averages weights, to see the averages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.best = -math.inf

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return what the best validation so far was."""
        return {"best": self.best}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it."""
        self.best = state_dict["best"]

    @override
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Keep the weights that did best."""
        found = pl_module.conclude_validation()
        # Where a class is missing there is no AUC; the loss, then.
        score = found.get("validation_auc", -found["validation_loss"])
        if trainer.sanity_checking or not score > self.best:
            return
        self.best = score
        if trainer.is_global_zero:
            pl_module.settle()
            pl_module.task.save(self._folder / BEST)
