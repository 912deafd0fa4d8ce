"""Liu 2017's settings: what the paper printed, and what it left to be chosen."""

from __future__ import annotations

import pydantic

from fastwsi.augment import Liu2017Augment
from fastwsi.engine import ScanRecipe, TrainingRecipe, setting
from fastwsi.engine.scanning.scan_recipe import Tissue
from fastwsi.engine.training_recipe import Optimiser, Schedule

_INPUT, _SAMPLING, _VARYING = (
    "Liu 2017, Method: input",
    "Liu 2017, Method: sampling",
    "Liu 2017, Method: augmentation",
)
_TRAINING = "Liu 2017, Method: training"
_OWN = "not printed"
_MOST_TOWERS = 8


_INFERENCE = "Liu 2017, Method: inference"


class LiuScan(ScanRecipe):
    """How Liu et al. scan."""

    stride: int = setting(
        0, "between patches' middles; 0: the side of the labelled middle, 128 in the paper", unit="pixels",
        source=_INFERENCE, ge=0,
    )  # fmt: skip
    tissue: Tissue = setting(
        "gray", "what is scanned: grey values of at most 0.8", source="Liu 2017, Method: sampling"
    )
    orientations: bool = setting(True, "mean over eight orientations", source=_INFERENCE)
    nms_radius: float = setting(
        6.0, "in which a detection suppresses others: 4 to 6, 8 for weaker models", unit="cells",
        source=_INFERENCE, ge=0,
    )  # fmt: skip
    nms_threshold: float = setting(0.5, "which detections exceed", source=_INFERENCE, ge=0)


class Liu2017Recipe(TrainingRecipe):
    """Settings of `Liu2017`; the defaults are the paper's 40X network."""

    width: float = setting(
        1.0, "filters of Inception-V3; the paper's small network has 0.1", source=_INPUT, gt=0, le=8
    )
    mpp: tuple[float, ...] = setting(
        (),
        "resolutions of the towers, finest first; empty: one at level 0",
        unit="µm per pixel",
        source=_INPUT,
    )
    patch: int = setting(299, "side of a patch", unit="pixels", source=_INPUT, ge=75, le=4096)
    centre: int = setting(128, "side of the middle that the label is of", unit="pixels", source=_INPUT, ge=1)
    soft_labels: bool = setting(
        False, "the tumour's part of the centre as label: tried, and worse", source=_INPUT
    )
    dropout: float = setting(0.2, "before the classifier", source=_OWN, ge=0, lt=1)

    jitter: int = setting(8, "crop offset in each direction", unit="pixels", source=_SAMPLING, ge=0)
    brightness: float = setting(64 / 255, "largest addition", unit="of 1", source=_VARYING, ge=0)
    saturation: float = setting(0.25, "largest change of the factor", source=_VARYING, ge=0)
    hue: float = setting(0.04, "largest turn", unit="turns", source=_VARYING, ge=0)
    contrast: float = setting(0.75, "largest change of the factor", source=_VARYING, ge=0)
    orientations: bool = setting(True, "four rotations and a flip", source=_VARYING)
    hsd: bool = setting(
        False, "normalise stains in hue-saturation-density first", source="Liu 2017, appendix A.3"
    )

    optimiser: Optimiser = setting("tensorflow_rmsprop", "who turns gradients into steps", source=_TRAINING)
    learning_rate: float = setting(
        0.05, "at the beginning; 0.002 from ImageNet's weights", source=_TRAINING, gt=0
    )
    momentum: float = setting(0.9, "of RMSProp", source=_TRAINING, ge=0, lt=1)
    decay: float = setting(0.9, "of RMSProp's mean square", source=_TRAINING, ge=0, lt=1)
    epsilon: float = setting(1.0, "inside RMSProp's root", source=_TRAINING, ge=0)
    schedule: Schedule = setting("halving", "how the learning rate changes", source=_TRAINING)
    halve_every: int = setting(2_000_000, "between halvings", unit="examples", source=_TRAINING, ge=1)
    batch_size: int = setting(
        32, "patches in a batch, on each device", unit="patches", source=_TRAINING, ge=1
    )
    steps: int = setting(312_500, "updates of the weights", unit="updates", source=_OWN, ge=1)
    weights: str = setting("", "a file to begin with, or imagenet; empty: drawn", source=_TRAINING)

    scan: LiuScan = LiuScan()

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Liu2017Recipe:
        if self.centre > self.patch:
            raise ValueError(f"centre: got {self.centre}, expected at most patch, {self.patch}")
        if len(self.mpp) > _MOST_TOWERS:
            raise ValueError(f"mpp: got {len(self.mpp)} resolutions, expected {_MOST_TOWERS} at most")
        if list(self.mpp) != sorted(set(self.mpp)) or any(value <= 0 for value in self.mpp):
            raise ValueError(f"mpp: got {self.mpp}, expected rising resolutions above 0")
        return self

    @property
    def towers(self) -> int:
        """How many resolutions are looked at."""
        return max(1, len(self.mpp))

    def policy(self, *, training: bool) -> Liu2017Augment:
        """Return how patches are varied: for training, or not at all."""
        size = (self.patch, self.patch)
        if not training:
            return Liu2017Augment(
                size, jitter=0, orientations=False, brightness=0.0, saturation=0.0, hue=0.0, contrast=0.0
            )
        return Liu2017Augment(
            size, self.jitter, self.orientations, self.brightness, self.saturation, self.hue, self.contrast
        )


_SMALL = Liu2017Recipe(width=0.1)
# A laptop's minutes instead of a rack's weeks: coarser and smaller patches, an optimiser that is quick from
# the start, one cycle of the learning rate.
_DEMO = {
    "mpp": (1.0,), "patch": 107, "centre": 32, "optimiser": "adamw", "epsilon": 1e-8, "weight_decay": 0.01,
    "learning_rate": 0.004, "schedule": "one_cycle", "dropout": 0.1, "steps": 1500, "validate_every": 300,
    "validation_patches": 512, "workers": 1, "scan.orientations": False,
    "scan.nms_threshold": 0.1,
}  # fmt: skip

RECIPES = {
    "liu2017": Liu2017Recipe(),
    "liu2017-small": _SMALL,
    "liu2017-demo": _SMALL.changed(_DEMO),
}
