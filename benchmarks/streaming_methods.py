"""The methods that the streaming benchmark compares, each made ready to train."""

from __future__ import annotations

import contextlib
import io
import math
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from benchmarks import streaming_subject as subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.streaming_subject import Spec

STRIDE = 16  # of the trunk
PROBE = 768  # a tile with a valid middle


class UnavailableError(Exception):
    """What is asked for is not there yet, or cannot be done on so small an image."""


@dataclass(frozen=True)
class Contender:
    """A network made ready.

    Attributes
    ----------
    forward : callable
        Gives the features of an image.
    parameters : dict of str to parameter
        In torchvision's names.
    backward : callable, optional
        Is given the image and the gradient of the features, where autograd does not lead there.
    setting : str
        What was chosen, for the table.
    estimate : callable, optional
        Gives the bytes that the method expects to need for (height, width).
    """

    forward: Callable[[Any], torch.Tensor]
    parameters: dict[str, nn.Parameter]
    backward: Callable[[Any, torch.Tensor], None] | None = None
    setting: str = ""
    estimate: Callable[[int, int], int] | None = None

    def step(self, image: Any) -> torch.Tensor:
        """Do one training step; the gradients are added to the parameters'."""
        features = self.forward(image)
        if self.backward is not None:
            features.requires_grad_()
        subject.loss_of(features).backward()
        if self.backward is not None:
            assert features.grad is not None
            self.backward(image, features.grad)
        return features

    def zero_grad(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None


def contender(spec: Spec) -> Contender:
    """Make a network ready for a measurement."""
    model = subject.network(spec)
    if spec.method == "streamed":
        return streamed(model, spec)
    if spec.method == "lightstream":
        return lightstream(model, spec)
    trunk = nn.Sequential(*(getattr(model, name) for name in subject.STAGES))
    if spec.method == "whole":
        return Contender(trunk, parameters_of(model))
    whole_stem = spec.method == "checkpoint"
    return Contender(lambda image: checkpointed(trunk, image, whole_stem=whole_stem), parameters_of(model))


def parameters_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trunk's parameters."""
    return {name: each for name, each in model.named_parameters() if name.split(".")[0] in subject.STAGES}


def checkpointed(trunk: nn.Sequential, image: torch.Tensor, *, whole_stem: bool) -> torch.Tensor:
    """Keep the residual blocks' inputs and no more; what is before them whole, or computed again likewise."""
    stem, blocks = trunk[:4], [block for stage in trunk[4:] for block in stage]
    x: torch.Tensor = stem(image) if whole_stem else checkpoint(stem, image, use_reentrant=False)
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False)
    return x


def streamed(model: nn.Module, spec: Spec) -> Contender:
    """Return fastwsi's."""
    from fastwsi import set_num_threads
    from fastwsi.nn import split
    from fastwsi.streaming import Streamed

    set_num_threads(1)
    trunk, _ = split(model, "layer3")
    stream = Streamed(trunk, spec.rows, mean=subject.MEAN, std=subject.STD)
    if not spec.skipping:
        return Contender(stream, parameters_of(model), estimate=estimate_of(stream))

    def forward(image: Any) -> torch.Tensor:
        mask = subject.background_mask(*image.shape[:2])
        features: torch.Tensor = stream(image, background=(subject.GLASS, mask, subject.CELL))
        return features

    return Contender(forward, parameters_of(model))


def estimate_of(stream: Any) -> Callable[[int, int], int]:
    """Return what tells the peak that a step is expected to need, in bytes, of (height, width)."""
    return lambda height, width: stream.explain(height, width).training_memory


def lightstream(model: nn.Module, spec: Spec) -> Contender:
    """Return lightstream's own conversion of the network, as its StreamingResNet makes it.

    Its class for ResNets only adds torchvision and ImageNet's weights. It moves the network to a GPU after it
    has measured a tile on the CPU, or before; between its two steps we tell it not to.
    """
    model.to(memory_format=torch.contiguous_format)  # its measuring of tiles fails on channels last
    trunk = nn.Sequential(*(getattr(model, name) for name in subject.STAGES))
    # Measured on a small tile first: what a tile loses at its sides does not depend on its size.
    lost = converted(deepcopy(trunk), PROBE).tile_gradient_lost
    side = max(spec.height, spec.width)
    tile = tile_size(side, lost.top + lost.bottom, spec.across)
    if tile >= side or spec.height != spec.width:
        raise UnavailableError(
            f"lightstream: no {spec.across} tiles of {tile} on {spec.height} x {spec.width}"
        )
    net = converted(trunk, tile)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval().requires_grad_(spec.trained_affine)
    net.to(memory_format=spec.layout)
    parameters = {}
    for name, parameter in net.stream_module.named_parameters():
        index, _, rest = name.partition(".")
        parameters[f"{subject.STAGES[int(index)]}.{rest}"] = parameter
    return Contender(net.forward, parameters, net.backward, setting=f"{tile}²")


def tile_size(side: int, lost: int, across: int) -> int:
    """Return the smallest tile of which so many cover a side in the backward pass.

    Tiles and the steps between them are multiples of the trunk's stride, or lightstream's maps do not meet.
    """
    valid = math.ceil((side - lost) / across / STRIDE) * STRIDE
    return math.ceil((valid + lost) / STRIDE) * STRIDE


def converted(trunk: nn.Module, tile: int) -> Any:
    """Return lightstream's StreamingCNN of a trunk."""
    from lightstream.core.constructor import StreamingConstructor

    with quiet():
        making = StreamingConstructor(
            trunk, tile, verbose=False, normalize_on_gpu=False, statistics_on_cpu=True, copy_to_gpu=False
        )
        making.statistics_on_cpu = False  # or it calls .cuda() when the tile is measured
        making.add_modules_to_keep([nn.BatchNorm2d])
        return making.prepare_streaming_model()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what is printed off the output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
