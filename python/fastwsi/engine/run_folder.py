"""A run's folder: what was asked for, where it ran, how it went."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi._files import write_atomically
from fastwsi._native import build_info, get_num_threads

if TYPE_CHECKING:
    from fastwsi.engine.training_recipe import TrainingRecipe

COLUMNS = (
    "update", "examples", "seconds", "learning_rate", "loss", "patches_per_second",
    "validation_loss", "validation_auc", "validation_accuracy",
)  # fmt: skip
_FREE = {"workers", "checkpoint_minutes"}  # settings that change nothing of what comes out
_PACKAGES = ("numpy", "torch", "lightning", "openslide-python", "openslide-bin", "tifffile", "imagecodecs")


class RunFolder:
    """The files of a training run.

    ``recipe.json``: all settings. ``environment.json``: versions and machine. ``metrics.csv``: a row for
    each few updates and each validation. ``curves.png``. ``last.ckpt``, ``best.ckpt``: to go on from.
    ``tensorboard/``.

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

    def begin(self, system: str, recipe: TrainingRecipe, *, resume: bool) -> None:
        """Write what is asked for; refuse a folder of another run.

        Parameters
        ----------
        system : str
            The detector's name.
        recipe : TrainingRecipe
        resume : bool
            Whether to go on in a folder in which there is a run already.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        asked = {"system": system, **recipe.model_dump(mode="json")}
        known = self.path / "recipe.json"
        if known.exists():
            before = json.loads(known.read_text(encoding="utf-8"))
            changed = sorted(key for key in {*before, *asked} - _FREE if before.get(key) != asked.get(key))
            if not resume:
                raise ValueError(f"{self.path}: holds a run already; --resume goes on with it")
            if changed:
                raise ValueError(
                    f"{self.path}: holds a run with other settings: {', '.join(changed)}; another --out "
                    "makes a new one"
                )
        else:
            write_atomically(known, json.dumps(asked, indent=2, sort_keys=True) + "\n")
        write_atomically(self.path / "environment.json", json.dumps(environment(), indent=2) + "\n")

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


def environment() -> dict[str, Any]:
    """Return versions and machine, as far as results may depend on them."""
    import torch  # noqa: PLC0415  (imported where used)

    info = build_info()
    there = {str(each.metadata["Name"]).lower(): each.version for each in metadata.distributions()}
    return {
        "fastwsi": info.version,
        "python": sys.version.split()[0],
        "packages": {name: there[name] for name in _PACKAGES if name in there},
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": {"fastwsi": get_num_threads(), "torch": torch.get_num_threads()},
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def draw_curves(folder: RunFolder) -> Path | None:
    """Draw loss and validation over updates to ``curves.png``; None where there is nothing to draw."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (imported where used)
    from matplotlib.figure import Figure  # noqa: PLC0415

    rows = folder.rows()
    if not rows:
        return None
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, names in (
        (above, ("loss", "validation_loss")),
        (below, ("validation_auc", "validation_accuracy")),
    ):
        for name in names:
            points = [(row["update"], row[name]) for row in rows if name in row]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    label=name.replace("_", " "),
                    marker="." if len(points) < 99 else "",
                )
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    above.set_ylabel("loss")
    below.set_ylabel("validation")
    below.set_xlabel("updates")
    path = folder.path / "curves.png"
    figure.savefig(path, dpi=120)
    return path


def _number(value: float) -> float | int:
    return int(value) if math.isfinite(value) and value == int(value) else value
