"""Inception-V3 of any width, with the module names and hence the checkpoint keys of torchvision's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from fastwsi import _numbers
from fastwsi.nn.weights import load_weights

if TYPE_CHECKING:
    from pathlib import Path

_LEAST_FILTERS = 16


class InceptionV3(nn.Module):
    """Inception-V3 (Szegedy et al. 2016) without its auxiliary head, for images in [−1, 1].

    `features` gives the last map, `embedding` its mean over the image, `forward` the logits of that.

    Parameters
    ----------
    width : float
        Every convolution of d filters gets ``max(int(d * width), 16)``: Liu et al. 2017's "depth multiplier".
    num_classes : int
        Outputs of ``fc``.
    dropout : float
        Probability with which a feature is dropped before ``fc`` in training.

    Attributes
    ----------
    num_features : int
        Length of an embedding: 2048 at full width, 203 at a width of 0.1.

    Examples
    --------
    >>> import torch
    >>> network = fastwsi.nn.InceptionV3(width=0.1, num_classes=2).eval()
    >>> image = torch.zeros(1, 3, 107, 139)
    >>> network.features(image).shape, network.embedding(image).shape, network(image).shape
    (torch.Size([1, 203, 2, 3]), torch.Size([1, 203]), torch.Size([1, 2]))
    """

    lacking = ("AuxLogits.",)

    def __init__(self, width: float = 1.0, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        width = _numbers.finite(width, "width")
        if width <= 0:
            raise ValueError(f"width: got {width:g}, expected a number > 0")
        num_classes = _numbers.whole(num_classes, "num_classes", least=1)
        at = 3
        for layer in _TRUNK:
            if isinstance(layer, str):
                self.add_module(layer, nn.MaxPool2d(3, 2))
                continue
            block = _Unit(at, layer, width) if isinstance(layer, _Step) else _Mixed(at, layer, width)
            self.add_module(layer.name, block)
            at = block.filters
        self.num_features = at
        self.published_weights = "inception_v3_google-0cc3c7bd.pth" if width == 1 else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(at, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                _init_as_slim(module.weight)
        nn.init.zeros_(self.fc.bias)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, num_features, rows, columns) of (batch, 3, height, width) images in [−1, 1].

        299 px give 8 × 8, and every 32 px more one more; at least 75 px are needed.
        """
        for layer in _TRUNK:
            x = getattr(self, layer if isinstance(layer, str) else layer.name)(x)
        return x

    def embedding(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, num_features): what towers join before one classifier, and ``fc`` reads."""
        return torch.flatten(self.avgpool(self.features(x)), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, num_classes) logits of (batch, 3, height, width) images in [−1, 1]."""
        return self.fc(self.dropout(self.embedding(x)))  # type: ignore[no-any-return]


def inception_v3(
    *,
    width: float = 1.0,
    num_classes: int = 1000,
    dropout: float = 0.5,
    weights: str | Path | None = None,
) -> InceptionV3:
    """Return an Inception-V3 for images in [−1, 1]; checkpoints of torchvision's load into it.

    torchvision's published file was trained on [−1, 1]: torchvision takes inputs on another scale and
    converts them (``transform_input``). Nothing is converted here and the file is used as it is. One that
    was trained on images less their mean and over their deviation loads with ``normalisation`` of
    `load_weights`.

    Parameters
    ----------
    width : float
        Every convolution of d filters gets ``max(int(d * width), 16)``. Liu et al. 2017's "small" is 0.1.
    num_classes : int
        Outputs of the classifier.
    dropout : float
        Probability with which a feature is dropped before the classifier in training.
    weights : str or Path, optional
        A file or URL as for `load_weights`, or "imagenet", for a width of 1. An auxiliary head in it is
        dropped. None: random as in TF-slim, where the paper's network comes from.

    Examples
    --------
    >>> sum(p.numel() for p in fastwsi.nn.inception_v3(width=0.1, num_classes=2).parameters())
    281775
    """
    network = InceptionV3(width, num_classes, dropout)
    if weights is not None:
        load_weights(network, weights)
    return network


@dataclass(frozen=True)
class _Step:
    """One convolution: its name in the checkpoint, its filters at full width, its shape.

    Padding None: as much as keeps the size, where the stride is 1, and none otherwise.
    """

    name: str
    filters: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Branch:
    """Steps that follow each other, and the last ones, which all read what came before and are joined."""

    steps: tuple[_Step, ...]
    ends: tuple[_Step, ...]


@dataclass(frozen=True)
class _Block:
    """Branches that read one input, their outputs joined along the channels; a pooling is the last.

    ``pooled`` are the filters of the convolution behind the pooling; 0: a max pool with stride 2 and none.
    """

    name: str
    branches: tuple[_Branch, ...]
    pooled: int


