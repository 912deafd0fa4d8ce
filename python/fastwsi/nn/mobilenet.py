"""MobileNetV2, with the module names and hence the checkpoint keys of torchvision's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from fastwsi import _numbers
from fastwsi.nn.weights import load_weights

if TYPE_CHECKING:
    from pathlib import Path

_STAGES = (
    # expansion, channels, blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """MobileNetV2 (Sandler et al. 2018), for images less `IMAGENET_MEAN` and over `IMAGENET_STD`.

    ``features`` gives the last map, `embedding` its mean over the image, `forward` the logits of that.

    Parameters
    ----------
    width : float
        Multiplier of the channels, which are then rounded to multiples of 8; the last map has 1280 or more.
    num_classes : int
        Outputs of the classifier.
    dropout : float
        Probability with which a feature is dropped before the classifier in training.

    Attributes
    ----------
    num_features : int
        Length of an embedding, 1280 up to a width of 1.

    Examples
    --------
    >>> import torch
    >>> network = fastwsi.nn.MobileNetV2(width=0.25, num_classes=2).eval()
    >>> image = torch.zeros(1, 3, 96, 96)
    >>> network.features(image).shape, network.embedding(image).shape, network(image).shape
    (torch.Size([1, 1280, 3, 3]), torch.Size([1, 1280]), torch.Size([1, 2]))
    """

    def __init__(self, width: float = 1.0, num_classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        width = _numbers.finite(width, "width")
        if width <= 0:
            raise ValueError(f"width: got {width:g}, expected a number > 0")
        num_classes = _numbers.whole(num_classes, "num_classes", least=1)
        inputs = _eights(32 * width)
        layers: list[nn.Module] = [_unit(3, inputs, 3, 2)]
        for expansion, channels, blocks, stride in _STAGES:
            for k in range(blocks):
                outputs = _eights(channels * width)
                layers.append(_Inverted(inputs, outputs, expansion, stride if k == 0 else 1))
                inputs = outputs
        self.num_features = _eights(1280 * max(1.0, width))
        layers.append(_unit(inputs, self.num_features, 1))
        self.features = nn.Sequential(*layers)
        self.published_weights = "mobilenet_v2-b0353104.pth" if width == 1 else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.num_features, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)

    def embedding(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, num_features) of (batch, 3, height, width) images: what the classifier reads."""
        return torch.flatten(self.avgpool(self.features(x)), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, num_classes) logits of (batch, 3, height, width) images."""
        return self.classifier(self.embedding(x))  # type: ignore[no-any-return]


def mobilenet_v2(
    *,
    width: float = 1.0,
    num_classes: int = 1000,
    dropout: float = 0.2,
    weights: str | Path | None = None,
) -> MobileNetV2:
    """Return a MobileNetV2; checkpoints of torchvision's load into it.

    Parameters
    ----------
    width : float
        Multiplier of the channels, which are then rounded to multiples of 8.
    num_classes : int
        Outputs of the classifier.
    dropout : float
        Probability with which a feature is dropped before the classifier in training.
    weights : str or Path, optional
        A file or URL as for `load_weights`, or "imagenet", for a width of 1, which expects images less
        `IMAGENET_MEAN` and over `IMAGENET_STD`. None: random.

    Examples
    --------
    >>> sum(p.numel() for p in fastwsi.nn.mobilenet_v2().parameters())
    3504872
    """
    network = MobileNetV2(width, num_classes, dropout)
    if weights is not None:
        load_weights(network, weights)
    return network


class _Inverted(nn.Module):
    """A wide depthwise convolution between narrow maps, and a shortcut where the shape allows one."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        widening = [] if expansion == 1 else [_unit(inputs, wide, 1)]
        self.conv = nn.Sequential(
            *widening,
            _unit(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return x + y if self.shortcut else y


def _unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


def _eights(channels: float) -> int:
    """Round to a multiple of 8, up where it would lose more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
