"""A network cut in two is the network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn as tnn

from fastwsi import nn


@pytest.mark.parametrize("at", ["conv1", "maxpool", "layer1.0", "layer2", "layer3", "layer4.0", "avgpool"])
def test_head_of_trunk_is_the_network(at):
    torch.manual_seed(0)
    model = nn.resnet18(num_classes=3).eval()
    trunk, head = nn.split(model, at)
    x = torch.randn(2, 3, 70, 50)
    assert torch.equal(head(trunk(x)), model(x))
    assert not trunk.training
    assert not head.training


def test_parts_share_parameters_and_names():
    model = nn.resnet18(num_classes=3)
    trunk, head = nn.split(model, "layer3")
    assert trunk.training
    assert head.training
    state = model.state_dict()
    parts = {**trunk.state_dict(), **head.state_dict()}
    assert parts.keys() == state.keys()
    assert not trunk.state_dict().keys() & head.state_dict().keys()
    for name, value in parts.items():
        assert value.data_ptr() == state[name].data_ptr()
    with torch.no_grad():
        model.conv1.weight.zero_()
    assert trunk.state_dict()["conv1.weight"].abs().sum() == 0
    model.eval()
    head(trunk(torch.randn(1, 3, 64, 64))).sum().backward()
    assert model.fc.bias.grad.tolist() == [1, 1, 1]


class Parts(tnn.Module):
    """What tracing meets in the wild: a parameter of its own, functionals, a module that is used twice."""

    def __init__(self):
        super().__init__()
        self.scale = tnn.Parameter(torch.tensor(2.0))
        self.first = tnn.Conv2d(1, 2, 3)
        self.second = tnn.Conv2d(2, 2, 3)
        self.relu = tnn.ReLU()
        self.pool = nn.DensePool2d(4, train_stride=4, alpha=2)
        self.unused = tnn.Conv2d(2, 2, 1)

    def forward(self, x):
        x = self.relu(self.first(x) * self.scale)
        self.unused(x)
        y = self.relu(self.second(x) * self.scale)
        return self.pool(y + x[..., 1:-1, 1:-1]).mean((2, 3))


def test_parameters_of_the_model_go_where_they_are_used():
    model = Parts().eval()
    x = torch.randn(1, 1, 20, 20)
    trunk, head = nn.split(model, "first")
    assert torch.equal(head(trunk(x)), model(x))
    assert "scale" in dict(head.named_parameters())
    assert "scale" not in dict(trunk.named_parameters())
    trunk, head = nn.split(model, "pool")
    assert torch.equal(head(trunk(x)), model(x))
    assert trunk.get_submodule("pool") is model.pool  # stays a module, so its alpha can be set afterwards
    assert trunk.pool.stride == (2, 2)


def test_the_whole_network_can_be_the_trunk():
    model = tnn.Sequential(tnn.Conv2d(1, 2, 3), tnn.ReLU())
    trunk, head = nn.split(model, "1")
    x = torch.randn(1, 1, 9, 9)
    assert torch.equal(trunk(x), model(x))
    assert head(x) is x


def test_parts_can_be_copied():
    model = nn.ResNet(nn.BasicBlock, (1, 1, 1, 1), num_classes=2).eval()
    trunk, _ = nn.split(model, "layer2")
    other = copy.deepcopy(trunk)
    x = torch.randn(1, 3, 40, 40)
    assert torch.equal(other(x), trunk(x))
    assert other.conv1.weight.data_ptr() != trunk.conv1.weight.data_ptr()


class Two(tnn.Module):
    def forward(self, x):
        return x, x


class Pair(tnn.Module):
    def __init__(self):
        super().__init__()
        self.two = Two()

    def forward(self, x):
        a, b = self.two(x)
        return a + b


class TwoInputs(tnn.Module):
    def __init__(self):
        super().__init__()
        self.first = tnn.Conv2d(1, 2, 3)

    def forward(self, x, y):
        return self.first(x) + y


@pytest.mark.parametrize(
    ("model", "at", "message"),
    [
        (Parts(), "third", "at: got 'third', expected the path of a module, such as first, second"),
        (Parts(), "", "at: got '', expected the path"),
        (Parts(), "relu", "at: got 'relu' with 2 calls, expected a module that is called once"),
        (Parts(), "second", "at: got 'second', past which .* is needed as well"),
        (Parts(), "unused", "at: got 'unused', .*"),
        (Pair(), "two", "at: got 'two' with an output that is no tensor"),
        (TwoInputs(), "first", "model: got 2 inputs, expected 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_cuts_say_what_is_wrong(model, at, message):
    with pytest.raises(ValueError, match=message):
        nn.split(model, at)
