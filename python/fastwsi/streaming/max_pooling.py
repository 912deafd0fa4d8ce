"""Max pooling as a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fastwsi.streaming import row_kernels
from fastwsi.streaming.operations import Operand, Operation, Setting, Trained
from fastwsi.streaming.places import Place, pads_of
from fastwsi.streaming.row_layout import layout_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.streaming.sums import Sums

Pair = tuple[int, int]


@dataclass(frozen=True)
class MaxPooling(Operation):
    """Max pooling, which remembers of each window only which cell won: a byte each."""

    kernel: Pair = (2, 2)
    stride: Pair = (2, 2)
    dilation: Pair = (1, 1)

    def keeps_state(self, trained: Trained) -> bool:  # noqa: ARG002
        """Keep the winners' places."""
        return True

    def state_size(self, itemsize: int) -> int:  # noqa: ARG002
        """Return a byte."""
        return 1

    def channels(self, inputs: Sequence[int], shape: Callable[[Operand], Sequence[int]]) -> int:  # noqa: ARG002
        """Return the channels of the output."""
        return inputs[0]

    def prepare(self, tensors: dict[Operand, torch.Tensor], setting: Setting) -> Any:  # noqa: ARG002
        """Return nothing."""
        return None

    def forward(self, slabs: Sequence[torch.Tensor], place: Place, prepared: Any) -> tuple[torch.Tensor, Any]:  # noqa: ARG002
        """Pool: (the largest, their places in their windows)."""
        return row_kernels.max_pool(slabs[0], pads_of(place, 0), self.kernel, self.stride, self.dilation)

    def backward(
        self,
        gradient: torch.Tensor,
        slabs: Sequence[torch.Tensor],
        place: Place,
        prepared: Any,  # noqa: ARG002
        wanted: Sequence[bool],
        sums: Sums,  # noqa: ARG002
        state: Any,
    ) -> list[torch.Tensor | None]:
        """Give each window's gradient to the cell that won."""
        if not wanted[0]:
            return [None]
        found = torch.empty(
            slabs[0].shape, dtype=gradient.dtype, device=gradient.device, memory_format=layout_of(gradient)
        ).zero_()
        row_kernels.max_pool_backward(
            gradient, state, pads_of(place, 0), self.kernel, self.stride, self.dilation, found
        )
        return [found]
