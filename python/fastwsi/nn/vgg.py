"""VGG-16's convolutions without padding, with the names and hence the checkpoint keys of torchvision's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from fastwsi import _numbers
from fastwsi.nn.weights import load_weights

if TYPE_CHECKING:
    from pathlib import Path

_LEAST_FILTERS = 16
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # filters, convolutions


class VGG16Valid(nn.Module):
    """VGG-16 (Simonyan and Zisserman 2015) up to its last convolution, none of which is padded.

    Every output cell is a function of a window that lies wholly in the image, so that a tile of a slide
    answers just what patches of it would: the trunk of PFA-ScanNet. Images less `IMAGENET_MEAN` and over
    `IMAGENET_STD` are expected, as the published weights were trained on them.

    Parameters
    ----------
    width : float
        Every convolution of d filters gets ``max(int(d * width), 16)``.

    Attributes
    ----------
    channels : tuple of int
        Of the outputs of convolution blocks 2 to 5; (128, 256, 512, 512) at full width.

    Examples
    --------
    >>> import torch
    >>> network = fastwsi.nn.VGG16Valid(width=0.1).eval()
    >>> [tuple(level.shape) for level in network.levels(torch.zeros(1, 3, 212, 212))]
    [(1, 16, 100, 100), (1, 25, 44, 44), (1, 51, 16, 16), (1, 51, 2, 2)]
    """

    lacking = ("classifier.",)

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        width = _numbers.finite(width, "width")
        if width <= 0:
            raise ValueError(f"width: got {width:g}, expected a number > 0")
        layers: list[nn.Module] = []
        inputs, ends, channels = 3, [], []
        for i, (filters, convolutions) in enumerate(_BLOCKS):
            if i > 0:
                layers.append(nn.MaxPool2d(2, 2))
            outputs = max(int(filters * width), _LEAST_FILTERS)
            for _ in range(convolutions):
                layers += [nn.Conv2d(inputs, outputs, 3), nn.ReLU(inplace=True)]
                inputs = outputs
            ends.append(len(layers))
            channels.append(outputs)
        self.features = nn.Sequential(*layers)
        self.published_weights = "vgg16-397923af.pth" if width == 1 else None
        self.channels = tuple(channels[1:])
        self._ends = tuple(ends[1:])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def levels(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return X2, X3, X4, X5: the outputs of convolution blocks 2 to 5, at strides 2, 4, 8 and 16 px.

        Of a patch of 692 px they have 340, 164, 76 and 32 cells a side; at least 196 px are needed.
        """
        found, start = [], 0
        for end in self._ends:
            # One slice of the layers after the other; iterating, unlike slicing, keeps the modules' names.
            for i in range(start, end):
                x = self.features[i](x)
            start = end
            found.append(x)
        return tuple(found)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return X5, (batch, channels, rows, columns) of (batch, 3, height, width) images."""
        return self.features(x)  # type: ignore[no-any-return]


def vgg16_valid(*, width: float = 1.0, weights: str | Path | None = None) -> VGG16Valid:
    """Return VGG-16's convolutions without padding; checkpoints of torchvision's vgg16 load into it.

    Parameters
    ----------
    width : float
        Every convolution of d filters gets ``max(int(d * width), 16)``.
    weights : str or Path, optional
        A file or URL as for `load_weights`, or "imagenet", for a width of 1. The fully connected layers in
        it are dropped. None: random.

    Examples
    --------
    >>> sum(p.numel() for p in fastwsi.nn.vgg16_valid().parameters())
    14714688
    """
    network = VGG16Valid(width)
    if weights is not None:
        load_weights(network, weights)
    return network
