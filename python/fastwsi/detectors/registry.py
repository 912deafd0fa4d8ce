"""Which detectors there are: ours, and those that other packages bring."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fastwsi.detectors.base import Detector

GROUP = "fastwsi.detectors"  # of entry points: name = "package.module:Class"


@dataclass(frozen=True)
class Row:
    """One detector.

    Attributes
    ----------
    name : str
    paper : str
        What it reproduces, in a line.
    target : str
        "module:Class", imported when it is asked for.
    """

    name: str
    paper: str
    target: str


OURS = (
    Row(
        "liu2017",
        "Liu et al. 2017: Inception-V3 on patches of gigapixel slides",
        "fastwsi.detectors.liu2017:Liu2017",
    ),
)


def rows() -> tuple[Row, ...]:
    """Return all detectors by name; those of other packages are not imported for it.

    Examples
    --------
    >>> [row.name for row in fastwsi.detectors.rows()][:1]
    ['liu2017']
    """
    others = [
        Row(point.name, f"of {point.dist.name if point.dist else 'another package'}", point.value)
        for point in metadata.entry_points(group=GROUP)
    ]
    ours = {row.name for row in OURS}
    # Ours keep their names: a model file must mean the same everywhere.
    return (*OURS, *sorted((row for row in others if row.name not in ours), key=lambda row: row.name))


def detector(name: str) -> type[Detector]:
    """Return a detector's class.

    Examples
    --------
    >>> fastwsi.detectors.detector("liu2017").__name__
    'Liu2017'
    """
    from fastwsi.detectors.base import Detector  # noqa: PLC0415  (imported where used)

    found = {row.name: row for row in rows()}
    if name not in found:
        raise ValueError(f"detector: got {name!r}, expected one of {', '.join(found)}")
    module, _, attribute = found[name].target.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"the detector {name!r} ({found[name].target}) cannot be imported: {error}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Detector)):
        raise TypeError(f"the detector {name!r} ({found[name].target}) is no fastwsi.detectors.Detector")
    return kind


def load(path: str | Path) -> Detector:
    """Load whatever detector a file holds."""
    from fastwsi.detectors.model_file import read_model  # noqa: PLC0415  (imported where used)

    return detector(read_model(path).system).load(path)
