"""The last layer of a network, whoever wrote it: where logits are made of features."""

from __future__ import annotations

from torch import nn

_USUAL = ("fc", "classifier", "head", "heads", "last_linear")  # torchvision's and timm's names


def classifier_of(network: nn.Module) -> tuple[str, nn.Linear]:
    """Return the name and the module of a network's classifier: its last linear layer.

    Parameters
    ----------
    network : torch.nn.Module
        Of this room, torchvision, timm or your own.

    Examples
    --------
    >>> name, layer = fastwsi.nn.classifier_of(fastwsi.nn.mobilenet_v2(num_classes=2))
    >>> name, layer.out_features
    ('classifier.1', 2)
    """
    found = [(name, each) for name, each in network.named_modules() if isinstance(each, nn.Linear)]
    if not found:
        raise ValueError(f"network: {type(network).__name__} has no linear layer, expected one as classifier")
    # An auxiliary head may come behind the classifier in the order of definition.
    usual = [(name, each) for name, each in found if name.split(".")[0] in _USUAL]
    return (usual or found)[-1]


def without_classifier(network: nn.Module) -> int:
    """Put nothing in the classifier's place: the network returns features then. Returns how many.

    Examples
    --------
    >>> import torch
    >>> network = fastwsi.nn.resnet18(num_classes=2).eval()
    >>> fastwsi.nn.without_classifier(network), network(torch.zeros(1, 3, 64, 64)).shape
    (512, torch.Size([1, 512]))
    """
    name, layer = classifier_of(network)
    network.set_submodule(name, nn.Identity())
    return layer.in_features
