"""Runs that are asked to stop: by Ctrl-C, or by a system that wants its machine back."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from typing_extensions import override

from fastwsi.engine.module import TrainingError

if TYPE_CHECKING:
    from types import FrameType

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ECHO = 1.0  # seconds in which a second signal is the first one's: to a process and to its group, say


class TrainingStopped(TrainingError):  # noqa: N818  (nothing went wrong)
    """A run that was asked to stop, and can be gone on with."""

    def __init__(self, update: int, number: int) -> None:
        super().__init__(f"stopped after update {update}, as asked; --resume goes on from there")
        self.update = update
        self.exit_code = 128 + number  # as shells have it


class Stopping(pl.Callback):
    """Notes the first signal, so that the run ends after an update; obeys the second at once."""

    def __init__(self) -> None:
        self.asked = 0  # the signal's number
        self._before: dict[int, Any] = {}
        self._heard_at = 0.0
        self._listener = os.getpid()

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen, where Python lets signals be heard."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._heard) for number in _SIGNALS}

    def _heard(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._listener:
            return  # a loader's worker: Ctrl-C reaches all of a terminal's processes
        now = time.monotonic()
        if self.asked and now - self._heard_at > _ECHO:
            raise KeyboardInterrupt
        if self.asked:
            return
        self.asked, self._heard_at = number, now
        logger.warning("stopping after this update; asked once more: at once")

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen no longer."""
        self._leave()

    @override
    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Listen no longer."""
        self._leave()

    def _leave(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
