"""The proof: in float64, a streamed network and the whole image agree to rounding, gradients and all."""

from __future__ import annotations

import pytest
import torch

from fastwsi.streaming import Streamed
from streaming import networks
from streaming.compare import check


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
@pytest.mark.parametrize("name", list(networks.SMALL))
def test_every_band_height(name, rows):
    height, width = networks.size_for(name, 67, 49) if rows == 1 else networks.size_for(name, 97, 57)
    check(networks.SMALL[name](), networks.image(height, width), rows)


@pytest.mark.parametrize(("height", "width"), [(64, 101), (91, 45)])
@pytest.mark.parametrize("name", list(networks.SMALL))
def test_every_size_and_a_batch(name, height, width):
    height, width = networks.size_for(name, height, width)
    check(networks.SMALL[name](seed=1), networks.image(height, width, batch=2, seed=height), 16)


@pytest.mark.parametrize("name", list(networks.SMALL))
def test_channels_last(name):
    height, width = networks.size_for(name, 63, 50)
    trunk = networks.SMALL[name]().to(memory_format=torch.channels_last)
    image = networks.image(height, width, batch=2)
    check(trunk, image.contiguous(memory_format=torch.channels_last), 13)
    check(trunk, image, 30)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_networks_of_full_width(name):
    check(getattr(networks, name)(), networks.image(71, 60), 32)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet", "smooth", "preactivated"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 40), (40, 3), (17, 9), (18, 8)])
def test_images_smaller_than_a_window(name, height, width):
    trunk = networks.SMALL[name]()
    if name in {"smooth", "preactivated"}:  # some windows have no padding
        height, width = height + 30, width + 30
    check(trunk, networks.image(height, width, batch=3), 5)


@pytest.mark.parametrize("name", list(networks.SMALL))
def test_frozen_parts(name):
    height, width = networks.size_for(name, 59, 46)
    trunk = networks.SMALL[name]()
    for i, parameter in enumerate(trunk.parameters()):
        parameter.requires_grad_(i % 3 == 1)
    check(trunk, networks.image(height, width), 11)
    check(trunk, networks.image(height, width), 11, of_image=False)
    trunk.requires_grad_(False)
    check(trunk, networks.image(height, width), 11)


@pytest.mark.parametrize("name", ["resnet18", "inception", "smooth"])
def test_every_single_parameter_alone(name):
    trunk = networks.SMALL[name]().requires_grad_(False)
    image = networks.image(*networks.size_for(name, 50, 45))
    for parameter in list(trunk.parameters())[::5]:
        parameter.requires_grad_(True)
        check(trunk, image, 24, of_image=False)
        parameter.requires_grad_(False)


def test_one_of_several_outputs_alone():
    trunk = networks.pyramid()
    image = networks.image(64, 48)
    for wanted in range(3):
        gradients = []
        for network in (trunk, Streamed(trunk, rows=16)):
            output = network(image)[wanted]
            found = torch.autograd.grad(output.square().sum(), list(trunk.parameters()), allow_unused=True)
            gradients.append(found)
        for right, found in zip(*gradients, strict=True):
            assert (right is None) == (found is None)
            assert right is None or (right - found).norm() <= 1e-11 * right.norm()