class _Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, step: _Step, width: float) -> None:
        super().__init__()
        rows, columns = step.kernel
        padding = step.padding
        if padding is None:
            padding = (rows // 2, columns // 2) if step.stride == 1 else (0, 0)
        self.filters = max(int(step.filters * width), _LEAST_FILTERS)
        self.conv = nn.Conv2d(inputs, self.filters, step.kernel, step.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(self.filters, eps=0.001)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.bn(self.conv(x)))  # type: ignore[no-any-return]


class _Mixed(nn.Module):
    """The modules of a block."""

    def __init__(self, inputs: int, block: _Block, width: float) -> None:
        super().__init__()
        self.filters = 0
        self._paths: list[tuple[list[str], list[str]]] = []  # what follows each other, then what is joined
        for branch in block.branches:
            at = inputs
            for step in branch.steps:
                at = self._add(at, step, width)
            self.filters += sum(self._add(at, step, width) for step in branch.ends)
            self._paths.append(([step.name for step in branch.steps], [step.name for step in branch.ends]))
        if block.pooled:
            self.pool: nn.Module = nn.AvgPool2d(3, 1, 1)
            self.filters += self._add(inputs, _Step("branch_pool", block.pooled), width)
            self._paths.append((["pool"], ["branch_pool"]))
        else:
            self.pool = nn.MaxPool2d(3, 2)
            self.filters += inputs
            self._paths.append(([], ["pool"]))

    def _add(self, inputs: int, step: _Step, width: float) -> int:
        unit = _Unit(inputs, step, width)
        self.add_module(step.name, unit)
        return unit.filters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joined = []
        for chain, ends in self._paths:
            y = x
            for name in chain:
                y = getattr(self, name)(y)
            joined += [getattr(self, name)(y) for name in ends]
        return torch.cat(joined, 1)


def _init_as_slim(weight: torch.Tensor) -> None:
    """Draw from He's normal distribution cut at two deviations, widened as TF-slim does for the cut."""
    std = (1.3 * 2 / weight[0].numel()) ** 0.5
    nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std)


def _one(filters: int) -> _Branch:
    return _Branch((), (_Step("branch1x1", filters),))


def _chain(name: str, *steps: tuple[int, tuple[int, int]], stride: int = 1) -> _Branch:
    """Return a branch of steps name_1, name_2, …; the last has the stride."""
    last = len(steps)
    found = tuple(
        _Step(f"{name}_{i}", filters, kernel, stride if i == last else 1)
        for i, (filters, kernel) in enumerate(steps, 1)
    )
    return _Branch(found[:-1], found[-1:])


def _fork(name: str, *steps: tuple[int, tuple[int, int]]) -> _Branch:
    """Return a branch of steps name_1, …, and of two side by side at its end."""
    chain = _chain(name, *steps)
    last = f"{name}_{len(steps) + 1}"
    ends = _Step(f"{last}a", 384, (1, 3)), _Step(f"{last}b", 384, (3, 1))
    return _Branch(chain.steps + chain.ends, ends)


def _five(letter: str, pooled: int) -> _Block:
    five = _chain("branch5x5", (48, (1, 1)), (64, (5, 5)))
    double = _chain("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3)))
    return _Block(f"Mixed_5{letter}", (_one(64), five, double), pooled)


def _six(letter: str, inner: int) -> _Block:
    across, down = (1, 7), (7, 1)
    seven = _chain("branch7x7", (inner, (1, 1)), (inner, across), (192, down))
    double = _chain(
        "branch7x7dbl", (inner, (1, 1)), (inner, down), (inner, across), (inner, down), (192, across)
    )
    return _Block(f"Mixed_6{letter}", (_one(192), seven, double), 192)


def _seven(letter: str) -> _Block:
    three = _fork("branch3x3", (384, (1, 1)))
    double = _fork("branch3x3dbl", (448, (1, 1)), (384, (3, 3)))
    return _Block(f"Mixed_7{letter}", (_one(320), three, double), 192)


_REDUCTION_6 = _Block(
    "Mixed_6a",
    (
        _Branch((), (_Step("branch3x3", 384, (3, 3), stride=2),)),
        _chain("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3)), stride=2),
    ),
    pooled=0,
)
_REDUCTION_7 = _Block(
    "Mixed_7a",
    (
        _chain("branch3x3", (192, (1, 1)), (320, (3, 3)), stride=2),
        _chain("branch7x7x3", (192, (1, 1)), (192, (1, 7)), (192, (7, 1)), (192, (3, 3)), stride=2),
    ),
    pooled=0,
)
_TRUNK: tuple[str | _Step | _Block, ...] = (
    _Step("Conv2d_1a_3x3", 32, (3, 3), stride=2),
    _Step("Conv2d_2a_3x3", 32, (3, 3), padding=(0, 0)),
    _Step("Conv2d_2b_3x3", 64, (3, 3)),
    "maxpool1",
    _Step("Conv2d_3b_1x1", 80),
    _Step("Conv2d_4a_3x3", 192, (3, 3), padding=(0, 0)),
    "maxpool2",
    *(_five(letter, pooled) for letter, pooled in (("b", 32), ("c", 64), ("d", 64))),
    _REDUCTION_6,
    *(_six(letter, inner) for letter, inner in (("b", 128), ("c", 160), ("d", 160), ("e", 192))),
    _REDUCTION_7,
    _seven("b"),
    _seven("c"),
)
"""Layers in their order; a name alone is a max pool."""
