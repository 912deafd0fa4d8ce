"""Reading heatmaps: peaks by non-maximum suppression."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastwsi import _arrays, _core, _devices, _numbers
from fastwsi.kernels.graph_breaks import outside_graphs

if TYPE_CHECKING:
    from collections.abc import Sequence

_DTYPES = ("float32", "float16", "bfloat16", "float64")
_SHAPES = ("disc", "square", "square_halfopen")
_MAX_SIDE = 1 << 30


class Detections(NamedTuple):
    """Peaks of one heatmap in the order reported: arrays of one length, on the heatmap's device.

    Examples
    --------
    >>> import torch
    >>> heatmap = torch.zeros(5, 8)
    >>> heatmap[1, 6] = 0.9
    >>> found = fastwsi.kernels.nms(heatmap, radius=2, threshold=0.5)
    >>> found.x.tolist(), found.y.tolist(), found.score
    ([6], [1], tensor([0.9000]))
    """

    x: Any
    y: Any
    score: Any


class PaddedDetections(NamedTuple):
    """Peaks as arrays of a length known beforehand: beyond ``count``, x and y are -1 and score is 0.

    Examples
    --------
    >>> heatmap = np.zeros((5, 8), np.float32)
    >>> heatmap[1, 6] = 0.75
    >>> found = fastwsi.kernels.nms(heatmap, radius=2, threshold=0.5, max_points=3, padded=True)
    >>> found.x.tolist(), found.score.tolist(), int(found.count)
    ([6, -1, -1], [0.75, 0.0, 0.0], 1)
    """

    x: Any
    y: Any
    score: Any
    count: Any


@outside_graphs
def nms(
    heatmap: Any,
    radius: float,
    threshold: float,
    shape: str = "disc",
    max_points: int | None = None,
    *,
    padded: bool = False,
) -> Any:
    """Find peaks: report the largest cell, zero its surroundings, and again, down to a threshold.

    Of equal cells the first in row-major order is reported. The result is exactly that of the loop.

    Parameters
    ----------
    heatmap : float16, bfloat16, float32 or float64 array, shape (height, width) or (N, height, width)
        In any memory layout; never written to. Cells that are NaN are never reported.
    radius : float
        How far a reported cell suppresses others, in cells; finite, >= 0, fractions welcome.
    threshold : float
        Cells strictly above it are reported. It is rounded to the heatmap's dtype first, so that a cell of
        float32(0.1) is not above 0.1.
    shape : "disc", "square" or "square_halfopen"
        Which cells at (dx, dy) from a reported one are suppressed: dx^2 + dy^2 <= radius^2; |dx| <= radius
        and |dy| <= radius; or -radius <= dx < radius and -radius <= dy < radius. Itself in any case.
    max_points : int, optional
        Stop after so many, in each map.
    padded : bool
        Give arrays of a fixed length with a count, without waiting for a GPU.

    Returns
    -------
    structured array, Detections or PaddedDetections
        In the order reported: of numpy's heatmaps a structured array with the fields x, y (int64, in cells)
        and score (the heatmap's dtype); else Detections with these three. For a batch a list, one for each
        map. With ``padded`` PaddedDetections, of shape (capacity,) or (N, capacity) and count () or (N,),
        where the capacity is ``nms_capacity(height, width, radius, shape)`` or ``max_points`` if that is
        less. No gradient flows. On a GPU all is done there; without ``padded`` the call waits for the
        count, once. Under torch.compile it breaks the graph; torch.export refuses it.

    Examples
    --------
    >>> heatmap = np.zeros((32, 32), np.float32)
    >>> heatmap[4, 5], heatmap[5, 6], heatmap[20, 7] = 0.9, 0.8, 0.7
    >>> peaks = fastwsi.kernels.nms(heatmap, radius=3, threshold=0.5)
    >>> peaks["x"].tolist(), peaks["y"].tolist(), peaks["score"].dtype.name
    ([5, 7], [4, 20], 'float32')
    """
    check_heatmap(heatmap)
    framework = _arrays.framework_of(heatmap, "heatmap")
    sides = tuple(heatmap.shape)
    capacity = nms_capacity(sides[-2], sides[-1], radius, shape)
    most = capacity if max_points is None else min(capacity, _numbers.whole(max_points, "max_points", 1))
    level = _numbers.real(threshold, "threshold")
    if math.isnan(level):
        raise ValueError("threshold: got nan, expected a number")
    plain = _arrays.plain(heatmap)
    batch = plain if len(sides) == 3 else plain[None]
    run = _without_cells if capacity == 0 else _on_gpu if _arrays.is_gpu(batch) else _on_cpu
    found = run(batch, float(radius), level, shape, most, padded)
    if isinstance(found, PaddedDetections):
        if len(sides) == 3:
            return found
        return PaddedDetections(found.x[0], found.y[0], found.score[0], found.count.reshape(()))
    lists = [_structured(each) for each in found] if framework == "numpy" else found
    return lists if len(sides) == 3 else lists[0]


def nms_capacity(height: int, width: int, radius: float, shape: str = "disc") -> int:
    """Return the most peaks that ``nms`` can find on a heatmap of height x width cells.

    One for each block of cells that are all within the radius of each other.

    Examples
    --------
    >>> fastwsi.kernels.nms_capacity(100, 200, radius=12), fastwsi.kernels.nms_capacity(2, 3, radius=0)
    (276, 6)
    """
    reach = _numbers.finite(radius, "radius", 0)
    if not isinstance(shape, str) or shape not in _SHAPES:
        raise ValueError(f"shape: got {shape!r}, expected one of {', '.join(_SHAPES)}")
    sides = _numbers.whole(height, "height", 0), _numbers.whole(width, "width", 0)
    if max(sides) > _MAX_SIDE:
        raise ValueError(f"height and width: got {sides[0]} and {sides[1]}, expected at most {_MAX_SIDE}")
    return _core.nms_capacity(*sides, reach, shape)


def check_heatmap(heatmap: Any) -> str:
    """Raise unless an array is a heatmap or a batch of them; return the name of its dtype.

    Examples
    --------
    >>> check_heatmap(np.zeros((2, 3)))
    'float64'
    """
    _arrays.check_dense(heatmap, "heatmap")
    dtype = _arrays.dtype_name(heatmap)
    if dtype not in _DTYPES:
        raise TypeError(f"heatmap: got dtype {dtype}, expected one of {', '.join(_DTYPES)}")
    if len(heatmap.shape) not in (2, 3):
        raise ValueError(
            f"heatmap: got shape {tuple(heatmap.shape)}, expected (height, width) or (batch, height, width)"
        )
    return dtype


def _without_cells(batch: Any, *args: Any) -> PaddedDetections | list[Detections]:
    """No work and, where padded, next to no memory, however many maps there are."""
    padded, maps = args[-1], int(batch.shape[0])
    if not padded:
        return [Detections(*_room(batch, (0,))) for _ in range(maps)]
    count = _devices.zeros(batch, (maps,), "int64")
    if isinstance(count, np.ndarray) and not isinstance(batch, np.ndarray):
        count = sys.modules["torch"].from_numpy(count)
    return PaddedDetections(*_room(batch, (maps, 0)), count)


def _on_cpu(
    batch: Any, radius: float, threshold: float, shape: str, most: int, padded: bool
) -> PaddedDetections | list[Detections]:
    result = _core.nms(batch, radius, threshold, shape, most)
    counts = result.counts
    if padded:
        found = PaddedDetections(*_room(batch, (len(counts), most)), _room(batch, (len(counts),))[0])
        for i in range(len(counts)):
            result.fill(i, found.x[i], found.y[i], found.score[i])
        result.fill_counts(found.count)
        return found
    lists = [Detections(*_room(batch, (n,))) for n in counts]
    for i, each in enumerate(lists):
        result.fill(i, *each)
    return lists


def _on_gpu(
    batch: Any, radius: float, threshold: float, shape: str, most: int, padded: bool
) -> PaddedDetections | list[Detections]:
    maps, height, width = (int(n) for n in batch.shape)
    capacity = _core.nms_capacity(height, width, radius, shape)
    stream = _arrays.stream_of(batch)
    # Detections come in any order; unused entries sort last.
    keys = _arrays.empty(batch, (2, maps, capacity), "int64")
    count = _arrays.empty(batch, (maps,), "int64")
    scratch = _arrays.empty(batch, (_core.nms_scratch_bytes(maps, height, width, radius, shape),), "uint8")
    _core.nms_device(batch, radius, threshold, shape, keys, count, scratch, stream)
    if not padded:
        counts = [int(n) for n in count.tolist()]
        keys = keys[:, :, : max(counts, default=0)]
        most = min(most, keys.shape[2])
    place = _arrays.sorted_pairs(keys[0], keys[1])
    x, y, score = _room(batch, (maps, most))
    _core.nms_read_device(batch, place, x, y, score, count, stream)
    if padded:
        return PaddedDetections(x, y, score, count)
    return [Detections(x[i, :n], y[i, :n], score[i, :n]) for i, n in enumerate(counts)]


def _room(like: Any, shape: Sequence[int]) -> tuple[Any, Any, Any]:
    """Allocate x, y and score."""
    places = (_arrays.empty(like, shape, "int64") for _ in "xy")
    return (*places, _arrays.empty_as(like, shape))


def _structured(found: Detections) -> np.ndarray[Any, Any]:
    table = np.empty(found.x.shape, [("x", np.int64), ("y", np.int64), ("score", found.score.dtype)])
    for name in ("x", "y", "score"):
        table[name] = getattr(found, name)
    return table
