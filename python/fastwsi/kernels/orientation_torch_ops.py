"""``orient`` and ``orient_mean`` as torch sees them: autograd functions, and opaque operators.

Imported only when torch needs one of them, as ``torch_ops`` is.
"""

from __future__ import annotations

from typing import Any

import torch

from fastwsi.kernels.orientation import (
    inverse_orientation,
    orient_forward,
    orient_mean_forward,
    oriented_shape,
)


def _inverses(orientations: list[int]) -> list[int]:
    return [inverse_orientation(k) for k in orientations]


class Orient(torch.autograd.Function):
    """``orient`` under autograd: a permutation, so its gradient is the inverse one's."""

    @staticmethod
    def forward(
        ctx: Any, images: torch.Tensor, orientations: list[int], rows: int, columns: int
    ) -> torch.Tensor:
        """Run the kernel, and keep what backward needs."""
        ctx.plan = orientations, rows, columns
        return orient_forward(images, orientations, rows, columns)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """Take the gradient back, through this function again: so the second derivative exists as well."""
        orientations, rows, columns = ctx.plan
        return Orient.apply(grads[0], _inverses(orientations), rows, columns), None, None, None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor:
        """Orient the tangent, for forward-mode differentiation; differentiably, as it may require grad."""
        return Orient.apply(tangents[0], *ctx.plan)  # type: ignore[no-any-return, no-untyped-call]


class OrientMean(torch.autograd.Function):
    """``orient_mean`` under autograd: prediction k gets an eighth of the gradient, in its orientation."""

    @staticmethod
    def forward(ctx: Any, rows: int, columns: int, *predictions: torch.Tensor) -> torch.Tensor:
        """Run the kernel, and keep what backward needs."""
        ctx.axes = rows, columns
        return orient_mean_forward(list(predictions), rows, columns)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Orient the gradient as each prediction is that wants one."""
        rows, columns = ctx.axes
        share = grads[0] * 0.125
        if rows < 0:
            return (None, None, *(share if wanted else None for wanted in ctx.needs_input_grad[2:]))
        return (
            None,
            None,
            *(
                Orient.apply(share, [k], rows, columns) if wanted else None  # type: ignore[no-untyped-call]
                for k, wanted in enumerate(ctx.needs_input_grad[2:])
            ),
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor:
        """Average the tangents, for forward-mode differentiation; differentiably."""
        return OrientMean.apply(*ctx.axes, *tangents[2:])  # type: ignore[no-any-return, no-untyped-call]


@torch.library.custom_op("fastwsi::orient", mutates_args=())
def orient_op(images: torch.Tensor, orientations: list[int], rows: int, columns: int) -> torch.Tensor:
    """Run ``orient`` as an operator that torch does not look into."""
    return orient_forward(images, orientations, rows, columns)  # type: ignore[no-any-return]


@orient_op.register_fake
def _(images: torch.Tensor, orientations: list[int], rows: int, columns: int) -> torch.Tensor:
    return images.new_empty(oriented_shape(images.shape, orientations, rows, columns))


def _orient_setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.plan = inputs[1:]


def _orient_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
    orientations, rows, columns = ctx.plan
    return orient_op(grad, _inverses(orientations), rows, columns), None, None, None


orient_op.register_autograd(_orient_backward, setup_context=_orient_setup)


@torch.library.custom_op("fastwsi::orient_mean", mutates_args=())
def orient_mean_op(predictions: list[torch.Tensor], rows: int, columns: int) -> torch.Tensor:
    """Run ``orient_mean`` as an operator that torch does not look into."""
    return orient_mean_forward(predictions, rows, columns)  # type: ignore[no-any-return]


@orient_mean_op.register_fake
def _(predictions: list[torch.Tensor], rows: int, columns: int) -> torch.Tensor:
    return predictions[0].new_empty(predictions[0].shape)


def _orient_mean_setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.axes = inputs[1:]


def _orient_mean_backward(ctx: Any, grad: torch.Tensor) -> tuple[list[torch.Tensor], None, None]:
    rows, columns = ctx.axes
    share = grad * 0.125
    if rows < 0:
        return [share] * 8, None, None
    return [orient_op(share, [k], rows, columns) for k in range(8)], None, None


orient_mean_op.register_autograd(_orient_mean_backward, setup_context=_orient_mean_setup)
