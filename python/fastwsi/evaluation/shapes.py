"""The shapes of the regions of a heatmap above a threshold: how large, how long, how round."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from fastwsi import _arrays, _core, _numbers
from fastwsi.evaluation.results import Result
from fastwsi.evaluation.sizes import SIZES, size_class

if TYPE_CHECKING:
    from collections.abc import Iterator

    Values = np.ndarray[Any, np.dtype[np.float64]]

_NATIVE = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True, repr=False)
class Shape(Result):
    """One connected region of a heatmap. Places are in cells of the heatmap, of which (0, 0) is the first.

    Attributes
    ----------
    cells : int
    area_um2 : float
        In µm².
    major_axis_moment_um : float
        4 √λ, where λ is the larger eigenvalue of the population covariance of the cells' middles: the long
        axis of the ellipse of the same second moments. It lacks the 1/12 that the extent of a cell would
        add to each variance, as does `axis_major_length` of scikit-image and the script of Camelyon16; MATLAB
        adds it. 0 for a single cell.
    major_axis_feret_um : float
        The largest distance between any two corners of the region's cells: what a ruler measures. √2 for a
        single cell of 1 µm.
    perimeter_um : float
        Along the middles of the cells at the border, holes included, as scikit-image's `perimeter` has it: 0
        for a single cell.
    solidity : float
        The share of the convex hull's cells that is the region's: scikit-image's `solidity`.
    eccentricity : float
        Of the ellipse of the same second moments: 0 for a disc, 1 for a line of single cells.
    extent : float
        The share of the bounding box that is the region's.
    mean, max, min, std : float
        Of the heatmap in the region; the standard deviation is the population's.
    left, top, right, bottom : int
        Bounding box, without column ``right`` and row ``bottom``.
    x, y : float
        Mean column and row of the cells.
    size_class : str
        "macro", "micro" or "itc", of the Feret axis; see `size_class`.

    Examples
    --------
    >>> lesion_shapes(np.full((2, 100), 0.75), 0.5, mpp=10)[0]
    <Shape micro, 0.02 mm², 1000.2 µm long, mean 0.750, at (49.5, 0.5)>
    """

    cells: int
    area_um2: float
    major_axis_moment_um: float
    major_axis_feret_um: float
    perimeter_um: float
    solidity: float
    eccentricity: float
    extent: float
    mean: float
    max: float
    min: float
    std: float
    left: int
    top: int
    right: int
    bottom: int
    x: float
    y: float
    size_class: str

    def __str__(self) -> str:
        return (
            f"{self.size_class}, {self.area_um2 / 1e6:.4g} mm², {self.major_axis_feret_um:.1f} µm long, "
            f"mean {self.mean:.3f}, at ({self.x:.1f}, {self.y:.1f})"
        )


@dataclass(frozen=True, repr=False)
class Shapes(Result):
    """The regions of a heatmap at one threshold, the largest area first; a table of a row for each.

    Regions of one area come in the order of their first cells, row by row.

    Attributes
    ----------
    regions : tuple of Shape
        Also by index and in loops.
    count, cells : int
        How many regions there are and their cells together, of those too that were not measured.
    threshold, mpp : float
    connectivity : int

    Examples
    --------
    >>> shapes = lesion_shapes(np.array([[0.9, 0.9, 0.0, 0.6]]), 0.5, mpp=100)
    >>> shapes
    <Shapes 2 regions >= 0.5: 1 micro, 1 itc; 0.03 mm² together, the longest 223.6 µm>
    >>> len(shapes), shapes[1].max, [shape.cells for shape in shapes]
    (2, 0.6, [2, 1])
    """

    regions: tuple[Shape, ...]
    count: int
    cells: int
    threshold: float
    mpp: float
    connectivity: int

    def __len__(self) -> int:
        return len(self.regions)

    @overload
    def __getitem__(self, index: int) -> Shape: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Shape, ...]: ...
    def __getitem__(self, index: int | slice) -> Shape | tuple[Shape, ...]:
        return self.regions[index]

    def __iter__(self) -> Iterator[Shape]:
        return iter(self.regions)

    @property
    def area_um2(self) -> float:
        """Area of all regions together in µm²."""
        return self.cells * self.mpp**2

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each region that was measured."""
        return [region.to_dict() for region in self.regions]

    def __str__(self) -> str:
        if not self.count:
            return f"no region >= {self.threshold:g}"
        classes = [region.size_class for region in self.regions]
        counts = ", ".join(f"{classes.count(each)} {each}" for each in SIZES if each in classes)
        longest = max((region.major_axis_feret_um for region in self.regions), default=0.0)
        measured = "" if len(self) == self.count else f" of {len(self)} measured"
        return (
            f"{self.count} region{'s' if self.count != 1 else ''} >= {self.threshold:g}: {counts}{measured}; "
            f"{self.area_um2 / 1e6:.4g} mm² together, the longest {longest:.1f} µm"
        )


