"""How an image is gone through: which regions, in bands of how many rows, what is skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastwsi.streaming.graph import IMAGE, Graph
from fastwsi.streaming.units import Layout, Region

if TYPE_CHECKING:
    from fastwsi.streaming.background import Skipping


@dataclass(frozen=True)
class Plan:
    """Bands of so many rows, in windows at most so many cells of the grid wide."""

    graph: Graph
    layout: Layout
    band: int
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
