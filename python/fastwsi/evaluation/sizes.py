"""Size classes of metastases."""

from __future__ import annotations

import math

MACRO, MICRO = 2000.0, 200.0  # µm: longer than the first, and at least as long as the second
SIZES = ("macro", "micro", "itc")


def size_class(longest: float) -> str:
    """Return "macro", "micro" or "itc" (isolated tumour cells) of a metastasis's length in µm.

    Macro is above 2 mm, ITC below 0.2 mm.

    Examples
    --------
    >>> size_class(2500), size_class(2000), size_class(200), size_class(199)
    ('macro', 'micro', 'micro', 'itc')
    """
    if math.isnan(longest):
        raise ValueError("longest: got nan, expected a length in µm")
    if longest > MACRO:
        return "macro"
    return "micro" if longest >= MICRO else "itc"
