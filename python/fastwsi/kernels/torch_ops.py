"""The kernels as torch sees them: autograd functions, and opaque operators for compiled graphs.

Imported only when torch needs one of the two. Eager calls without gradients go straight to the
extension, which costs an order of magnitude less than an operator call.
"""

from __future__ import annotations

from typing import Any

import torch

from fastwsi import _arrays, _core
from fastwsi.kernels.hsd import hsd_moments, output_shape
from fastwsi.kernels.hsd_statistics import HsdMoments, colour_transform
from fastwsi.kernels.pixels import scale_shift_forward


class ScaleShift(torch.autograd.Function):
    """``scale_shift`` under autograd.

    With ``ctx`` in forward: torch inspects the signature at every call of the form with a separate
    ``setup_context``, which takes three times as long as all the rest.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: list[float], shift: list[float]) -> torch.Tensor:
        """Run the kernel, and keep what backward needs."""
        ctx.scale = scale
        return scale_shift_forward(x, scale, shift)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Scale the gradient, through this function again: so the second derivative exists as well."""
        return ScaleShift.apply(grads[0], ctx.scale, [0.0] * len(ctx.scale)), None, None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> torch.Tensor:
        """Scale the tangent, for forward-mode differentiation; differentiably, as it may require grad."""
        return ScaleShift.apply(tangents[0], ctx.scale, [0.0] * len(ctx.scale))  # type: ignore[no-any-return, no-untyped-call]


@torch.library.custom_op("fastwsi::scale_shift", mutates_args=())
def scale_shift_op(x: torch.Tensor, scale: list[float], shift: list[float]) -> torch.Tensor:
    """Run ``scale_shift`` as an operator that torch does not look into."""
    return scale_shift_forward(x, scale, shift)


@scale_shift_op.register_fake
def _(x: torch.Tensor, scale: list[float], shift: list[float]) -> torch.Tensor:
    return torch.empty_like(x)


def _scale_shift_setup(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.scale = inputs[1]


def _scale_shift_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    return scale_shift_op(grad, ctx.scale, [0.0] * len(ctx.scale)), None, None


scale_shift_op.register_autograd(_scale_shift_backward, setup_context=_scale_shift_setup)


_NUMBERS = 7  # of one HsdMoments


@torch.library.custom_op("fastwsi::hsd_normalize", mutates_args=())
def hsd_normalize_op(
    images: torch.Tensor, moments: list[float], scale: list[float], shift: list[float], dtype: str
) -> torch.Tensor:
    """Run ``hsd_normalize`` as an operator that torch does not look into.

    ``moments``: the numbers of each source, then of the target. They are folded here and not before: torch
    would trace the arithmetic symbolically and take minutes.
    """
    *sources, target = (
        HsdMoments.from_numbers(moments[i : i + _NUMBERS]) for i in range(0, len(moments), _NUMBERS)
    )
    transforms = [number for source in sources for number in colour_transform(source, target)]
    out = _arrays.empty(images, output_shape(images.shape, dtype), dtype)
    _core.hsd_normalize(images, out, transforms, scale, shift, _arrays.stream_of(images))
    return out  # type: ignore[no-any-return]


@hsd_normalize_op.register_fake
def _(
    images: torch.Tensor, moments: list[float], scale: list[float], shift: list[float], dtype: str
) -> torch.Tensor:
    return images.new_empty(output_shape(images.shape, dtype), dtype=getattr(torch, dtype))


# Plain numbers come back, so there is nothing to put into a graph: an orderly break, without the
# warning that torch gives where it runs into native code.
hsd_moments_outside_the_graph = torch.compiler.disable(hsd_moments)  # type: ignore[no-untyped-call]
