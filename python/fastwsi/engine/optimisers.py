"""RMSProp as TensorFlow 1 had it, which is another optimiser than torch's where ε is large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import torch

from fastwsi import _numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_KEYS = ("square", "step")


class TensorFlowRMSProp(torch.optim.Optimizer):
    """RMSProp with ε inside the root, the mean square begun at 1, and the learning rate inside the momentum.

    For a gradient g: v ← ρ v + (1 - ρ) g²; m ← µ m + lr g / √(v + ε); w ← w - m. torch's own adds ε outside
    the root, begins with v = 0 and multiplies by the learning rate last: at Liu 2017's ε of 1 that takes
    other steps, and after a change of the learning rate other ones again, since m remembers the old one here.

    Parameters
    ----------
    params : iterable of tensors or groups
    lr : float
        Learning rate.
    decay : float
        ρ, of the mean square.
    momentum : float
        µ.
    epsilon : float
    weight_decay : float
        L2: added to the gradient, times the weight.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimiser = TensorFlowRMSProp([weight], lr=0.1)
    >>> (2 * weight).sum().backward()
    >>> optimiser.step()
    >>> round(weight.item(), 4)  # 1 - 0.1 * 2 / sqrt(0.9 + 0.1 * 4 + 1)
    0.8681
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.05,
        *,
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": _numbers.finite(lr, "lr", 0),
            "decay": _share(decay, "decay"),
            "momentum": _share(momentum, "momentum"),
            "epsilon": _numbers.finite(epsilon, "epsilon", 0),
            "weight_decay": _numbers.finite(weight_decay, "weight_decay", 0),
        }
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; ``closure`` computes the loss anew where it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if any(weight.grad.is_sparse for weight in weights):
                raise ValueError("params: got a sparse gradient, expected dense ones")
            if weights:
                self._update(group, weights)
        return loss

    def _update(self, group: dict[str, Any], weights: list[torch.Tensor]) -> None:
        for weight in weights:
            if not self.state[weight]:
                self.state[weight].update(square=torch.ones_like(weight), step=torch.zeros_like(weight))
        squares, steps = ([self.state[weight][key] for weight in weights] for key in _KEYS)
        gradients: Any = [weight.grad for weight in weights]
        if group["weight_decay"]:
            gradients = torch._foreach_add(  # noqa: SLF001  (what torch's own optimisers are made of)
                gradients, weights, alpha=group["weight_decay"]
            )
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["decay"])
        roots = torch._foreach_add(squares, group["epsilon"])  # noqa: SLF001
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(steps, group["momentum"])
        torch._foreach_addcdiv_(steps, gradients, roots, group["lr"])
        torch._foreach_sub_(weights, steps)


def _share(value: float, name: str) -> float:
    share = _numbers.finite(value, name, 0)
    if share >= 1:
        raise ValueError(f"{name}: got {value!r}, expected at least 0 and less than 1")
    return share
