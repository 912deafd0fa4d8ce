"""Residual networks, with the module names and hence the checkpoint keys of torchvision's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's pixels, red first, on the scale from 0 to 1: what pretrained networks expect."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Their standard deviation."""


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut.

    Parameters
    ----------
    inputs, width : int
        Channels of the input, and of the convolutions.
    stride : int
        Of the first convolution, and of the shortcut's where there is one.

    Examples
    --------
    >>> import torch
    >>> fastwsi.nn.BasicBlock(64, 128, stride=2)(torch.zeros(1, 64, 16, 16)).shape
    torch.Size([1, 128, 8, 8])
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, width, height / stride, width / stride) features."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution, and a shortcut; the 3 x 3 one has the stride.

    Parameters
    ----------
    inputs, width : int
        Channels of the input, and of the convolution in the middle; four times as many come out.
    stride : int
        Of the convolution in the middle, and of the shortcut's where there is one.

    Examples
    --------
    >>> import torch
    >>> fastwsi.nn.Bottleneck(256, 64)(torch.zeros(1, 256, 16, 16)).shape
    torch.Size([1, 256, 16, 16])
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, 4 width, height / stride, width / stride) features."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """A residual network for images, as in He et al. 2016 (with the stride in the 3 x 3 convolution).

    Parameters
    ----------
    block : type
        `BasicBlock` or `Bottleneck`.
    depths : four int
        Blocks in ``layer1`` to ``layer4``.
    num_classes : int
        Outputs of ``fc``.
    in_channels : int
        Channels of the images.

    Attributes
    ----------
    num_features : int
        Length of an embedding: 512 for basic blocks, 2048 for bottlenecks.

    Examples
    --------
    >>> import torch
    >>> network = fastwsi.nn.ResNet(fastwsi.nn.BasicBlock, (1, 1, 1, 1), num_classes=2).eval()
    >>> network(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if len(depths) != 4 or min(depths) < 1:
            raise ValueError(f"depths: got {tuple(depths)}, expected four numbers of at least 1")
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        layers = []
        for i, depth in enumerate(depths):
            width = 64 << i
            blocks: list[nn.Module] = []
            for k in range(depth):
                blocks.append(block(inputs, width, 2 if i > 0 and k == 0 else 1))
                inputs = width * block.expansion
            layers.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.num_features = inputs
        self.published_weights: str | None = None
        self.fc = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, num_features, height / 32, width / 32) of (batch, in_channels, height, width)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))  # type: ignore[no-any-return]

    def embedding(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, num_features): the mean of the features over the image, which ``fc`` reads."""
        return torch.flatten(self.avgpool(self.features(x)), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, num_classes) logits of (batch, in_channels, height, width) images."""
        return self.fc(self.embedding(x))  # type: ignore[no-any-return]


def resnet18(num_classes: int = 1000, in_channels: int = 3, *, weights: str | Path | None = None) -> ResNet:
    """Return a ResNet-18; checkpoints of torchvision's load into it.

    Parameters
    ----------
    num_classes, in_channels : int
        Outputs of the classifier, channels of the images.
    weights : str or Path, optional
        A file or URL as for `load_weights`, or "imagenet", which expects images less `IMAGENET_MEAN` and over
        `IMAGENET_STD`. None: random.

    Examples
    --------
    >>> sum(p.numel() for p in fastwsi.nn.resnet18().parameters())
    11689512
    """
    return _filled(
        ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels), weights, "resnet18-f37072fd.pth"
    )


def resnet34(num_classes: int = 1000, in_channels: int = 3, *, weights: str | Path | None = None) -> ResNet:
    """Return a ResNet-34; checkpoints of torchvision's load into it.

    Parameters
    ----------
    num_classes, in_channels : int
        Outputs of the classifier, channels of the images.
    weights : str or Path, optional
        A file or URL as for `load_weights`, or "imagenet", which expects images less `IMAGENET_MEAN` and over
        `IMAGENET_STD`. None: random.

    Examples
    --------
    >>> sum(p.numel() for p in fastwsi.nn.resnet34().parameters())
    21797672
    """
    return _filled(
        ResNet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels), weights, "resnet34-b627a593.pth"
    )


def resnet50(num_classes: int = 1000, in_channels: int = 3, *, weights: str | Path | None = None) -> ResNet:
    """Return a ResNet-50; checkpoints of torchvision's load into it.

    Parameters
    ----------
    num_classes, in_channels : int
        Outputs of the classifier, channels of the images.
    weights : str or Path, optional
        A file or URL as for `load_weights`, or "imagenet", which expects images less `IMAGENET_MEAN` and over
        `IMAGENET_STD`. None: random.

    Examples
    --------
    >>> sum(p.numel() for p in fastwsi.nn.resnet50().parameters())
    25557032
    """
    return _filled(
        ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels), weights, "resnet50-0676ba61.pth"
    )


def _filled(network: ResNet, weights: str | Path | None, published: str) -> ResNet:
    network.published_weights = published
    if weights is not None:
        # Imported here: benchmarks/streaming_subject.py runs this file alone, without the rest of fastwsi.
        from fastwsi.nn.weights import load_weights  # noqa: PLC0415

        load_weights(network, weights)
    return network


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """Return what makes the input of the output's size, where it is not."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
