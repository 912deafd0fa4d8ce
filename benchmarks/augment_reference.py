"""Variation and resampling of images in float64, for checking answers before they are timed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Colours:
    """How the colours of each image of a batch are varied: one number each per image."""

    brightness: np.ndarray  # added, on the scale [0, 1]
    saturation: np.ndarray  # multiplied with the S of HSV
    hue: np.ndarray  # turns
    contrast: np.ndarray  # about each channel's mean

    @classmethod
    def drawn(cls, count: int, seed: int) -> Colours:
        """Draw what Liu et al. (2017) draw."""
        rng = np.random.default_rng(seed)
        return cls(
            rng.uniform(-64 / 255, 64 / 255, count),
            rng.uniform(0.75, 1.25, count),
            rng.uniform(-0.04, 0.04, count),
            rng.uniform(0.25, 1.75, count),
        )


def hue_of(x: np.ndarray) -> np.ndarray:
    """Return the H of HSV in turns, (..., 3) to (...); 0 of grey."""
    r, g, b = np.moveaxis(x, -1, 0)
    high, low = x.max(axis=-1), x.min(axis=-1)
    chroma = np.where(high > low, high - low, 1)
    red, green, blue = (g - b) / chroma, (b - r) / chroma + 2, (r - g) / chroma + 4
    return np.select([high == low, high == r, high == g], [0 * r, red, green], blue) / 6 % 1


def colour_of(hue: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Return the colours of a hue whose largest and smallest channels are ``high`` and ``low``."""
    sextant, part = np.divmod(hue * 6, 1)
    falling, rising = high - (high - low) * part, low + (high - low) * part
    red, green, blue = (
        [high, falling, low, low, rising, high],
        [rising, high, high, falling, low, low],
        [low, low, rising, high, high, falling],
    )
    which = sextant.astype(int) % 6
    return np.stack([np.choose(which, channel) for channel in (red, green, blue)], axis=-1)


def varied(image: np.ndarray, colours: Colours, index: int) -> np.ndarray:
    """(height, width, 3) uint8 to float64 in [0, 1]: brightness, saturation, hue, contrast."""
    x = image / 255 + colours.brightness[index]
    high, low = x.max(axis=-1), x.min(axis=-1)
    saturation = np.divide(high - low, high, out=np.zeros_like(high), where=high > 0)
    changed = high * (1 - np.clip(saturation * colours.saturation[index], 0, 1))
    x = colour_of((hue_of(x) + colours.hue[index]) % 1, high, np.where(high > 0, changed, high))
    mean = x.mean(axis=(0, 1))
    return np.clip((x - mean) * colours.contrast[index] + mean, 0, 1)


def oriented(image: np.ndarray, k: int) -> np.ndarray:
    """Return orientation k of 0..7 of (height, width, ...): mirrored first from 4 on, then quarter turns."""
    return np.rot90(image if k < 4 else image[:, ::-1], k % 4)


def network_input(images: np.ndarray, colours: Colours, mean: float, std: float) -> np.ndarray:
    """(batch, height, width, 3) uint8 to (batch, 3, height, width); kept as float32 to save memory."""
    batch = [(varied(image, colours, i) - mean) / std for i, image in enumerate(images)]
    return np.stack([x.transpose(2, 0, 1).astype(np.float32) for x in batch])


def orientations_mean(predictions: list[np.ndarray]) -> np.ndarray:
    """Take the maps (..., height, width) of eight orientations back, and average them."""
    total = np.zeros(predictions[0].shape)
    for k, maps in enumerate(predictions):
        turned = np.rot90(maps.astype(np.float64), -(k % 4), axes=(-2, -1))
        total += turned if k < 4 else turned[..., ::-1]
    return total / 8


