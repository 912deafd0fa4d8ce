"""A training run from its recipe to its folder: begun, or gone on with."""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import warnings
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
import torch.utils.deterministic
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import TensorBoardLogger

from fastwsi.engine.callbacks import Averaging, FrozenTrunk, RandomStates
from fastwsi.engine.checkpoints import Best, Checkpoints
from fastwsi.engine.curves import draw_curves
from fastwsi.engine.devices import accelerator_of
from fastwsi.engine.module import TrainingError, TrainingModule
from fastwsi.engine.progress import Progress
from fastwsi.engine.rate_finder import find_rate
from fastwsi.engine.run_folder import RunFolder
from fastwsi.engine.stopping import Stopping

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fastwsi.engine.task import Task
    from fastwsi.engine.training_recipe import TrainingRecipe

logger = logging.getLogger(__name__)

_OURS = ("fastwsi", "torch")  # whose layers use all their weights
_PRECISIONS: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_NOISE = (  # what Lightning says of a run that is as it should be
    ".*does not have many workers.*",
    ".*The number of training batches.*",
    ".*`IterableDataset` has.*",
    ".*is smaller than the logging interval.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*your dataloader is not resumable.*",  # ours begins where the checkpoint says
    ".*in eval mode at the start of training.*",  # frozen batch norms
    ".*Total length of .* across ranks is zero.*",  # no slides are set aside for validation
    ".*all_gather is deprecated.*",
    ".*It is recommended to use .self.log.*sync_dist=True.*",  # results are gathered from all ranks before
    ".*isinstance.treespec, LeafSpec.*",
    ".*Starting from v1.9.0, `tensorboardX` has been removed.*",
)


def train(
    task: Task,
    out: str | Path,
    *,
    system: str = "",
    resume: bool = False,
    devices: int | str | list[int] = "auto",
    accelerator: str = "auto",
    nodes: int = 1,
    strategy: str = "auto",
    progress: bool = True,
    callbacks: Sequence[pl.Callback] = (),
) -> RunFolder:
    """Train a task's network in place, and keep all there is to know of it in a folder.

    A run that was killed goes on from its last checkpoint with ``resume``; with the same threads and ranks
    its weights become those of an undisturbed run, bit by bit, where the recipe is deterministic. Ctrl-C and
    SIGTERM end it after an update, with a checkpoint; the second one at once.

    Parameters
    ----------
    task : Task
    out : path
        The run's folder.
    system : str
        The detector's name.
    resume : bool
        Go on where the folder's last checkpoint was; begin where there is none.
    devices, accelerator, nodes, strategy
        Lightning's: how many devices of which kind on how many machines, and how they work together. "auto":
        all GPUs, or the CPU.
    progress : bool
        Show a bar.
    callbacks : sequence of lightning.pytorch.Callback
        Others beside ours.

    Returns
    -------
    RunFolder
    """
    folder, recipe = RunFolder(out), task.recipe
    if task.samples(training=False) is None and (recipe.schedule == "plateau" or recipe.keep == "best"):
        asks = "schedule: got plateau" if recipe.schedule == "plateau" else "keep: got best"
        raise TrainingError(f"{asks}, which goes by validations, and there is no slide for any")
    with _told(), _quiet(), _determined(), folder.locked() if is_first_rank() else nullcontext():
        _run(task, folder, system, resume=resume, progress=progress, callbacks=callbacks, trained_by={
            "devices": devices, "accelerator": accelerator_of(accelerator), "num_nodes": nodes,
            "strategy": _strategy(strategy, devices, nodes, task),
        })  # fmt: skip
    return folder


def _run(
    task: Task,
    folder: RunFolder,
    system: str,
    *,
    resume: bool,
    progress: bool,
    callbacks: Sequence[pl.Callback],
    trained_by: dict[str, Any],
) -> None:
    recipe = task.recipe
    pl.seed_everything(recipe.seed, workers=False, verbose=False)
    module = TrainingModule(task)
    common: dict[str, Any] = {
        **trained_by, "default_root_dir": folder.path, "precision": _PRECISIONS[recipe.precision],
        "gradient_clip_val": recipe.gradient_clip or None, "deterministic": recipe.deterministic,
        "use_distributed_sampler": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False,
    }  # fmt: skip
    last = folder.last if resume else None
    trainer = pl.Trainer(
        **common, max_epochs=1, max_steps=recipe.steps, accumulate_grad_batches=recipe.accumulate,
        num_sanity_val_steps=0, val_check_interval=recipe.validate_every * recipe.accumulate or None,
        check_val_every_n_epoch=None if recipe.validate_every else 1,
        limit_val_batches=1.0 if recipe.validate_every else 0, logger=_loggers(folder.path, last),
        callbacks=[*_callbacks(folder, recipe, show=progress), *callbacks],
    )  # fmt: skip
    if trainer.is_global_zero:
        folder.begin(system, recipe, resume=resume, data=task.data(), ranks=trainer.world_size)
    trainer.strategy.barrier()
    if recipe.find_learning_rate and last is None:
        searching = pl.Trainer(**common, max_epochs=1, limit_val_batches=0, logger=False)
        find_rate(searching, module, show=progress)
    trainer.fit(module, ckpt_path=last)
    if recipe.validate_every and trainer.strategy.broadcast(_not_validated(folder, recipe)):
        trainer.validate(module, verbose=False)
    if trainer.is_global_zero:
        try:
            draw_curves(folder)
        except OSError as error:  # a full disk: the model is what matters
            logger.warning("%s: no curves.png: %s", folder.path, error)


