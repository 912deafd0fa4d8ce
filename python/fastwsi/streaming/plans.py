"""How an image is gone through: which regions, in bands of how many rows, what is skipped."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastwsi.streaming import graph as graphs
from fastwsi.streaming.graph import IMAGE, Graph
from fastwsi.streaming.memory import Price, peak_of
from fastwsi.streaming.units import Layout, Region, grid_of, layout_of_image, receptive_field

if TYPE_CHECKING:
    from fastwsi.streaming.background import Skipping
    from fastwsi.streaming.schedule import Pace, Pass

_BANDS = (256, 128, 64, 32, 16)
"""Heights that are tried where memory decides, best first."""


@dataclass(frozen=True)
class Plan:
    """At what pace, in windows at most so many cells of the grid wide."""

    graph: Graph
    layout: Layout
    pace: Pace
    window: int
    skipping: Skipping | None = None

    def regions(self, *, skipping: bool) -> list[Region]:
        """Return the regions to go through, those of background left out or not."""
        whole = (self.layout.whole,)
        chosen = self.skipping.live if skipping and self.skipping is not None else whole
        return [window for region in chosen for window in self.layout.windows(region, self.window)]

    def rows_to_read(self, *, skipping: bool) -> int:
        """Return how many rows of the image all regions take together."""
        return sum(self.layout.spans(region)[0][IMAGE].length for region in self.regions(skipping=skipping))


def memory_of(plan: Plan, work: Pass, price: Price) -> int:
    """Return the most bytes that a pass takes beside its outputs, in milliseconds for any height.

    The height matters only until a pass goes on as it went: a shorter image stands for a tall one.
    """
    height, _ = plan.layout.size(IMAGE)
    least = 6 * (receptive_field(plan.graph, 0) + plan.pace.band)
    unit = plan.layout.down.unit
    short = height if height <= least else height - (height - least) // unit * unit
    down = plan.layout.down if short == height else grid_of(plan.graph, graphs.sizes(plan.graph, short, 0), 0)
    layout = replace(plan.layout, down=down)
    small = replace(plan, layout=layout, skipping=None)
    widest = max(small.regions(skipping=False), key=lambda region: layout.spans(region)[1][IMAGE].length)
    rows, columns = layout.spans(widest)
    return peak_of(plan.graph, work, rows, columns, plan.pace, price) + price.kept


def plan_for(graph: Graph, height: int, width: int, pace: Pace) -> Plan:
    """Return the plan at a pace, as wide as the image."""
    layout = layout_of_image(graph, height, width)
    return Plan(graph, layout, pace, layout.across.count)


def plan_within(
    graph: Graph,
    height: int,
    width: int,
    pace: Pace,
    works: list[Pass],
    price: Price,
    budget: int,
    fixed: int,
) -> Plan:
    """Return the plan that takes at most ``budget`` bytes with the least work beyond the whole image's.

    Parameters
    ----------
    pace : Pace
        Of which the band is chosen here.
    works : list of Pass
        The passes that will be made.
    fixed : int
        Bytes that are taken whatever the plan: outputs, their gradients, copies of weights.

    Raises
    ------
    ValueError
        Where nothing fits; the message says what would.
    """
    wide = plan_for(graph, height, width, pace)
    count = wide.layout.across.count
    windows = [count]
    while windows[-1] > 1:
        windows.append(-(-windows[-1] // 2))

    def plan(band: int, window: int) -> Plan:
        return replace(wide, pace=replace(pace, band=band), window=window)

    def needed(plan: Plan) -> int:
        return fixed + max(memory_of(plan, work, price) for work in works)

    bands = sorted({min(band, max(1, height)) for band in _BANDS}, reverse=True)
    least = needed(plan(bands[-1], 1))
    for window in windows if least <= budget else ():
        # The lowest bands tell whether the width fits at all; then the highest that fit.
        if needed(plan(bands[-1], window)) <= budget:
            return next(found for band in bands if needed(found := plan(band, window)) <= budget)
    raise ValueError(
        f"memory: got {budget / 2**20:.0f} MiB for an image of {height} x {width}, expected at least "
        f"{math.ceil(least / 2**20)} MiB, {fixed / 2**20:.0f} for outputs, their gradients and weights"
    )
