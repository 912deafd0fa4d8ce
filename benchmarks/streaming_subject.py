"""What the streaming benchmark trains: the network, the images and the loss, the same for every method.

Imports torch and numpy only, so that it also runs where lightstream is installed and fastwsi is not.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

RESNET = Path(__file__).parents[1] / "python" / "fastwsi" / "nn" / "resnet.py"
STAGES = (
    "conv1",
    "bn1",
    "relu",
    "maxpool",
    "layer1",
    "layer2",
    "layer3",
)  # the trunk, in torchvision's names
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GLASS = (243, 241, 244)  # the value that background is painted with
CELL = 64  # pixels to a side of the background mask's cells

Method = Literal["whole", "checkpoint", "checkpoint with stem", "streamed", "lightstream"]


@dataclass(frozen=True)
class Spec:
    """One measurement: a method, how it is set, and on what.

    Attributes
    ----------
    method : str
    height, width : int
        Of the image.
    channels_last : bool
        The layout of weights and image.
    rows : int
        Band height, of fastwsi.
    across : int
        Into how many tiles lightstream's backward pass cuts a side; its tile is the smallest that does.
    trained_affine : bool
        Whether the weights and biases of the batch norms train, too.
    silu : bool
        SiLU in place of ReLU.
    image : "tensor", "generated" or "island"
        A float32 tensor; bytes of a row source that stores nothing; bytes with background around one square.
    skipping : bool
        Whether the background is named to fastwsi.
    """

    method: Method
    height: int
    width: int
    channels_last: bool = False
    rows: int = 0
    across: int = 0
    trained_affine: bool = False
    silu: bool = False
    image: Literal["tensor", "generated", "island"] = "tensor"
    skipping: bool = False

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


def resnet_module() -> ModuleType:
    """Return fastwsi.nn.resnet of this clone, without importing fastwsi."""
    found = importlib.util.spec_from_file_location("streaming_resnet", RESNET)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def network(spec: Spec) -> nn.Module:
    """Return the ResNet-18, in eval mode, with random weights that are the same in every process."""
    torch.manual_seed(1)
    model: nn.Module = resnet_module().resnet18(num_classes=2).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, 0.0, 0.1)
            nn.init.normal_(module.running_mean, 0.0, 0.1)
            nn.init.uniform_(module.running_var, 0.7, 1.3)
            module.requires_grad_(spec.trained_affine)
    if spec.silu:
        for module in model.modules():
            if isinstance(getattr(module, "relu", None), nn.ReLU):
                module.relu = nn.SiLU(inplace=True)
    return model.to(memory_format=spec.layout)


def loss_of(features: torch.Tensor) -> torch.Tensor:
    """Return a loss of the pooled features."""
    pooled = features.mean((2, 3))
    target = torch.linspace(-1, 1, pooled.shape[1])
    return (pooled - target).square().sum()


class Generated:
    """An image of bytes whose rows are made when they are asked for: a texture that repeats."""

    period = 251

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self._texture = texture(self.period, width)

    def rows(self, top: int, bottom: int) -> NDArray[np.uint8]:
        return self._texture[np.arange(top, bottom) % self.period]


def texture(height: int, width: int) -> NDArray[np.uint8]:
    """Return random bytes, (height, width, 3)."""
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), np.uint8)


def background_mask(height: int, width: int) -> NDArray[np.bool_]:
    """Return the cells that are background: all but a square in the middle, of a quarter of the image."""
    mask = np.ones((height // CELL, width // CELL), bool)
    rows, columns = mask.shape
    mask[rows // 4 : rows // 4 + rows // 2, columns // 4 : columns // 4 + columns // 2] = False
    return mask


def island(height: int, width: int) -> NDArray[np.uint8]:
    """Return an image of bytes whose background is painted."""
    image = texture(height, width)
    image[background_mask(height, width).repeat(CELL, 0).repeat(CELL, 1)] = GLASS
    return image


def image_of(spec: Spec, height: int, width: int) -> Any:
    """Return the image of a measurement, or one of another size of its kind."""
    if spec.image == "generated":
        return Generated(height, width)
    if spec.image == "island":
        return island(height, width)
    generator = torch.Generator().manual_seed(3)
    return torch.randn((1, 3, height, width), generator=generator).contiguous(memory_format=spec.layout)
