"""VGG-16 without padding: torchvision's names, PFA's sizes, a tile's cells are its patches'."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import fx

from fastwsi import nn
from nn.published import KEYS, State, digest, parameters, randomised

# Names of the convolutions in each block.
BLOCKS = [(0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)]


@pytest.fixture(scope="module")
def narrow():
    torch.manual_seed(0)
    return randomised(nn.vgg16_valid(width=0.05))


def test_names_and_sizes_are_torchvision_s():
    network = nn.vgg16_valid()
    assert parameters(network) == 14_714_688
    assert digest(network) == KEYS["vgg16.features"]
    assert network.channels == (128, 256, 512, 512)
    assert all(
        m.padding == (0, 0) and m.kernel_size == (3, 3)
        for m in network.modules()
        if isinstance(m, torch.nn.Conv2d)
    )


@torch.no_grad()
def test_levels_are_the_published_arithmetic(narrow):
    state, x, expected = State(narrow), torch.randn(2, 3, 228, 212), []
    levels, last = narrow.levels(x), narrow(x)
    for i, block in enumerate(BLOCKS):
        if i > 0:
            x = F.max_pool2d(x, 2)
        for n in block:
            x = F.relu(state.conv(f"features.{n}", x))
        expected.append(x)
    assert len(levels) == 4
    for found, level in zip(levels, expected[1:], strict=True):
        torch.testing.assert_close(found, level)
    assert torch.equal(last, levels[-1])


def test_sizes_on_pfa_scannet_s_patch_and_tile():
    network = nn.vgg16_valid(width=0.05).to("meta")
    for side, sizes in ((692, [340, 164, 76, 32]), (196, [92, 40, 14, 1])):
        levels = network.levels(torch.zeros(1, 3, side, side, device="meta"))
        assert [level.shape[-2:] for level in levels] == [(n, n) for n in sizes]
        assert tuple(level.shape[1] for level in levels) == network.channels


@torch.no_grad()
def test_a_cell_of_a_tile_is_that_of_the_patch_around_it(narrow):
    tile = torch.randn(1, 3, 260, 276)
    whole = narrow(tile)
    assert whole.shape[-2:] == (5, 6)
    for row, column in ((0, 0), (2, 3), (4, 5)):
        patch = tile[..., 16 * row : 16 * row + 196, 16 * column : 16 * column + 196]
        torch.testing.assert_close(narrow(patch)[..., 0, 0], whole[..., row, column])


class Detector(torch.nn.Module):
    """What PFA-ScanNet does with the trunk."""

    def __init__(self, trunk):
        super().__init__()
        self.trunk = trunk

    def forward(self, x):
        return sum(level.mean((1, 2, 3)) for level in self.trunk.levels(x))


@torch.no_grad()
def test_levels_trace_inside_another_network(narrow):
    network = Detector(narrow)
    x = torch.randn(1, 3, 196, 196)
    assert torch.equal(fx.symbolic_trace(network)(x), network(x))
    torch.testing.assert_close(nn.for_inference(network)(x), network(x), rtol=1e-5, atol=1e-5)


def test_torchvision_s_file_loads_without_its_classifier(narrow, tmp_path, caplog):
    state = narrow.state_dict()
    state |= {f"classifier.{i}.{k}": torch.zeros(4) for i in (0, 3, 6) for k in ("weight", "bias")}
    torch.save(state, tmp_path / "vgg.pth")
    with caplog.at_level(logging.INFO, logger="fastwsi"):
        network = nn.vgg16_valid(width=0.05, weights=tmp_path / "vgg.pth")
    assert "dropped classifier (6 tensors)" in caplog.text
    assert torch.equal(network.features[28].weight, narrow.features[28].weight)


@torch.no_grad()
def test_images_on_another_scale(narrow, tmp_path):
    torch.save(narrow.state_dict(), tmp_path / "vgg.pth")
    mean, std = (0.7, 0.5, 0.6), (0.2, 0.3, 0.1)
    network = nn.vgg16_valid(width=0.05)
    nn.load_weights(network, tmp_path / "vgg.pth", normalisation=(mean, std))
    image = torch.rand(1, 3, 196, 200)
    scaled = (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(network(2 * image - 1), narrow(scaled), rtol=1e-4, atol=1e-4)


def test_autocast_and_gradients(narrow):
    with torch.autocast("cpu", torch.bfloat16):
        out = narrow(torch.randn(1, 3, 196, 196).contiguous(memory_format=torch.channels_last))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in narrow.parameters())
    narrow.zero_grad()


def test_wrong_width():
    with pytest.raises(ValueError, match="width: got -1, expected a number > 0"):
        nn.vgg16_valid(width=-1)
