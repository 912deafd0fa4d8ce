"""float32: the whole image's bits where both are convolved by the same code, and never a larger error."""

from __future__ import annotations

import pytest
import torch

from fastwsi.streaming import Streamed
from streaming import networks
from streaming.compare import error, results

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


def test_resnet50_has_the_bits_in_channels_last_on_two_threads():
    """Elsewhere it has not.

    On one thread torch takes MKL for 1 x 1 convolutions of many channels; oneDNN, where channels come first,
    sums the channels of a 1 x 1 convolution in pieces that hang on the slab's size.
    """
    trunk = networks.resnet50(dtype=torch.float32).to(memory_format=torch.channels_last)
    image = networks.image(197, 170, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            assert torch.equal(Streamed(trunk, rows=64)(image), trunk(image))
    finally:
        torch.set_num_threads(1)


def errors(build, height, width, layout, rows, seeds):
    """By tensor, the errors against float64 (streamed, whole), summed over images."""
    trunk, exact = build(dtype=torch.float32).to(memory_format=layout), build()
    stream = Streamed(trunk, rows=rows)
    found = {}
    for seed in range(seeds):
        image = networks.image(height, width, seed=seed)
        right = named(results(exact, image, exact))
        both = (named(results(network, image.float(), trunk)) for network in (stream, trunk))
        for streamed, whole in [tuple(both)]:
            for key, value in right.items():
                here = error(streamed[key], value), error(whole[key], value)
                before = found.get(key, (0.0, 0.0))
                found[key] = before[0] + here[0], before[1] + here[1]
    return found


def named(result):
    outputs, gradients = result
    return {**{f"output {i}": output for i, output in enumerate(outputs)}, **gradients}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("network", [networks.resnet18, vgg])
def test_no_tensor_of_wide_networks_is_off_by_more_than_twice_the_whole_image(network, layout):
    found = errors(network, 70, 58, layout, 32, seeds=3)
    off = {key: pair for key, pair in found.items() if pair[0] > 2 * pair[1]}
    assert not off, off


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", list(networks.SMALL))
def test_errors_of_narrow_networks(name, layout):
    """A norm of eight numbers, or one ReLU that flips, says little: gradients obey the rule together."""
    height, width = networks.size_for(name, 75, 58)
    found = errors(networks.SMALL[name], height, width, layout, 16, seeds=3)
    off = {key: pair for key, pair in found.items() if "output" in key and pair[0] > 2 * pair[1]}
    assert not off, off
    assert sum(a for a, _ in found.values()) <= 2 * sum(b for _, b in found.values())
