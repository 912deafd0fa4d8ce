"""Labelled scores for property tests: few values with many ties, or floats of any size."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

VALUES = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e9, 1e9))


@st.composite
def scored(draw, least=1, columns=1):
    """Return bool labels with at least ``least`` of each class, and columns of scores, in any order."""
    m, n = (draw(st.integers(least, 12)) for _ in range(2))
    labels = np.array(draw(st.permutations([True] * m + [False] * n)))
    each = st.lists(VALUES, min_size=m + n, max_size=m + n).map(np.array)
    return labels, *(draw(each) for _ in range(columns))


def slides(seed, total, shift=1.0, decimals=None):
    """Return labels and scores of many slides; rounded scores are tied."""
    rng = np.random.default_rng(seed)
    labels = rng.random(total) < 0.4
    scores = rng.normal(size=total) + shift * labels
    return labels, scores if decimals is None else scores.round(decimals)
