"""The five published systems, and whatever other packages bring: one row each."""

import importlib
from typing import TYPE_CHECKING, Any

from fastwsi.detectors.registry import Row, detector, load, rows

if TYPE_CHECKING:
    from fastwsi.detectors.base import Detector
    from fastwsi.detectors.ensemble import Ensemble
    from fastwsi.detectors.liu2017 import Liu2017
    from fastwsi.detectors.liu2017_recipe import Liu2017Recipe

# Imported when first used: they bring Lightning.
_NAMES = {
    "Detector": "base",
    "Ensemble": "ensemble",
    "Liu2017": "liu2017",
    "Liu2017Recipe": "liu2017_recipe",
}

__all__ = [
    "Detector",
    "Ensemble",
    "Liu2017",
    "Liu2017Recipe",
    "Row",
    "detector",
    "list",
    "load",
    "rows",
]


def list() -> "tuple[str, ...]":  # noqa: A001  (detectors.list() reads as it is meant)
    """Return the detectors' names.

    Examples
    --------
    >>> "liu2017" in fastwsi.detectors.list()
    True
    """
    return tuple(row.name for row in rows())


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"fastwsi.detectors.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'fastwsi.detectors' has no attribute {name!r}")
