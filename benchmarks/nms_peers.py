"""Maps to find peaks in, and how else one finds them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from fastwsi import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE, RADIUS, SMOOTHNESS = 3000, 12, 12.0
Points = list[tuple[int, int]]


@cache
def smooth_map() -> np.ndarray:
    """Noise, smoothed as heatmaps are, on [0, 1]."""
    noise = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    smoothed = kernels.smooth(noise, SMOOTHNESS)
    low, high = smoothed.min(), smoothed.max()
    return np.ascontiguousarray((smoothed - low) / (high - low))


@dataclass(frozen=True)
class Task:
    """Find the peaks of a map of which this share of the cells lies above the threshold."""

    share: float
    shape: str

    @property
    def threshold(self) -> float:
        return float(np.quantile(smooth_map(), 1 - self.share))

    @property
    def group(self) -> str:
        rule = {"disc": "disc", "square_halfopen": "half-open square"}[self.shape]
        return (
            f"nms of {SIDE} x {SIDE} float32, {self.share:.1%} above the threshold, {rule} of {RADIUS} cells"
        )


def points_of(found: np.ndarray) -> Points:
    return list(zip(found["x"].tolist(), found["y"].tolist(), strict=True))


def ours(heatmap: np.ndarray, task: Task) -> Points:
    return points_of(kernels.nms(heatmap, RADIUS, task.threshold, task.shape))


def fast_call(heatmap: np.ndarray, task: Task) -> Callable[[], np.ndarray]:
    return partial(kernels.nms, heatmap, RADIUS, task.threshold, task.shape)


def sort_and_suppress(heatmap: np.ndarray, threshold: float) -> Points:
    """Candidates in order of their value; each that is left suppresses its disc."""
    offsets = np.arange(-RADIUS, RADIUS + 1)
    disc = offsets[:, None] ** 2 + offsets**2 > RADIUS**2  # what stays
    alive = np.zeros(np.add(heatmap.shape, 2 * RADIUS), bool)
    alive[RADIUS:-RADIUS, RADIUS:-RADIUS] = heatmap > np.float32(threshold)
    candidates = np.flatnonzero(heatmap > np.float32(threshold))
    order = np.argsort(-heatmap.ravel()[candidates], kind="stable")
    width, found = heatmap.shape[1], []
    for cell in candidates[order].tolist():
        y, x = divmod(cell, width)
        if alive[y + RADIUS, x + RADIUS]:
            found.append((x, y))
            alive[y : y + 2 * RADIUS + 1, x : x + 2 * RADIUS + 1] &= disc
    return found


def monai(heatmap: np.ndarray, threshold: float) -> Callable[[], Points]:
    """Return a call of MONAI's; it works in place, so every call gets a copy, which takes a thousandth."""
    utils = pytest.importorskip("monai.apps.pathology.utils")
    find = utils.PathologyProbNMS(spatial_dims=2, sigma=0.0, prob_threshold=threshold, box_size=2 * RADIUS)

    def call() -> Points:
        return [(int(x), int(y)) for _, y, x in find(heatmap.copy(), resolution_level=0)]

    return call


def skimage_peaks(heatmap: np.ndarray, threshold: float) -> Callable[[], np.ndarray]:
    feature = pytest.importorskip("skimage.feature")
    return partial(
        feature.peak_local_max, heatmap, min_distance=RADIUS, threshold_abs=threshold, exclude_border=False
    )


def max_pooling(heatmap: torch.Tensor, threshold: float) -> torch.Tensor:
    """Find the cells that are the largest of a square around them: the usual way on a GPU."""
    window = 2 * RADIUS + 1
    largest = torch.nn.functional.max_pool2d(heatmap[None, None], window, stride=1, padding=RADIUS)[0, 0]
    return ((heatmap == largest) & (heatmap > threshold)).nonzero()
