"""What readers of other packages share: their calls are put into `Backend`'s words."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi.slides.backend import WHITE, Damage, Options, Pixels, read_between
from fastwsi.slides.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fastwsi.slides.geometry import Level
    from fastwsi.slides.resolution import Resolution

logger = logging.getLogger(__name__)


class ForeignBackend(ABC):
    """Reads through another package, one call at a time; what fails is filled, counted and reported."""

    def __init__(
        self,
        path: Path | str,
        options: Options,
        handle: Any,
        levels: tuple[Level, ...],
        properties: Mapping[str, str],
        resolutions: tuple[tuple[str, Resolution | None], ...],
        detail: str,
    ) -> None:
        self._path, self._handle = path, handle
        self.levels, self.properties, self.resolutions = levels, dict(properties), resolutions
        self.bounds = None
        self.fill = options.fill or WHITE
        self.detail = detail
        self.damage = Damage()
        self._lock = threading.Lock()

    def read(self, level: int, x: float, y: float, out: Pixels) -> None:
        """Write pixels of a level."""
        read_between(partial(self._grid, level), x, y, out)

    def close(self) -> None:
        """Close the package's handle."""
        handle, self._handle = self._handle, None
        if handle is not None and hasattr(handle, "close"):
            handle.close()

    @abstractmethod
    def region(self, level: int, x: int, y: int, width: int, height: int) -> Any:
        """Return a part of a level that lies within it, as (height, width, 3 or 4) of uint8."""

    def _grid(self, index: int, x: int, y: int, out: Pixels) -> None:
        if self._handle is None:
            raise SlideError(self._path, "the slide is closed")
        level = self.levels[index]
        height, width, _ = out.shape
        left, right = max(x, 0), min(x + width, level.width)
        top, bottom = max(y, 0), min(y + height, level.height)
        out[...] = self.fill
        if left >= right or top >= bottom:
            return
        try:
            with self._lock:
                found = np.asarray(self.region(index, left, top, right - left, bottom - top))
        except Exception as error:  # noqa: BLE001  (whatever another package raises)
            if self.damage.note((index, left, top), str(error)):
                logger.warning("%s: level %d, region at (%d, %d): %s", self._path, index, left, top, error)
            return
        out[top - y : bottom - y, left - x : right - x] = found[..., :3]
