"""Optimisers and schedules as recipes name them: torch's, and ours where torch has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.optim import lr_scheduler

from fastwsi.engine.optimisers import TensorFlowRMSProp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastwsi.engine.training_recipe import TrainingRecipe


def optimiser_of(recipe: TrainingRecipe, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Return the recipe's optimiser.

    Examples
    --------
    >>> import torch
    >>> from fastwsi.engine import TrainingRecipe
    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> optimiser_of(TrainingRecipe(optimiser="sgd"), [weight]).defaults["momentum"]
    0.9
    """
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimiser == "tensorflow_rmsprop":
        return TensorFlowRMSProp(
            parameters, rate, decay=recipe.decay, momentum=recipe.momentum, epsilon=recipe.epsilon,
            weight_decay=decay,
        )  # fmt: skip
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=recipe.momentum, weight_decay=decay)
    adam = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return adam(parameters, rate, eps=recipe.epsilon, weight_decay=decay)


def schedule_of(
    recipe: TrainingRecipe, optimiser: torch.optim.Optimizer, ranks: int = 1
) -> dict[str, Any] | None:
    """Return the recipe's schedule as Lightning takes it; None where the rate does not hang on updates.

    ``ranks``: processes that train together, each with batches of its own: examples are counted over all.

    Examples
    --------
    >>> import torch
    >>> from fastwsi.engine import TrainingRecipe
    >>> recipe = TrainingRecipe(schedule="halving", halve_every=320, batch_size=32, learning_rate=1.0)
    >>> found = schedule_of(recipe, optimiser_of(recipe, [torch.nn.Parameter(torch.ones(1))]))
    >>> [found["scheduler"].lr_lambdas[0](step) for step in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """
    if recipe.schedule == "halving":
        return _each_update(lr_scheduler.LambdaLR(optimiser, Halving(recipe, ranks)))
    if recipe.schedule == "one_cycle":
        return _each_update(
            lr_scheduler.OneCycleLR(
                optimiser, recipe.learning_rate, total_steps=recipe.steps, cycle_momentum=False
            )
        )
    return None


def plateau_of(
    recipe: TrainingRecipe, optimiser: torch.optim.Optimizer
) -> lr_scheduler.ReduceLROnPlateau | None:
    """Return what lowers the rate where validations get no better, if the recipe asks for that.

    Examples
    --------
    >>> import torch
    >>> from fastwsi.engine import TrainingRecipe
    >>> recipe = TrainingRecipe(schedule="plateau", plateau_patience=0, learning_rate=1.0)
    >>> optimiser = optimiser_of(recipe, [torch.nn.Parameter(torch.ones(1))])
    >>> plateau = plateau_of(recipe, optimiser)
    >>> for area in (0.7, 0.8, 0.8): plateau.step(area)
    >>> optimiser.param_groups[0]["lr"]
    0.5
    """
    if recipe.schedule != "plateau":
        return None
    return lr_scheduler.ReduceLROnPlateau(
        optimiser,
        "min" if recipe.plateau_watches == "loss" else "max",
        factor=recipe.plateau_factor,
        patience=recipe.plateau_patience,
    )


class Halving:
    """The learning rate's factor: half as large after every so many examples, in stairs."""

    def __init__(self, recipe: TrainingRecipe, ranks: int) -> None:
        self._examples = recipe.batch_size * recipe.accumulate * ranks
        self._every = recipe.halve_every

    def __call__(self, update: int) -> float:
        """Return the factor at an update."""
        return float(0.5 ** (update * self._examples // self._every))


def _each_update(scheduler: Any) -> dict[str, Any]:
    return {"scheduler": scheduler, "interval": "step", "frequency": 1}
