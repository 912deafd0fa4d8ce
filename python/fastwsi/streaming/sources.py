"""Where an image's rows come from."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from fastwsi import _arrays
from fastwsi.kernels import augment_patches
from fastwsi.streaming.background import Background, background_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@runtime_checkable
class RowSource(Protocol):
    """An image that gives its rows on demand: a slide's level, an augmented view, a file.

    It is read from top to bottom, once for the forward pass and once for the backward pass (more often
    where the image is cut into windows), and must give the same pixels each time. Its first row is asked
    for before, for its dtype and channels.

    Examples
    --------
    >>> class Stripes:
    ...     height, width = 1000, 64
    ...     def rows(self, top, bottom):
    ...         return np.repeat(np.arange(top, bottom, dtype=np.uint8), 64 * 3).reshape(-1, 64, 3)
    >>> isinstance(Stripes(), fastwsi.streaming.RowSource)
    True
    """

    @property
    def height(self) -> int:
        """Rows of the image."""

    @property
    def width(self) -> int:
        """Columns of the image."""

    def rows(self, top: int, bottom: int) -> Any:
        """Return rows [top, bottom): uint8 or float, shape (bottom - top, width, channels)."""


class Box(NamedTuple):
    """Rows [top, bottom) and columns [left, right) of an image."""

    top: int
    bottom: int
    left: int
    right: int


class Scale:
    """How bytes become a network's input: (x / 255 - mean) / std."""

    def __init__(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        if (mean is None) != (std is None):
            raise ValueError(f"mean, std: got {mean!r} and {std!r}, expected both or neither")
        self.mean = None if mean is None else tuple(float(value) for value in mean)
        self.std = None if std is None else tuple(float(value) for value in std)
        if self.mean is not None and self.std is not None:
            if len(self.mean) != len(self.std):
                raise ValueError(
                    f"mean, std: got {len(self.mean)} and {len(self.std)} values, expected as many of each"
                )
            if not all(np.isfinite(self.mean)) or not all(np.isfinite(self.std)) or 0.0 in self.std:
                raise ValueError(
                    f"mean, std: got {mean!r} and {std!r}, expected finite numbers, std without zeros"
                )

    def __call__(
        self, pixels: torch.Tensor, dtype: torch.dtype, device: torch.device, layout: torch.memory_format
    ) -> torch.Tensor:
        """Return uint8 or float pixels (N, rows, columns, C) as (N, C, rows, columns) of a dtype."""
        pixels = pixels.to(device)
        if pixels.is_floating_point():
            return pixels.to(dtype).permute(0, 3, 1, 2)
        if pixels.dtype != torch.uint8:
            raise TypeError(f"image: got {pixels.dtype}, expected uint8 or a floating dtype")
        if self.mean is None or self.std is None:
            raise TypeError(
                "image: got uint8 without mean and std; Streamed(trunk, mean=..., std=...) says how bytes "
                "become the network's input: (x / 255 - mean) / std"
            )
        if len(self.mean) not in (1, pixels.shape[3]):
            raise ValueError(
                f"mean, std: got {len(self.mean)} values for {pixels.shape[3]} channels, expected as many"
            )
        if dtype == torch.float32 and pixels.shape[3] == len(self.mean) == 3:
            last = layout == torch.channels_last
            found: torch.Tensor = augment_patches(
                pixels, mean=self.mean, std=self.std, layout="NHWC" if last else "NCHW"
            )
            return found.permute(0, 3, 1, 2) if last else found
        wide = torch.promote_types(dtype, torch.float32)
        mean = torch.tensor(self.mean, dtype=wide, device=device)[:, None, None]
        std = torch.tensor(self.std, dtype=wide, device=device)[:, None, None]
        return ((pixels.permute(0, 3, 1, 2).to(wide) / 255 - mean) / std).to(dtype)


class Image:
    """One of the kinds of image that `Streamed` takes, read as tensors of rows and columns.

    Parameters
    ----------
    given : array, tensor or RowSource
        uint8 or float rows (H, W, C) or (N, H, W, C) of numpy's kind (memmap and zarr too), uint8 tensors
        of the same shapes, float tensors (N, C, H, W), or a RowSource.
    scale : Scale
    """

    def __init__(self, given: Any, scale: Scale, background: Any = None) -> None:
        self._given, self._scale = given, scale
        self._read: Callable[[Box], torch.Tensor]
        self.background: Background | None = None
        if isinstance(given, torch.Tensor) and given.is_floating_point():
            if given.dim() != 4:
                raise ValueError(
                    f"image: got a float tensor of shape {tuple(given.shape)}, expected (N, C, H, W)"
                )
            self.images, self.channels, self.height, self.width = given.shape
            kind = _arrays.dtype_name(given)
            self._read = self._of_tensor
        elif isinstance(given, RowSource) and not hasattr(given, "__array__") and not hasattr(given, "shape"):
            self.images, self.height, self.width = 1, int(given.height), int(given.width)
            probe = np.asarray(given.rows(0, 1)) if self.height else np.zeros((1, 0, 0))
            if probe.ndim != 3 or probe.shape[:2] != (1, self.width):
                raise ValueError(
                    f"image: its rows(0, 1) gave shape {probe.shape}, expected (1, {self.width}, channels)"
                )
            self.channels = probe.shape[2]
            kind = _arrays.dtype_name(probe)
            self._read = self._of_source
        elif hasattr(given, "shape") and hasattr(given, "dtype"):
            if len(given.shape) not in (3, 4):
                raise ValueError(f"image: got shape {tuple(given.shape)}, expected (H, W, C) or (N, H, W, C)")
            self.images = given.shape[0] if len(given.shape) == 4 else 1
            self.height, self.width, self.channels = (int(size) for size in given.shape[-3:])
            kind = _arrays.dtype_name(given)
            self._read = self._of_array
        else:
            raise TypeError(
                f"image: got {type(given).__name__}, expected uint8 (H, W, C), a float tensor (N, C, "
                "H, W), or an object "
                "with height, width and rows(top, bottom)"
            )
        self._uint8 = kind == "uint8"
        if background is None:
            background = getattr(given, "background", None)
        if background is not None:
            self.background = background_of(
                background, self.images, self.channels, self.height, self.width, uint8=self._uint8
            )

    @property
    def bytes(self) -> int:
        """How much memory the image's gradient takes, where it is a float tensor."""
        return 0 if self.tensor is None else self.tensor.numel() * self.tensor.element_size()

    @property
    def tensor(self) -> torch.Tensor | None:
        """The image where it is a float tensor, which may want a gradient."""
        return (
            self._given if isinstance(self._given, torch.Tensor) and self._given.is_floating_point() else None
        )

    @property
    def version(self) -> int | None:
        """What changes when the image, if it is a tensor, is written to."""
        if not isinstance(self._given, torch.Tensor) or self._given.is_inference():
            return None
        return self._given._version  # noqa: SLF001

    def pixels(self, box: Box) -> torch.Tensor:
        """Return rows and columns as they are, painted: (N, rows, columns, C), where the image is."""
        part = self._read(box)
        return part if self.background is None else self.background.paint(part, box.top, box.left)

    def background_pixels(self, box: Box) -> torch.Tensor:
        """Return as many rows and columns of background alone."""
        assert self.background is not None
        kind = torch.uint8 if self._uint8 else torch.float64
        value = torch.tensor(self.background.value, dtype=kind)
        rows, columns = box.bottom - box.top, box.right - box.left
        return value.expand(self.images, rows, columns, self.channels).contiguous()

    def scaled(
        self, pixels: torch.Tensor, dtype: torch.dtype, device: torch.device, layout: torch.memory_format
    ) -> torch.Tensor:
        """Return pixels as the network's input, (N, C, rows, columns)."""
        return self._scale(pixels, dtype, device, layout)

    def _of_tensor(self, box: Box) -> torch.Tensor:
        part: torch.Tensor = self._given.detach()[:, :, box.top : box.bottom, box.left : box.right]
        return part.permute(0, 2, 3, 1)

    def _of_array(self, box: Box) -> torch.Tensor:
        part = self._given[..., box.top : box.bottom, box.left : box.right, :]
        return _batch(part)

    def _of_source(self, box: Box) -> torch.Tensor:
        part = self._given.rows(box.top, box.bottom)
        if not isinstance(part, torch.Tensor):
            part = np.asarray(part)
        wanted = (box.bottom - box.top, self.width, self.channels)
        if tuple(part.shape) != wanted:
            raise ValueError(
                f"image: its rows({box.top}, {box.bottom}) gave shape {tuple(part.shape)}, expected {wanted}"
            )
        return _batch(part[:, box.left : box.right])


def _batch(part: Any) -> torch.Tensor:
    """Return (rows, columns, C) or (N, rows, columns, C) as a tensor of the second kind."""
    if not isinstance(part, torch.Tensor):
        part = torch.from_numpy(np.array(part) if not part.flags.writeable else np.ascontiguousarray(part))
    tensor: torch.Tensor = part
    return tensor if tensor.dim() == 4 else tensor[None]


class Witness:
    """Remembers checksums of the pixels in the first reading, and raises where a later one differs.

    They are of pieces of rows between fixed columns, so that a reading in other windows can be compared.

    Examples
    --------
    >>> witness = Witness(width=64)
    >>> witness.see(0, 0, torch.zeros(1, 2, 64, 3))
    >>> witness.see(0, 0, torch.zeros(1, 2, 64, 3))
    >>> witness.see(0, 0, torch.ones(1, 2, 64, 3))
    Traceback (most recent call last):
    ...
    RuntimeError: image: row 0 changed since the first reading; a source must give the same pixels each time
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._sums: dict[tuple[int, int], int] = {}

    def see(self, top: int, left: int, pixels: torch.Tensor) -> None:
        """Look at pixels (N, rows, columns, C) from row ``top`` and column ``left`` on."""
        first, end = -(-left // _PIECE), (left + pixels.shape[2]) // _PIECE
        if left + pixels.shape[2] == self._width:
            end = -(-self._width // _PIECE)  # the last piece is what is left
        pieces = [(piece, piece * _PIECE - left) for piece in range(first, end)]
        for piece, start in pieces:
            part = pixels.detach()[:, :, start : start + _PIECE].transpose(0, 1).cpu().contiguous()
            values = part.view(torch.uint8).numpy()  # bytes: numpy has no bfloat16
            for row in range(values.shape[0]):
                found = zlib.crc32(values[row].tobytes())
                if self._sums.setdefault((top + row, piece), found) != found:
                    raise RuntimeError(
                        f"image: row {top + row} changed since the first reading; a source must give the "
                        "same pixels each time"
                    )


_PIECE = 64
"""Columns of a piece of a row."""
