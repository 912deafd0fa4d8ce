"""cucim: NVIDIA's reader of tiled TIFFs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi.slides.errors import Unsuited
from fastwsi.slides.foreign import ForeignBackend
from fastwsi.slides.geometry import Level

if TYPE_CHECKING:
    from pathlib import Path

    from fastwsi.slides.backend import Options
    from fastwsi.slides.resolution import Resolution


class CucimBackend(ForeignBackend):
    """Reads through cucim, on the CPU."""

    def __init__(self, path: Path | str, options: Options) -> None:
        import cucim  # noqa: PLC0415  (imported where used)

        try:
            handle = cucim.CuImage(str(path))
            found = handle.resolutions
        except Exception as error:
            raise Unsuited(f"cucim: {error or type(error).__name__}") from error
        levels = tuple(
            Level(int(width), int(height), float(down))
            for (width, height), down in zip(
                found["level_dimensions"], found["level_downsamples"], strict=True
            )
        )
        super().__init__(
            path,
            options,
            handle,
            levels,
            {},
            (("cucim's spacing", _spacing(handle)),),
            f"cucim {cucim.__version__}",
        )

    def region(self, level: int, x: int, y: int, width: int, height: int) -> Any:
        """Return a part of a level; cucim takes level-0 places."""
        down = self.levels[level].downsample
        place = round(x * down), round(y * down)
        return np.asarray(self._handle.read_region(place, (width, height), level))


def _spacing(handle: Any) -> Resolution | None:
    """Return micrometres per pixel along x and y, where cucim tells them in micrometres."""
    try:
        units, spacing = handle.spacing_units("XY"), handle.spacing("XY")
    except Exception:  # noqa: BLE001  (files that say nothing)
        return None
    return (float(spacing[0]), float(spacing[1])) if all("micro" in str(unit) for unit in units) else None
