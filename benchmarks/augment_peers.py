"""What one would write without fastwsi, with nothing but torch and numpy: the same formulas.

Colours go through hue and chroma on planes, with as few passes as we could find: of HSV's saturation only
the chroma is needed, which is the smaller of the value and the old chroma times the factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.augment_reference import Colours

TINY = 1e-12  # stands for a chroma of 0, where the hue does not matter


@dataclass(frozen=True)
class Plan:
    """The numbers of one image, or of a batch in arrays that broadcast to (batch, height, width)."""

    brightness: Any
    saturation: Any
    sextants: Any
    contrast: Any
    mean: float
    std: float

    @classmethod
    def of_batch(cls, colours: Colours, mean: float, std: float, device: torch.device | str) -> Plan:
        def spread(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(values).to(device, torch.float32).view(-1, 1, 1)

        columns = (colours.brightness, colours.saturation, 6 * colours.hue, colours.contrast)
        return cls(*map(spread, columns), mean, std)

    @classmethod
    def of_images(cls, colours: Colours, mean: float, std: float) -> list[Plan]:
        columns = (colours.brightness, colours.saturation, 6 * colours.hue, colours.contrast)
        return [cls(*map(float, row), mean, std) for row in zip(*columns, strict=True)]


def torch_colours(images: torch.Tensor, plan: Plan, out: torch.Tensor) -> torch.Tensor:
    """(..., height, width, 3) uint8 to network input (..., 3, height, width) in ``out``."""
    planes = [images[..., c].to(torch.float32).mul_(1 / 255).add_(plan.brightness) for c in range(3)]
    r, g, b = planes
    high = torch.maximum(r, g).clamp_(min=b)
    chroma = high - torch.minimum(r, g).clamp_(max=b)
    red, green = high == r, high == g
    hue = torch.where(red, g - b, torch.where(green, b - r, r - g)).div_(chroma.clamp(min=TINY))
    hue.add_(torch.where(red, 0.0, torch.where(green, 2.0, 4.0))).add_(plan.sextants)
    hue.sub_((hue * (1 / 6)).floor_(), alpha=6)
    chroma = torch.minimum(chroma.mul_(plan.saturation), high.clamp(min=0))
    low = high.sub_(chroma)
    shares = (
        (hue - 3).abs_().sub_(1),
        (hue - 2).abs_().neg_().add_(2),
        (hue - 4).abs_().neg_().add_(2),
    )
    for c, share in enumerate(shares):
        plane = share.clamp_(0, 1).mul_(chroma).add_(low)
        mean = plane.mean((-2, -1), keepdim=True)
        plane.mul_(plan.contrast).add_(mean * (1 - plan.contrast)).clamp_(0, 1)
        out[..., c, :, :] = plane.sub_(plan.mean).div_(plan.std)
    return out


def torch_one_by_one(images: torch.Tensor, plans: Sequence[Plan], out: torch.Tensor) -> torch.Tensor:
    """Do the same for a batch so that the planes of an image never leave the cache."""
    for image, plan, target in zip(images, plans, out, strict=True):
        torch_colours(image, plan, target)
    return out


def torch_oriented(images: torch.Tensor, k: int, axes: tuple[int, int] = (0, 1)) -> torch.Tensor:
    """Return orientation k of 0..7 of (..., height, width, 3); no copy that could be left out."""
    flipped = images if k < 4 else images.flip(axes[1])
    return torch.rot90(flipped, k % 4, axes) if k % 4 else flipped


def torch_crops(
    images: torch.Tensor,
    origins: Sequence[tuple[int, int]],
    orientations: Sequence[int],
    plans: Sequence[Plan],
    out: torch.Tensor,
) -> torch.Tensor:
    """Crop, orient and vary a batch, one image at a time."""
    height, width = out.shape[-2:]
    for image, (x, y), k, plan, target in zip(images, origins, orientations, plans, out, strict=True):
        torch_colours(torch_oriented(image[y : y + height, x : x + width], k), plan, target)
    return out


def numpy_colours(image: np.ndarray, plan: Plan, out: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 to network input (3, height, width) in ``out``, float32 throughout."""
    r, g, b = (image[..., c] * np.float32(1 / 255) + np.float32(plan.brightness) for c in range(3))
    high = np.maximum(np.maximum(r, g), b)
    chroma = high - np.minimum(np.minimum(r, g), b)
    red, green = high == r, high == g
    hue = np.where(red, g - b, np.where(green, b - r, r - g))
    hue /= np.maximum(chroma, np.float32(TINY))
    hue += np.where(red, np.float32(0), np.where(green, np.float32(2), np.float32(4)))
    hue += plan.sextants
    hue -= 6 * np.floor(hue * (1 / 6))
    chroma *= plan.saturation
    np.minimum(chroma, np.maximum(high, 0), out=chroma)
    low = np.subtract(high, chroma, out=high)
    shares = (np.abs(hue - 3) - 1, 2 - np.abs(hue - 2), 2 - np.abs(hue - 4))
    for target, share in zip(out, shares, strict=True):
        plane = np.clip(share, 0, 1, out=share)
        plane *= chroma
        plane += low
        mean = float(plane.mean(dtype=np.float64))
        plane *= plan.contrast
        plane += mean * (1 - plan.contrast)
        np.clip(plane, 0, 1, out=plane)
        plane -= plan.mean
        np.divide(plane, plan.std, out=target)
    return out


def numpy_one_by_one(images: np.ndarray, plans: Sequence[Plan], out: np.ndarray) -> np.ndarray:
    for image, plan, target in zip(images, plans, out, strict=True):
        numpy_colours(image, plan, target)
    return out


def torch_taken_back(maps: torch.Tensor, k: int) -> torch.Tensor:
    """Undo orientation k of maps (..., height, width)."""
    turned = torch.rot90(maps, -(k % 4), (-2, -1)) if k % 4 else maps
    return turned if k < 4 else turned.flip(-1)


def torch_orientations_mean(predictions: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([torch_taken_back(maps, k) for k, maps in enumerate(predictions)]).mean(0)


def torch_orientations_sum(predictions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Do the same without the stack: one sum in place."""
    total = predictions[0].clone()
    for k, maps in enumerate(predictions[1:], 1):
        total.add_(torch_taken_back(maps, k))
    return total.mul_(1 / 8)
