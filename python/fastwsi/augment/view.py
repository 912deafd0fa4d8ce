"""A slide as an augmentation shows it: rows on demand, never the whole."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from fastwsi import _arrays
from fastwsi.kernels import PatchParams, warp, warp_source_boxes
from fastwsi.kernels.warp_boxes import checked_grid

log = logging.getLogger(__name__)

_NO_COLOUR = PatchParams()
_DTYPES = ("uint8", "float32", "float16", "bfloat16")

Pair = tuple[int, int]
Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]


@runtime_checkable
class ImageReader(Protocol):
    """What reads rectangles of an image too large to hold: a slide, a memory map, a cache of tiles.

    Examples
    --------
    >>> class Padded:
    ...     size = (20_000, 30_000)
    ...     def read(self, x, y, width, height):
    ...         return np.full((height, width, 3), 255, np.uint8)
    >>> view = fastwsi.augment.ChuangAugment().view(Padded(), fastwsi.augment.generator(0))
    >>> isinstance(Padded(), fastwsi.augment.ImageReader), view.shape
    (True, (21500, 21500, 3))
    """

    @property
    def size(self) -> Pair:
        """(width, height) in pixels."""

    def read(self, x: int, y: int, width: int, height: int) -> Any:
        """Return a rectangle as a uint8 array, shape (height, width, 3), or (height, width) for labels.

        Rectangles lie within the image and are never empty.
        """


@dataclass(frozen=True, eq=False)
class AugmentedView:
    """An image seen through a random map: rotated, moved, bent and coloured, in bands of rows.

    Policies for whole slides make these. The rows may be asked for in any pieces and any order; they are the
    same bit for bit.

    Attributes
    ----------
    source : uint8 array, shape (height, width, 3), or ImageReader
        What is shown.
    size : (width, height)
        Of the view.
    matrix : two rows of three floats
        From the view's pixels to the source's, as in ``fastwsi.kernels.warp``.
    displacement : array, optional
        As in ``fastwsi.kernels.warp``.
    colour : PatchParams
        Colour steps. A contrast without a mean needs ``contrast_first``; the mean is then measured once, in a
        pass over the view.
    fill : int, or three
        What lies outside the source.
    mean, std : three floats
        Float rows come out as (x - mean) / std.

    Examples
    --------
    >>> slide = np.random.default_rng(0).integers(90, 250, (300, 200, 3), np.uint8)
    >>> view = fastwsi.augment.ChuangAugment(size=512).view(slide, fastwsi.augment.generator(0, 3))
    >>> bands = [view.rows(y, min(y + 100, 512)) for y in range(0, 512, 100)]
    >>> view.shape, bool((np.concatenate(bands) == view.rows(0, 512)).all())
    ((512, 512, 3), True)
    """

    source: Any
    size: Pair
    matrix: Matrix
    displacement: Any = None
    colour: PatchParams = _NO_COLOUR
    fill: int | Sequence[int] = 255
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the displacement once: it is used for every band."""
        if self.displacement is not None:
            object.__setattr__(self, "displacement", checked_grid(self.displacement))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (height, width, 3)."""
        return (self.size[1], self.size[0], 3)

    def rows(
        self,
        first: int,
        end: int,
        *,
        dtype: Any = None,
        layout: Literal["HWC", "CHW"] = "HWC",
        out: Any = None,
    ) -> Any:
        """Return rows from ``first`` to before ``end``.

        Parameters
        ----------
        dtype : "uint8", "float32", "float16" or "bfloat16"
            uint8, the default without ``out``, is rounded; floats are scaled by ``mean`` and ``std``.
        layout : "HWC" or "CHW"
            Where the channels stand.
        out : array, optional
            Where to write.
        """
        colour = self.colour
        if colour.contrast is not None and colour.contrast_mean is None:
            colour = replace(colour, contrast_mean=self.contrast_mean)
        wanted = _arrays.dtype_name(out) if dtype is None and out is not None else dtype or "uint8"
        scaled: dict[str, Any] = {}
        if _arrays.normalise_dtype(wanted, "dtype") != "uint8":
            scaled = {"mean": self.mean, "std": self.std}
        return self._warped(
            self.source,
            (first, end),
            out,
            fill=self.fill,
            order=1,
            colour=colour,
            dtype=wanted,
            layout=layout,
            **scaled,
        )

    def labels(self, source: Any, first: int, end: int, *, fill: int = 0) -> Any:
        """Return rows of a label mask of the source, moved as the pixels are: the nearest label.

        Parameters
        ----------
        source : uint8 array, shape (height, width), or ImageReader
            Of the same size as the view's source.
        fill : int
            Label of what lies outside.
        """
        given, expected = _size_of(source), _size_of(self.source)
        if given != expected:
            raise ValueError(
                f"source: got labels of {given[0]} x {given[1]} pixels, expected {expected[0]} x "
                f"{expected[1]}, as many as the pixels' source has"
            )
        return self._warped(source, (first, end), None, fill=fill, order=0, dtype="uint8")

    @cached_property
    def contrast_mean(self) -> tuple[float, float, float]:
        """Each channel's mean over the view where the contrast step stands, measured band by band."""
        if not self.colour.contrast_first:
            raise ValueError(
                "colour: got contrast after other steps and no contrast_mean, expected contrast_first=True "
                "or a mean"
            )
        before = PatchParams(lch_mul=self.colour.lch_mul)
        band = max(1, (1 << 22) // self.size[0])
        sums = np.zeros(3)
        log.debug("measuring the mean of a view of %d x %d pixels", *self.size)
        for first in range(0, self.size[1], band):
            rows = self._warped(
                self.source,
                (first, min(first + band, self.size[1])),
                None,
                fill=self.fill,
                order=1,
                colour=before,
                dtype="float32",
                layout="CHW",
            )
            sums += _arrays.channel_sums(rows)
        red, green, blue = (float(s) / (self.size[0] * self.size[1]) for s in sums)
        return (red, green, blue)

    def _warped(self, source: Any, rows: Pair, out: Any, **how: Any) -> Any:
        shared = {"size": self.size, **how}
        if not isinstance(source, ImageReader):
            return warp(source, self.matrix, self.displacement, out, rows=rows, **shared)
        boxes = warp_source_boxes(
            self.matrix,
            self.displacement,
            size=self.size,
            full_size=source.size,
            rows=rows,
            order=how["order"],
        )
        # A view may see nothing of its source; the reader still tells what kind of array it gives.
        pixels = source.read(0, 0, 1, 1)
        band = self._band(pixels, rows, out, how)
        planes = how.get("layout") == "CHW"
        for box in boxes:
            columns = slice(*box.columns)
            part = band[:, :, columns] if planes else band[:, columns]
            pixels = source.read(*box.origin, *box.size) if box.size != (0, 0) else pixels[:0, :0]
            warp(
                pixels,
                self.matrix,
                self.displacement,
                part,
                rows=rows,
                columns=box.columns,
                origin=box.origin,
                full_size=source.size,
                **shared,
            )
        return band

    def _band(self, pixels: Any, rows: Pair, out: Any, how: dict[str, Any]) -> Any:
        """Return ``out``, checked, or a new band by the framework and on the device of ``pixels``."""
        shape: tuple[int, ...] = (rows[1] - rows[0], self.size[0])
        if len(pixels.shape) == 3:
            shape = (3, *shape) if how.get("layout") == "CHW" else (*shape, 3)
        dtype = _arrays.output_dtype(out, how["dtype"], pixels, _DTYPES)
        if out is None:
            return _arrays.empty(pixels, shape, dtype)
        if tuple(out.shape) != shape:
            raise ValueError(f"out: got shape {tuple(out.shape)}, expected {shape}")
        return out


def _size_of(source: Any) -> Pair:
    """Return (width, height) of an array or a reader."""
    if isinstance(source, ImageReader):
        return (int(source.size[0]), int(source.size[1]))
    return (int(source.shape[1]), int(source.shape[0]))
