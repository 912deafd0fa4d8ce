"""tiffslide: tiled TIFFs at URLs, through fsspec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastwsi.slides import resolution
from fastwsi.slides.errors import SlideError, Unsuited
from fastwsi.slides.foreign import ForeignBackend
from fastwsi.slides.geometry import Level

if TYPE_CHECKING:
    from pathlib import Path

    from fastwsi.slides.backend import Options


class TiffSlideBackend(ForeignBackend):
    """Reads files and URLs ("s3://…", "https://…") through tiffslide."""

    def __init__(self, path: Path | str, options: Options) -> None:
        import tiffslide  # noqa: PLC0415  (imported where used)

        try:
            handle = tiffslide.TiffSlide(str(path))
        except Exception as error:
            if isinstance(path, str):
                raise SlideError(path, f"tiffslide: {error or type(error).__name__}") from error
            raise Unsuited(f"tiffslide: {error or type(error).__name__}") from error
        found = {key: str(value) for key, value in handle.properties.items() if value is not None}
        mpp = [resolution.number_in(found.get(f"tiffslide.mpp-{axis}")) for axis in "xy"]
        levels = tuple(
            Level(int(width), int(height), float(down))
            for (width, height), down in zip(handle.level_dimensions, handle.level_downsamples, strict=True)
        )
        told = None if mpp[0] is None or mpp[1] is None else (mpp[0], mpp[1])
        named = {**{key.replace("tiffslide.", "openslide."): value for key, value in found.items()}, **found}
        super().__init__(
            path, options, handle, levels, named, (("tiffslide.mpp-x, tiffslide.mpp-y", told),),
            f"tiffslide {tiffslide.__version__}",
        )  # fmt: skip

    def region(self, level: int, x: int, y: int, width: int, height: int) -> Any:
        """Return a part of a level."""
        down = self.levels[level].downsample
        place = round(x * down), round(y * down)
        return self._handle.read_region(place, level, (width, height), as_array=True)
