"""Operations on each position by itself that keep their inputs for the gradient."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812

from fastwsi.streaming.local import Local
from fastwsi.streaming.reach import HERE
from fastwsi.streaming.tracing import Const, Map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.streaming.operations import Norm, Operand
    from fastwsi.streaming.places import Place

ACTIVATIONS: dict[str, Callable[..., torch.Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "mish": F.mish,
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "hardtanh": F.hardtanh,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "clamp": torch.clamp,
    "abs": torch.abs,
    "neg": torch.neg,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], torch.Tensor]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
}


def pointwise(function: Callable[[torch.Tensor], torch.Tensor]) -> Local:
    """Return a function of one map."""

    def call(slabs: Sequence[torch.Tensor], _: Place, __: dict[Operand, torch.Tensor]) -> torch.Tensor:
        return function(slabs[0])

    return Local(((HERE, HERE),), function=call, what="activation")


def prelu(weight: Operand) -> Local:
    """Return PReLU, whose slope may be negative and is trained."""

    def call(slabs: Sequence[torch.Tensor], _: Place, operands: dict[Operand, torch.Tensor]) -> torch.Tensor:
        return F.prelu(slabs[0], operands[weight].to(slabs[0].dtype))

    return Local(((HERE, HERE),), function=call, names=(weight,), what="prelu")


def normalisation(norm: Norm) -> Local:
    """Return a batch norm by running statistics, which follows no convolution."""
    names = tuple(name for name in (norm.weight, norm.bias, norm.mean, norm.variance) if name is not None)

    def call(slabs: Sequence[torch.Tensor], _: Place, operands: dict[Operand, torch.Tensor]) -> torch.Tensor:
        weight = None if norm.weight is None else operands[norm.weight]
        bias = None if norm.bias is None else operands[norm.bias]
        mean, variance = operands[norm.mean], operands[norm.variance]
        return F.batch_norm(slabs[0], mean, variance, weight, bias, training=False, eps=norm.epsilon)

    return Local(((HERE, HERE),), function=call, names=names, linear=True, what="batch norm")


def arithmetic(what: str, operands: Sequence[Any]) -> Local:
    """Return a sum, difference, product or quotient of maps, numbers and tensors of one value per channel."""
    compute = _ARITHMETIC[what]
    names = tuple(operand.name for operand in operands if isinstance(operand, Const))
    maps = [operand for operand in operands if isinstance(operand, Map)]

    def call(slabs: Sequence[torch.Tensor], _: Place, tensors: dict[Operand, torch.Tensor]) -> torch.Tensor:
        given = iter(slabs)
        first, second = (
            next(given) if isinstance(each, Map) else tensors[each.name] if isinstance(each, Const) else each
            for each in operands
        )
        return compute(first, second)

    def gains(inputs: Sequence[int], shape: Callable[[Operand], Sequence[int]]) -> int:
        sizes = set(inputs) | {shape(name)[-3] for name in names if len(shape(name)) >= 3}
        return max(sizes)

    divides_by_map = what == "div" and isinstance(operands[1], Map)
    linear = what in ("add", "sub") or (len(maps) == 1 and not divides_by_map)
    return Local(
        ((HERE, HERE),) * len(maps), function=call, names=names, linear=linear, what=what, gains=gains
    )


def concatenation(count: int) -> Local:
    """Return so many maps, channels after channels."""

    def call(slabs: Sequence[torch.Tensor], _: Place, __: dict[Operand, torch.Tensor]) -> torch.Tensor:
        return torch.cat(list(slabs), 1)

    def gains(inputs: Sequence[int], _: Callable[[Operand], Sequence[int]]) -> int:
        return sum(inputs)

    return Local(((HERE, HERE),) * count, function=call, linear=True, what="concatenation", gains=gains)
