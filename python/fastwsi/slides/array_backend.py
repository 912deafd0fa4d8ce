"""Arrays in memory or on disk as slides: numpy, memory maps, zarr; one array, or one for each level."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi.slides.backend import WHITE, Damage, Options, Pixels, read_between
from fastwsi.slides.geometry import levels_of

if TYPE_CHECKING:
    from fastwsi.slides.resolution import Resolution


class ArrayBackend:
    """Reads arrays (height, width, 3), or (height, width) for grey, uint8."""

    def __init__(self, arrays: Any, options: Options, *, detail: str = "") -> None:
        self.arrays = list(arrays) if isinstance(arrays, Sequence) else [arrays]
        if not self.arrays:
            raise ValueError("slide: got no array, expected one for each level")
        for array in self.arrays:
            _check(array)
        sizes = [(int(array.shape[1]), int(array.shape[0])) for array in self.arrays]
        if any(w >= wide or h > high for (wide, high), (w, h) in pairwise(sizes)):
            raise ValueError(f"slide: got levels of {sizes}, expected each smaller than the one before")
        self.levels = levels_of(sizes)
        self.properties: dict[str, str] = {}
        self.resolutions: tuple[tuple[str, Resolution | None], ...] = ()
        self.bounds = None
        self.fill = options.fill or WHITE
        self.damage = Damage()
        self.detail = detail or type(self.arrays[0]).__module__.partition(".")[0] + " array"

    def read(self, level: int, x: float, y: float, out: Pixels) -> None:
        """Write pixels of a level."""
        read_between(partial(self._grid, level), x, y, out)

    def close(self) -> None:
        """Let go of the arrays."""
        self.arrays = []

    def _grid(self, index: int, x: int, y: int, out: Pixels) -> None:
        whole_width, whole_height = self.levels[index].size
        height, width, _ = out.shape
        left, right = max(x, 0), min(x + width, whole_width)
        top, bottom = max(y, 0), min(y + height, whole_height)
        if (right - left, bottom - top) != (width, height):
            out[...] = self.fill
        if left < right and top < bottom:
            part = np.asarray(self.arrays[index][top:bottom, left:right])
            target = out[top - y : bottom - y, left - x : right - x]
            target[...] = part[..., None] if part.ndim == 2 else part[..., :3]


def _check(array: Any) -> None:
    shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
    if shape is None or str(dtype) != "uint8":
        raise TypeError(f"slide: got {type(array).__name__} of {dtype}, expected an array of uint8")
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)) or 0 in shape:
        raise ValueError(f"slide: got shape {tuple(shape)}, expected (height, width, 3) or (height, width)")
