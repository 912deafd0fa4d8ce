"""ResNets: torchvision's names, sizes and arithmetic."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from fastwsi import nn

# (network, parameters, entries of the state_dict, features) of torchvision's networks.
KNOWN = [
    (nn.resnet18, 11_689_512, 122, 512),
    (nn.resnet34, 21_797_672, 218, 512),
    (nn.resnet50, 25_557_032, 320, 2048),
]


@pytest.mark.parametrize(("make", "parameters", "entries", "features"), KNOWN)
def test_sizes_are_those_of_the_published_networks(make, parameters, entries, features):
    network = make()
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == entries
    assert network.fc.in_features == features


def test_names_are_those_of_the_published_checkpoints():
    keys = nn.resnet18().state_dict().keys()
    for name in (
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.conv1.weight",
        "layer1.1.bn2.num_batches_tracked",
        "layer2.0.downsample.0.weight",
        "layer2.0.downsample.1.running_var",
        "layer4.1.conv2.weight",
        "fc.weight",
        "fc.bias",
    ):
        assert name in keys
    assert not any("layer1.0.downsample" in key for key in keys)
    deep = nn.resnet50().state_dict()
    assert deep["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert deep["layer3.5.conv3.weight"].shape == (1024, 256, 1, 1)


def by_hand(state, x, depths, bottleneck):
    """The network from its state alone, in functionals."""

    def norm(name, y):
        mean, var, weight, bias = (
            state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(y, mean, var, weight, bias)

    x = F.relu(norm("bn1", F.conv2d(x, state["conv1.weight"], stride=2, padding=3)))
    x = F.max_pool2d(x, 3, 2, 1)
    for i, depth in enumerate(depths, 1):
        for k in range(depth):
            name, stride = f"layer{i}.{k}", 2 if i > 1 and k == 0 else 1
            y = x
            convolutions = [(0, 1), (1, stride), (0, 1)] if bottleneck else [(1, stride), (1, 1)]
            for c, (padding, step) in enumerate(convolutions, 1):
                y = F.conv2d(y, state[f"{name}.conv{c}.weight"], stride=step, padding=padding)
                y = norm(f"{name}.bn{c}", y)
                y = F.relu(y) if c < len(convolutions) else y
            if f"{name}.downsample.0.weight" in state:
                x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
                x = norm(f"{name}.downsample.1", x)
            x = F.relu(y + x)
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize(
    ("make", "depths", "bottleneck"),
    [
        (nn.resnet18, (2, 2, 2, 2), False),
        (nn.resnet34, (3, 4, 6, 3), False),
        (nn.resnet50, (3, 4, 6, 3), True),
    ],
)
def test_forward_is_the_published_arithmetic(make, depths, bottleneck):
    torch.manual_seed(0)
    network = make(num_classes=3, in_channels=4).eval().double()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    x = torch.randn(2, 4, 65, 47, dtype=torch.float64)
    torch.testing.assert_close(network(x), by_hand(network.state_dict(), x, depths, bottleneck))


def test_trains():
    torch.manual_seed(0)
    network = nn.ResNet(nn.BasicBlock, (1, 1, 1, 1), num_classes=2)
    x, y = torch.randn(8, 3, 32, 32), torch.tensor([0, 1] * 4)
    optimiser = torch.optim.SGD(network.parameters(), 0.05)
    losses = []
    for _ in range(15):
        loss = F.cross_entropy(network(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4


def test_wrong_depths():
    for depths in ((1, 1, 1), (1, 0, 1, 1)):
        with pytest.raises(ValueError, match=r"depths: got .*expected four"):
            nn.ResNet(nn.BasicBlock, depths)
