"""float32: the whole image's bits where slab and image are convolved by the same code, and never a larger error."""

from __future__ import annotations

import pytest
import torch

from fastwsi.streaming import Streamed
from streaming import networks
from streaming.compare import error, results

BIT_IDENTICAL = ["resnet18", "resnet34"]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def wide_vgg():
    """VGG's channels, of which torch's choice of backend hangs."""
    layers, inputs = [], 3
    for width in (64, 128):
        layers += [torch.nn.Conv2d(inputs, width, 3), torch.nn.ReLU(inplace=True), torch.nn.MaxPool2d(2)]
        inputs = width
    return torch.nn.Sequential(*layers)


vgg = networks.seeded(wide_vgg)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("network", [networks.resnet18, networks.resnet34, vgg])
@pytest.mark.parametrize("rows", [32, 64])
def test_features_have_the_bits_of_the_whole_image(network, layout, rows):
    trunk = network(dtype=torch.float32).to(memory_format=layout)
    image = networks.image(197, 170, dtype=torch.float32).contiguous(memory_format=layout)
    with torch.no_grad():
        assert torch.equal(Streamed(trunk, rows=rows)(image), trunk(image))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", list(networks.SMALL))
def test_errors_are_at_most_twice_those_of_the_whole_image(name, layout):
    """Against float64, summed over images: one ReLU that flips decides a single one's."""
    height, width = networks.size_for(name, 75, 58)
    trunk = networks.SMALL[name](dtype=torch.float32).to(memory_format=layout)
    exact = networks.SMALL[name]()
    stream = Streamed(trunk, rows=16)
    whole, streamed = {}, {}
    for seed in range(3):
        image = networks.image(height, width, seed=seed)
        right = results(exact, image, exact)
        for errors, network in ((whole, trunk), (streamed, stream)):
            outputs, gradients = results(network, image.float(), trunk)
            for i, (a, b) in enumerate(zip(outputs, right[0], strict=True)):
                errors[f"output {i}"] = errors.get(f"output {i}", 0) + error(a, b)
            for key, b in right[1].items():
                errors[key] = errors.get(key, 0) + error(gradients[key], b)
    off = {key: (streamed[key], e) for key, e in whole.items() if streamed[key] > 2 * e + 3e-7}
    assert not off, off
