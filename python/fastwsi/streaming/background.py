"""Skipping background, exactly: what sees nothing else is computed once, on a miniature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fastwsi import _numbers
from fastwsi.streaming import graph as graphs
from fastwsi.streaming.units import Grid, Layout, Region, seen, strides, total_stride

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastwsi.streaming.graph import Graph


@dataclass(frozen=True)
class Background:
    """Which pixels are background, and the one value that they are painted with.

    Parameters
    ----------
    value : tuple of float
        One for each channel, of the image's kind: 0 to 255 for uint8.
    mask : bool array, shape (height, width) or (N, height, width)
        True where ``downsample`` × ``downsample`` pixels are background.
    downsample : int
        Pixels to a side of a mask's cell.
    """

    value: tuple[float, ...]
    mask: NDArray[np.bool_]
    downsample: int

    def paint(self, images: torch.Tensor, top: int, left: int) -> torch.Tensor:
        """Return (N, rows, columns, C) pixels with those that are background painted."""
        step = self.downsample
        rows = np.arange(top, top + images.shape[1]) // step
        columns = np.arange(left, left + images.shape[2]) // step
        mask = self.mask if self.mask.ndim == 3 else self.mask[None]
        part = mask[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if not part.any():
            return images
        part = part[:, rows - rows[0]][:, :, columns - columns[0]]
        painted = images.clone()
        value = torch.tensor(self.value, dtype=images.dtype, device=images.device)
        painted[torch.from_numpy(part).to(images.device).expand(images.shape[:3])] = value
        return painted

    def clear(self, gradient: torch.Tensor) -> None:
        """Make the gradient (N, C, height, width) of painted pixels zero: nothing depends on them."""
        step, width = self.downsample, gradient.shape[3]
        columns = np.arange(width) // step
        masks = self.mask if self.mask.ndim == 3 else self.mask[None]
        for cell in range(masks.shape[1]):
            rows = gradient[:, :, cell * step : (cell + 1) * step]
            painted = torch.from_numpy(masks[:, cell][:, columns]).to(gradient.device)
            rows.masked_fill_(painted[:, None, None], 0.0)


def background_of(
    given: Any, images: int, channels: int, height: int, width: int, *, uint8: bool
) -> Background:
    """Check a (value, mask, downsample) against the image."""
    try:
        value, mask, downsample = given
    except (TypeError, ValueError):
        raise TypeError(
            f"background: got {type(given).__name__}, expected (value, mask, downsample)"
        ) from None
    step = _numbers.whole(downsample, "background's downsample", 1)
    values = [
        _numbers.finite(each, "background's value") for each in np.ravel(np.asarray(value, dtype=object))
    ]
    if len(values) == 1:
        values *= channels
    if len(values) != channels:
        raise ValueError(f"background's value: got {len(values)} numbers, expected 1 or {channels}")
    if uint8 and not all(0 <= each <= 255 and each == int(each) for each in values):
        raise ValueError(
            f"background's value: got {value!r}, expected whole numbers from 0 to 255 for a uint8 image"
        )
    cells = np.asarray(mask.cpu() if isinstance(mask, torch.Tensor) else mask)
    if cells.dtype != np.bool_:
        raise TypeError(f"background's mask: got dtype {cells.dtype}, expected bool, True for background")
    wanted = (-(-height // step), -(-width // step))
    if cells.shape not in (wanted, (images, *wanted)):
        raise ValueError(
            f"background's mask: got shape {cells.shape}, expected {wanted}: a cell for every {step} "
            f"x {step} pixels, "
            "begun ones too"
        )
    return Background(tuple(values), cells, step)


@dataclass(frozen=True)
class Miniature:
    """An all-background image that stands for the background of a large one.

    ``rows`` and ``columns`` say for each output's places which of the miniature's are the same.
    """

    height: int
    width: int
    rows: dict[int, NDArray[np.int64]]
    columns: dict[int, NDArray[np.int64]]


@dataclass(frozen=True)
class Skipping:
    """Which regions are computed, which filled from the miniature."""

    live: tuple[Region, ...]
    dead: tuple[Region, ...]
    miniature: Miniature


def skipping(layout: Layout, background: Background, height: int, width: int) -> Skipping | None:
    """Plan what to compute; None where skipping would save nothing, or cannot be done exactly."""
    try:
        down = _axis(layout.graph, height, 0)
        across = _axis(layout.graph, width, 1)
    except graphs.GeometryError:
        return None
    alive = _live_cells(layout, background, down, across)
    halo = (down.halo, across.halo)
    units = (layout.down.unit, layout.across.unit)
    live = _rectangles(alive, units, halo)
    area = sum(_cost(region, units, halo) for region in live) + down.mini * across.mini
    if area >= height * width or alive.all():
        return None
    covered = np.zeros_like(alive)
    for region in live:
        covered[region.top : region.bottom, region.left : region.right] = True
    return Skipping(
        tuple(live), tuple(_runs(~covered)), Miniature(down.mini, across.mini, down.classes, across.classes)
    )


@dataclass(frozen=True)
class _Axis:
    """What an axis of the miniature is, and what outputs see of the image along it."""

    mini: int
    halo: int
    classes: dict[int, NDArray[np.int64]]
    seen: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]]


def _axis(graph: Graph, size: int, axis: int) -> _Axis:
    steps = strides(graph, axis)
    period = total_stride(steps)
    big = _sights(graph, size, axis)
    field = max(int((sight.end - sight.first).max(initial=1)) for sight in big.values())
    least = 2 * field + 2 * period
    mini = size if least >= size else size - (size - least) // period * period
    classes = {map_: np.arange(len(big[map_].first)) for map_ in graph.outputs}
    if mini < size:
        small = _sights(graph, mini, axis)
        for map_ in graph.outputs:
            found = _classes(big[map_], small[map_], int(period / steps[map_]), (size - mini) // period)
            if found is None:
                mini, classes = size, {m: np.arange(len(big[m].first)) for m in graph.outputs}
                break
            classes[map_] = found
    seen = {map_: (big[map_].first.clip(0, size), big[map_].end.clip(0, size)) for map_ in graph.outputs}
    return _Axis(mini, field, classes, seen)


@dataclass(frozen=True)
class _Sight:
    """For each place of an output: what it sees of the image, and whether it sees padding on the way."""

    first: NDArray[np.int64]
    end: NDArray[np.int64]
    start_padding: NDArray[np.bool_]
    end_padding: NDArray[np.bool_]


def _sights(graph: Graph, size: int, axis: int) -> dict[int, _Sight]:
    sizes = graphs.sizes(graph, size, axis)
    found = {}
    for output in graph.outputs:
        places = np.arange(sizes[output])
        start_padding, end_padding = np.zeros(len(places), bool), np.zeros(len(places), bool)
        sights = seen(graph, output, places, axis)
        for sight, length in zip(sights, sizes, strict=True):
            if sight is not None:
                start_padding |= sight[0] < 0
                end_padding |= sight[1] > length
        image = sights[0]
        assert image is not None
        found[output] = _Sight(image[0], image[1], start_padding, end_padding)
    return found


def _classes(big: _Sight, small: _Sight, step: int, periods: int) -> NDArray[np.int64] | None:
    """Return for each place the miniature's that sees the same; None where there is not one for each."""
    places = np.arange(len(big.first))
    inner = np.flatnonzero(~(big.start_padding | big.end_padding))
    if len(inner) == 0 or (big.start_padding & big.end_padding).any():
        return None
    begin = inner[0]
    found = np.where(
        big.start_padding,
        places,
        np.where(big.end_padding, places - step * periods, begin + (places - begin) % step),
    )
    if found.min(initial=0) < 0 or found.max(initial=0) >= len(small.first):
        return None
    same = (small.start_padding[found] == big.start_padding) & (small.end_padding[found] == big.end_padding)
    return found if same.all() else None


