"""A task that trains in a second: dark patches are tumour."""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from fastwsi.data import PatchSample
from fastwsi.engine import TrainingRecipe

CPU = {"accelerator": "cpu", "devices": 1, "progress": False}
SMALL = {"steps": 24, "batch_size": 8, "validate_every": 10, "validation_patches": 32, "workers": 0}


class Squares(torch.utils.data.Dataset):
    """Patches that are made of their numbers: half of them darker."""

    def __init__(self, seed: int, broken: int | None = None) -> None:
        self.seed, self.broken = seed, broken

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> PatchSample:
        rng = np.random.default_rng([self.seed, index])
        label = int(rng.integers(2))
        pixels = (rng.integers(60, 220, (12, 12, 3)) - 40 * label).astype(np.uint8)
        return PatchSample(pixels, label, float(label), None, f"slide_{index % 5}", (index, 0), index, "any")


class SmallTask:
    """A network of two layers, with dropout, so that random states count."""

    def __init__(self, recipe: TrainingRecipe, *, nan_at: int | None = None) -> None:
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        self.network = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(400, 2)
        )
        self.nan_at = nan_at
        self.trained_on: list[int] = []

    def data(self):
        return {"train": ["slide_0", "slide_1"], "validation": ["slide_2"]}

    def save(self, path):
        save_file({name: value.contiguous() for name, value in self.network.state_dict().items()}, path)

    def samples(self, *, training: bool) -> Squares:
        return Squares(self.recipe.seed + (not training))

    def pixels(self, batch, *, training: bool):
        if training:
            self.trained_on += batch.indices
        return batch.pixels.permute(0, 3, 1, 2).float() / 127.5 - 1

    def loss(self, logits, batch):
        loss = nn.functional.cross_entropy(logits, batch.labels)
        if self.nan_at is not None and self.nan_at in batch.indices:
            loss = loss * float("nan")
        return loss

    def scores(self, logits):
        return logits.softmax(1)[:, 1]

    def classifier(self):
        return self.network[-1].parameters()


def recipe(**changes):
    return TrainingRecipe(**{**SMALL, "learning_rate": 0.01, **changes})


def weights(task):
    return {name: value.clone() for name, value in task.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)
