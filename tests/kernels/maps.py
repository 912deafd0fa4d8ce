"""Inputs for the tests of heatmap operations: maps full of what is hard to order, as any dtype."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import strategies as st

from kernels.arrays import to_backend, to_numpy
from kernels.pools import lay_out

DTYPES = ("float16", "bfloat16", "float32", "float64")
KINDS = ("few", "normal", "plateau", "ramp", "checkerboard", "odd", "zeros")
FEW = (-1.0, -0.5, 0.1, 0.25, 0.5, 0.75)
ODD = (np.nan, np.inf, -np.inf, 0.5, 0.25, -0.5)


def values(rng, shape, kind):
    """One map or a batch of maps, in float64."""
    row, column = np.indices(shape)[-2:]
    if kind == "plateau":
        return np.full(shape, 0.5)
    if kind == "ramp":
        return (row * 31.0 + column) / 1024 - 0.25
    if kind == "checkerboard":
        return np.where((row + column) % 2, 0.25, 0.75)
    if kind == "normal":
        return rng.normal(size=shape)
    return rng.choice({"few": FEW, "odd": ODD, "zeros": (0.0, -0.0, 0.5)}[kind], shape)


@st.composite
def maps(draw, batches=True, max_side=20):
    """Values that each dtype holds exactly, or nearly so; in float64."""
    side = st.integers(0, max_side) | st.integers(1, max_side)
    height, width = draw(side), draw(side)
    if draw(st.integers(0, 9)) == 0:
        height, width = draw(st.sampled_from([(1, 90), (90, 1), (2, 67), (35, 34)]))
    lead = draw(st.sampled_from([(), (), (0,), (1,), (3,)])) if batches else ()
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return values(rng, (*lead, height, width), draw(st.sampled_from(KINDS)))


def as_input(array, dtype, backend, layout):
    """(the array to give, the very same values as numpy holds them: bfloat16 as float32)."""
    if dtype == "bfloat16":
        x = to_backend(lay_out(array.astype(np.float32), layout), "torch").to(torch.bfloat16)
        return x, to_numpy(x)
    x = to_backend(lay_out(array.astype(dtype), layout), backend)
    return x, array.astype(dtype)


def as_threshold(threshold, dtype):
    """The threshold that a reference in float32 needs for bfloat16: rounded once, ties to even."""
    if dtype != "bfloat16" or math.isinf(threshold):
        return threshold
    if abs(threshold) >= 2.0**128:  # beyond which the arithmetic below may leave float64's range
        return math.copysign(math.inf, threshold)
    step = max(math.frexp(threshold)[1] - 8, -133)  # eight bits, or what is left of them near zero
    rounded = math.ldexp(round(math.ldexp(threshold, -step)), step)
    return math.copysign(math.inf, rounded) if abs(rounded) >= 2.0**128 else rounded
