"""What a training run needs of whoever is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import torch
    from torch import nn

    from fastwsi.data import PatchBatch
    from fastwsi.engine.training_recipe import TrainingRecipe


class Task(Protocol):
    """A network, its data, and what is asked of it."""

    @property
    def recipe(self) -> TrainingRecipe:
        """The run's settings."""

    @property
    def network(self) -> nn.Module:
        """What is trained: pixels in, logits (batch, classes) out."""

    def data(self) -> dict[str, Any]:
        """Return what stays while a run goes on: names of slides, by "train" and "validation"."""

    def save(self, path: Path) -> None:
        """Write the network as it is now to a model file."""

    def samples(self, *, training: bool) -> Any:
        """Return the dataset of training, or of validation; None where there is none to validate on."""

    def pixels(self, batch: PatchBatch, *, training: bool) -> torch.Tensor:
        """Return the network's input, (batch, 3, size, size), on the batch's device, varied for training."""

    def loss(self, logits: torch.Tensor, batch: PatchBatch) -> torch.Tensor:
        """Return the mean loss of a batch."""

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Return each patch's probability of tumour."""

    def classifier(self) -> Iterable[nn.Parameter]:
        """Yield the weights that train while the trunk is frozen."""
