"""What every training run has to know, whatever is trained."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from fastwsi.engine.recipe import Recipe, setting

Optimiser = Literal["tensorflow_rmsprop", "adam", "adamw", "sgd"]
Schedule = Literal["constant", "halving", "one_cycle", "plateau"]
Precision = Literal["32", "bf16", "16"]


class TrainingRecipe(Recipe):
    """Settings of a training run, to be refined by systems.

    Examples
    --------
    >>> TrainingRecipe(steps=10).batch_size
    32
    """

    seed: int = setting(0, "of sampling, augmentation and initial weights", ge=0)
    steps: int = setting(100_000, "updates of the weights", unit="updates", ge=1)
    batch_size: int = setting(32, "patches in a batch, on each device", unit="patches", ge=1)
    accumulate: int = setting(1, "batches whose gradients make one update", unit="batches", ge=1)

    optimiser: Optimiser = setting("adam", "who turns gradients into steps")
    learning_rate: float = setting(1e-3, "at the beginning; of one_cycle the highest", gt=0)
    find_learning_rate: bool = setting(False, "try rates before, and take the steepest's")
    momentum: float = setting(0.9, "of sgd and tensorflow_rmsprop", ge=0, lt=1)
    decay: float = setting(0.9, "of tensorflow_rmsprop's mean square", ge=0, lt=1)
    epsilon: float = setting(1e-8, "of adam, adamw and tensorflow_rmsprop", ge=0)
    weight_decay: float = setting(0.0, "L2; decoupled with adamw", ge=0)
    gradient_clip: float = setting(0.0, "largest norm of all gradients together; 0: any", ge=0)

    schedule: Schedule = setting("constant", "how the learning rate changes")
    halve_every: int = setting(2_000_000, "of the schedule halving", unit="examples", ge=1)
    plateau_factor: float = setting(0.5, "of the schedule plateau", gt=0, lt=1)
    plateau_patience: int = setting(
        2, "validations without a better one, of plateau", unit="validations", ge=0
    )
    plateau_watches: Literal["auc", "accuracy", "loss"] = setting("auc", "of validations, by plateau")

    freeze_trunk: int = setting(
        0, "updates at the beginning that only the classifier sees", unit="updates", ge=0
    )
    freeze_batch_norm: bool = setting(False, "keep statistics and weights of batch norms as they are")
    weight_average: Literal["none", "ema"] = setting("none", "keep a running mean of the weights, and use it")
    average_decay: float = setting(0.999, "of the running mean, at each update", gt=0, lt=1)

    validate_every: int = setting(
        1000, "between validations, one at the end beside; 0: none", unit="updates", ge=0
    )
    validation_patches: int = setting(2048, "in a validation", unit="patches", ge=1)
    keep: Literal["last", "best"] = setting(
        "last", "which weights the model has: the last, or those of the best validation"
    )
    checkpoint_minutes: float = setting(10.0, "between checkpoints", unit="minutes", gt=0)

    precision: Annotated[Precision, pydantic.BeforeValidator(str)] = setting(
        "32", "of activations: float32, bfloat16 or float16"
    )
    channels_last: bool = setting(True, "keep activations channels last, which is faster")
    deterministic: bool = setting(True, "only operations that give the same bits again")
    workers: int = setting(2, "processes that read patches, on each device", unit="processes", ge=0)

    @pydantic.model_validator(mode="after")
    def _validated(self) -> TrainingRecipe:
        if not self.validate_every and (self.schedule == "plateau" or self.keep == "best"):
            asks = "schedule plateau" if self.schedule == "plateau" else "keep best"
            raise ValueError(f"validate_every: got 0, expected 1 at least: {asks} goes by validations")
        return self
