"""Patches to probabilities: oriented, scaled, and through a network that is ready for inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fastwsi.kernels import PatchParams, augment_patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

_AT_ONCE = 32
PRECISIONS = {"32": None, "bf16": torch.bfloat16, "16": torch.float16}
"""Of weights and activations; None: as they are."""


class PatchScorer:
    """Takes uint8 patches on a device to their probabilities, the mean over orientations.

    Parameters
    ----------
    network : torch.nn.Module
        Ready for inference, on the device; takes (n, [resolutions,] 3, size, size) on [-1, 1] in float32.
    probabilities : callable
        From logits to a probability for each patch.
    orientations : bool
        Whether to take the mean over eight.
    """

    def __init__(
        self,
        network: nn.Module,
        probabilities: Callable[[torch.Tensor], torch.Tensor],
        *,
        orientations: bool,
    ) -> None:
        self._network, self._probabilities = network, probabilities
        self._turns = range(8) if orientations else range(1)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return probabilities, float32 (n,), of uint8 (n, [resolutions,] size, size, 3)."""
        total = torch.zeros(len(pixels), device=pixels.device)
        if not len(pixels):
            return total
        for turn in self._turns:
            logits = self._network(_oriented(pixels, turn))
            total += self._probabilities(logits.float())
        return total / len(self._turns)


def score_in_batches(model: Any, pixels: Any, device: torch.device) -> np.ndarray[Any, Any]:
    """Return the probability of each of a model's patches: uint8 in, float32 out."""
    images, shape = np.asarray(pixels), model.input.shape
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        raise ValueError(f"pixels: got {images.dtype} of shape {images.shape}, expected uint8 (n, *{shape})")
    scorer, found = model.scorer(device), [np.zeros(0, np.float32)]
    with torch.inference_mode():
        for first in range(0, len(images), _AT_ONCE):
            batch = torch.from_numpy(np.ascontiguousarray(images[first : first + _AT_ONCE])).to(device)
            found.append(scorer(batch).cpu().numpy())
    return np.concatenate(found)


def _oriented(pixels: torch.Tensor, turn: int) -> torch.Tensor:
    """Return patches turned, on [-1, 1], (n, [resolutions,] 3, size, size), channels last in memory."""
    images = pixels.flatten(0, -4)
    options: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "layout": "NHWC"}
    found: Any = augment_patches(images, PatchParams(orientation=turn), **options)
    return found.reshape(pixels.shape).movedim(-1, -3)  # type: ignore[no-any-return]
