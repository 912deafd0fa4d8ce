"""Inputs for the tests of pooling: shapes with windows that fit, and maps behind other strides."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

LAYOUTS = ("packed", "channels_last", "sliced", "strided", "transposed", "flipped")


def lay_out(x, layout):
    """The same values of (..., H, W) behind other strides."""
    out = np.ascontiguousarray(x)
    if layout == "channels_last" and x.ndim > 2:
        out = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, -3, -1)), -1, -3)
    elif layout == "sliced":
        pad = [(0, 0)] * (x.ndim - 2) + [(1, 2), (3, 1)]
        out = np.pad(x, pad, constant_values=np.nan)[..., 1:-2, 3:-1]
    elif layout == "strided":
        out = np.repeat(np.repeat(x, 2, axis=-1), 3, axis=-2)[..., ::3, ::2]
    elif layout == "transposed":
        out = np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    elif layout == "flipped":
        out = np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1]
    return out


@st.composite
def cases(draw, min_lead=0, max_lead=3):
    """A shape of images, a window that fits, and a stride that need not divide anything."""
    lead = draw(st.lists(st.integers(0, 3), min_size=min_lead, max_size=max_lead))
    side = st.integers(1, 24) | st.sampled_from([1, 2, 32, 33, 70, 75])
    size = draw(side), draw(side)
    window = tuple(draw(st.just(n) | st.integers(1, n)) for n in size)
    stride = tuple(draw(st.just(n) | st.integers(1, n + 3)) for n in window)
    return (*lead, *size), window, stride
