"""Micrometres per pixel: from whom a slide has them, and which are believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastwsi import _numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST, LARGEST = 0.05, 20.0
Resolution = tuple[float, float]
_MICROMETRES = {2: 25400.0, 3: 10000.0}  # of TIFF's units, inch and centimetre
_HINT = "open_slide(path, mpp=0.25) or --slide-mpp says it"


@dataclass(frozen=True)
class Found:
    """A resolution, or why there is none.

    Attributes
    ----------
    mpp : (float, float) or None
        Micrometres per pixel along x and y.
    source : str
        Where it was found; without one, what was looked at.
    """

    mpp: Resolution | None
    source: str

    @property
    def missing(self) -> str:
        """What to say to someone who needs the resolution."""
        return f"no resolution ({self.source}); {_HINT}"


def given(mpp: float | Sequence[float]) -> Found:
    """Return the resolution that a user gives: one number, or (x, y).

    Examples
    --------
    >>> given(0.25).mpp
    (0.25, 0.25)
    """
    values = tuple(mpp) if isinstance(mpp, (tuple, list)) else (mpp, mpp)
    if len(values) != 2:
        raise ValueError(f"mpp: got {mpp!r}, expected micrometres per pixel, one number or (x, y)")
    x, y = (_numbers.finite(value, "mpp") for value in values)
    if not (believable(x) and believable(y)):
        raise ValueError(f"mpp: got {mpp!r}, expected {SMALLEST} to {LARGEST:g} µm per pixel")
    return Found((x, y), "given")


def found(candidates: Sequence[tuple[str, Resolution | None]]) -> Found:
    """Return the first resolution that there is and that can be; each comes with where it was found.

    Examples
    --------
    >>> found([("aperio.MPP", None), ("TIFF tags", (0.5, 0.5))])
    Found(mpp=(0.5, 0.5), source='TIFF tags')
    >>> found([("tags", (352.8, 352.8))]).missing
    'no resolution (tags: 352.8 µm, outside 0.05 to 20); open_slide(path, mpp=0.25) or --slide-mpp says it'
    """
    refused = []
    for source, mpp in candidates:
        if mpp is None:
            continue
        if all(map(believable, mpp)):
            return Found(mpp, source)
        wrong = next(value for value in mpp if not believable(value))
        refused.append(f"{source}: {wrong:.4g} µm, outside {SMALLEST} to {LARGEST:g}")
    return Found(None, "; ".join(refused) or "none in the file")


def believable(mpp: float) -> bool:
    """Whether a slide may have so many micrometres per pixel."""
    return SMALLEST <= mpp <= LARGEST  # false for NaN


def from_tags(unit: int, per_unit_x: float, per_unit_y: float) -> Resolution | None:
    """Return micrometres per pixel of TIFF's resolution tags: pixels per inch (2) or centimetre (3).

    Examples
    --------
    >>> from_tags(3, 40000, 40000)
    (0.25, 0.25)
    """
    if unit not in _MICROMETRES or per_unit_x <= 0 or per_unit_y <= 0:
        return None
    return _MICROMETRES[unit] / per_unit_x, _MICROMETRES[unit] / per_unit_y


def number_in(text: str | None) -> float | None:
    """Return the number that a property's text holds, if it does; decimal commas too.

    Examples
    --------
    >>> number_in("0,2523"), number_in("n/a")
    (0.2523, None)
    """
    try:
        return float((text or "").strip().replace(",", "."))
    except ValueError:
        return None
