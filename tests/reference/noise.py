"""Random words that depend on a seed and a pixel's number alone, and the noise made of them."""

from __future__ import annotations

import numpy as np

GOLDEN32 = 0x9E3779B9
GOLDEN64 = 0x9E3779B97F4A7C15
UNIT = 2.0**-24  # a word gives its upper 24 bits


def mix32(x):
    """Scramble an array of uint32 (arrays wrap in silence where numpy's scalars warn)."""
    assert x.dtype == np.uint32
    assert x.ndim > 0
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def splitmix64(seed):
    """One scrambled 64-bit number, with Python's integers cut to 64 bits after each step."""
    cut = 2**64 - 1
    z = (int(seed) + GOLDEN64) & cut
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & cut
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & cut
    return z ^ (z >> 31)


def word(seed, index, j):
    """Word j (uint32) of every pixel; ``index`` is an array of pixel numbers, row * width + column."""
    scrambled = splitmix64(seed)
    key0, key1 = scrambled & 0xFFFFFFFF, scrambled >> 32
    base = mix32((index & 0xFFFFFFFF).astype(np.uint32) + np.uint32(key0))
    return mix32(base ^ np.uint32((key1 + j * GOLDEN32) & 0xFFFFFFFF))


def uniform(seed, index, j):
    """Word j as a number in [0, 1)."""
    return (word(seed, index, j) >> np.uint32(8)).astype(np.float64) * UNIT


def box_muller(seed, index, j):
    """Two independent standard normal numbers per pixel, of words j and j + 1."""
    radius = np.sqrt(-2 * np.log(uniform(seed, index, j) + UNIT))  # in (0, 1]: no logarithm of 0
    angle = 2 * np.pi * uniform(seed, index, j + 1)
    return radius * np.cos(angle), radius * np.sin(angle)


def gaussian(seed, index):
    """Standard normal noise, (..., 3)."""
    n0, n1 = box_muller(seed, index, 4)
    n2, _ = box_muller(seed, index, 6)
    return np.stack([n0, n1, n2], axis=-1)


def chosen(seed, index, fraction):
    """Which pixels are replaced."""
    return (word(seed, index, 0) >> np.uint32(8)).astype(np.int64) < round(fraction * 2**24)


def replacement(seed, index):
    """Uniform colours to replace pixels with, (..., 3)."""
    return np.stack([uniform(seed, index, 1 + c) for c in range(3)], axis=-1)
