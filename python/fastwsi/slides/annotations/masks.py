"""Labels that come as pictures: mask TIFFs, as ASAP and the challenges make them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi.slides.errors import SlideError
from fastwsi.slides.geometry import pair_of
from fastwsi.slides.slide import open_slide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastwsi.slides.geometry import Pair
    from fastwsi.slides.slide import Slide

Labels = np.ndarray[Any, np.dtype[np.uint8]]


class LabelMask:
    """A mask of a slide: one value for each pixel, read window by window like the slide itself.

    Parameters
    ----------
    source : path or array
        A mask TIFF, a picture, or an array (height, width) of uint8.
    dimensions : (width, height)
        The slide's level 0, over which the mask lies.

    Examples
    --------
    >>> mask = LabelMask(np.eye(4, dtype=np.uint8), (400, 400))
    >>> mask.rasterise((0, 0), 4, scale=50).tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    """

    def __init__(self, source: str | Path | Any, dimensions: Pair) -> None:
        # What is outside a mask has the label 0.
        self._mask: Slide = open_slide(_values(source), fill=(0, 0, 0))
        width, height = self._mask.dimensions
        self._scale = dimensions[0] / width, dimensions[1] / height
        across, down = self._scale
        if abs(across - down) > 0.02 * max(across, down) and min(width, height) > 64:
            raise SlideError(
                self._mask.path or "mask",
                f"a mask of {width} x {height} does not fit a slide of {dimensions[0]} x {dimensions[1]}",
            )

    def rasterise(
        self,
        xy: tuple[int, int],
        size: int | tuple[int, int],
        *,
        scale: float | tuple[float, float] = 1.0,
        values: Mapping[int, int] | None = None,
    ) -> Labels:
        """Return a window of labels: for each pixel that of the mask's pixel under its centre.

        Parameters
        ----------
        xy, size, scale
            As `Annotations.rasterise` has them.
        values : dict, optional
            What to return for which of the mask's values; 0 for others. Default: the values themselves.
        """
        left, top = pair_of(xy, "xy")
        width, height = pair_of(size, "size", 0)
        steps = (float(scale), float(scale)) if not isinstance(scale, (tuple, list)) else tuple(scale)
        level = self._level(min(steps[0] / self._scale[0], steps[1] / self._scale[1]))
        down = self._mask.levels[level].downsample
        columns = _under(left, width, steps[0], self._scale[0] * down)
        rows = _under(top, height, steps[1], self._scale[1] * down)
        if not (width and height):
            return np.zeros((height, width), np.uint8)
        origin = int(columns[0]), int(rows[0])
        span = int(columns[-1]) - origin[0] + 1, int(rows[-1]) - origin[1] + 1
        found = np.empty((height, width), np.uint8)
        # Rows at a time, so that no more than some 16 megapixels of the mask are in memory.
        band = max(1, int((1 << 24) / (span[0] * max(1.0, span[1] / height))))
        for first in range(0, height, band):
            some = rows[first : first + band]
            deep = int(some[-1] - some[0]) + 1
            part = self._mask.read_level(level, (origin[0], int(some[0])), (span[0], deep))
            found[first : first + band] = part[np.ix_(some - some[0], columns - columns[0])][..., 0]
        if values is None:
            return found
        table = np.zeros(256, np.uint8)
        for given, wanted in values.items():
            table[given] = wanted
        return table[found]

    @property
    def corrupt(self) -> Mapping[tuple[int, int, int], str]:
        """Tiles of the mask that could not be read so far, and why: (level, x, y) on the level's grid."""
        return self._mask.corrupt

    def close(self) -> None:
        """Let go of the file."""
        self._mask.close()

    def _level(self, scale: float) -> int:
        fine = [i for i, level in enumerate(self._mask.levels) if level.downsample <= scale * (1 + 1e-3)]
        return fine[-1] if fine else 0


def _values(source: Any) -> Any:
    """Return a mask whose pixels are its values: pictures with a palette hold numbers, not colours."""
    if not isinstance(source, (str, Path)):
        return source
    try:
        with open_slide(source) as slide:
            tiled = slide.backend in ("tiff", "zarr")
    except SlideError:
        if Path(source).exists() and Path(source).is_file():
            return _picture(Path(source))
        raise
    return source if tiled else _picture(Path(source))


def _picture(path: Path) -> Labels:
    from PIL import Image  # noqa: PLC0415  (imported where used)

    try:
        with Image.open(path) as image:
            values = np.asarray(image)
    except Exception as error:
        raise SlideError(path, f"no mask that can be read: {error or type(error).__name__}") from error
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "bu" or (values.size and values.max() > 255):
        raise SlideError(
            path, f"a mask of shape {values.shape} of {values.dtype}, expected one value of 0 to 255 a pixel"
        )
    return values.astype(np.uint8)


def _under(start: int, count: int, step: float, pixel: float) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return which of the mask's pixels lie under the centres of a row of pixels."""
    centres = start + (np.arange(count) + 0.5) * step
    return np.asarray(np.floor(centres / pixel + 1e-9).astype(np.int64))
