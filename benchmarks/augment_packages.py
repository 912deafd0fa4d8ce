"""The packages that one would install instead, each made ready to run on one thread.

They are imported only where they are used: the measurements on a GPU do without them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.augment_peers import Plan
    from benchmarks.augment_reference import Bend

BAND = 64  # rows whose maps stay in the cache
# Brightness, contrast, saturation, hue: the widths in which Liu et al. (2017) draw.
JITTER = {"brightness": 0.25, "contrast": 0.75, "saturation": 0.25, "hue": 0.04}


def opencv() -> Any:
    cv2 = pytest.importorskip("cv2")
    cv2.setNumThreads(1)
    return cv2


def albumentations_colours(
    images: np.ndarray, mean: float, std: float, out: np.ndarray
) -> Callable[[], np.ndarray]:
    """Vary each image of a batch and write it into ``out`` (batch, 3, height, width)."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the internet for its newest version
    album = pytest.importorskip("albumentations", minversion="2.0")
    opencv()  # after albumentations, which sets threads too
    steps = album.Compose(
        [album.ColorJitter(**JITTER, p=1), album.Normalize(mean=(mean,) * 3, std=(std,) * 3, p=1)], seed=0
    )

    def run() -> np.ndarray:
        for image, target in zip(images, out, strict=True):
            target[...] = steps(image=image)["image"].transpose(2, 0, 1)
        return out

    return run


def kornia_colours(images: torch.Tensor, mean: float, std: float) -> Callable[[], torch.Tensor]:
    """Vary a batch (batch, height, width, 3) uint8 with other numbers for each image."""
    augmentation = pytest.importorskip("kornia.augmentation")
    torch.manual_seed(0)  # it draws from torch's own generator
    jitter = augmentation.ColorJitter(**JITTER, p=1.0)
    normalise = augmentation.Normalize(mean=torch.full((3,), mean), std=torch.full((3,), std))

    def run() -> torch.Tensor:
        return normalise(jitter(images.movedim(-1, 1).to(torch.float32).div_(255)))

    return run


def skimage_colours(images: np.ndarray, plans: list[Plan], out: np.ndarray) -> Callable[[], np.ndarray]:
    """Vary a batch through skimage's HSV, in float32."""
    color = pytest.importorskip("skimage.color")

    def one(image: np.ndarray, plan: Plan) -> np.ndarray:
        hsv = color.rgb2hsv(image.astype(np.float32) / 255 + np.float32(plan.brightness))
        hsv[..., 0] = (hsv[..., 0] + plan.sextants / 6) % 1
        hsv[..., 1] = np.clip(hsv[..., 1] * plan.saturation, 0, 1)
        x = color.hsv2rgb(hsv)
        mean = x.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
        x = np.clip((x - mean) * plan.contrast + mean, 0, 1)
        return (x - plan.mean) / plan.std

    def run() -> np.ndarray:
        for image, plan, target in zip(images, plans, out, strict=True):
            target[...] = one(image, plan).transpose(2, 0, 1)
        return out

    return run


def opencv_warp(image: np.ndarray, bend: Bend, out: np.ndarray, *, smooth: bool) -> Callable[[], np.ndarray]:
    """Build the maps and look the pixels up: what cv2's users write, in float32."""
    cv2 = opencv()
    method = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    matrix, nodes = bend.matrix.astype(np.float32), bend.nodes.astype(np.float32)

    def run() -> np.ndarray:
        moved = cv2.resize(nodes, (bend.size, bend.size), interpolation=cv2.INTER_CUBIC)
        x = np.arange(bend.size, dtype=np.float32)
        y = x[:, None]
        map_x = matrix[0, 0] * x + (matrix[0, 1] * y + matrix[0, 2])
        map_y = matrix[1, 0] * x + (matrix[1, 1] * y + matrix[1, 2])
        map_x += moved[..., 0]
        map_y += moved[..., 1]
        cv2.remap(image, map_x, map_y, method, out, cv2.BORDER_CONSTANT, (255, 255, 255))
        return out

    return run


def opencv_warp_in_bands(
    image: np.ndarray, bend: Bend, out: np.ndarray, *, smooth: bool
) -> Callable[[], np.ndarray]:
    """Do the same with the maps as products of small matrices, a few rows at a time."""
    cv2 = opencv()
    method = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    x = np.arange(bend.size, dtype=np.float64)

    def run() -> np.ndarray:
        # Splines along columns and the affine map, both as rows of one matrix; along rows as its factors.
        spline = bend.weights(x)
        along = np.concatenate([np.einsum("ci,jik->kjc", spline, bend.nodes), np.zeros((2, 2, len(x)))], 1)
        along[:, -2] = bend.matrix[:, :1] * x + bend.matrix[:, 2:]
        along[:, -1] = bend.matrix[:, 1:2]
        factors = np.concatenate([spline, np.ones((len(x), 1)), x[:, None]], axis=1).astype(np.float32)
        maps_x, maps_y = along.astype(np.float32)
        for start in range(0, bend.size, BAND):
            band = slice(start, start + BAND)
            maps = factors[band] @ maps_x, factors[band] @ maps_y
            cv2.remap(image, *maps, method, out[band], cv2.BORDER_CONSTANT, (255, 255, 255))
        return out

    return run


def scipy_warp(image: np.ndarray, bend: Bend, out: np.ndarray) -> Callable[[], np.ndarray]:
    """Build the maps by splines and interpolate channel by channel."""
    ndimage = pytest.importorskip("scipy.ndimage")

    def run() -> np.ndarray:
        factor = bend.size / len(bend.nodes)
        x = np.arange(bend.size)
        y = x[:, None]
        maps = [
            row[0] * x + row[1] * y + row[2] + ndimage.zoom(bend.nodes[..., k], factor, order=3)
            for k, row in enumerate(bend.matrix)
        ]
        for c in range(3):
            ndimage.map_coordinates(image[..., c], maps[::-1], out[..., c], order=1, cval=255)
        return out

    return run