def lesion_shapes(
    heatmap: Any, threshold: float, *, mpp: float, connectivity: int = 8, most: int | None = None
) -> Shapes:
    """Measure the connected regions of the cells that reach a threshold.

    Needs scikit-image.

    Parameters
    ----------
    heatmap : array of floats, shape (height, width)
        Of numpy, torch or cupy; measured on the CPU in float64. NaN, as where nothing was scanned, reaches no
        threshold; +inf is refused.
    threshold : float
        Cells at or above it are the regions'. It is rounded to the heatmap's dtype first: a float32 cell of
        0.9 reaches a threshold of 0.9.
    mpp : float
        Micrometres that one cell of the heatmap spans, along x and y alike.
    connectivity : 4 or 8
        Whether cells that touch at a corner alone are connected (8) or not.
    most : int, optional
        How many regions to measure, the largest by area. Default: all.

    Returns
    -------
    Shapes

    Examples
    --------
    >>> heatmap = np.zeros((50, 60), np.float32)
    >>> heatmap[10:30, 20:50] = 0.8
    >>> heatmap[40, 5] = 0.6
    >>> shapes = lesion_shapes(heatmap, 0.5, mpp=100)
    >>> shapes
    <Shapes 2 regions >= 0.5: 1 macro, 1 itc; 6.01 mm² together, the longest 3605.6 µm>
    >>> shapes[0].cells, shapes[0].major_axis_moment_um.__round__(1), (shapes[0].x, shapes[0].y)
    (600, 3462.2, (34.5, 19.5))
    """
    values, dtype = heatmap_values(heatmap)
    limit = rounded_threshold(threshold, dtype)
    return measured(values, limit, threshold=float(threshold), mpp=mpp, connectivity=connectivity, most=most)


def measured(
    values: Values, limit: float, *, threshold: float, mpp: float, connectivity: int, most: int | None
) -> Shapes:
    """Measure the regions of float64 values that reach ``limit``; the rest as in `lesion_shapes`.

    Examples
    --------
    >>> measured(np.ones((2, 2)), 0.5, threshold=0.5, mpp=1, connectivity=8, most=0).count
    1
    """
    spacing = _numbers.finite(mpp, "mpp")
    if spacing <= 0:
        raise ValueError(f"mpp: got {mpp!r}, expected more than 0 micrometres")
    neighbours = _numbers.whole(connectivity, "connectivity")
    if neighbours not in (4, 8):
        raise ValueError(f"connectivity: got {connectivity!r}, expected 4 or 8")
    largest = None if most is None else _numbers.whole(most, "most", 0)
    above = values >= limit
    if not above.any():
        return Shapes((), 0, 0, threshold, spacing, neighbours)
    skimage = _skimage_measure()
    labels, count = skimage.label(above, connectivity=2 if neighbours == 8 else 1, return_num=True)
    cells = np.bincount(labels.ravel(), minlength=count + 1)
    # Labels follow their regions' first cells; a stable sort keeps that order among equals.
    order = 1 + np.argsort(-cells[1:], kind="stable")[:largest]
    ranks = np.zeros(count + 1, labels.dtype)
    ranks[order] = np.arange(1, len(order) + 1)
    regions = tuple(_shape(region, values, spacing) for region in skimage.regionprops(ranks[labels]))
    return Shapes(regions, int(count), int(cells[1:].sum()), threshold, spacing, neighbours)


