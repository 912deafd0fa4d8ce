"""What a stage computes, forward and backward, on slabs of its inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.streaming.places import Place
    from fastwsi.streaming.reach import Reach
    from fastwsi.streaming.row_kernels import Act
    from fastwsi.streaming.sums import Sums

Operand = str
"""Name of a parameter or buffer in the trunk."""


Trained = frozenset[Operand]
"""Those of a stage's operands that want a gradient."""


@dataclass(frozen=True)
class Norm:
    """A batch norm by running statistics: the operands that it works with."""

    weight: Operand | None
    bias: Operand | None
    mean: Operand
    variance: Operand
    epsilon: float


@dataclass(frozen=True)
class Epilogue:
    """What follows a stage's core on each position: batch norm, another map added, an activation.

    The activation is one whose gradient can be told from its output: "none", "relu", "relu6" or "leaky_relu"
    with a positive slope.
    """

    norm: Norm | None = None
    residual: bool = False
    activation: Act = "none"
    slope: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing follows."""
        return self.norm is None and not self.residual and self.activation == "none"


NO_EPILOGUE = Epilogue()


@dataclass(frozen=True)
class Setting:
    """How a run computes: autocast's dtype, the layout of maps, and whether gradients will be asked for."""

    autocast: torch.dtype | None = None
    layout: torch.memory_format = torch.contiguous_format
    gradients: bool = False


@dataclass(frozen=True)
class Operation(ABC):
    """A core on slabs and an epilogue on its output.

    ``reaches`` has (rows, columns) for each input; that of the epilogue's residual is the last.
    """

    reaches: tuple[tuple[Reach, Reach], ...]
    epilogue: Epilogue = NO_EPILOGUE

    @property
    def core(self) -> tuple[bool, ...]:
        """For each input, whether the core reads it."""
        last = len(self.reaches) - 1
        return tuple(not (self.epilogue.residual and i == last) for i in range(last + 1))

    @property
    def keeps_output(self) -> bool:
        """Whether gradients need the output."""
        return self.epilogue.activation != "none"

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Tensors of the trunk that the core and the epilogue work with."""
        norm = self.epilogue.norm
        of_norm = () if norm is None else (norm.weight, norm.bias, norm.mean, norm.variance)
        return tuple(name for name in (*self.own_operands, *of_norm) if name is not None)

    @property
    def own_operands(self) -> tuple[Operand | None, ...]:
        """Tensors of the trunk that the core works with."""
        return ()

    def keeps_inputs(self, trained: Trained) -> bool:  # noqa: ARG002  (others look at it)
        """Whether gradients need what the core reads, given the operands that want one."""
        return False

    def keeps_state(self, trained: Trained) -> bool:  # noqa: ARG002
        """Whether gradients need what ``forward`` gives beside its output."""
        return False

    def state_size(self, itemsize: int) -> int:
        """Return the bytes of that for each cell of the output, given those of a number."""
        return itemsize

    @abstractmethod
    def channels(self, inputs: Sequence[int], shape: Callable[[Operand], Sequence[int]]) -> int:
        """Return the channels of the output."""

    def expects(self, shape: Callable[[Operand], Sequence[int]]) -> int | None:  # noqa: ARG002
        """Return the channels that the input must have, where the operands say."""
        return None

    @abstractmethod
    def prepare(self, tensors: dict[Operand, torch.Tensor], setting: Setting) -> Any:
        """Return what all calls of a run share."""

    @abstractmethod
    def forward(self, slabs: Sequence[torch.Tensor], place: Place, prepared: Any) -> tuple[torch.Tensor, Any]:
        """Compute the core on slabs that lack their padding: (a tensor, what gradients need beside it)."""

    @abstractmethod
    def backward(
        self,
        gradient: torch.Tensor,
        slabs: Sequence[torch.Tensor],
        place: Place,
        prepared: Any,
        wanted: Sequence[bool],
        sums: Sums,
        state: Any,
    ) -> list[torch.Tensor | None]:
        """Return the gradients of the slabs that are wanted; add those of operands to ``sums``.

        Where ``keeps_inputs`` says no, slabs have the shapes alone. A gradient returned may be the one given.
        """

    def finish(self, tensors: dict[Operand, torch.Tensor], sums: Sums) -> dict[Operand, torch.Tensor]:  # noqa: ARG002
        """Return the operands' gradients from what was summed over all calls."""
        return sums.by_operand()


@dataclass(frozen=True)
class Passing(Operation):
    """No core: the epilogue alone."""

    def channels(self, inputs: Sequence[int], shape: Callable[[Operand], Sequence[int]]) -> int:  # noqa: ARG002
        """Return the channels of the output."""
        return inputs[0]

    def prepare(self, tensors: dict[Operand, torch.Tensor], setting: Setting) -> Any:  # noqa: ARG002
        """Return nothing."""
        return None

    def forward(self, slabs: Sequence[torch.Tensor], place: Place, prepared: Any) -> tuple[torch.Tensor, Any]:  # noqa: ARG002
        """Return the input itself."""
        return slabs[0], None

    def backward(
        self,
        gradient: torch.Tensor,
        slabs: Sequence[torch.Tensor],  # noqa: ARG002
        place: Place,  # noqa: ARG002
        prepared: Any,  # noqa: ARG002
        wanted: Sequence[bool],  # noqa: ARG002
        sums: Sums,  # noqa: ARG002
        state: Any,  # noqa: ARG002
    ) -> list[torch.Tensor | None]:
        """Pass the gradient on."""
        return [gradient]
