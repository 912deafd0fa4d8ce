"""A bar that says what is being worked on, how far it is, and how long it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID


class Counter:
    """Called with a name, how many are done, and how many there are in all; shows a bar on a terminal.

    Examples
    --------
    >>> with Counter("slides", quiet=True) as counter:
    ...     counter("tumor_001", 1, 2)
    """

    def __init__(self, unit: str, *, quiet: bool = False) -> None:
        self._unit, self._quiet = unit, quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Counter:
        if not self._quiet:
            self._bar = bar(self._unit)
            self._bar.start()
        return self

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show how far it is."""
        if self._bar is None:
            return
        if self._task is None:
            self._task = self._bar.add_task(name, total=total)
        self._bar.update(self._task, description=name, completed=done, total=total)

    def once(self, name: str, done: int, total: int) -> None:
        """Show a bar from the first call to the last, which makes room for another."""
        if self._bar is None:
            self.__enter__()
        self(name, done, total)
        if done == total:
            self.__exit__(None, None, None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None


def bar(speed: str) -> Progress:
    """Return a bar on the error stream that vanishes when it stops, and is none where there is no terminal.

    Parameters
    ----------
    speed : str
        What stands behind the counts: a unit, or "{task.fields[…]}".
    """
    from rich.console import Console  # noqa: PLC0415  (not for --help)
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, highlight=False)
    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn(speed),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
