"""Bands of rows for tests: dense tensors, or slices of buffers whose other cells are watched."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

FORMATS = {"rows": torch.contiguous_format, "channels_last": torch.channels_last}
ODD = (0.0, -0.0, float("inf"), float("-inf"), float("nan"), 6.0, 1e-39, 3e38)
GUARD = 77.0

sides = st.integers(1, 21)
shapes = st.tuples(st.integers(1, 2), st.sampled_from([1, 2, 3, 5, 8, 16, 40, 67]), sides, sides)
layouts = st.sampled_from(["rows", "channels_last"])
dtypes = st.sampled_from([torch.float32, torch.float64])


def values(shape, dtype, seed, odd=False):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) * 3
    if odd:
        where = torch.randint(0, 5 * len(ODD), shape, generator=generator)
        for k, value in enumerate(ODD):
            x[where == k] = value
    return x


class Band:
    """The values in a layout, alone or as rows of a larger buffer."""

    def __init__(self, x, layout, sliced):
        n, c, h, w = x.shape
        above, below = (2, 3) if sliced else (0, 0)
        self.buffer = torch.full((n, c, above + h + below, w), GUARD, dtype=x.dtype)
        self.buffer = self.buffer.contiguous(memory_format=FORMATS[layout])
        self.rows = self.buffer[:, :, above : above + h]
        self.rows.copy_(x)
        self._above, self._below = above, above + h

    def check(self):
        """The rows around are as they were."""
        assert bool((self.buffer[:, :, : self._above] == GUARD).all())
        assert bool((self.buffer[:, :, self._below :] == GUARD).all())


def same_bits(a, b):
    """Equal in every bit, but for which NaN it is."""
    integer = torch.int32 if a.dtype == torch.float32 else torch.int64
    return a.shape == b.shape and bool(
        ((a.contiguous().view(integer) == b.contiguous().view(integer)) | (a.isnan() & b.isnan())).all()
    )
