"""What is known of torchvision's networks, taken from torchvision 0.28 itself, and helpers for the tests."""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F  # noqa: N812

# First digits of the SHA-256 of the sorted lines "key (shape)" of each state dict.
KEYS = {
    "inception_v3 without AuxLogits": "fafa341565705812",
    "mobilenet_v2": "e3eb10f890f74c6e",
    "mobilenet_v2 of width 0.35": "26bdeaa50edc6960",
    "mobilenet_v2 of width 1.4": "e88da6f17db3b944",
    "vgg16.features": "4c3222feef6e051f",
    "resnet18": "5191d63ec3989592",
    "resnet34": "f8de2a1812ef85e4",
    "resnet50": "a87e91cd6bd1f939",
}
# The tensors of Inception-V3's auxiliary head and their shapes.
AUXILIARY = {
    "AuxLogits.conv0.conv.weight": (128, 768, 1, 1),
    **{f"AuxLogits.conv0.bn.{k}": (128,) for k in ("weight", "bias", "running_mean", "running_var")},
    "AuxLogits.conv0.bn.num_batches_tracked": (),
    "AuxLogits.conv1.conv.weight": (768, 128, 5, 5),
    **{f"AuxLogits.conv1.bn.{k}": (768,) for k in ("weight", "bias", "running_mean", "running_var")},
    "AuxLogits.conv1.bn.num_batches_tracked": (),
    "AuxLogits.fc.weight": (1000, 768),
    "AuxLogits.fc.bias": (1000,),
}


def digest(network):
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in network.state_dict().items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def randomised(network, seed=0):
    """The network with batch norms and biases far from neutral, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                shape = module.running_mean.shape
                module.running_mean.copy_(torch.randn(shape, generator=generator) * 0.1)
                module.running_var.copy_(torch.rand(shape, generator=generator) + 0.5)
                if module.affine:
                    module.weight.copy_(torch.rand(shape, generator=generator) + 0.5)
                    module.bias.copy_(torch.randn(shape, generator=generator) * 0.2)
            elif getattr(module, "bias", None) is not None:
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator) * 0.2)
    return network.eval()


class State:
    """A state dict, and layers in functionals that read it by name."""

    def __init__(self, network):
        self.state = network.state_dict()

    def conv(self, name, x, stride=1, padding=0, groups=1):
        bias = self.state.get(f"{name}.bias")
        return F.conv2d(x, self.state[f"{name}.weight"], bias, stride, padding, groups=groups)

    def norm(self, name, x, eps=1e-5):
        mean, var, weight, bias = (
            self.state[f"{name}.{key}"].view(1, -1, 1, 1)
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + eps).sqrt() * weight + bias

    def linear(self, name, x):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]
