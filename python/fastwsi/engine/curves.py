"""The picture of a training run: loss and validation over updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fastwsi.engine.run_folder import RunFolder

_PANELS = (("loss", "validation_loss"), ("validation_auc", "validation_accuracy"))


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
    for axes, names in zip((above, below), _PANELS, strict=True):
        for name in names:
            points = [(row["update"], row[name]) for row in rows if name in row]
            if points:
                marker = "." if len(points) < 99 else ""
                axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), marker=marker)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    above.set_ylabel("loss")
    below.set_ylabel("validation")
    below.set_xlabel("updates")
    path = folder.path / "curves.png"
    figure.savefig(path, dpi=120)
    return path
