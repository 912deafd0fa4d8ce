"""Reading the arguments of a network's calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastwsi.kernels.pooling import pair as positive_pair
from fastwsi.streaming.tracing import Call, Unstreamable

if TYPE_CHECKING:
    import torch
    from torch import nn

HEAD = "move it to the head: fastwsi.nn.split(model, at) cuts a model behind the module named"
"""What to do with what cannot be streamed."""


def arguments(call: Call, *names: str, **defaults: Any) -> dict[str, Any]:
    """Return a call's arguments by name, those left out by their defaults."""
    order = [*names, *defaults]
    if len(call.args) > len(order) or set(call.kwargs) - set(order):
        raise Unstreamable(f"{call.path}: got arguments that are not known here, expected {', '.join(order)}")
    return {**defaults, **dict(zip(order, call.args, strict=False)), **call.kwargs}


def pair(value: Any, name: str) -> tuple[int, int]:
    """Return (rows, columns) of what torch takes as one number or two, at least 1 each."""
    rows, columns = positive_pair(value, name)
    return rows, columns


def zero_or_more(value: Any) -> tuple[int, int]:
    """Return (rows, columns) of what torch takes as one number or two."""
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def constant(root: nn.Module, name: str) -> torch.Tensor:
    """Return a tensor of the trunk by its name."""
    owner, _, attribute = name.rpartition(".")
    found: torch.Tensor = getattr(root.get_submodule(owner), attribute)
    return found
