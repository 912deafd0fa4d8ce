"""Which patch comes next: drawn from maps of classes, each draw by its own number alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastwsi import _numbers
from fastwsi.augment import generator

if TYPE_CHECKING:
    from fastwsi.data.class_maps import ClassMap

_LIU = (("normal", 0.5), ("tumor", 0.5))
_PFA = (("normal", 0.3), ("tumor", 0.3), ("boundary", 0.2), ("itc", 0.2))


@dataclass(frozen=True)
class Draw:
    """One draw.

    Attributes
    ----------
    index : int
        Its number.
    slide : int
        Which of the sampler's slides.
    centre : (float, float)
        Of the patch, at level 0.
    stream : str
        From which map it came: "normal", "tumor", "boundary" or "itc".
    """

    index: int
    slide: int
    centre: tuple[float, float]
    stream: str


class BalancedPatchSampler:
    """Draws a class, then a slide that holds it, then a place of that class on that slide, each uniformly.

    That is how Liu's training patches are drawn: nothing is sampled beforehand, and whatever a slide's size,
    it counts as much as others. A draw takes the same time for any number of slides and patches, and draw i
    depends on the seed and on i: not on who draws it, or on what was drawn before.

    Parameters
    ----------
    maps : sequence of ClassMap
        One for each slide; see `class_map`.
    weights : mapping or pairs of (stream, weight), optional
        How often each stream is drawn from. Default: "normal" and "tumor" alike. A stream that no slide
        holds is an error if it has a weight.
    seed : int

    Examples
    --------
    >>> from fastwsi.data import BalancedPatchSampler, ClassMap
    >>> cells = {"normal": np.arange(90, dtype=np.int32), "tumor": np.arange(90, 100, dtype=np.int32)}
    >>> sampler = BalancedPatchSampler([ClassMap(10, 10, (128.0, 128.0), cells)], seed=1)
    >>> sampler.draw(41) == sampler.draw(41), sorted({sampler.draw(i).stream for i in range(20)})
    (True, ['normal', 'tumor'])
    """

    def __init__(
        self,
        maps: Sequence[ClassMap],
        weights: Mapping[str, float] | Sequence[tuple[str, float]] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.maps = tuple(maps)
        self.seed = _numbers.whole(seed, "seed", 0)
        pairs = (
            _LIU if weights is None else tuple(weights.items() if isinstance(weights, Mapping) else weights)
        )
        self.streams = tuple(name for name, weight in pairs if _numbers.finite(weight, "weights", 0) > 0)
        shares = np.array([weight for _, weight in pairs if weight > 0], np.float64)
        if not self.streams:
            raise ValueError("weights: got none above 0, expected at least one")
        self._upto = np.cumsum(shares) / shares.sum()
        self.slides = {name: self._holding(name) for name in self.streams}

    @classmethod
    def pfa(cls, maps: Sequence[ClassMap], *, seed: int = 0) -> BalancedPatchSampler:
        """Return a sampler with PFA-ScanNet's three streams: patches at random, of boundaries, of ITC.

        Shares are not printed in the paper: 60 % at random, half of them tumour, and 20 % of each of the
        others; streams that no slide holds give theirs to those that some does.
        """
        held = [
            (name, weight) for name, weight in _PFA if any(len(each.cells.get(name, ())) for each in maps)
        ]
        if not held:
            raise ValueError("maps: got none that holds any cell, expected at least one")
        return cls(maps, held, seed=seed)

    def draw(self, index: int, attempt: int = 0) -> Draw:
        """Return draw number ``index``; further attempts are other places of the same slide."""
        stream_of = generator(self.seed, index)
        stream = self.streams[int(np.searchsorted(self._upto, stream_of.random(), side="right"))]
        slides = self.slides[stream]
        # Attempts share the slide: else those with small lesions would come less often.
        slide = slides[int(stream_of.integers(len(slides)))]
        rng = stream_of if attempt == 0 else generator(self.seed, index, attempt)
        own = self.maps[slide]
        cells = own.cells[stream]
        row, column = divmod(int(cells[int(rng.integers(len(cells)))]), own.columns)
        x, y = (column + rng.random()) * own.scale[0], (row + rng.random()) * own.scale[1]
        return Draw(index, slide, (x, y), stream)

    def _holding(self, stream: str) -> tuple[int, ...]:
        found = tuple(i for i, each in enumerate(self.maps) if len(each.cells.get(stream, ())))
        if not found:
            raise ValueError(f"maps: none of {len(self.maps)} slides holds a cell of {stream!r}")
        return found
