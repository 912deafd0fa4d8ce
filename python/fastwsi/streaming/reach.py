"""Which rows of its input an operation's rows come from: arithmetic along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Reach(Protocol):
    """What outputs along one axis read. ``first`` and ``end`` never fall as the output's place grows."""

    def size(self, inputs: int) -> int:
        """Return how many outputs so many inputs give."""

    def first(self, output: int) -> int:
        """Return the first place that an output reads; below 0 in padding."""

    def end(self, output: int) -> int:
        """Return the place behind the last that an output reads; above the input's size in padding."""

    def ready(self, inputs: int) -> int:
        """Return how many outputs read nothing from ``inputs`` on."""


@dataclass(frozen=True)
class Sliding:
    """A window that slides: convolutions, pooling, padding.

    Examples
    --------
    >>> stem = Sliding(span=7, stride=2, before=3, after=3)
    >>> stem.size(224), stem.first(0), stem.end(0), stem.ready(128)
    (112, -3, 4, 63)
    """

    span: int
    stride: int = 1
    before: int = 0
    after: int = 0
    ceil: bool = False

    def size(self, inputs: int) -> int:
        """Return how many outputs so many inputs give."""
        room = inputs + self.before + self.after - self.span
        if room < 0 and not (self.ceil and room > -self.stride):
            return 0
        outputs = room // self.stride + 1
        if self.ceil and room % self.stride and outputs * self.stride < inputs + self.before:
            outputs += 1  # a last window over the edge, unless it would lie wholly in the padding
        return outputs

    def first(self, output: int) -> int:
        """Return the first place that an output reads."""
        return output * self.stride - self.before

    def end(self, output: int) -> int:
        """Return the place behind the last that an output reads."""
        return output * self.stride - self.before + self.span

    def ready(self, inputs: int) -> int:
        """Return how many outputs read nothing from ``inputs`` on."""
        return max(0, (inputs + self.before - self.span) // self.stride + 1)


HERE = Sliding(1)
"""Of operations that work on each position by itself."""


@dataclass(frozen=True)
class Repeated:
    """Every place given ``times`` times: nearest up-sampling.

    Examples
    --------
    >>> twice = Repeated(2)
    >>> twice.size(5), twice.first(7), twice.end(7), twice.ready(3)
    (10, 3, 4, 6)
    """

    times: int

    def size(self, inputs: int) -> int:
        """Return how many outputs so many inputs give."""
        return inputs * self.times

    def first(self, output: int) -> int:
        """Return the first place that an output reads."""
        return output // self.times

    def end(self, output: int) -> int:
        """Return the place behind the last that an output reads."""
        return output // self.times + 1

    def ready(self, inputs: int) -> int:
        """Return how many outputs read nothing from ``inputs`` on."""
        return max(0, inputs) * self.times


@dataclass(frozen=True)
class Spread:
    """A window that every input spreads over: transposed convolution.

    Examples
    --------
    >>> double = Spread(span=4, stride=2, crop=1)
    >>> double.size(5), double.first(0), double.end(0), double.ready(3)
    (10, -1, 1, 5)
    """

    span: int
    stride: int
    crop: int
    extra: int = 0

    def size(self, inputs: int) -> int:
        """Return how many outputs so many inputs give."""
        return max(0, (inputs - 1) * self.stride - 2 * self.crop + self.span + self.extra) if inputs else 0

    def first(self, output: int) -> int:
        """Return the first place that an output reads."""
        return -((self.span - 1 - output - self.crop) // self.stride)

    def end(self, output: int) -> int:
        """Return the place behind the last that an output reads; not above ``first`` where it reads none."""
        return (output + self.crop) // self.stride + 1

    def ready(self, inputs: int) -> int:
        """Return how many outputs read nothing from ``inputs`` on."""
        return max(0, inputs * self.stride - self.crop)
