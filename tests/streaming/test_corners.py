"""What users do besides calling it: write to things, hook into them, ask for less or for other gradients."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from fastwsi.streaming import Streamed, Unstreamable
from streaming import networks
from streaming.compare import error, flat


def small(dtype=torch.float64):
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3, 1, 1), nn.BatchNorm2d(5)
    )
    return networks.randomised(layers, dtype=dtype).eval()


def test_painted_pixels_have_no_gradient():
    trunk, image = small(), networks.image(80, 48).requires_grad_()
    mask = torch.zeros(80, 48, dtype=torch.bool)
    mask[:40] = True
    trunk(torch.where(mask, 0.3, image)).square().sum().backward()
    expected, image.grad = image.grad, None
    Streamed(trunk, 16)(image, background=(0.3, mask, 1)).square().sum().backward()
    assert error(image.grad, expected) < 1e-11
    assert not image.grad[:, :, :40].any()


@pytest.mark.parametrize("ratio", [1, 10, 1000])
def test_gradients_of_norm_weights_where_means_are_large(ratio):
    """The weight's own gradient tells that of the norm's, but not in float32."""
    torch.manual_seed(ratio)
    image = 1 + torch.randn(1, 3, 200, 200) / ratio
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8, momentum=None), nn.ReLU())
    trunk.train()(image)
    trunk.eval()
    weight = torch.randn(1, 8, 200, 200)

    def gradient(network, x):
        return torch.autograd.grad((network(x) * weight.to(x.dtype)).sum(), trunk[1].weight)[0]

    streamed, whole = gradient(Streamed(trunk, 64), image), gradient(trunk, image)
    exact = gradient(trunk.double(), image.double())
    assert error(streamed, exact) <= 2 * error(whole, exact)


@pytest.mark.parametrize("uint8", [False, True])
def test_images_that_change_before_backward(uint8):
    stream = Streamed(small(), 16, mean=(0.5,) * 3, std=(0.2,) * 3)
    image = torch.zeros(40, 40, 3, dtype=torch.uint8) if uint8 else networks.image(40, 40)
    loss = stream(image).sum()
    image += 1
    with pytest.raises(
        RuntimeError, match=r"^image: it was changed between the forward and the backward pass"
    ):
        loss.backward()


def test_autocast_entered_before_the_backward_pass_changes_nothing():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.SiLU(), nn.ConvTranspose2d(4, 4, 2, 2)).eval()
    image = torch.randn(1, 3, 40, 40)
    (expected,) = torch.autograd.grad(trunk(image).square().sum(), trunk[0].weight)
    loss = Streamed(trunk, 16)(image).square().sum()
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = torch.autograd.grad(loss, trunk[0].weight)
    assert error(found, expected) < 1e-5


@pytest.mark.parametrize("where", ["", "0", "0.0"])
@pytest.mark.parametrize("late", [False, True])
def test_hooks_are_refused_wherever_they_are(where, late):
    trunk = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3)), nn.ReLU()).eval()
    calls = []
    stream = Streamed(trunk, 16) if late else None
    trunk.get_submodule(where).register_forward_hook(lambda *given: calls.append(given))
    if late and where == "":  # the trunk itself is not called any more
        stream(torch.zeros(1, 3, 20, 20))
        return
    with pytest.raises(Unstreamable, match=f"^{re.escape(where) or 'trunk'}: it has hooks"):
        stream(torch.zeros(1, 3, 20, 20)) if late else Streamed(trunk, 16)
    assert not calls


class Dropping(nn.Module):
    def __init__(self, training):
        super().__init__()
        self.conv, self._training = nn.Conv2d(3, 4, 3), training

    def forward(self, x):
        if self._training is None:
            return F.dropout(self.conv(x))
        return F.dropout(self.conv(x), 0.5, self.training if self._training == "own" else self._training)


def test_dropout_that_drops_in_evaluation_too():
    for always in (None, True):
        with pytest.raises(Unstreamable, match=r"dropout\(\): got training=True"):
            Streamed(Dropping(always))
    for never in ("own", False):
        image = networks.image(20, 20, dtype=torch.float32)
        trunk = Dropping(never).eval()
        torch.testing.assert_close(Streamed(trunk, 8)(image), trunk(image))


@pytest.mark.parametrize("uint8", [False, True])
def test_the_images_gradient_of_a_frozen_network(uint8):
    trunk = small().requires_grad_(False)
    found = torch.zeros(1, 3, 60, 50, dtype=torch.float64)

    def sink(top, left, part):
        found[:, :, top : top + part.shape[2], left : left + part.shape[3]] += part

    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
    whole = (torch.from_numpy(pixels).permute(2, 0, 1)[None].double() / 255 - 0.5) / 0.2
    stream = Streamed(trunk, 16, mean=(0.5,) * 3, std=(0.2,) * 3)
    stream(pixels if uint8 else whole, image_gradient=sink).square().sum().backward()
    whole.requires_grad_()
    (expected,) = torch.autograd.grad(trunk(whole).square().sum(), whole)
    assert error(found, expected) < 1e-11


def test_outputs_that_no_gradient_needs_may_be_overwritten():
    trunk, image = small(), networks.image(60, 50)
    expected = torch.autograd.grad(F.relu(trunk(image)).sum(), list(trunk.parameters()))
    found = torch.autograd.grad(F.relu_(Streamed(trunk, 16)(image)).sum(), list(trunk.parameters()))
    assert all(error(a, b) < 1e-11 for a, b in zip(found, expected, strict=True))
    ending_in_relu = nn.Sequential(*trunk, nn.ReLU())
    with pytest.raises(RuntimeError, match="inplace"):
        Streamed(ending_in_relu, 16)(image).mul_(2).sum().backward()


def test_sources_are_compared_in_other_windows_too():
    class Changing:
        height, width, value = 700, 700, 0

        def rows(self, top, bottom):
            return np.full((bottom - top, 700, 3), self.value, np.uint8)

    source, mask = Changing(), np.ones((70, 70), bool)
    mask[30:34, 30:34] = False
    stream = Streamed(
        networks.SMALL["resnet18"]().float(), 64, mean=(0.5,) * 3, std=(0.2,) * 3, check_source=True
    )
    (output, *_) = flat(stream(source, background=(0, mask, 10), image_gradient=lambda *_: None))
    source.value = 7
    with pytest.raises(RuntimeError, match=r"^image: row \d+ changed since the first reading"):
        output.sum().backward()


def test_the_memory_asked_for_is_enough():
    trunk = networks.SMALL["resnet18"]()
    for width in (300, 333, 900):
        with pytest.raises(ValueError, match="expected at least") as caught:
            Streamed(trunk, memory=1000).explain(700, width)
        least = re.search(r"at least (\d+) MiB", str(caught.value))
        assert least is not None
        plan = Streamed(trunk, memory=f"{least[1]}MiB").explain(700, width)
        assert plan.training_memory <= math.ceil(int(least[1]) * 2**20)


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.int8])
def test_integers_that_are_no_bytes(dtype):
    stream = Streamed(small(), 16, mean=(0.5,) * 3, std=(0.2,) * 3)
    with pytest.raises(TypeError, match=r"^image: got .*int.*, expected uint8 or a floating dtype"):
        stream(np.zeros((40, 40, 3), dtype))


def test_bytes_for_a_narrow_network_are_scaled_in_float32():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    trunk = nn.Sequential(nn.Identity(), nn.ZeroPad2d(0), nn.Conv2d(3, 3, 1, groups=3, bias=False)).bfloat16()
    nn.init.ones_(trunk[2].weight)
    found = Streamed(trunk, 16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))(image)
    wide = (
        torch.from_numpy(image).permute(2, 0, 1).float() / 255 - torch.tensor([0.5, 0.4, 0.3])[:, None, None]
    ) / (torch.tensor([0.2, 0.3, 0.4])[:, None, None])
    assert torch.equal(found[0], wide.bfloat16())


class Functions(nn.Module):
    """What modules do, as functions of the module's own tensors."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.bias = nn.Parameter(torch.randn(4))
        self.scale = nn.Parameter(torch.rand(4) + 0.5)
        self.slope = nn.Parameter(torch.tensor([0.3]))
        self.spread = nn.Parameter(torch.randn(4, 2, 3, 2))
        self.shift = nn.Parameter(torch.randn(4))
        self.register_buffer("mean", torch.randn(4))
        self.register_buffer("variance", torch.rand(4) + 0.5)

    def forward(self, x):
        x = F.conv2d(x, self.weight, self.bias, stride=2, padding=(1, 0), dilation=2)
        x = F.batch_norm(x, self.mean, self.variance, self.scale, None, self.training, 0.1, 1e-3)
        y = F.elu(F.prelu(x, self.slope), 0.7) - torch.clamp(-x, min=-0.5, max=0.25)
        z = F.conv_transpose2d(y, self.spread, self.shift, (2, 3), (1, 0), (1, 2), groups=2, dilation=2)
        return F.hardtanh(y.abs(), -1.0, 3.0) + F.softplus(x, beta=2), z


def test_functions_of_the_modules_own_tensors():
    torch.manual_seed(0)
    trunk, image = Functions().double().eval(), networks.image(70, 60)
    stream = Streamed(trunk, 16)
    expected, found = trunk(image), stream(image)
    right = torch.autograd.grad(sum(x.sin().sum() for x in expected), list(trunk.parameters()))
    gradients = torch.autograd.grad(sum(x.sin().sum() for x in found), list(stream.parameters()))
    for one, other in zip((*found, *gradients), (*expected, *right), strict=True):
        assert error(one, other) < 1e-11
