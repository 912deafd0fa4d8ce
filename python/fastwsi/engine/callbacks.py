"""What happens around training steps: checkpoints, random states, and a trunk that stays frozen at first."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import distributed
from typing_extensions import override

if TYPE_CHECKING:
    from pathlib import Path

LAST, BEST = "last.ckpt", "best.ckpt"


class RandomStates(pl.Callback):
    """Saves torch's, numpy's and Python's random states of every rank, and gives them back.

    Whoever goes on from a checkpoint draws what an undisturbed run would: dropout, for one.
    """

    def __init__(self) -> None:
        self._restored: list[dict[str, Any]] | None = None

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return the states of all ranks."""
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002  (what a user's network may draw from)
        own = {
            "torch": torch.get_rng_state(),
            # Plain values, which are read again without executing anything.
            "numpy": [kind, [int(key) for key in keys], *rest],
            "python": random.getstate(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        states: list[Any] = [own]
        if distributed.is_available() and distributed.is_initialized():
            states = [None] * distributed.get_world_size()
            distributed.all_gather_object(states, own)
        return {"ranks": states}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep states for the first step: what is set up before may draw as well."""
        self._restored = state_dict["ranks"]

    @override
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Give the states back, once."""
        if self._restored is None:
            return
        own = self._restored[trainer.global_rank % len(self._restored)]
        self._restored = None
        torch.set_rng_state(own["torch"])
        kind, keys, *rest = own["numpy"]
        np.random.set_state((kind, np.array(keys, np.uint32), *rest))  # noqa: NPY002
        version, numbers, gauss = own["python"]
        random.setstate((version, tuple(numbers), gauss))
        if own["cuda"] and len(own["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(own["cuda"])


class Checkpoints(pl.Callback):
    """Writes ``last.ckpt`` every so many minutes and at the end, ``best.ckpt`` at each better validation.

    A file is written beside its place and moved there, so that a run which is killed leaves a whole one.
    Nothing is written between the batches of one update, whose gradients no checkpoint holds.
    """

    def __init__(self, folder: Path, minutes: float, accumulate: int, validate_every: int) -> None:
        self._folder, self._seconds, self._accumulate = folder, 60 * minutes, accumulate
        self._validate_every = validate_every
        self._written = time.monotonic()
        self.best = float("-inf")

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return what the best validation so far was."""
        return {"best": self.best}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it."""
        self.best = state_dict["best"]

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint when it is time."""
        due = time.monotonic() - self._written >= self._seconds
        every = self._validate_every
        if every > 1 and trainer.global_step % every == 0:
            return  # a validation comes first, and may change the learning rate
        if (batch_idx + 1) % self._accumulate == 0 and self._agreed(trainer, due):
            self._write(trainer, LAST)
            self._written = time.monotonic()

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the weights that did best."""
        area = trainer.callback_metrics.get("validation_auc")
        if trainer.sanity_checking or area is None or not float(area) > self.best:
            return
        self.best = float(area)
        self._write(trainer, BEST)

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what came out."""
        self._write(trainer, LAST)

    def _agreed(self, trainer: pl.Trainer, due: bool) -> bool:
        """Let the first rank decide: all must write together."""
        return bool(trainer.strategy.broadcast(due)) if trainer.world_size > 1 else due

    def _write(self, trainer: pl.Trainer, name: str) -> None:
        module: Any = trainer.lightning_module
        module.settle()  # weights that a loss of nan has spoiled are not kept
        temporary = self._folder / f".{name}.writing"
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            temporary.replace(self._folder / name)


class FrozenTrunk(pl.Callback):
    """Trains the classifier alone for a number of updates."""

    def __init__(self, updates: int) -> None:
        self._updates = updates
        self._frozen: list[torch.nn.Parameter] = []

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Freeze all but the classifier."""
        kept = {id(weight) for weight in pl_module.task.classifier()}
        self._frozen = [
            weight
            for weight in pl_module.network.parameters()
            if weight.requires_grad and id(weight) not in kept
        ]
        self._thaw(frozen=trainer.global_step < self._updates)

    @override
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Thaw it in time."""
        if self._frozen and trainer.global_step >= self._updates:
            self._thaw(frozen=False)
            self._frozen = []

    def _thaw(self, *, frozen: bool) -> None:
        for weight in self._frozen:
            weight.requires_grad_(not frozen)
