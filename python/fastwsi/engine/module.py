"""The training loop's inside, as Lightning wants it: a step, a validation, optimisers, loaders."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from typing_extensions import override

from fastwsi.data import Consecutive, patch_loader
from fastwsi.engine.optimisation import optimiser_of, plateau_of, schedule_of
from fastwsi.evaluation import roc_auc_score
from fastwsi.nn import freeze_batch_norm

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import ReduceLROnPlateau
    from torch.utils.data import DataLoader

    from fastwsi.data import PatchBatch
    from fastwsi.engine.task import Task


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says what a user can do."""

    told = True  # in one line, by the command line


class TrainingModule(pl.LightningModule):
    """Wraps a `Task`."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task, self.recipe = _Shared(task), task.recipe
        self.network = task.network
        # Before anything looks at strides or at what takes gradients, as several ranks do.
        if self.recipe.freeze_batch_norm:
            freeze_batch_norm(self.network)
        if self.recipe.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs
        self.rate = task.recipe.learning_rate
        self.results: dict[str, float] = {}  # of the last validation
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._faster = 1.0  # learning rates, than the checkpoint has them
        self.searching = False  # for a learning rate: with some of them a loss is no number
        self._doubtful: tuple[torch.Tensor, PatchBatch, int] | None = None
        self._seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    @property
    def task(self) -> Task:
        """What is trained."""
        return self._task.value

    @property
    def consumed(self) -> int:
        """Batches of this rank that have been trained on."""
        return int(self.trainer.global_step) * self.recipe.accumulate

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        if self.recipe.channels_last and pixels.ndim == 4:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        found = self.network(pixels)
        # torchvision's Inception and GoogLeNet give an auxiliary head's logits, too, while they train.
        logits: torch.Tensor = found[0] if isinstance(found, tuple) else found
        return logits

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of."""
        checkpoint["plateau"] = None if self._plateau is None else self._plateau.state_dict()
        checkpoint["rates"] = {"asked": self.recipe.learning_rate, "found": self.rate}

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep it until there is an optimiser; take a run that had ended for one that goes on."""
        if checkpoint["global_step"] < self.recipe.steps:
            loops = checkpoint["loops"]["fit_loop"]
            for progress in loops["epoch_progress"]["total"], loops["epoch_progress"]["current"]:
                progress.update(processed=0, completed=0)
            loops["epoch_loop.batch_progress"]["is_last_batch"] = False
        self.rate = checkpoint["rates"]["found"]
        self._faster = self.recipe.learning_rate / checkpoint["rates"]["asked"]
        self._plateau_state = checkpoint["plateau"]
        if self._plateau is not None and self._plateau_state is not None:
            self._plateau.load_state_dict(self._plateau_state)

    @override
    def on_train_start(self) -> None:
        """Scale learning rates where the run goes on with another than it had."""
        if self._faster == 1:
            return
        for group in self.trainer.optimizers[0].param_groups:
            for name in {"lr", "initial_lr", "max_lr", "min_lr"} & group.keys():
                group[name] = group[name] * self._faster
        for each in self.trainer.lr_scheduler_configs:
            rates: Any = each.scheduler
            rates.base_lrs = [rate * self._faster for rate in rates.base_lrs]
        self.rate, self._faster = self.rate * self._faster, 1.0

    @override
    def training_step(self, batch: PatchBatch, batch_idx: int) -> torch.Tensor:
        """Return a batch's loss."""
        loss = self.task.loss(self(self.task.pixels(batch, training=True)), batch)
        self._check(loss.detach(), batch)
        self.log("loss", loss.detach(), prog_bar=False, logger=False)
        return loss

    def _check(self, loss: torch.Tensor, batch: PatchBatch) -> None:
        """Stop at a loss that is no number; on a GPU a step later, so that nothing waits for it."""
        if self.searching:
            return
        if loss.device.type != "cpu":
            self.settle()
        self._doubtful = loss, batch, int(self.trainer.global_step)
        if loss.device.type == "cpu":
            self.settle()

    def settle(self) -> None:
        """Look at the last loss that nobody has looked at: before it is built upon, or kept in a file."""
        if self._doubtful is None:
            return
        (value, its, update), self._doubtful = self._doubtful, None
        if math.isfinite(float(value)):
            return
        patches = ", ".join(
            f"{slide} at {xy}" for slide, xy in sorted(set(zip(its.slides, its.places, strict=True)))
        )
        raise TrainingError(
            f"the loss is {float(value)} at update {update}; the batch's patches are {patches}. A smaller "
            "learning_rate, or gradient_clip, may help; the last checkpoint is from before."
        )

    @override
    def validation_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Score a batch."""
        logits = self(self.task.pixels(batch, training=False))
        loss = self.task.loss(logits, batch)
        self._seen.append((self.task.scores(logits).float(), batch.labels, loss.float().expand(len(batch))))

    @override
    def on_validation_epoch_end(self) -> None:
        """Lower the learning rate where it is time."""
        results = self.conclude_validation()
        if self._plateau is not None and f"validation_{self.recipe.plateau_watches}" in results:
            self._plateau.step(results[f"validation_{self.recipe.plateau_watches}"])
        for name, value in results.items():
            self.log(name, value, logger=False, sync_dist=False, rank_zero_only=False)

    def conclude_validation(self) -> dict[str, float]:
        """Return what the validation comes to, over all ranks: reckoned by whoever asks first."""
        if not self._seen:
            return self.results
        scores, labels, losses = (torch.cat(each) for each in zip(*self._seen, strict=True))
        self._seen.clear()
        gathered: Any = self.all_gather((scores, labels, losses))
        scores, labels, losses = (each.flatten() for each in gathered)
        right = (scores >= 0.5) == (labels > 0)
        area = roc_auc_score((labels > 0).cpu(), scores.double().cpu())
        self.results = {
            "validation_loss": float(losses.mean()),
            "validation_accuracy": float(right.float().mean()),
            **({} if math.isnan(area) else {"validation_auc": area}),  # of one class alone there is none
        }
        return self.results

    @override
    def configure_optimizers(self) -> Any:
        """Return the recipe's optimiser and schedule."""
        recipe = self.recipe.model_copy(update={"learning_rate": self.rate})  # which a finder may have set
        optimiser = optimiser_of(recipe, self.network.parameters())
        self._plateau = plateau_of(recipe, optimiser)
        if self._plateau is not None and self._plateau_state is not None:
            self._plateau.load_state_dict(self._plateau_state)
        schedule = schedule_of(recipe, optimiser, self.trainer.world_size)
        return optimiser if schedule is None else {"optimizer": optimiser, "lr_scheduler": schedule}

    @override
    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches from the one on that comes next: a run that goes on starts where it was."""
        order = Consecutive(
            self.recipe.steps * self.recipe.accumulate,
            self.recipe.batch_size,
            done=self.consumed,
            **self._ranks(),
        )
        return self._loader(self.task.samples(training=True), order)

    @override
    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Return the same patches each time."""
        samples = self.task.samples(training=False)
        if samples is None:
            return []
        share = self.recipe.batch_size * self.trainer.world_size
        batches = max(1, round(self.recipe.validation_patches / share))
        return self._loader(samples, Consecutive(batches, self.recipe.batch_size, **self._ranks()))

    def _ranks(self) -> dict[str, int]:
        return {"rank": self.trainer.global_rank, "ranks": self.trainer.world_size}

    def _loader(self, samples: Any, order: Consecutive) -> DataLoader[Any]:
        pinned = self.device.type == "cuda"
        return patch_loader(samples, order, workers=self.recipe.workers, pin_memory=pinned)


class _Shared:
    """A task that copies of the module have in common: averages of weights need no second data set."""

    def __init__(self, value: Task) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self
