"""What a person sees of a training run, and what is kept of it: loss, speed, time left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from typing_extensions import override

if TYPE_CHECKING:
    from fastwsi.engine.run_folder import RunFolder

_SMOOTHING = 0.95  # of the loss and the speed that are shown
_EVERY = 2.0  # seconds between looks at a loss for which a GPU would have to be waited


class Progress(pl.Callback):
    """Keeps a row of metrics every few updates, and shows a bar.

    Parameters
    ----------
    folder : RunFolder
    show : bool
        Whether to show a bar, on the error stream.
    every : int
        Updates between rows.
    """

    def __init__(self, folder: RunFolder, *, show: bool, every: int = 20) -> None:
        self._folder, self._show, self._every = folder, show, every
        self._bar: Any = None
        self._task: Any = None
        self._logged = 0
        self._losses: Any = 0.0  # summed where they are, since the last row
        self._counted = 0
        self._shown: float | None = None
        self._before = 0.0  # seconds of earlier parts of the run
        self._began = self._looked = time.monotonic()
        self._mark = (0, self._began)  # update and moment of the last row

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return how long the run has taken."""
        return {"seconds": self._seconds()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._before = state_dict["seconds"]

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Begin."""
        self._began = time.monotonic()
        self._logged = trainer.global_step
        self._mark = trainer.global_step, self._began
        if trainer.is_global_zero:
            self._folder.forget_after(trainer.global_step)
        if self._show and trainer.is_global_zero:
            self._bar = _bar()
            self._task = self._bar.add_task(
                "training",
                total=pl_module.recipe.steps,
                completed=trainer.global_step,
                loss="",
                speed="",
                best="",
            )
            self._bar.start()

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on."""
        if not trainer.is_global_zero:
            return
        update, now = trainer.global_step, time.monotonic()
        loss = outputs["loss"] * pl_module.recipe.accumulate
        self._losses, self._counted = self._losses + loss, self._counted + 1
        due = update % self._every == 0 and update > self._logged
        # Each look waits for a GPU to have got so far.
        if self._bar is not None and (now - self._looked >= _EVERY or loss.device.type == "cpu"):
            shown = float(loss) if self._shown is None else self._shown
            self._shown = _SMOOTHING * shown + (1 - _SMOOTHING) * float(loss)
            self._looked = now
            speed = f"{self._speed(trainer, pl_module):.0f} patches/s"
            self._bar.update(self._task, completed=update, loss=f"loss {self._shown:.4f}", speed=speed)
        if due:
            self._keep(trainer, pl_module)

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Keep what it came to."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        self._keep(trainer, pl_module, **pl_module.results)
        if self._bar is not None and "validation_auc" in pl_module.results:
            self._bar.update(self._task, best=f"AUC {pl_module.results['validation_auc']:.4f}")

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Stop."""
        self._stop()

    @override
    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def _speed(self, trainer: pl.Trainer, module: Any) -> float:
        """Return patches per second since the last row."""
        recipe, (update, moment) = module.recipe, self._mark
        patches = (trainer.global_step - update) * recipe.batch_size * recipe.accumulate * trainer.world_size
        return float(patches / max(1e-9, time.monotonic() - moment))

    def _keep(self, trainer: pl.Trainer, module: Any, **results: float) -> None:
        recipe, update = module.recipe, trainer.global_step
        row: dict[str, Any] = {
            "update": update,
            "examples": update * recipe.batch_size * recipe.accumulate * trainer.world_size,
            "seconds": round(self._seconds(), 2),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            **results,
        }
        if not results:
            row["loss"] = float(self._losses) / self._counted
            row["patches_per_second"] = round(self._speed(trainer, module), 1)
            self._losses, self._counted = 0.0, 0
            self._logged = update
            self._mark = update, time.monotonic()
        self._folder.log(row)
        for logger in trainer.loggers:
            numbers = {key: row[key] for key in row if key not in ("update", "examples")}
            logger.log_metrics(numbers, step=update)


def _bar() -> Any:
    from rich.console import Console  # noqa: PLC0415  (imported where used)
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    fields = [TextColumn("{task.fields[" + name + "]}") for name in ("loss", "best", "speed")]
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *fields, TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True),
    )  # fmt: skip
