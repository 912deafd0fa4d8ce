"""``dense_pool`` as torch sees it: an autograd function, and opaque operators for compiled graphs.

Imported only when torch needs one of them, as ``torch_ops`` is.
"""

from __future__ import annotations

from typing import Any

import torch

from fastwsi import _layout
from fastwsi.kernels.pooling import dense_pool_backward, dense_pool_forward, pooled_shape


class DensePool(torch.autograd.Function):
    """``dense_pool`` under autograd."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, window: list[int], stride: list[int]) -> torch.Tensor:
        """Run the kernel, and keep what backward needs."""
        ctx.plan = tuple(x.shape), _layout.memory_order(x), window, stride
        return dense_pool_forward(x, window, stride)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Spread the gradient over the windows, differentiably."""
        return DensePoolBackward.apply(grads[0], *ctx.plan), None, None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor:
        """Pool the tangent, for forward-mode differentiation; differentiably, as it may require grad."""
        return DensePool.apply(tangents[0], *ctx.plan[2:])  # type: ignore[no-any-return, no-untyped-call]


class DensePoolBackward(torch.autograd.Function):
    """The gradient of ``dense_pool``, which is linear: its own gradient is the pooling again."""

    @staticmethod
    def forward(
        ctx: Any,
        grad: torch.Tensor,
        shape: tuple[int, ...],
        order: tuple[int, ...],
        window: list[int],
        stride: list[int],
    ) -> torch.Tensor:
        """Run the kernel, and keep what backward needs."""
        ctx.plan = shape, order, window, stride
        return dense_pool_backward(grad, shape, order, window, stride)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Pool the gradient's gradient."""
        pooled = DensePool.apply(grads[0], *ctx.plan[2:])  # type: ignore[no-untyped-call]
        return pooled, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor:
        """Spread the tangent, differentiably."""
        return DensePoolBackward.apply(tangents[0], *ctx.plan)  # type: ignore[no-any-return, no-untyped-call]


@torch.library.custom_op("fastwsi::dense_pool", mutates_args=())
def dense_pool_op(x: torch.Tensor, window: list[int], stride: list[int]) -> torch.Tensor:
    """Run ``dense_pool`` as an operator that torch does not look into."""
    return dense_pool_forward(x, window, stride)  # type: ignore[no-any-return]


@dense_pool_op.register_fake
def _(x: torch.Tensor, window: list[int], stride: list[int]) -> torch.Tensor:
    shape = pooled_shape(x.shape, window, stride)
    return _layout.empty_in_order(x, shape, _layout.memory_order(x))  # type: ignore[no-any-return]


@torch.library.custom_op("fastwsi::dense_pool_backward", mutates_args=())
def dense_pool_backward_op(
    grad: torch.Tensor, shape: list[int], order: list[int], window: list[int], stride: list[int]
) -> torch.Tensor:
    """Run the gradient of ``dense_pool`` as an operator that torch does not look into."""
    return dense_pool_backward(grad, shape, order, window, stride)  # type: ignore[no-any-return]


@dense_pool_backward_op.register_fake
def _(
    grad: torch.Tensor, shape: list[int], order: list[int], window: list[int], stride: list[int]
) -> torch.Tensor:
    return _layout.empty_in_order(grad, shape, order)  # type: ignore[no-any-return]


def _pool_setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, window, stride = inputs
    ctx.plan = list(x.shape), list(_layout.memory_order(x)), window, stride


def _pool_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    return dense_pool_backward_op(grad, *ctx.plan), None, None


def _spread_setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.plan = inputs[3:]


def _spread_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
    return dense_pool_op(grad, *ctx.plan), None, None, None, None


dense_pool_op.register_autograd(_pool_backward, setup_context=_pool_setup)
dense_pool_backward_op.register_autograd(_spread_backward, setup_context=_spread_setup)
