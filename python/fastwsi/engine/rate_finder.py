"""Lightning's search for a learning rate, for our runs."""

from __future__ import annotations

import io
import logging
from contextlib import nullcontext, redirect_stderr
from typing import TYPE_CHECKING

import lightning.pytorch as pl
from lightning.pytorch.tuner.tuning import Tuner

from fastwsi.engine.module import TrainingError

if TYPE_CHECKING:
    from fastwsi.engine.module import TrainingModule

logger = logging.getLogger(__name__)

_TRIALS, _FEWEST = 100, 30  # batches, the rate rising from one to the next


def find_rate(trainer: pl.Trainer, module: TrainingModule, *, show: bool) -> float:
    """Try learning rates that rise from batch to batch, and take the one at which the loss falls fastest.

    Weights and random states are afterwards as they were; ``module.rate`` is the rate found.

    Parameters
    ----------
    trainer : lightning.pytorch.Trainer
        For this alone.
    module : TrainingModule
    show : bool
        Whether Lightning may show its bar.
    """
    recipe = module.recipe
    batches = min(_TRIALS, recipe.steps * recipe.accumulate)
    if batches < _FEWEST:
        raise TrainingError(f"find_learning_rate: got {batches} batches in all, expected {_FEWEST} at least")
    module.searching = True
    try:
        with nullcontext() if show else redirect_stderr(io.StringIO()):
            found = Tuner(trainer).lr_find(module, num_training=batches, attr_name="rate", update_attr=True)
    finally:
        module.searching = False
        pl.seed_everything(recipe.seed, workers=False, verbose=False)
    rate = None if found is None else found.suggestion()
    if rate is None:
        raise TrainingError("no learning rate was found: the loss never fell; give learning_rate")
    logger.info("learning rate found: %g", rate)
    return float(rate)
