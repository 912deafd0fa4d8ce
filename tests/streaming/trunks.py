"""Trunks that are built operation by operation, with an image at hand to see what fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import nn

MOST = 48
"""Rows and columns of a map at most."""


class Op(NamedTuple):
    """A function of earlier maps, by their numbers; ``layer`` is its module, if it has one."""

    sources: tuple[int, ...]
    function: object
    layer: str | None = None


class RandomTrunk(nn.Module):
    """What a program builds."""

    def __init__(self, channels):
        super().__init__()
        self.ops = []
        self.container, self.outputs = "tensor", ()
        self.channels = [channels]

    def forward(self, x):
        values = [x]
        for op in self.ops:
            given = [values[source] for source in op.sources]
            layer = [] if op.layer is None else [getattr(self, op.layer)]
            values.append(op.function(*layer, *given))
        found = [values[number] for number in self.outputs]
        if self.container == "tensor":
            return found[0]
        if self.container == "dict":
            return {f"map{i}": value for i, value in enumerate(found)}
        return found if self.container == "list" else tuple(found)


@dataclass
class Builder:
    """The trunk so far, and its maps on the image."""

    trunk: RandomTrunk
    maps: list[torch.Tensor]
    tied: set[int] = field(default_factory=set)
    """Maps that may hold equal values whose last bits differ by the order of summation: the gradient of their
    maximum is not defined."""
    read: set[int] = field(default_factory=set)
    writable: set[int] = field(default_factory=set)
    """Maps that may be overwritten: nobody has read them, and their gradient does not need them."""

    def number(self, back):
        return len(self.maps) - 1 - back % len(self.maps)

    def add(self, sources, function, layer=None, *, tied=False, overwrites=False, saves=False):
        """Add a step unless it does not fit; its map's number."""
        op = Op(tuple(sources), function, None)
        if layer is not None:
            layer = layer.double().eval()
            name = f"layer{len(self.trunk.ops)}"
            op = op._replace(layer=name)
        given = [self.maps[source] for source in sources]
        given = [value.clone() if overwrites and i == 0 else value for i, value in enumerate(given)]
        try:
            with torch.no_grad():
                value = op.function(*given) if layer is None else op.function(layer, *given)
        except (RuntimeError, ValueError):
            return None
        if not 0 < value.shape[2] <= MOST or not 0 < value.shape[3] <= MOST:
            return None
        if (
            not value.isfinite().all()
        ):  # a spread window without a cell, for whose gradient torch writes anywhere
            return None
        if layer is not None:
            self.trunk.add_module(op.layer, layer)
        self.trunk.ops.append(op)
        self.maps.append(value)
        number = len(self.maps) - 1
        if overwrites:
            self.maps[sources[0]] = value
        self.read.update(sources)
        self.writable -= set(sources)
        if not saves and not overwrites:
            self.writable.add(number)
        if tied or any(source in self.tied for source in sources):
            self.tied.add(number)
        return number

    def may_overwrite(self, number):
        return number in self.writable and number not in self.read