def _live_cells(layout: Layout, background: Background, down: _Axis, across: _Axis) -> NDArray[np.bool_]:
    """Return the cells of the grid in which any output sees anything but background."""
    mask = background.mask if background.mask.ndim == 2 else background.mask.all(0)
    tissue = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    tissue[1:, 1:] = (~mask).cumsum(0).cumsum(1)
    alive = np.zeros((layout.down.count, layout.across.count), bool)
    for map_ in layout.graph.outputs:
        high, low = _hulls(layout.down, map_, down.seen[map_], background.downsample)
        west, east = _hulls(layout.across, map_, across.seen[map_], background.downsample)
        alive |= (
            tissue[low[:, None], east]
            - tissue[high[:, None], east]
            - tissue[low[:, None], west]
            + tissue[high[:, None], west]
        ) > 0
    return alive


def _hulls(
    grid: Grid, map_: int, seen: tuple[NDArray[np.int64], NDArray[np.int64]], step: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which of the mask's cells the outputs in each of a grid's cells see: [first, end)."""
    found = np.zeros((2, grid.count), np.int64)
    for cell in range(grid.count):
        start, stop = grid.places(map_, cell, cell + 1)
        if start < stop:
            first, end = int(seen[0][start:stop].min()), int(seen[1][start:stop].max())
            found[:, cell] = first // step, max(first // step, -(-end // step))
    return found[0], found[1]


def _cost(region: Region, units: tuple[int, int], halo: tuple[int, int]) -> int:
    """Return the pixels that a region's outputs need."""
    return ((region.bottom - region.top) * units[0] + halo[0]) * (
        (region.right - region.left) * units[1] + halo[1]
    )


def _rectangles(alive: NDArray[np.bool_], units: tuple[int, int], halo: tuple[int, int]) -> list[Region]:
    """Cover the live cells by rectangles: one, cut in two where that leaves less to compute, and so on."""
    box = _bounds(alive, Region(0, alive.shape[0], 0, alive.shape[1]))
    found, left = [], [] if box is None else [box]
    while left:
        region = left.pop()
        top, bottom, west, east = region.top, region.bottom, region.left, region.right
        part = alive[top:bottom, west:east]
        cost, y = _best_cut(part, units, halo)
        other, x = _best_cut(part.T, units[::-1], halo[::-1])
        if min(cost, other) >= _cost(region, units, halo):
            found.append(region)
            continue
        if cost <= other:
            halves = Region(top, top + y, west, east), Region(top + y, bottom, west, east)
        else:
            halves = Region(top, bottom, west, west + x), Region(top, bottom, west + x, east)
        left += [box for half in halves if (box := _bounds(alive, half)) is not None]
    return sorted(found, key=lambda region: (region.top, region.left))


def _best_cut(alive: NDArray[np.bool_], units: tuple[int, int], halo: tuple[int, int]) -> tuple[float, int]:
    """Return the pixels that two parts need, cut before the row that leaves least, and that row."""
    if len(alive) < 2:
        return math.inf, 0
    above = _costs_of_beginnings(alive, units, halo)[:-1]
    below = _costs_of_beginnings(alive[::-1], units, halo)[:-1][::-1]
    best = int((above + below).argmin())
    return float(above[best] + below[best]), best + 1


def _costs_of_beginnings(
    alive: NDArray[np.bool_], units: tuple[int, int], halo: tuple[int, int]
) -> NDArray[np.int64]:
    """Return the pixels that the live cells in the first row, the first two, and so on need."""
    height, width = alive.shape
    any_, places = alive.any(1), np.arange(height)
    first = np.minimum.accumulate(np.where(any_, places, height))
    last = np.maximum.accumulate(np.where(any_, places, -1))
    left = np.minimum.accumulate(np.where(any_, alive.argmax(1), width))
    right = np.maximum.accumulate(np.where(any_, width - alive[:, ::-1].argmax(1), 0))
    cost = ((last - first + 1) * units[0] + halo[0]) * ((right - left) * units[1] + halo[1])
    return np.where(last >= 0, cost, 0)


def _bounds(alive: NDArray[np.bool_], region: Region) -> Region | None:
    """Return the smallest rectangle with a region's live cells."""
    part = alive[region.top : region.bottom, region.left : region.right]
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    if len(rows) == 0:
        return None
    return Region(
        region.top + int(rows[0]),
        region.top + int(rows[-1]) + 1,
        region.left + int(columns[0]),
        region.left + int(columns[-1]) + 1,
    )


def _runs(cells: NDArray[np.bool_]) -> list[Region]:
    """Return rectangles that cover these cells and no others: runs of columns, as far down as they repeat."""
    found: list[Region] = []
    start = 0
    for row in range(1, cells.shape[0] + 1):
        if row < cells.shape[0] and (cells[row] == cells[start]).all():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[0], cells[start].astype(np.int8), [0]])))
        pairs: Sequence[tuple[int, int]] = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
        found += [Region(start, row, first, end) for first, end in pairs]
        start = row
    return found


