"""Streaming on a GPU: the whole image's features and gradients, bands on their way while it computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fastwsi
from gpu_arrays import assert_only_queues_work

RNG = np.random.default_rng(0)
MEAN, STD = (0.6, 0.5, 0.55), (0.2, 0.25, 0.3)


def trunk_of(dtype):
    torch.manual_seed(0)
    model = fastwsi.nn.resnet18().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    trunk, _ = fastwsi.nn.split(model.to("cuda", dtype), "layer3")
    return trunk


def results(network, image, parameters):
    features = network(image)
    weight = torch.linspace(-1, 1, features.numel(), dtype=features.dtype, device="cuda").reshape(
        features.shape
    )
    return features.detach(), torch.autograd.grad((features * weight).sum(), parameters)


def error(found, expected):
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("rows", [32, 128])
def test_float64_is_the_whole_image(rows, layout):
    trunk = trunk_of(torch.float64).to(memory_format=layout)
    image = torch.from_numpy(RNG.normal(size=(2, 3, 333, 250))).cuda()
    expected, gradients = results(trunk, image, list(trunk.parameters()))
    features, found = results(fastwsi.Streamed(trunk, rows), image, list(trunk.parameters()))
    assert error(features, expected) <= 1e-11
    assert all(error(a, b) <= 1e-11 for a, b in zip(found, gradients, strict=True))


def test_bytes_on_the_host_and_background():
    trunk = trunk_of(torch.float32)
    stream = fastwsi.Streamed(trunk, 64, mean=MEAN, std=STD)
    image = RNG.integers(0, 256, (900, 700, 3), np.uint8)
    mask = np.ones((57, 44), bool)
    mask[20:30, 20:28] = False
    found, gradients = results(
        lambda x: stream(x, background=(240, mask, 16)), image, list(trunk.parameters())
    )
    image[np.kron(mask, np.ones((16, 16), bool))[:900, :700]] = 240
    whole = (
        torch.from_numpy(image).cuda().permute(2, 0, 1)[None] / 255 - torch.tensor(MEAN).cuda()[:, None, None]
    ) / (torch.tensor(STD).cuda()[:, None, None])
    expected, right = results(trunk, whole, list(trunk.parameters()))
    assert error(found, expected) <= 1e-5
    assert all(error(a, b) <= 1e-3 for a, b in zip(gradients, right, strict=True))


def test_autocast():
    trunk = trunk_of(torch.float32)
    image = torch.from_numpy(RNG.normal(size=(1, 3, 300, 300)).astype(np.float32)).cuda()
    with torch.autocast("cuda", torch.bfloat16):
        whole = trunk(image)
        features = fastwsi.Streamed(trunk, 64)(image)
    assert features.dtype == whole.dtype
    assert error(features, whole) <= 0.02
    features.float().sum().backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in trunk.parameters())


def test_bands_only_queue_work():
    trunk = trunk_of(torch.float32)
    stream = fastwsi.Streamed(trunk, 64, mean=MEAN, std=STD)
    image = torch.from_numpy(RNG.integers(0, 256, (400, 300, 3), np.uint8)).cuda()
    with torch.no_grad():
        assert_only_queues_work(lambda: stream(image))


@pytest.mark.parametrize("rows", [64, 256])
def test_the_estimate_of_memory(rows):
    trunk = trunk_of(torch.float32)
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.requires_grad_(False)
    stream = fastwsi.Streamed(trunk, rows, mean=MEAN, std=STD)

    def step(side):
        stream(RNG.integers(0, 256, (side, side, 3), np.uint8)).sum().backward()

    step(256)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step(4096)
    measured = torch.cuda.max_memory_allocated() - before
    expected = stream.explain(4096, 4096).training_memory
    assert abs(measured - expected) <= max(0.2 * expected, 100 * 2**20)
