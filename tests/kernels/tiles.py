"""Inputs for the tests of stitching: tiles that overlap and hang over, of values that are hard to add."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from reference import heatmap as reference

KINDS = ("normal", "wide", "cancelling", "few", "odd")
ODD = (np.nan, np.inf, -np.inf, 1.0, -2.0, 0.0)


class Case(NamedTuple):
    size: tuple[int, int]  # width, height
    channels: int | None
    tiles: np.ndarray  # (n, h, w) or (n, channels, h, w), float64
    x: list[int]
    y: list[int]


def values(rng, shape, kind):
    """Numbers whose float32 (16-bit: normal ones) lie within a factor of 2^60, of float64 within 2^30."""
    if kind == "few":
        return rng.choice([0.0, -0.0, 0.5, 1 / 3, -1.0], shape)
    if kind == "odd":
        return rng.choice(ODD, shape)
    plain = rng.uniform(1, 2, shape) * rng.choice([-1, 1], shape)
    if kind == "wide":
        return plain * 2.0 ** rng.integers(-13, 14, shape)
    if kind == "cancelling":
        return np.where(rng.random(shape) < 0.5, np.trunc(plain * 4) * 2048, plain / 256)
    return plain


@st.composite
def cases(draw, kinds=KINDS, max_tiles=6):
    size = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    channels = draw(st.sampled_from([None, None, 1, 3]))
    n = draw(st.integers(0, max_tiles))
    high, wide = draw(st.integers(1, 9)), draw(st.integers(1, 9) | st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    planes = () if channels is None else (channels,)
    tiles = values(rng, (n, *planes, high, wide), draw(st.sampled_from(kinds)))
    x = rng.integers(1 - wide, size[0], n).tolist()
    y = rng.integers(1 - high, size[1], n).tolist()
    return Case(size, channels, tiles, x, y)


def expected(case, same, mode="mean", empty=0.0):
    """(heatmap in float64, count) of the tiles as ``same`` holds them, in the dtype that was given."""
    if case.channels is None:
        return reference.stitch(case.size, same, case.x, case.y, mode, empty)
    planes = [
        reference.stitch(case.size, same[:, c], case.x, case.y, mode, empty) for c in range(case.channels)
    ]
    return np.stack([plane for plane, _ in planes]), planes[0][1]


def rounded(heatmap, dtype):
    """Each value rounded once; too large is inf, as everywhere."""
    with np.errstate(over="ignore"):
        return heatmap.astype(dtype)