@dataclass(frozen=True)
class Bend:
    """A rotation about the centre of a square image, then a displacement at nodes from edge to edge."""

    size: int
    matrix: np.ndarray  # (2, 3), from output to source
    nodes: np.ndarray  # (n, n, 2): (dx, dy) in pixels

    @classmethod
    def drawn(cls, size: int, degrees: float, nodes: int, seed: int, pixels: float = 4.0) -> Bend:
        turn, centre = np.deg2rad(degrees), (size - 1) / 2
        cos, sin = np.cos(turn), np.sin(turn)
        shift = [centre * (1 - cos + sin), centre * (1 - cos - sin)]
        matrix = np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])
        return cls(size, matrix, np.random.default_rng(seed).normal(0, pixels, (nodes, nodes, 2)))

    def weights(self, at: np.ndarray) -> np.ndarray:
        """Return what each node counts at positions along one axis, (positions, nodes): Catmull-Rom.

        Nodes beyond the border lie on the line through the outer two.
        """
        count = len(self.nodes)
        step = np.arange(-1, count + 1)
        t = np.abs(at[:, None] * (count - 1) / (self.size - 1) - step)
        near = 1.5 * t**3 - 2.5 * t**2 + 1
        far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        spline = np.where(t < 1, near, np.where(t < 2, far, 0))
        inner = spline[:, 1:-1].copy()
        inner[:, :2] += spline[:, :1] * [2, -1]
        inner[:, -2:] += spline[:, -1:] * [-1, 2]
        return inner

    def positions(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return where in the source the output's pixels look, x and y."""
        y, x = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
        moved = np.einsum("rj,ci,jik->krc", self.weights(y), self.weights(x), self.nodes)
        grid = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)))])
        turned = np.einsum("kl,lrc->krc", self.matrix, grid) + moved
        return turned[0], turned[1]

    def bilinear(self, image: np.ndarray, rows: slice, columns: slice, fill: float) -> np.ndarray:
        """Return a part of the warped image, not rounded."""
        x, y = self.positions(rows, columns)
        left, top = np.floor(x), np.floor(y)
        total = np.zeros((*x.shape, *image.shape[2:]))
        for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
            weight = (1 - abs(x - left - column)) * (1 - abs(y - top - row))
            weight = weight.reshape(*weight.shape, *(1,) * (image.ndim - 2))
            total += weight * pixels(image, left + column, top + row, fill)
        return total

    def nearest(self, image: np.ndarray, rows: slice, columns: slice, fill: float) -> np.ndarray:
        """Return a part of the warped labels."""
        x, y = self.positions(rows, columns)
        return pixels(image, np.floor(x + 0.5), np.floor(y + 0.5), fill)


def pixels(image: np.ndarray, x: np.ndarray, y: np.ndarray, fill: float) -> np.ndarray:
    """Look up pixels at whole-numbered coordinates; ``fill`` beside the image."""
    height, width = image.shape[:2]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    values = np.full((*x.shape, *image.shape[2:]), fill, np.float64)
    values[inside] = image[y[inside].astype(int), x[inside].astype(int)]
    return values


def check_planes(found: np.ndarray, expected: np.ndarray, std: float, tolerance: float) -> None:
    """Compare network input; ``tolerance`` is on the scale [0, 1] of the colours."""
    assert found.shape == expected.shape, f"got shape {found.shape}, expected {expected.shape}"
    off = max(
        float(np.abs(a.astype(np.float32) - b).max()) * std for a, b in zip(found, expected, strict=True)
    )
    assert off <= tolerance, f"got values {off:.2e} off, expected at most {tolerance:.0e}"


def check_bytes(found: np.ndarray, expected: np.ndarray, *, equal: float) -> None:
    """Compare bytes to values that are not rounded: off by one level at most, a share of them equal."""
    assert found.dtype == np.uint8
    off = np.abs(found - np.rint(expected))
    assert off.max() <= 1, f"got values {off.max():.0f} levels off, expected at most 1"
    share = float((off == 0).mean())
    assert share >= equal, f"got {share:.5f} of the values equal, expected {equal}"


def check_nearly(found: np.ndarray, expected: np.ndarray, mean: float) -> None:
    """Compare pixels of another algorithm for the same purpose: by the mean difference in levels."""
    off = float(np.abs(found - expected).mean())
    assert off <= mean, f"got pixels {off:.2f} levels off on average, expected at most {mean}"
