"""wsidicom: DICOM slides, a file of them or a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastwsi.slides.errors import Unsuited
from fastwsi.slides.foreign import ForeignBackend
from fastwsi.slides.geometry import Level

if TYPE_CHECKING:
    from pathlib import Path

    from fastwsi.slides.backend import Options


class WsiDicomBackend(ForeignBackend):
    """Reads through wsidicom."""

    def __init__(self, path: Path | str, options: Options) -> None:
        import wsidicom  # noqa: PLC0415  (imported where used)

        try:
            handle = wsidicom.WsiDicom.open(path)
            pyramid = list(handle.pyramids[0])
        except Exception as error:
            raise Unsuited(f"wsidicom: {error or type(error).__name__}") from error
        first = pyramid[0].size
        self._numbers = [level.level for level in pyramid]
        levels = tuple(
            Level(
                level.size.width,
                level.size.height,
                (first.width / level.size.width + first.height / level.size.height) / 2,
            )
            for level in pyramid
        )
        spacing = pyramid[0].mpp
        super().__init__(
            path, options, handle, levels, {"openslide.vendor": "dicom"},
            (("DICOM's pixel spacing", (float(spacing.width), float(spacing.height))),),
            f"wsidicom {wsidicom.__version__}",
        )  # fmt: skip

    def region(self, level: int, x: int, y: int, width: int, height: int) -> Any:
        """Return a part of a level."""
        return self._handle.read_region((x, y), self._numbers[level], (width, height))
