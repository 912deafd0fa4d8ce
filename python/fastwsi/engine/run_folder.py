"""A run's folder: what was asked for, where it ran, how it went."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import logging
import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi._files import write_atomically
from fastwsi.engine.environment import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastwsi.engine.training_recipe import TrainingRecipe

logger = logging.getLogger(__name__)

COLUMNS = (
    "update", "examples", "seconds", "learning_rate", "loss", "patches_per_second",
    "validation_loss", "validation_auc", "validation_accuracy",
)  # fmt: skip
_FREE = {"workers", "checkpoint_minutes"}  # settings that change nothing of what comes out
# Settings that a run may go on with otherwise, which is told.
_MAY_CHANGE = {"steps", "learning_rate", "gradient_clip", "validate_every", "validation_patches", "scan"}


class RunFolder:
    """The files of a training run.

    ``recipe.json``: all settings. ``data.json``: the slides. ``environment.json``: versions and machine, once
    for each time the run was begun or gone on with. ``metrics.csv``: a row for each few updates and each
    validation. ``curves.png``. ``last.ckpt``: to go on from. ``tensorboard/``. And the models:
    ``best.safetensors`` as of the best validation, ``model.safetensors`` what came out.

    Parameters
    ----------
    path : path
        Made where it is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def last(self) -> Path | None:
        """The checkpoint to go on from, if there is one."""
        path = self.path / "last.ckpt"
        return path if path.exists() else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder; ValueError where one is in it."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            try:
                # Not flock, which workers would inherit, and keep for seconds after a run was killed.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise ValueError(f"{self.path}: another process is training in it") from None
            yield

    def begin(
        self,
        system: str,
        recipe: TrainingRecipe,
        *,
        resume: bool,
        data: Mapping[str, Any] | None = None,
        ranks: int = 1,
    ) -> None:
        """Write what is asked for; refuse a folder of another run.

        What stopped before its first checkpoint begins anew. What goes on may have other `steps`, rates and
        validations than before; not another network, other batches or other slides.

        Parameters
        ----------
        system : str
            The detector's name.
        recipe : TrainingRecipe
        resume : bool
            Whether to go on in a folder in which there is a run already.
        data : mapping, optional
            What the slides are.
        ranks : int
            Processes that train together.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if not resume and (self.last or (self.path / "model.safetensors").exists()):
            raise ValueError(f"{self.path}: holds a run already; --resume goes on with it")
        asked = {"system": system, **recipe.model_dump(mode="json")}
        start = {**environment(), "ranks": ranks, "changed": {}}
        starts = []
        if self.last is None:
            for name in ("metrics.csv", "best.safetensors"):
                (self.path / name).unlink(missing_ok=True)
        else:
            starts = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
            start["changed"] = self._changes(asked)
            self._check_slides(data or {})
            self._check_machine(starts[-1], start)
        for name, content in (
            ("recipe.json", asked), ("data.json", dict(data or {})), ("environment.json", [*starts, start])
        ):  # fmt: skip
            text = json.dumps(content, indent=2, sort_keys=name == "recipe.json", ensure_ascii=False)
            write_atomically(self.path / name, text + "\n")

    def _changes(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings that are not as before, with both values; refuse those that may not change."""
        before = json.loads((self.path / "recipe.json").read_text(encoding="utf-8"))
        changed = sorted(key for key in {*before, *asked} - _FREE if before.get(key) != asked.get(key))
        refused = [key for key in changed if key not in _MAY_CHANGE]
        if refused:
            raise ValueError(
                f"{self.path}: holds a run with other settings: {', '.join(refused)}; another --out makes a "
                "new one"
            )
        if "steps" in changed and asked.get("schedule") == "one_cycle":
            raise ValueError(f"{self.path}: steps: a run's one cycle of learning rates cannot be stretched")
        for key in changed:
            logger.warning("%s: goes on with %s %s instead of %s", self.path, key, asked[key], before[key])
        return {key: [before.get(key), asked.get(key)] for key in changed}

    def _check_slides(self, data: Mapping[str, Any]) -> None:
        before = json.loads((self.path / "data.json").read_text(encoding="utf-8"))
        for split in ("train", "validation"):
            old, new = set(before.get(split, ())), set(data.get(split, ()))
            if old != new:
                some = ", ".join(sorted(old ^ new)[:3])
                raise ValueError(
                    f"{self.path}: holds a run on other slides: {split}: {len(old - new)} are gone and "
                    f"{len(new - old)} are new ({some}); another --out makes a new one"
                )

    def _check_machine(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        if before["ranks"] != now["ranks"]:
            raise ValueError(
                f"{self.path}: holds a run of {before['ranks']} processes, got {now['ranks']}: on them hangs "
                "what each update sees"
            )
        if before["threads"]["torch"] != now["threads"]["torch"]:
            logger.warning(
                "%s: torch had %d threads and has %d: weights will differ in their last bits",
                self.path, before["threads"]["torch"], now["threads"]["torch"],
            )  # fmt: skip

    def log(self, row: dict[str, Any]) -> None:
        """Add a row to the metrics."""
        path = self.path / "metrics.csv"
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if new:
                table.writeheader()
            table.writerow(row)

    def rows(self) -> list[dict[str, float]]:
        """Return the metrics; cells that are empty are left out."""
        path = self.path / "metrics.csv"
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            found = list(csv.DictReader(file))
        # A run that was killed may have left half a row.
        whole = [row for row in found if row["update"] and None not in row.values()]
        return [{key: float(value) for key, value in row.items() if value} for row in whole]

    def forget_after(self, update: int) -> None:
        """Drop rows of updates beyond one: a run that goes on from a checkpoint makes them again."""
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        for row in self.rows():
            if row["update"] <= update:
                table.writerow({key: _number(value) for key, value in row.items()})
        write_atomically(self.path / "metrics.csv", text.getvalue())


def _number(value: float) -> float | int:
    return int(value) if math.isfinite(value) and value == int(value) else value
