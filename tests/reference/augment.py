"""Variation of a patch, step by step, in float64: crop, orientation, colour, noise."""

from __future__ import annotations

import numpy as np

from reference import noise


def orient(x, k):
    """Orientation k of 0..7 over the first two axes: from 4 on mirrored first, then quarter turns."""
    return np.rot90(x if k < 4 else x[:, ::-1], k % 4)


def crop(image, size, origin, orientation):
    """Cut out the part that has ``size`` (width, height) once it is oriented."""
    height, width = image.shape[:2]
    if size is None:
        size, origin = (width, height), (0, 0)
    elif orientation % 2:
        size = size[::-1]
    if origin is None:
        origin = ((width - size[0]) // 2, (height - size[1]) // 2)
    x, y = origin
    assert 0 <= x <= width - size[0]
    assert 0 <= y <= height - size[1]
    return image[y : y + size[1], x : x + size[0]]


def hue_of(x):
    """Hue in turns, [0, 1); 0 of a grey pixel."""
    r, g, b = np.moveaxis(x, -1, 0)
    high, low = x.max(axis=-1), x.min(axis=-1)
    chroma = np.where(high > low, high - low, 1)
    sextants = np.select(
        [high == low, high == r, high == g],
        [0 * r, np.mod((g - b) / chroma, 6), (b - r) / chroma + 2],
        (r - g) / chroma + 4,
    )
    return sextants / 6


def colour_of(hue, high, low):
    """Colour of a hue in turns whose largest and smallest channels are ``high`` and ``low``."""
    sextant = np.floor(hue * 6)
    part = hue * 6 - sextant
    falling, rising = high - (high - low) * part, low + (high - low) * part
    choices = [
        (high, rising, low),
        (falling, high, low),
        (low, high, rising),
        (low, falling, high),
        (rising, low, high),
        (high, low, falling),
    ]
    which = sextant.astype(int) % 6  # a hue of one whole turn is red again
    return np.stack([np.choose(which, channel) for channel in zip(*choices, strict=True)], axis=-1)


def change_saturation(x, mul, add):
    """Change S of HSV by s * mul + add / 255, clipped to [0, 1]; V and H are kept."""
    value, low = x.max(axis=-1), x.min(axis=-1)
    positive = value > 0
    saturation = (value - low) / np.where(positive, value, 1)
    saturation = np.clip(saturation * mul + add / 255, 0, 1)
    changed = colour_of(hue_of(x), value, value * (1 - saturation))
    return np.where(positive[..., None], changed, value[..., None])


def change_hue(x, turns):
    """Turn H of a pixel with its largest and smallest channel kept; grey stays grey."""
    high, low = x.max(axis=-1), x.min(axis=-1)
    turned = colour_of(np.mod(hue_of(x) + turns, 1), high, low)
    return np.where((high > low)[..., None], turned, x)


def change_contrast(x, factor, mean=None):
    """Stretch about ``mean``, by default each channel's own."""
    mean = x.mean(axis=(0, 1)) if mean is None else np.asarray(mean, np.float64)
    return (x - mean) * factor + mean


def or_else(value, default):
    return default if value is None else value


def colour_steps(
    x,
    index,
    *,
    brightness_mul=None,
    brightness_add=None,
    saturation_mul=None,
    saturation_add=None,
    hue=None,
    contrast=None,
    contrast_mean=None,
    noise_fraction=None,
    noise_sigma=None,
    noise_seed=0,
    contrast_first=False,
):
    """Steps 0 to 7 but for mean and std: (height, width, 3) on the [0, 1] scale to the same, clipped.

    ``index`` (height, width) numbers the pixels for the noise.
    """
    if contrast is not None and contrast_first:
        x = change_contrast(x, contrast, contrast_mean)
    x = x * or_else(brightness_mul, 1) + or_else(brightness_add, 0)
    if saturation_mul is not None or saturation_add is not None:
        x = change_saturation(x, or_else(saturation_mul, 1), or_else(saturation_add, 0))
    if hue is not None:
        x = change_hue(x, hue)
    if contrast is not None and not contrast_first:
        x = change_contrast(x, contrast, contrast_mean)
    if noise_sigma is not None:
        x = x + noise_sigma * noise.gaussian(noise_seed, index)
    if noise_fraction is not None:
        replaced = noise.chosen(noise_seed, index, noise_fraction)
        x = np.where(replaced[..., None], noise.replacement(noise_seed, index), x)
    return np.clip(x, 0, 1)


def numbers(rows, columns, width):
    """Pixel numbers row * width + column of the part ``rows`` (y0, y1), ``columns`` (x0, x1)."""
    return np.arange(*rows)[:, None] * width + np.arange(*columns)


def augment_patch(image, *, size=None, origin=None, orientation=0, mean=None, std=None, **colour):
    """One uint8 (H, W, 3) image to float64 (height, width, 3); ``colour`` as in colour_steps."""
    patch = orient(crop(image, size, origin, orientation), orientation)
    height, width = patch.shape[:2]
    x = colour_steps(patch / 255, numbers((0, height), (0, width), width), **colour)
    return (x - np.asarray(or_else(mean, 0.0))) / np.asarray(or_else(std, 1.0))
