"""fastslide: another reader of scanners' formats.

Of JPEG tiles it makes other pixels than openslide and the fast path: by up to 2 grey levels on a real slide,
by more on noisy pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi.slides.errors import Unsuited
from fastwsi.slides.foreign import ForeignBackend
from fastwsi.slides.geometry import Level

if TYPE_CHECKING:
    from pathlib import Path

    from fastwsi.slides.backend import Options


class FastSlideBackend(ForeignBackend):
    """Reads through fastslide."""

    def __init__(self, path: Path | str, options: Options) -> None:
        import fastslide  # noqa: PLC0415  (imported where used)

        try:
            handle = fastslide.FastSlide.from_file_path(str(path))
            sizes, downs = handle.level_dimensions, handle.level_downsamples
        except Exception as error:
            raise Unsuited(f"fastslide: {error or type(error).__name__}") from error
        levels = tuple(
            Level(int(width), int(height), float(down))
            for (width, height), down in zip(sizes, downs, strict=True)
        )
        found = {f"fastslide.{key}": str(value) for key, value in dict(handle.properties).items()}
        if "fastslide.magnification" in found:
            found["openslide.objective-power"] = found["fastslide.magnification"]
        x, y = handle.mpp
        told = None if x is None or y is None else (float(x), float(y))
        super().__init__(
            path, options, handle, levels, found, (("fastslide's mpp", told),),
            f"fastslide {getattr(fastslide, '__version__', '')}".strip(),
        )  # fmt: skip

    def region(self, level: int, x: int, y: int, width: int, height: int) -> Any:
        """Return a part of a level; fastslide takes places on the level's own grid."""
        return np.asarray(self._handle.read_region((x, y), level, (width, height)).numpy())
