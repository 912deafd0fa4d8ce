"""What a pass takes, by arithmetic: what it must not depend on, and what keeps it small."""

from __future__ import annotations

import pytest
import torch

import fastwsi
from fastwsi.streaming import Streamed, streamed
from fastwsi.streaming.buffers import Kind, lasting
from fastwsi.streaming.plans import plan_within
from streaming import networks


def resnet(affine):
    """ResNet-18 through layer3, the subject of the benchmark."""
    trunk, _ = fastwsi.nn.split(fastwsi.nn.resnet18(), "layer3")
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.requires_grad_(affine)
    return trunk


@pytest.mark.parametrize("affine", [False, True])
def test_the_height_does_not_matter(affine):
    stream = Streamed(resnet(affine), rows=256)
    low, high = stream.explain(4096, 4096), stream.explain(65536, 4096)
    assert high.memory == pytest.approx(low.memory, rel=0.02)
    assert high.outputs == 16 * low.outputs


def test_a_wide_image_takes_less_than_a_tenth_of_what_the_whole_takes():
    """Beside outputs; the whole image's activations take 6.8 GiB."""
    plan = Streamed(resnet(affine=False), rows=256).explain(4096, 4096)
    assert plan.memory < 0.5 * 2**30
    assert plan.memory + 2 * plan.outputs < 0.6 * 2**30


@pytest.mark.parametrize("rows", [64, 256])
def test_small_actions_take_less(rows, monkeypatch):
    """Also though stages go on in different steps: gradients of a map do not pile up before its reader."""
    stream = Streamed(resnet(affine=False), rows)
    small = stream.explain(4096, 4096).memory
    monkeypatch.setattr(streamed, "_AT_ONCE", 2**40)
    large = stream.explain(4096, 4096).memory
    assert small < large


def test_lower_bands_take_less():
    trunk = resnet(affine=True)
    taken = [Streamed(trunk, rows).explain(4096, 4096).memory for rows in (512, 256, 128, 64)]
    assert taken == sorted(taken, reverse=True)


def test_trained_norms_keep_one_more_tensor_for_each_convolution():
    frozen, trained = (Streamed(resnet(affine)).explain(4096, 4096).memory for affine in (False, True))
    assert frozen < trained < 1.8 * frozen


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("images", [1, 2])
def test_rows_with_pages_of_their_own_are_tensors_as_others(layout, dtype, images):
    kind = Kind(images, 33, 1500, dtype, torch.device("cpu"), layout)
    mine, other = lasting(kind, 41), kind.empty(41)
    assert mine.shape == other.shape
    assert mine.stride() == other.stride()
    mine.fill_(3.0)
    view = mine[:, :, 40:]
    del mine
    assert bool((view == 3.0).all())


def test_a_plan_is_made_once_for_images_of_a_size(monkeypatch):
    """And anew where the network has changed, or the pass."""
    made = []
    monkeypatch.setattr(streamed, "plan_within", lambda *args: made.append(args[1:3]) or plan_within(*args))
    trunk = networks.SMALL["resnet18"]()
    stream, image = Streamed(trunk, memory="1GiB"), networks.image(80, 64)
    for _ in range(3):
        stream(image)
    assert made == [(80, 64)]
    with torch.no_grad():
        stream(image)
    stream(networks.image(81, 64))
    assert made == [(80, 64), (80, 64), (81, 64)]
    trunk.conv1.stride = stream.conv1.stride = (1, 1)
    assert stream(image).shape == trunk(image).shape
    assert len(made) == 4
