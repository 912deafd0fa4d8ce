"""Joining calls into stages: what follows an operation on each position becomes its epilogue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastwsi.streaming.convolution import Convolution
from fastwsi.streaming.graph import IMAGE, Graph, Stage
from fastwsi.streaming.max_pooling import MaxPooling
from fastwsi.streaming.operations import Norm, Operation, Passing
from fastwsi.streaming.reach import HERE

if TYPE_CHECKING:
    from fastwsi.streaming.row_kernels import Act
    from fastwsi.streaming.tracing import Map


@dataclass(eq=False)
class Draft:
    """A stage whose epilogue may still grow."""

    operation: Operation
    inputs: tuple[Draft | None, ...]
    path: str


class Drafts:
    """Stages as they are found, in order. ``None`` stands for the image.

    Parameters
    ----------
    reads : dict of Map to int
        How often each of the trunk's maps is read or returned.
    """

    def __init__(self, reads: dict[Map, int]) -> None:
        self._reads = reads
        self._order: list[Draft] = []
        self._of: dict[Map, Draft | None] = {}

    def image(self, map_: Map) -> None:
        """Say which map is the image."""
        self._of[map_] = None

    def __getitem__(self, map_: Map) -> Draft | None:
        return self._of[map_]

    def add(self, output: Map, operation: Operation, inputs: list[Map], path: str) -> None:
        """Add an operation that is a stage of its own."""
        self._append(output, Draft(operation, tuple(self._of[map_] for map_ in inputs), path))

    def normalise(self, output: Map, source: Map, norm: Norm) -> bool:
        """Let a batch norm follow a convolution; False where it cannot."""
        draft = self._only_reader_follows(source)
        if (
            draft is None
            or not isinstance(draft.operation, Convolution)
            or not draft.operation.epilogue.empty
        ):
            return False
        self._extend(draft, norm=norm)
        self._of[output] = draft
        return True

    def activate(self, output: Map, source: Map, activation: Act, slope: float, path: str) -> None:
        """Let an activation follow whatever gives its input."""
        draft = self._only_reader_follows(source)
        if draft is None or draft.operation.epilogue.activation != "none":
            draft = Draft(Passing(((HERE, HERE),)), (self._of[source],), path)
            self._order.append(draft)
        self._extend(draft, activation=activation, slope=slope)
        self._of[output] = draft

    def pool(self, output: Map, operation: MaxPooling, source: Map, path: str) -> None:
        """Add max pooling.

        A ReLU before it follows it instead, on fewer cells: the same values and gradients, since neither
        changes which cell is largest where it is above zero.
        """
        draft = self._only_reader_follows(source)
        read = self._of[source]
        # Spread windows can miss all cells at a border: they give minus infinity, ReLU or not.
        compact = max(operation.dilation) == 1
        if draft is not None and compact and draft.operation.epilogue.activation in ("relu", "relu6"):
            epilogue = draft.operation.epilogue
            operation = replace(
                operation, epilogue=replace(operation.epilogue, activation=epilogue.activation)
            )
            self._extend(draft, activation="none")
            if isinstance(draft.operation, Passing) and draft.operation.epilogue.empty:
                self._order.remove(draft)
                read = draft.inputs[0]
        self._append(output, Draft(operation, (read,), path))

    def join(self, output: Map, first: Map, second: Map, path: str) -> None:
        """Add two maps: as the epilogue of a convolution that gives one of them, if one does."""
        for own, other in ((first, second), (second, first)):
            draft = self._only_reader_follows(own)
            if draft is None or isinstance(draft.operation, Passing):
                continue
            epilogue = draft.operation.epilogue
            if epilogue.residual or epilogue.activation != "none":
                continue
            self._order.remove(draft)  # behind the other; nothing between reads it
            draft.inputs = (*draft.inputs, self._of[other])
            draft.operation = replace(draft.operation, reaches=(*draft.operation.reaches, (HERE, HERE)))
            self._extend(draft, residual=True)
            self._append(output, draft)
            return
        joined = Draft(Passing(((HERE, HERE), (HERE, HERE))), (self._of[first], self._of[second]), path)
        self._extend(joined, residual=True)
        self._append(output, joined)

    def graph(self, returned: list[Map]) -> Graph:
        """Return the stages, numbered."""
        outputs = []
        for map_ in returned:
            draft = self._of[map_]
            if draft is None:  # the image itself
                draft = Draft(Passing(((HERE, HERE),)), (None,), "output")
                self._order.append(draft)
                self._of[map_] = draft
            outputs.append(draft)
        numbers: dict[Any, int] = {None: IMAGE}
        for index, draft in enumerate(self._order):
            numbers[draft] = index + 1
        stages = tuple(
            Stage(draft.operation, tuple(numbers[source] for source in draft.inputs), draft.path)
            for draft in self._order
        )
        return Graph(stages, tuple(numbers[draft] for draft in outputs))

    def _append(self, output: Map, draft: Draft) -> None:
        self._order.append(draft)
        self._of[output] = draft

    def _only_reader_follows(self, map_: Map) -> Draft | None:
        """Return the stage that gives a map if the call at hand is all that reads it."""
        return self._of[map_] if self._reads[map_] == 1 else None

    def _extend(self, draft: Draft, **changes: Any) -> None:
        draft.operation = replace(draft.operation, epilogue=replace(draft.operation.epilogue, **changes))
