"""What streaming an image will take, in words: for people who choose band heights and machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastwsi.streaming.convolution import Convolution
from fastwsi.streaming.execution import capacities_of, held_maps
from fastwsi.streaming.graph import IMAGE
from fastwsi.streaming.local import Local
from fastwsi.streaming.max_pooling import MaxPooling
from fastwsi.streaming.operations import Operation, Passing
from fastwsi.streaming.units import receptive_field

if TYPE_CHECKING:
    from fastwsi.streaming.graph import Graph
    from fastwsi.streaming.memory import Price
    from fastwsi.streaming.plans import Plan
    from fastwsi.streaming.schedule import Pass


@dataclass(frozen=True)
class Line:
    """One stage: its name, what it does, its map, and the rows held of that while gradients are computed."""

    path: str
    what: str
    channels: int
    height: int
    width: int
    held: int
    lag: int


@dataclass(frozen=True)
class Explanation:
    """The plan for an image: print it, or read its numbers.

    Attributes
    ----------
    band : int
        Rows of the image that are read at a time.
    windows : int
        Upright pieces that the image is cut into.
    forward_memory, memory : int
        Bytes beside the outputs at most, in a pass without and with gradients.
    outputs : int
        Bytes of the outputs; their gradients take as many again.
    work : float
        Multiply-adds of a training step relative to the whole image's, one forward and one backward pass.
    halo : float
        How many times the pixels of the image are gone through, because windows overlap.
    """

    height: int
    width: int
    band: int
    windows: int
    field: tuple[int, int]
    lines: tuple[Line, ...]
    forward_memory: int
    memory: int
    outputs: int
    work: float
    halo: float
    notes: tuple[str, ...] = ()

    @property
    def training_memory(self) -> int:
        """Bytes that a training step takes at most: the pass, the outputs and their gradients."""
        return self.memory + 2 * self.outputs

    def __str__(self) -> str:
        """Return the plan as a table."""
        head = ("stage", "what", "map", "rows held", "lag")
        rows = [
            (
                line.path,
                line.what,
                f"{line.channels} x {line.height} x {line.width}",
                str(line.held),
                str(line.lag),
            )
            for line in self.lines
        ]
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        table = [
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [head, *rows]
        ]
        pieces = "" if self.windows == 1 else f" in {self.windows} windows, {self.halo:.2f} x its pixels"
        return "\n".join(
            [
                f"image {self.height} x {self.width}, bands of {self.band} rows{pieces}",
                f"an output sees {self.field[0]} x {self.field[1]} pixels",
                *table,
                f"memory: {_size(self.forward_memory)} forward, {_size(self.memory)} with gradients",
                f"beside them: {_size(self.outputs)} of outputs, and as much again for their gradients",
                f"work of a training step: {self.work:.2f} x that of the whole image",
                *self.notes,
            ]
        )


def explain(
    plan: Plan, work: Pass, price: Price, forward_memory: int, memory: int, notes: tuple[str, ...]
) -> Explanation:
    """Explain a plan, given what it takes."""
    graph, layout = plan.graph, plan.layout
    regions = plan.regions(skipping=False)
    rows, columns = layout.spans(regions[0])
    held = held_maps(graph, work)
    capacities = capacities_of(graph, work, rows, plan.pace.steps(graph, rows, columns))
    lines = [
        Line(
            stage.path,
            _what(stage.operation),
            price.channels[index + 1],
            *layout.size(index + 1),
            capacities[index + 1] if index + 1 in held else 0,
            max(reach[0].end(0) - 1 for reach in stage.operation.reaches),
        )
        for index, stage in enumerate(graph.stages)
    ]
    pixels = sum(
        layout.spans(region)[0][IMAGE].length * layout.spans(region)[1][IMAGE].length for region in regions
    )
    halo = pixels / (layout.size(IMAGE)[0] * layout.size(IMAGE)[1])
    outputs = sum(
        price.cells(map_, layout.size(map_)[1]) * layout.size(map_)[0] for map_ in set(graph.outputs)
    )
    return Explanation(
        *layout.size(IMAGE),
        plan.pace.band,
        len(regions),
        (receptive_field(graph, 0), receptive_field(graph, 1)),
        tuple(lines),
        forward_memory,
        memory,
        outputs,
        halo * _work(graph, work, price, plan),
        halo,
        notes,
    )


def _work(graph: Graph, work: Pass, price: Price, plan: Plan) -> float:
    """Return the multiply-adds of both passes over those of one forward and one backward pass."""
    costs = []
    for index, stage in enumerate(graph.stages):
        operation = stage.operation
        if isinstance(operation, Convolution):
            height, width = plan.layout.size(index + 1)
            taps = operation.cells(price.channels[stage.inputs[0]])
            costs.append((index, price.channels[index + 1] * height * width * taps))
    total = sum(cost for _, cost in costs)
    again = sum(cost for index, cost in costs if index in work.runs)
    return (3 * total + again) / (3 * total) if total else 1.0


def _what(operation: Operation) -> str:
    """Return what a stage does, in a few words."""
    epilogue = operation.epilogue
    words = []
    if isinstance(operation, Convolution):
        words.append("convolution")
    elif isinstance(operation, MaxPooling):
        words.append("max pooling")
    elif isinstance(operation, Local):
        words.append(operation.what)
    elif isinstance(operation, Passing) and epilogue.empty:
        words.append("itself")
    words += ["batch norm"] * (epilogue.norm is not None) + ["add"] * epilogue.residual
    if epilogue.activation != "none":
        words.append(epilogue.activation)
    return ", ".join(words)


def _size(count: int) -> str:
    """Return bytes as people read them.

    Examples
    --------
    >>> _size(700), _size(3 * 2**29)
    ('700 B', '1.5 GiB')
    """
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B"