def spread(
    skip: Skipping, layout: Layout, outputs: dict[int, torch.Tensor], mini: dict[int, torch.Tensor]
) -> None:
    """Fill the outputs' dead regions from the miniature's outputs."""
    for map_, whole in outputs.items():
        rows, columns = (
            torch.from_numpy(c[map_]).to(whole.device) for c in (skip.miniature.rows, skip.miniature.columns)
        )
        for region in skip.dead:
            top, bottom = layout.down.places(map_, region.top, region.bottom)
            left, right = layout.across.places(map_, region.left, region.right)
            for row in range(top, bottom, _SLAB):
                end = min(row + _SLAB, bottom)
                part = mini[map_].index_select(2, rows[row:end]).index_select(3, columns[left:right])
                whole[:, :, row:end, left:right] = part


def gathered(
    skip: Skipping, layout: Layout, map_: int, gradient: torch.Tensor, shape: Sequence[int]
) -> torch.Tensor:
    """Return the gradient of a miniature's output: the sum over all places that it stands for."""
    total = gradient.new_zeros(tuple(shape), dtype=torch.float64)
    rows, columns = (
        torch.from_numpy(c[map_]).to(gradient.device) for c in (skip.miniature.rows, skip.miniature.columns)
    )
    for region in skip.dead:
        top, bottom = layout.down.places(map_, region.top, region.bottom)
        left, right = layout.across.places(map_, region.left, region.right)
        for row in range(top, bottom, _SLAB):
            end = min(row + _SLAB, bottom)
            part = gradient[:, :, row:end, left:right].double()
            across = part.new_zeros((*part.shape[:3], shape[3])).index_add_(3, columns[left:right], part)
            total.index_add_(2, rows[row:end], across)
    return total.to(gradient.dtype)


_SLAB = 64
"""Rows of an output that are moved at a time."""
