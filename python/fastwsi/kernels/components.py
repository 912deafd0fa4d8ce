"""Connected components of heatmaps: tumour regions with their peaks, means and areas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastwsi import _arrays, _core, _ndimage, _numbers
from fastwsi.kernels.graph_breaks import outside_graphs
from fastwsi.kernels.heatmap import check_heatmap

if TYPE_CHECKING:
    from fastwsi._arrays import Array


class Components(NamedTuple):
    """Connected components of one heatmap, an element of each array for each of them.

    Attributes
    ----------
    x, y : int64 array
        Column and row of the peak: the first of the largest cells in row-major order.
    score : array of the heatmap's dtype
        The value there.
    mean : float64 array
        Of the component's values.
    area : int64 array
        Its cells.
    centre_x, centre_y : float64 array
        Mean column and row of its cells.

    Examples
    --------
    >>> import torch
    >>> heatmap = torch.tensor([[0.9, 0.7, 0.0, 0.6]])
    >>> found = fastwsi.kernels.components(heatmap, 0.5)
    >>> found.x.tolist(), found.area.tolist(), found.centre_x.tolist()
    ([0, 3], [2, 1], [0.5, 3.0])
    """

    x: Any
    y: Any
    score: Any
    mean: Any
    area: Any
    centre_x: Any
    centre_y: Any


@outside_graphs
def components(heatmap: Array, threshold: float, *, connectivity: int = 8) -> Any:
    """Find the connected components of the cells strictly above a threshold.

    Parameters
    ----------
    heatmap : float32, float16, bfloat16 or float64 array, shape (height, width) or (batch, height, width)
        In any memory layout. NaN is not above anything. On a GPU this needs cupy:
        ``pip install 'fastwsi[cuda]'``.
    threshold : float
        Rounded to the heatmap's dtype first: a float32 cell of 0.1 is not above a threshold of 0.1.
    connectivity : 4 or 8
        Whether cells that touch at a corner alone are connected (8) or not.

    Returns
    -------
    structured numpy array, or Components
        For numpy with fields "x", "y", "score", "mean", "area", "centre_x", "centre_y"; for torch and cupy
        `Components` of arrays on the heatmap's device; see there. By falling score, equal ones by their
        peak in row-major order. A list of these for a batch. No gradient flows.

    Examples
    --------
    >>> heatmap = np.array([[0.9, 0.7, 0.0, 0.6]], np.float32)
    >>> found = fastwsi.kernels.components(heatmap, 0.5)
    >>> found["x"].tolist(), found["area"].tolist(), found["mean"].round(2).tolist()
    ([0, 3], [2, 1], [0.8, 0.6])
    """
    dtype = check_heatmap(heatmap)
    neighbours = _numbers.whole(connectivity, "connectivity")
    if neighbours not in (4, 8):
        raise ValueError(f"connectivity: got {connectivity!r}, expected 4 or 8")
    level = _numbers.real(threshold, "threshold")
    if math.isnan(level):
        raise ValueError("threshold: got nan, expected a number to compare with")
    limit = _core.rounded_threshold(level, dtype)
    with _ndimage.opened(heatmap, "heatmap", "components") as image:
        if image.array.ndim == 2:
            return _components_of(image, image.array, limit, neighbours)
        return [_components_of(image, each, limit, neighbours) for each in image.array]


def _components_of(image: _ndimage.NdImage, values: Any, threshold: float, connectivity: int) -> Any:
    """Measure one heatmap."""
    xp = image.xp
    width = values.shape[1]
    if values.size:
        square = np.ones((3, 3), int) if connectivity == 8 else np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
        labels, count = image.ndimage.label(values > values.dtype.type(threshold), xp.asarray(square))
        count = int(count)
    else:
        labels, count = xp.zeros(values.shape, "int32"), 0
    cells = xp.flatnonzero(labels)  # in row-major order, as all below
    component = labels.ravel()[cells] - 1
    found = values.ravel()[cells].astype("float64")

    peak = xp.full(count, -xp.inf)
    xp.maximum.at(peak, component, found)
    highest = found == peak[component]
    first = xp.full(count, xp.inf)  # cell numbers are exact in float64
    xp.minimum.at(first, component[highest], cells[highest].astype("float64"))
    order = xp.lexsort(xp.stack([first, -peak]))
    first = first[order].astype("int64")

    def mean_of(weights: Any) -> Any:
        return (xp.bincount(component, weights=weights, minlength=count) / area)[order]

    area = xp.bincount(component, minlength=count)
    columns = {
        "x": first % max(width, 1),
        "y": first // max(width, 1),
        "score": values.ravel()[first],
        "mean": mean_of(found),
        "area": area[order].astype("int64"),
        "centre_x": mean_of((cells % max(width, 1)).astype("float64")),
        "centre_y": mean_of((cells // max(width, 1)).astype("float64")),
    }
    if _arrays.framework_of(image.like, "heatmap") != "numpy":
        back = {name: image.back(column) for name, column in columns.items()}
        back["score"] = image.back(columns["score"], _arrays.dtype_name(image.like))
        return Components(**back)
    result = np.empty(count, [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        result[name] = column
    return result
