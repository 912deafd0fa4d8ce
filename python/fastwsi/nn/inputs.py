"""Networks that were trained on images of another scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from fastwsi import _numbers
from fastwsi.nn.splitting import ModuleTracer

if TYPE_CHECKING:
    from collections.abc import Sequence


def fold_normalisation(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
    """Make a network that was trained on (image − mean) / std take images on [−1, 1], in place.

    The change of scale goes into the first convolution and what adds a constant behind it: its bias, or
    else its batch norm. Outputs in eval mode are the same but for rounding.

    Parameters
    ----------
    network : torch.nn.Module
        Whose input goes to one convolution without padding and nowhere else: padding is 0 on either scale,
        which stands for another colour. So it works for Inception-V3 and VGG-16 without padding, and not for
        ResNets.
    mean, std : sequence of float
        One number per channel, of images on [0, 1]; as `IMAGENET_MEAN` and `IMAGENET_STD`.

    Raises
    ------
    ValueError
        Where the network is none of these. It is unchanged then.

    Examples
    --------
    >>> import torch
    >>> network = fastwsi.nn.vgg16_valid(width=0.1).eval()
    >>> image = torch.rand(1, 3, 200, 200)
    >>> mean, std = torch.tensor([fastwsi.nn.IMAGENET_MEAN, fastwsi.nn.IMAGENET_STD])[:, :, None, None]
    >>> before = network((image - mean) / std)
    >>> fastwsi.nn.fold_normalisation(network, fastwsi.nn.IMAGENET_MEAN, fastwsi.nn.IMAGENET_STD)
    >>> bool(torch.allclose(network(2 * image - 1), before, rtol=1e-4, atol=1e-4))
    True
    """
    convolution, norm, scale, shift = foldable(network, mean, std)
    weight = convolution.weight.detach().double()
    constant = (weight * shift.to(weight.device)).sum((1, 2, 3))
    with torch.no_grad():
        convolution.weight.copy_(weight * scale.to(weight.device))
        if convolution.bias is not None:
            convolution.bias.copy_(convolution.bias.double() + constant)
        elif norm is not None and norm.running_mean is not None:
            norm.running_mean.copy_(norm.running_mean.double() - constant)
        # A batch norm without statistics takes the batch's mean, and any constant with it.


def foldable(
    network: nn.Module, mean: Sequence[float], std: Sequence[float]
) -> tuple[nn.Conv2d, nn.BatchNorm2d | None, torch.Tensor, torch.Tensor]:
    """Return what `fold_normalisation` changes, with factors and terms of the channels; or raise its errors.

    Examples
    --------
    >>> foldable(fastwsi.nn.vgg16_valid(width=0.1), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))[2].flatten()
    tensor([2., 2., 2.], dtype=torch.float64)
    """
    means = [_numbers.finite(value, "mean") for value in mean]
    stds = [_numbers.finite(value, "std") for value in std]
    if min(stds, default=1.0) <= 0:
        raise ValueError(f"std: got {tuple(stds)}, expected numbers > 0")
    convolution, norm = _first_layers(network)
    channels = convolution.in_channels
    if not len(means) == len(stds) == channels:
        raise ValueError(f"mean, std: got {len(means)} and {len(stds)} numbers, expected {channels} of each")
    shape = (1, channels, 1, 1)
    scale = torch.tensor([0.5 / s for s in stds], dtype=torch.float64).view(shape)
    shift = torch.tensor([(0.5 - m) / s for m, s in zip(means, stds, strict=True)], dtype=torch.float64)
    return convolution, norm, scale, shift.view(shape)


def _first_layers(network: nn.Module) -> tuple[nn.Conv2d, nn.BatchNorm2d | None]:
    """Return the convolution that reads the image, and its batch norm where it has no bias of its own."""
    try:
        graph = ModuleTracer().trace(network)
    except Exception as error:
        raise ValueError(f"network: got one that torch.fx cannot trace: {error}") from error
    modules = dict(network.named_modules())
    images = [node for node in graph.nodes if node.op == "placeholder"]
    readers = list(images[0].users) if len(images) == 1 else []
    first = modules.get(str(readers[0].target)) if len(readers) == 1 else None
    calls = [node for node in graph.nodes if node.op == "call_module" and modules[node.target] is first]
    if type(first) is not nn.Conv2d or first.groups != 1 or len(calls) != 1:
        raise ValueError("network: expected one whose image goes to one convolution and nowhere else")
    if first.padding not in ((0, 0), "valid"):
        raise ValueError(
            f"network: got a first convolution with padding {first.padding}, expected none: the zeros around "
            "the image would stand for another colour"
        )
    if first.bias is not None:
        return first, None
    followers = list(calls[0].users)
    norm = modules.get(str(followers[0].target)) if len(followers) == 1 else None
    if not isinstance(norm, nn.BatchNorm2d):
        raise ValueError("network: expected a first convolution with a bias or a batch norm behind it")
    return first, norm