def _strategy(asked: str, devices: int | str | list[int], nodes: int, task: Task) -> str:
    """Return how ranks work together: of weights that a loss does not hang on they must be told.

    A frozen trunk has such, and so may networks that are not ours: torchvision's Inception has another head.
    """
    if isinstance(devices, list):
        count = len(devices)
    else:
        count = torch.cuda.device_count() if devices in ("auto", "-1", -1) else int(devices)
    if max(count, 1) * nodes == 1:
        return asked
    trunk = asked in ("auto", "ddp") and task.recipe.freeze_trunk
    ours = all(type(each).__module__.partition(".")[0] in _OURS for each in task.network.modules())
    return "ddp_find_unused_parameters_true" if trunk or (asked == "auto" and not ours) else asked


def _not_validated(folder: RunFolder, recipe: TrainingRecipe) -> bool:
    """Tell whether the last updates are still to be validated."""
    return not any(row["update"] == recipe.steps and "validation_loss" in row for row in folder.rows())


def is_first_rank() -> bool:
    """Tell whether this process is the one, among those that train together, that writes and prints.

    Examples
    --------
    >>> is_first_rank()
    True
    """
    if "RANK" in os.environ:  # torchrun's
        return int(os.environ["RANK"]) == 0
    # Lightning's own, and srun's: processes that Lightning starts inherit the latter of the first one.
    return all(int(os.environ.get(name, "0")) == 0 for name in ("NODE_RANK", "LOCAL_RANK", "SLURM_PROCID"))


def _callbacks(folder: RunFolder, recipe: TrainingRecipe, *, show: bool) -> list[pl.Callback]:
    stopping = Stopping()
    found: list[pl.Callback] = [RandomStates(), Best(folder), Progress(folder, show=show), stopping]
    if recipe.freeze_trunk:
        found.append(FrozenTrunk(recipe.freeze_trunk))
    if recipe.weight_average == "ema":
        found.append(Averaging(decay=recipe.average_decay))
    # Last: a checkpoint holds what the others have made of the batch.
    found.append(Checkpoints(folder.path, recipe.checkpoint_minutes, recipe.validate_every, stopping))
    return found


def _loggers(path: Path, last: Path | None) -> list[Any]:
    """Return TensorBoard's logger where it is installed; the CSV file is ours."""
    if importlib.util.find_spec("tensorboard") is None:
        return []
    done = None if last is None else _updates_in(last)
    # What was logged beyond the checkpoint is logged again.
    purged = None if done is None else done + 1
    return [TensorBoardLogger(path, name="tensorboard", version="", purge_step=purged)]


def _updates_in(path: Path) -> int:
    try:
        return int(torch.load(path, weights_only=True, mmap=True)["global_step"])
    except (RuntimeError, OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(
            f"{path}: is damaged ({reason}): delete it, and the run begins anew, or bring it back from a copy"
        ) from None


@contextmanager
def _told() -> Iterator[None]:
    """Say in words of ours what a machine's limits make of a run."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        first = str(error).split(". ")[0]
        raise TrainingError(
            f"{first}. A smaller batch_size with accumulate, or precision 16, needs less"
        ) from error
    except MisconfigurationException as error:
        raise TrainingError(str(error)) from error


@contextmanager
def _determined() -> Iterator[None]:
    """Leave new memory as it is, which deterministic mode fills at a cost; and the modes as they were."""
    settings: Any = torch.utils.deterministic
    filled, strict = settings.fill_uninitialized_memory, torch.are_deterministic_algorithms_enabled()
    warned, tuned = torch.is_deterministic_algorithms_warn_only_enabled(), torch.backends.cudnn.benchmark
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        settings.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(strict, warn_only=warned)
        torch.backends.cudnn.benchmark = tuned


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what Lightning tells of itself."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for pattern in _NOISE:
                warnings.filterwarnings("ignore", pattern)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
