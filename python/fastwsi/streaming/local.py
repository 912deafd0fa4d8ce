"""Any other operation on slabs: torch's own code forward, torch's own autograd on each slab backward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fastwsi.streaming.operations import Operand, Operation, Setting, Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.streaming.places import Place
    from fastwsi.streaming.sums import Sums


@dataclass(frozen=True)
class Local(Operation):
    """A function of slabs, their place and the operands.

    ``linear`` says that the gradient does not depend on the inputs; then they are not kept. ``gains`` gives
    the channels of the output from those of the inputs; None: as the first. ``what`` it is called in plans.
    """

    function: Callable[[Sequence[torch.Tensor], Place, dict[Operand, torch.Tensor]], torch.Tensor] | None = (
        None
    )
    names: tuple[Operand, ...] = ()
    linear: bool = False
    what: str = "local"
    gains: Callable[[Sequence[int], Callable[[Operand], Sequence[int]]], int] | None = None

    @property
    def own_operands(self) -> tuple[Operand | None, ...]:
        """What the function takes from the trunk."""
        return self.names

    def keeps_inputs(self, trained: Trained) -> bool:
        """Unless it is linear, and no operand's gradient needs them either."""
        return bool(trained) or not self.linear

    def channels(self, inputs: Sequence[int], shape: Callable[[Operand], Sequence[int]]) -> int:
        """Return the channels of the output."""
        read = [given for given, core in zip(inputs, self.core, strict=True) if core]
        return read[0] if self.gains is None else self.gains(read, shape)

    def prepare(self, tensors: dict[Operand, torch.Tensor], setting: Setting) -> Any:  # noqa: ARG002
        """Return the operands."""
        return {name: tensors[name] for name in self.names}

    def forward(self, slabs: Sequence[torch.Tensor], place: Place, prepared: Any) -> tuple[torch.Tensor, Any]:
        """Call the function."""
        assert self.function is not None
        return self.function(slabs, place, prepared), None

    def backward(
        self,
        gradient: torch.Tensor,
        slabs: Sequence[torch.Tensor],
        place: Place,
        prepared: Any,
        wanted: Sequence[bool],
        sums: Sums,
        state: Any,  # noqa: ARG002
    ) -> list[torch.Tensor | None]:
        """Differentiate the function here."""
        assert self.function is not None
        with torch.enable_grad():
            inputs = [slab.detach().requires_grad_(want) for slab, want in zip(slabs, wanted, strict=True)]
            operands = {
                name: tensor.detach().requires_grad_(tensor.requires_grad)
                for name, tensor in prepared.items()
            }
            output = self.function(inputs, place, operands)
            if not output.requires_grad:  # all of it lies in padding
                return [None] * len(inputs)
            asked = [x for x in (*inputs, *operands.values()) if x.requires_grad]
            found = iter(torch.autograd.grad(output, asked, gradient.to(output.dtype), allow_unused=True))
        gradients = [next(found) if x.requires_grad else None for x in inputs]
        for name, operand in operands.items():
            if operand.requires_grad and (part := next(found)) is not None:
                sums.add(name, part)
        return gradients
