"""Results to try things on: heatmaps of odd sizes, with cells that were not scanned."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from fastwsi.engine import SlideResult

# Strides of scans: whole, and what a resolution asks for that is no multiple of the slide's.
scales = st.sampled_from([1.0, 16.0, 32.0, 128.0, 127.9371, 100 / 3, 8.0625])
slide_sizes = st.tuples(st.integers(1, 9000), st.integers(1, 9000))


def heatmap(rows, columns, seed=0, share=0.7):
    """Scores of some cells: zeros, equal ones and a 1 among them."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(np.array([0, 0.25, 0.5, 1], np.float32), (rows, columns))
    cells += np.where(cells == 0.5, rng.random((rows, columns)), 0).astype(np.float32) / 4
    cells[rng.random((rows, columns)) > share] = np.nan
    return cells


def result(name="tumor_001", size=(1003, 711), scale=32.0, seed=0, **more):
    columns, rows = (max(1, int(np.ceil(side / scale - 1e-6))) for side in size)
    how = {"radius": 2.5, "threshold": 0.3, "mpp": 0.25, **more}
    return SlideResult.of(heatmap(rows, columns, seed), name=name, scale=scale, slide_size=size, **how)
