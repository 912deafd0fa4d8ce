"""HSD normalisation as a torch module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from fastwsi import _arrays
from fastwsi.stain.hsd import HsdNormalizer

if TYPE_CHECKING:
    from fastwsi.kernels import HsdMoments


class HsdNormalize(torch.nn.Module):
    """Turns uint8 batches into normalised network input, on the device that the batch is on.

    It has no parameters; the normaliser travels in the state dict as JSON, so a saved model brings
    its reference along.

    Parameters
    ----------
    normalizer : HsdNormalizer
        With a source, or every call names one per image.
    dtype : "float32", "float16" or "bfloat16"
        Of the output.
    mean, std : three floats, optional
        Output is (intensity / 255 - mean) / std.

    Examples
    --------
    >>> import torch
    >>> tiles = torch.randint(90, 255, (2, 32, 32, 3), dtype=torch.uint8)
    >>> normalizer = fastwsi.stain.HsdNormalizer.fit(tiles)
    >>> sources = [fastwsi.kernels.hsd_moments(tile) for tile in tiles]
    >>> fastwsi.stain.HsdNormalize(normalizer)(tiles, sources).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        normalizer: HsdNormalizer,
        dtype: Any = "float32",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.normalizer = normalizer
        self.dtype = _arrays.normalise_dtype(dtype, "dtype")
        self.mean = None if mean is None else tuple(mean)
        self.std = None if std is None else tuple(std)

    def forward(
        self, images: torch.Tensor, sources: HsdMoments | Sequence[HsdMoments] | None = None
    ) -> torch.Tensor:
        """Normalise a batch.

        Parameters
        ----------
        images : uint8 tensor, shape (batch, height, width, 3)
        sources : HsdMoments, or one per image, optional
            Instead of the normaliser's own source.

        Returns
        -------
        tensor, shape (batch, 3, height, width)
        """
        return self.normalizer(images, sources, dtype=self.dtype, mean=self.mean, std=self.std)

    def get_extra_state(self) -> str:
        """Return the normaliser as JSON, for the state dict."""
        return self.normalizer.to_json()

    def set_extra_state(self, state: str) -> None:
        """Take the normaliser from a state dict."""
        self.normalizer = HsdNormalizer.from_json(state)

    def extra_repr(self) -> str:
        """Return what ``print(module)`` shows."""
        return f"dtype={self.dtype}, mean={self.mean}, std={self.std}"
