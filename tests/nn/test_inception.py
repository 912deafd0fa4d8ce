"""Inception-V3: torchvision's names, sizes and arithmetic; Liu's narrow one."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import fx

from fastwsi import nn
from nn.published import AUXILIARY, KEYS, State, digest, parameters, randomised


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return randomised(nn.inception_v3(width=0.1, num_classes=2))


def test_sizes_are_those_of_the_paper_and_of_torchvision():
    full = nn.inception_v3()
    assert parameters(full) == 23_834_568
    assert parameters(full) - parameters(full.fc) == 21_785_568
    assert full.num_features == 2048
    assert digest(full) == KEYS["inception_v3 without AuxLogits"]
    assert {m.eps for m in full.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.001}
    assert next(iter(full.state_dict())) == "Conv2d_1a_3x3.conv.weight"


def test_the_small_one_has_the_paper_s_300k_parameters(small):
    assert parameters(small) == 281_775
    # TF-slim's batch norms have no gamma.
    gammas = sum(m.num_features for m in small.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert parameters(small) - gammas == 279_791
    assert small.num_features == 203
    assert min(m.out_channels for m in small.modules() if isinstance(m, torch.nn.Conv2d)) == 16
    assert small.state_dict().keys() == nn.inception_v3(width=0.2).state_dict().keys()
    assert small.Mixed_6b.branch7x7_2.conv.out_channels == 16  # int(128 * 0.1) is 12
    assert small.Mixed_7b.branch3x3dbl_1.conv.out_channels == 44  # int(448 * 0.1)


def by_hand(network, x):
    """The published graph, written out."""
    state = State(network)

    def unit(name, y, stride=1, padding=0):
        return F.relu(state.norm(f"{name}.bn", state.conv(f"{name}.conv", y, stride, padding), 0.001))

    def mean(y):
        return F.avg_pool2d(F.pad(y, (1, 1, 1, 1)), 3, 1)

    x = unit("Conv2d_1a_3x3", x, 2)
    x = unit("Conv2d_2a_3x3", x)
    x = unit("Conv2d_2b_3x3", x, 1, 1)
    x = F.max_pool2d(x, 3, 2)
    x = unit("Conv2d_3b_1x1", x)
    x = unit("Conv2d_4a_3x3", x)
    x = F.max_pool2d(x, 3, 2)
    for m in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        a = unit(f"{m}.branch1x1", x)
        b = unit(f"{m}.branch5x5_2", unit(f"{m}.branch5x5_1", x), 1, 2)
        c = unit(f"{m}.branch3x3dbl_2", unit(f"{m}.branch3x3dbl_1", x), 1, 1)
        c = unit(f"{m}.branch3x3dbl_3", c, 1, 1)
        x = torch.cat([a, b, c, unit(f"{m}.branch_pool", mean(x))], 1)
    m = "Mixed_6a"
    a = unit(f"{m}.branch3x3", x, 2)
    b = unit(f"{m}.branch3x3dbl_2", unit(f"{m}.branch3x3dbl_1", x), 1, 1)
    b = unit(f"{m}.branch3x3dbl_3", b, 2)
    x = torch.cat([a, b, F.max_pool2d(x, 3, 2)], 1)
    for m in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        a = unit(f"{m}.branch1x1", x)
        b = unit(f"{m}.branch7x7_1", x)
        b = unit(f"{m}.branch7x7_2", b, 1, (0, 3))
        b = unit(f"{m}.branch7x7_3", b, 1, (3, 0))
        c = unit(f"{m}.branch7x7dbl_1", x)
        c = unit(f"{m}.branch7x7dbl_2", c, 1, (3, 0))
        c = unit(f"{m}.branch7x7dbl_3", c, 1, (0, 3))
        c = unit(f"{m}.branch7x7dbl_4", c, 1, (3, 0))
        c = unit(f"{m}.branch7x7dbl_5", c, 1, (0, 3))
        x = torch.cat([a, b, c, unit(f"{m}.branch_pool", mean(x))], 1)
    m = "Mixed_7a"
    a = unit(f"{m}.branch3x3_2", unit(f"{m}.branch3x3_1", x), 2)
    b = unit(f"{m}.branch7x7x3_2", unit(f"{m}.branch7x7x3_1", x), 1, (0, 3))
    b = unit(f"{m}.branch7x7x3_4", unit(f"{m}.branch7x7x3_3", b, 1, (3, 0)), 2)
    x = torch.cat([a, b, F.max_pool2d(x, 3, 2)], 1)
    for m in ("Mixed_7b", "Mixed_7c"):
        a = unit(f"{m}.branch1x1", x)
        b = unit(f"{m}.branch3x3_1", x)
        b1, b2 = unit(f"{m}.branch3x3_2a", b, 1, (0, 1)), unit(f"{m}.branch3x3_2b", b, 1, (1, 0))
        c = unit(f"{m}.branch3x3dbl_2", unit(f"{m}.branch3x3dbl_1", x), 1, 1)
        c1, c2 = unit(f"{m}.branch3x3dbl_3a", c, 1, (0, 1)), unit(f"{m}.branch3x3dbl_3b", c, 1, (1, 0))
        x = torch.cat([a, b1, b2, c1, c2, unit(f"{m}.branch_pool", mean(x))], 1)
    return state.linear("fc", x.mean((2, 3)))


@torch.no_grad()
def test_forward_is_the_published_arithmetic(small):
    network = copy.deepcopy(small).double()
    for size in ((299, 299), (75, 140)):
        x = torch.randn(2, 3, *size, dtype=torch.float64)
        torch.testing.assert_close(network(x), by_hand(network, x))


@torch.no_grad()
def test_features_and_embedding(small):
    x = torch.randn(2, 3, 299, 299)
    features = small.features(x)
    assert features.shape == (2, 203, 8, 8)
    torch.testing.assert_close(small.embedding(x), features.mean((2, 3)))
    torch.testing.assert_close(small(x), small.fc(small.embedding(x)))
    assert small.features(x[..., :75, :107]).shape == (2, 203, 1, 2)


@torch.no_grad()
def test_traces_and_splits(small):
    x = torch.randn(1, 3, 107, 107)
    assert torch.equal(fx.symbolic_trace(small)(x), small(x))
    trunk, head = nn.split(small, "Mixed_6e")
    assert torch.equal(head(trunk(x)), small(x))


def test_autocast_channels_last_and_gradients(small):
    network = copy.deepcopy(small).train()
    network.dropout.p = 0.0
    x = torch.randn(4, 3, 107, 107)
    plain = network(x)
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(x.to(memory_format=torch.channels_last)), plain, rtol=1e-3, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x)
    assert half.dtype == torch.bfloat16
    F.cross_entropy(half.float(), torch.tensor([0, 1, 0, 1])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_random_weights_are_drawn_as_slim_draws_them():
    torch.manual_seed(0)
    weight = nn.inception_v3(width=0.3).Mixed_6b.branch1x1.conv.weight
    fan = weight[0].numel()
    assert abs(weight.std().item() / (2 / fan) ** 0.5 - 1) < 0.05
    assert weight.abs().max() <= 2 * (2.6 / fan) ** 0.5


def test_a_file_with_an_auxiliary_head_loads_and_says_what_it_dropped(small, tmp_path, caplog):
    state = {**small.state_dict(), **{key: torch.zeros(shape) for key, shape in AUXILIARY.items()}}
    torch.save(state, tmp_path / "trained.pth")
    with caplog.at_level(logging.INFO, logger="fastwsi"):
        network = nn.inception_v3(width=0.1, num_classes=2, weights=tmp_path / "trained.pth").eval()
    assert "dropped AuxLogits (14 tensors)" in caplog.text
    x = torch.randn(1, 3, 90, 90)
    assert torch.equal(network(x), small(x))


@torch.no_grad()
def test_a_file_for_normalised_images_is_adapted_exactly(small, tmp_path):
    torch.save(small.state_dict(), tmp_path / "trained.pth")
    scale = (nn.IMAGENET_MEAN, nn.IMAGENET_STD)
    network = nn.inception_v3(width=0.1, num_classes=2)
    nn.load_weights(network, tmp_path / "trained.pth", normalisation=scale).eval()
    image = torch.rand(2, 3, 107, 91)
    mean, std = torch.tensor(scale)[:, :, None, None]
    torch.testing.assert_close(network(2 * image - 1), small((image - mean) / std), rtol=1e-4, atol=1e-5)
    # As torchvision's transform_input has it, and its published file needs nothing.
    back = torch.cat(
        [
            (image[:, :1] - 0.485) / 0.229 * (0.229 / 0.5) + (0.485 - 0.5) / 0.5,
            (image[:, 1:2] - 0.456) / 0.224 * (0.224 / 0.5) + (0.456 - 0.5) / 0.5,
            (image[:, 2:] - 0.406) / 0.225 * (0.225 / 0.5) + (0.406 - 0.5) / 0.5,
        ],
        1,
    )
    torch.testing.assert_close(back, 2 * image - 1)
    # In training the batch's mean takes the constant with it, and the running one follows.
    network.train().dropout.p = small.dropout.p = 0.0
    trained = copy.deepcopy(small).train()
    torch.testing.assert_close(network(2 * image - 1), trained((image - mean) / std), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        network.eval()(2 * image - 1), trained.eval()((image - mean) / std), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width: got 0, expected a number > 0"),
        ({"width": float("nan")}, "width: got nan, expected a finite number"),
        ({"width": "1"}, "width: got '1', expected a number"),
        ({"num_classes": 0}, "num_classes: got 0, expected at least 1"),
    ],
)
@pytest.mark.parametrize("make", [nn.inception_v3, nn.mobilenet_v2])
def test_wrong_arguments(make, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make(**arguments)
