"""A slide's heatmap as a vector of features, for a random forest that tells the slide's class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi import _arrays
from fastwsi.evaluation.results import Result
from fastwsi.evaluation.shapes import heatmap_values, measured, rounded_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastwsi.evaluation.shapes import Shapes, Values

# Of a region, as `Shape` has them.
_PFA = ("major_axis_moment_um", "area_um2")
_WANG = (
    "area_um2", "major_axis_moment_um", "solidity", "eccentricity", "extent", "perimeter_um", "mean", "max",
)  # fmt: skip
_ALL = (*_WANG, "major_axis_feret_um", "min", "std")


@dataclass(frozen=True, repr=False, eq=False)
class SlideFeatures(Result):
    """The features of one slide.

    Attributes
    ----------
    names : tuple of str
        The same for every slide with the same ``kind`` and thresholds.
    values : float64 array, shape (len(names),)
        Finite. What is of a region that is not there is 0. Read-only.
    kind : str
    thresholds : tuple of float

    Examples
    --------
    >>> found = slide_features(np.full((1, 2), 0.75), mpp=10, thresholds=[0.5], kind="pfa")
    >>> found, found["largest.area_um2@0.5"]
    (<SlideFeatures 2 (pfa): largest.major_axis_moment_um@0.5 20, largest.area_um2@0.5 200>, 200.0)
    """

    names: tuple[str, ...]
    values: Values
    kind: str
    thresholds: tuple[float, ...]

    def __getitem__(self, name: str) -> float:
        """Return a feature by its name."""
        try:
            return float(self.values[self.names.index(name)])
        except ValueError:
            raise KeyError(f"{name!r}: expected one of {', '.join(self.names)}") from None

    def rows(self) -> list[dict[str, Any]]:
        """Return one row, a column for each feature."""
        return [dict(zip(self.names, self.values.tolist(), strict=True))]

    def __str__(self) -> str:
        shown = [f"{name} {value:.4g}" for name, value in zip(self.names[:4], self.values[:4], strict=True)]
        more = ", …" if len(self.names) > len(shown) else ""
        return f"{len(self.names)} ({self.kind}): {', '.join(shown)}{more}"


def slide_features(
    heatmap: Any,
    *,
    mpp: float,
    thresholds: Sequence[float] = (0.5, 0.9),
    tissue: Any = None,
    kind: Literal["pfa", "wang", "all"] = "all",
) -> SlideFeatures:
    """Return the features of a slide's heatmap of tumour probabilities, for a classifier of slides.

    At each threshold ``t``, a feature's name ends in ``@t``; regions are those of `lesion_shapes`,
    8-connected, and the features of a region are fields of `Shape`:

    - "pfa", the two of PFA-ScanNet: ``largest.major_axis_moment_um@t``, ``largest.area_um2@t``.
    - "wang", after Wang and others' winner of Camelyon16, who name some of their 28 features:
      ``tumour_share@t`` (of the tissue's cells, those at or above t), ``regions@t`` (how many), then of the
      ``largest.`` and the ``second.`` region ``area_um2``, ``major_axis_moment_um``, ``solidity``,
      ``eccentricity``, ``extent``, ``perimeter_um``, ``mean``, ``max``; last, without threshold, ``max`` and
      ``mean`` of the tissue's cells.
    - "all": those of "wang", which hold those of "pfa", and of each region ``major_axis_feret_um``, ``min``
      and ``std`` too.

    Parameters
    ----------
    heatmap : array of floats, shape (height, width)
        Of numpy, torch or cupy. NaN where nothing was scanned.
    mpp : float
        Micrometres that one cell of the heatmap spans.
    thresholds : sequence of float
        In the order that the names shall have.
    tissue : bool array, shape (height, width), optional
        Cells outside count as not scanned. Default: all that are not NaN are tissue.
    kind : "pfa", "wang" or "all"

    Returns
    -------
    SlideFeatures

    Examples
    --------
    >>> heatmap = np.zeros((40, 50), np.float32)
    >>> heatmap[10:20, 10:30] = 0.95
    >>> features = slide_features(heatmap, mpp=8, kind="wang")
    >>> len(features.values), features["tumour_share@0.9"], features["largest.area_um2@0.9"]
    (38, 0.1, 12800.0)
    >>> features["second.area_um2@0.9"]
    0.0
    """
    if kind not in ("pfa", "wang", "all"):
        raise ValueError(f"kind: got {kind!r}, expected 'pfa', 'wang' or 'all'")
    values, dtype = heatmap_values(heatmap)
    if np.isneginf(values).any():
        raise ValueError("heatmap: got -inf, expected finite values, or NaN where there are none")
    values = _on_tissue(values, tissue)
    found: dict[str, float] = {}
    levels = _levels(thresholds)
    for level in levels:
        limit = rounded_threshold(level, dtype)
        shapes = measured(values, limit, threshold=level, mpp=mpp, connectivity=8, most=2)
        of_all = {} if kind == "pfa" else _of_all(shapes, values)
        found |= {f"{name}@{level!r}": value for name, value in (of_all | _of_regions(shapes, kind)).items()}
    if kind != "pfa":
        scanned = values[~np.isnan(values)]
        found["max"] = float(scanned.max()) if scanned.size else 0.0
        found["mean"] = float(scanned.mean()) if scanned.size else 0.0
    vector = np.array(list(found.values()), np.float64)
    vector.flags.writeable = False
    return SlideFeatures(tuple(found), vector, kind, levels)


def _levels(thresholds: Sequence[float]) -> tuple[float, ...]:
    """Return the thresholds as floats, each once."""
    if isinstance(thresholds, str | bytes) or not hasattr(thresholds, "__iter__"):
        raise TypeError(f"thresholds: got {thresholds!r}, expected a sequence of numbers")
    levels = tuple(rounded_threshold(each, "float64") for each in thresholds)
    if not levels or len(set(levels)) < len(levels):
        raise ValueError(f"thresholds: got {list(levels)}, expected one at least, and each once")
    return levels


def _on_tissue(values: Values, tissue: Any) -> Values:
    """Return the heatmap with NaN outside the tissue."""
    if tissue is None:
        return values
    framework = _arrays.framework_of(tissue, "tissue")
    if _arrays.dtype_name(tissue) != "bool":
        raise TypeError(f"tissue: got dtype {_arrays.dtype_name(tissue)}, expected bool; tissue > 0 makes it")
    if tuple(tissue.shape) != values.shape:
        raise ValueError(
            f"tissue: got shape {tuple(tissue.shape)}, expected that of the heatmap, {values.shape}"
        )
    if framework != "numpy":
        tissue = tissue.cpu().numpy() if framework == "torch" else tissue.get()
    return np.where(tissue, values, np.nan)


def _of_all(shapes: Shapes, values: Values) -> dict[str, float]:
    scanned = int(np.count_nonzero(~np.isnan(values)))
    return {"tumour_share": shapes.cells / max(scanned, 1), "regions": float(shapes.count)}


def _of_regions(shapes: Shapes, kind: str) -> dict[str, float]:
    """Return the features of the largest region and, but for PFA's, of the second."""
    wanted = {"pfa": _PFA, "wang": _WANG, "all": _ALL}[kind]
    return {
        f"{place}.{name}": float(getattr(shapes[rank], name)) if rank < len(shapes) else 0.0
        for rank, place in enumerate(("largest",) if kind == "pfa" else ("largest", "second"))
        for name in wanted
    }