def heatmap_values(heatmap: Any) -> tuple[Values, str]:
    """Return a heatmap's values in float64 on the CPU, and the name of the dtype that they had.

    Examples
    --------
    >>> heatmap_values(np.ones((1, 2), np.float16))
    (array([[1., 1.]]), 'float16')
    """
    framework = _arrays.framework_of(heatmap, "heatmap")
    _arrays.check_dense(heatmap, "heatmap")
    dtype = _arrays.dtype_name(heatmap)
    if "float" not in dtype:
        raise TypeError(f"heatmap: got dtype {dtype}, expected floats; heatmap.astype('float32') makes them")
    if heatmap.ndim != 2:
        raise ValueError(f"heatmap: got shape {tuple(heatmap.shape)}, expected (height, width)")
    if framework == "torch":
        heatmap = _arrays.plain(heatmap).detach().cpu().double().numpy()
    elif framework == "cupy":
        heatmap = heatmap.get()
    values = np.asarray(heatmap, np.float64)
    if np.isposinf(values).any():
        raise ValueError("heatmap: got +inf, expected finite values, or NaN where there are none")
    return values, dtype


def rounded_threshold(threshold: float, dtype: str) -> float:
    """Return a threshold as a heatmap of a dtype would hold it; errors name the argument.

    Examples
    --------
    >>> rounded_threshold(0.9, "float32") == float(np.float32(0.9))
    True
    """
    level = _numbers.finite(threshold, "threshold")
    return float(_core.rounded_threshold(level, dtype)) if dtype in _NATIVE else level


def _shape(region: Any, values: Values, mpp: float) -> Shape:
    """Measure one region of `skimage.measure.regionprops`."""
    top, left, bottom, right = region.bbox
    inside = region.image
    rows, columns = np.nonzero(inside)
    x, y = columns.mean(), rows.mean()
    larger, smaller = _variances(columns - x, rows - y)
    found = values[region.slice][inside]
    feret = _feret(inside) * mpp
    return Shape(
        cells=len(rows),
        area_um2=len(rows) * mpp**2,
        major_axis_moment_um=4 * math.sqrt(larger) * mpp,
        major_axis_feret_um=feret,
        perimeter_um=float(region.perimeter) * mpp,
        solidity=float(region.solidity),
        eccentricity=math.sqrt(1 - smaller / larger) if larger > 0 else 0.0,
        extent=len(rows) / inside.size,
        mean=float(found.mean()),
        max=float(found.max()),
        min=float(found.min()),
        std=float(found.std()),
        left=int(left),
        top=int(top),
        right=int(right),
        bottom=int(bottom),
        x=float(left + x),
        y=float(top + y),
        size_class=size_class(feret),
    )


def _variances(dx: Values, dy: Values) -> tuple[float, float]:
    """Return the variances along the long and the short axis of centred places."""
    xx, yy, xy = float(dx @ dx) / len(dx), float(dy @ dy) / len(dx), float(dx @ dy) / len(dx)
    middle, half = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    return middle + half, max(0.0, middle - half)  # rounding may leave less than nothing of a line's width


def _feret(inside: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """Return the largest distance between corners of a region's cells, in cells.

    It is one between the corners of their convex hull, and of each row only the ends can be those.
    """
    from scipy.spatial import ConvexHull  # noqa: PLC0415  (not wanted by who measures nothing)
    from scipy.spatial.distance import pdist  # noqa: PLC0415

    rows = np.flatnonzero(inside.any(1))
    first = inside[rows].argmax(1)
    last = inside.shape[1] - inside[rows, ::-1].argmax(1)
    corners = np.concatenate([np.stack([x, y], 1) for x in (first, last) for y in (rows, rows + 1)])
    hull = corners[ConvexHull(corners).vertices]
    return math.sqrt(pdist(hull, "sqeuclidean").max())


def _skimage_measure() -> Any:
    """Import scikit-image where it is used: it takes a while, and nothing else here needs it."""
    try:
        return importlib.import_module("skimage.measure")
    except ImportError as error:
        raise ImportError(
            "scikit-image is needed for the shapes of lesions: pip install scikit-image"
        ) from error
