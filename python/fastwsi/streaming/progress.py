"""A bar for people who wait."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """Shows how many rows of the image a pass has read; gone when the pass is.

    Examples
    --------
    >>> bar = Bar()
    >>> bar("forward", 64, 128)
    >>> bar.close()
    """

    def __init__(self) -> None:
        self._shown: Progress | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` rows of ``total`` are read."""
        if self._shown is None:
            self._shown = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} rows"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._shown.start()
            self._task = self._shown.add_task(what, total=total)
        self._shown.update(self._task, completed=done, total=total)

    def close(self) -> None:
        """Take the bar away."""
        if self._shown is not None:
            self._shown.stop()
            self._shown = None
