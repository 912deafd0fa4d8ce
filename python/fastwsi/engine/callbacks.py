"""What happens around training steps: random states, a trunk that stays frozen, averages."""

from __future__ import annotations

import random
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import distributed
from typing_extensions import override


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
    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Let ranks draw other numbers than each other, now that all have the same weights."""
        if trainer.world_size > 1:
            torch.manual_seed((pl_module.recipe.seed << 16) + trainer.global_rank)

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


class Averaging(EMAWeightAveraging):
    """Lightning's running mean of weights, kept where the network trains rather than on the CPU."""

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Begin the mean on the network's device."""
        pl_module.to(trainer.strategy.root_device)
        super().setup(trainer, pl_module, stage)
