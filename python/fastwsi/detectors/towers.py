"""Networks that look at one place at several resolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from fastwsi.nn import without_classifier

if TYPE_CHECKING:
    from collections.abc import Sequence


class Towers(nn.Module):
    """One network for each resolution, their features side by side before one classifier.

    Parameters
    ----------
    towers : sequence of modules
        Of any kind, finest first; each one's classifier is taken out.
    num_classes : int
    dropout : float
        Before the classifier, in training.

    Examples
    --------
    >>> import torch
    >>> towers = [fastwsi.nn.inception_v3(width=0.1) for _ in range(2)]
    >>> Towers(towers, 2).eval()(torch.zeros(1, 2, 3, 107, 107)).shape
    torch.Size([1, 2])
    """

    def __init__(self, towers: Sequence[nn.Module], num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.towers = nn.ModuleList(towers)
        widths = [without_classifier(tower) for tower in self.towers]  # it is one for all
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(sum(widths), num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits of images (batch, towers, 3, height, width)."""
        features = [tower(images[:, i]) for i, tower in enumerate(self.towers)]
        logits: torch.Tensor = self.fc(self.dropout(torch.cat(features, 1)))
        return logits
