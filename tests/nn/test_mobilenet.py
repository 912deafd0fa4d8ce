"""MobileNetV2: torchvision's names, sizes and arithmetic."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import fx

from fastwsi import nn
from nn.published import KEYS, State, digest, parameters, randomised


@pytest.mark.parametrize(
    ("width", "count", "known"),
    [
        (1.0, 3_504_872, "mobilenet_v2"),
        (0.35, 1_677_128, "mobilenet_v2 of width 0.35"),
        (1.4, 6_108_776, "mobilenet_v2 of width 1.4"),
    ],
)
def test_names_and_sizes_are_torchvision_s(width, count, known):
    network = nn.mobilenet_v2(width=width)
    assert parameters(network) == count
    assert digest(network) == KEYS[known]


def test_what_the_pcam_study_fine_tunes():
    network = nn.mobilenet_v2(num_classes=1)
    for part in (*network.features[:12], network.features[12].conv[0]):
        part.requires_grad_(False)
    trained = sum(p.numel() for p in network.features.parameters() if p.requires_grad)
    assert trained == 1_861_440


def by_hand(network, x):
    state = State(network)

    def unit(name, y, stride=1, padding=0, groups=1):
        y = state.conv(f"{name}.0", y, stride, padding, groups)
        return state.norm(f"{name}.1", y).clamp(0, 6)

    x = unit("features.0", x, 2, 1)
    strides = [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1]
    for i, stride in enumerate(strides, 1):
        name, y = f"features.{i}.conv", x
        if i > 1:
            y = unit(f"{name}.0", y)
        deep, last = (0, 1) if i == 1 else (1, 2)
        y = unit(f"{name}.{deep}", y, stride, 1, y.shape[1])
        y = state.norm(f"{name}.{last + 1}", state.conv(f"{name}.{last}", y))
        x = x + y if stride == 1 and x.shape == y.shape else y
    return state.linear("classifier.1", unit("features.18", x).mean((2, 3)))


@torch.no_grad()
def test_forward_is_the_published_arithmetic():
    torch.manual_seed(0)
    network = randomised(nn.mobilenet_v2(num_classes=3)).double()
    x = torch.randn(2, 3, 96, 75, dtype=torch.float64)
    torch.testing.assert_close(network(x), by_hand(network, x))
    assert network.features(x).shape == (2, 1280, 3, 3)
    torch.testing.assert_close(network.embedding(x), network.features(x).mean((2, 3)))
    assert torch.equal(fx.symbolic_trace(network)(x), network(x))


def test_autocast_channels_last_and_gradients():
    torch.manual_seed(0)
    network = randomised(nn.mobilenet_v2(width=0.25, num_classes=2))
    x = torch.randn(4, 3, 64, 64)
    plain = network(x)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(x.to(memory_format=torch.channels_last)), plain, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        half = network.train()(x)
    assert half.dtype == torch.bfloat16
    F.cross_entropy(half.float(), torch.tensor([0, 1, 0, 1])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
