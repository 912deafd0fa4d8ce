"""Which detectors there are: ours, and those that other packages bring."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastwsi.detectors.base import Detector
    from fastwsi.detectors.ensemble import Ensemble

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
    recipes : tuple of str
        The names of its recipes, for who has no time to import it: a shell that completes them.
    """

    name: str
    paper: str
    target: str
    recipes: tuple[str, ...] = ()


OURS = (
    Row(
        "liu2017",
        "Liu et al. 2017: Inception-V3 on patches of gigapixel slides",
        "fastwsi.detectors.liu2017:Liu2017",
        ("liu2017", "liu2017-small", "liu2017-demo"),
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


def load(path: str | Path | Sequence[str | Path], *, network: Any = None) -> Detector | Ensemble:
    """Load whatever detector a file holds; of a run's folder what came out; of several an ensemble.

    Parameters
    ----------
    path : path, or sequence of paths
        A ``.safetensors`` file; a folder of a training run, or of an ensemble's members; or several of them.
    network : torch.nn.Module, optional
        For the weights of one that was given, the same again.
    """
    from fastwsi.detectors.ensemble import Ensemble, member_files  # noqa: PLC0415  (imported where used)
    from fastwsi.detectors.model_file import read_model  # noqa: PLC0415

    if not isinstance(path, (str, Path)):
        several: list[Any] = [load(each, network=network) for each in path]
        return Ensemble(one for each in several for one in getattr(each, "members", (each,)))
    path = Path(path)
    if path.is_dir():
        members, whole = member_files(path), path / "model.safetensors"
        if not (whole.exists() or members):
            raise FileNotFoundError(f"{path}: holds no model.safetensors, and no members of an ensemble")
        return load(whole if whole.exists() else members, network=network)
    return detector(read_model(path).system).load(path, network=network)
