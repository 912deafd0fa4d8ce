"""Sums of parameters' gradients over bands, in at least float32."""

from __future__ import annotations

import torch


class Sums:
    """What the calls of one stage add up.

    Examples
    --------
    >>> sums = Sums()
    >>> for _ in range(512):
    ...     sums.add("weight", torch.ones(2, dtype=torch.bfloat16))
    >>> sums.by_operand()["weight"]
    tensor([512., 512.])
    """

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self.channels: torch.Tensor | None = None
        """Gradients of the core's output, but for a norm's scale, summed by channel in float64."""

    def add(self, name: str, gradient: torch.Tensor) -> None:
        """Add a gradient of an operand."""
        wide = torch.promote_types(gradient.dtype, torch.float32)
        if name in self._sums:
            self._sums[name].add_(gradient)
        else:
            self._sums[name] = gradient.to(wide, copy=True, memory_format=torch.contiguous_format)

    def get(self, name: str) -> torch.Tensor | None:
        """Return the sum for an operand, None where nothing was added."""
        return self._sums.get(name)

    def by_operand(self) -> dict[str, torch.Tensor]:
        """Return all sums."""
        return self._sums
