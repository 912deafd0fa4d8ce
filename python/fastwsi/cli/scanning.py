"""What a person sees while slides are scanned."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from fastwsi.cli.progress import bar
from fastwsi.engine.scanning.run import Watcher

if TYPE_CHECKING:
    from types import TracebackType

    from fastwsi.engine import Scan, SlideResult


class ScanBar(Watcher):
    """A bar for the slide and one for all of them, and a line for each slide that is done.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    debug : bool
        Show where a slide's error comes from.
    """

    def __init__(self, *, quiet: bool = False, debug: bool = False) -> None:
        self._quiet, self._debug = quiet, debug
        self._bar: Any = None
        self._slide: Any = None
        self._all: Any = None
        self._began = 0.0

    def __enter__(self) -> ScanBar:
        if self._debug:
            logging.getLogger("fastwsi.engine.scanning").setLevel(logging.DEBUG)
            logging.basicConfig()
        if not self._quiet:
            self._bar = bar("{task.fields[speed]}")  # started when there is something to show
        return self

    def begins(self, name: str, number: int, slides: int) -> None:
        """Show a slide's bar."""
        if self._bar is None:
            return
        if self._all is None:
            self._bar.start()
            self._all = self._bar.add_task("slides", total=slides, speed="")
        self._bar.update(self._all, completed=number - 1)
        self._slide = self._bar.add_task(
            f"{name} ({number} of {slides})", total=None, speed="looking for tissue"
        )
        self._began = 0.0

    def moves(self, done: int, patches: int) -> None:
        """Move it."""
        if self._bar is None:
            return
        now = time.monotonic()
        if not self._began:
            self._began, self._first = now, done
            self._bar.reset(self._slide, total=patches)
        spent = now - self._began
        speed = f"{(done - self._first) / spent:,.0f} patches/s" if spent > 0.5 else ""
        self._bar.update(self._slide, completed=done, total=patches, speed=speed)

    def ends(self, name: str, result: SlideResult, scan: Scan) -> None:
        """Say what it came to."""
        if self._bar is None:
            return
        count = len(result.detections)
        what = f"{count} detection{'' if count == 1 else 's'}"
        self._say(name, f"score {result.score:.3f}, {what}  [dim]{scan}[/]")
        self._remove()

    def fails(self, name: str, reason: str) -> None:
        """Say why."""
        if self._bar is None:
            return
        from rich.markup import escape  # noqa: PLC0415  (not for --help)

        self._say(name, f"[red]failed[/]: {escape(reason)}")
        self._remove()

    def _say(self, name: str, what: str) -> None:
        from rich.markup import escape  # noqa: PLC0415  (not for --help)

        self._bar.console.print(f"[bold]{escape(name)}[/]  {what}", soft_wrap=True)

    def _remove(self) -> None:
        if self._slide is None:  # it failed before it was begun
            return
        self._bar.remove_task(self._slide)
        self._bar.advance(self._all)
        self._slide = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
