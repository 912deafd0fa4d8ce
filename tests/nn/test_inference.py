"""Networks for inference give what the originals give; frozen batch norms keep still."""

from __future__ import annotations

import copy
import io
import logging
import pickle

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn as tnn

from fastwsi import nn
from nn.published import randomised


def norms(network):
    return [m for m in network.modules() if isinstance(m, tnn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: nn.resnet18(num_classes=2), 64),
        (lambda: nn.ResNet(nn.Bottleneck, (1, 1, 1, 1), 2), 64),
        (lambda: nn.inception_v3(width=0.1, num_classes=2), 107),
        (lambda: nn.mobilenet_v2(width=0.25, num_classes=2), 64),
        (lambda: nn.vgg16_valid(width=0.05), 196),
    ],
    ids=["resnet", "bottleneck", "inception", "mobilenet", "vgg"],
)
def test_outputs_are_the_original_s_and_the_original_is_untouched(make, size, channels_last):
    torch.manual_seed(0)
    network = randomised(make()).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fast = nn.for_inference(network, channels_last=channels_last)
    assert type(fast) is type(network)
    assert not fast.training
    assert norms(fast) == []
    assert not any(p.requires_grad for p in fast.parameters())
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    convolutions = [m.weight for m in fast.modules() if isinstance(m, tnn.Conv2d)]
    assert not channels_last or all(w.is_contiguous(memory_format=torch.channels_last) for w in convolutions)
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = network.eval()(x)
        torch.testing.assert_close(fast(x), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
        if isinstance(network, nn.InceptionV3):
            torch.testing.assert_close(fast.embedding(x), network.embedding(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype):
    torch.manual_seed(0)
    network = randomised(nn.inception_v3(width=0.1, num_classes=2))
    fast = nn.for_inference(network, dtype=dtype)
    assert all(p.dtype == dtype for p in fast.parameters())
    x = torch.randn(2, 3, 107, 107)
    with torch.no_grad():
        out = pickle.loads(pickle.dumps(fast))(x)
        assert out.dtype == dtype
        torch.testing.assert_close(
            out.float(), network(x), rtol=0.05, atol=0.05 * network(x).abs().max().item()
        )
    assert network.fc.weight.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, "bfloat16"])
def test_wrong_dtypes(dtype):
    with pytest.raises(ValueError, match=f"dtype: got {dtype}, expected one of torch.float32"):
        nn.for_inference(tnn.Linear(2, 2), dtype=dtype)


class BatchNormAct2d(tnn.BatchNorm2d):
    """As timm's: with its activation, and a forward of its own."""

    def __init__(self, channels):
        super().__init__(channels)
        self.drop = tnn.Identity()
        self.act = tnn.SiLU()

    def forward(self, x):
        torch._assert(x.ndim == 4, "expected 4D input")
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
        use = self.training or self.running_mean is None
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, use, 0.1, self.eps)
        return self.act(self.drop(x))


class Odd(tnn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x) * 2


class Kinds(tnn.Module):
    """Graphs of torchvision's and timm's kinds: what folds, and what must not."""

    def __init__(self):
        super().__init__()
        self.stem = tnn.Conv2d(3, 8, 3, bias=False)
        self.act = BatchNormAct2d(8)
        self.groups = tnn.Conv2d(8, 8, 3, groups=4)
        self.plain = tnn.BatchNorm2d(8, affine=False)
        # Kept: read twice, without statistics, of an unknown kind, behind no convolution, tied, normalised.
        self.twice = tnn.Conv2d(8, 8, 1)
        self.after_twice = tnn.BatchNorm2d(8)
        self.batch = tnn.Conv2d(8, 8, 1)
        self.after_batch = tnn.BatchNorm2d(8, track_running_stats=False)
        self.odd = tnn.Conv2d(8, 8, 1)
        self.after_odd = Odd(8)
        self.alone = tnn.BatchNorm2d(8)
        self.tied = tnn.Conv2d(8, 8, 1)
        self.after_tied = tnn.BatchNorm2d(8)
        self.tied_too = tnn.Conv2d(8, 8, 1)
        self.tied_too.weight = self.tied.weight
        self.spectral = tnn.utils.parametrizations.weight_norm(tnn.Conv2d(8, 8, 1))
        self.after_spectral = tnn.BatchNorm2d(8)
        self.read = tnn.Conv2d(8, 8, 1)
        self.after_read = tnn.BatchNorm2d(8)
        # One block on two inputs, always in the same order: folds. And one convolution with two norms: stays.
        self.shared = tnn.Sequential(tnn.Conv2d(8, 8, 1), tnn.BatchNorm2d(8))
        self.both = tnn.Conv2d(8, 8, 1)
        self.first, self.second = tnn.BatchNorm2d(8), tnn.BatchNorm2d(8)
        self.hooked = tnn.Conv2d(8, 8, 1)
        self.hooked.register_forward_hook(twice)
        self.after_hooked = tnn.BatchNorm2d(8)

    def forward(self, x):
        x = self.plain(self.groups(self.act(self.stem(x))))
        y = self.twice(x)
        x = y + self.after_twice(y)
        x = self.after_odd(self.odd(self.after_batch(self.batch(x))))
        x = self.alone(x.relu())
        x = self.after_tied(self.tied(x)) + self.tied_too(x)
        x = self.after_spectral(self.spectral(x))
        x = self.after_read(self.read(x)) + self.read.weight.mean()
        x = self.shared(x) + self.shared(x.relu())
        x = self.first(self.both(x)) + self.second(self.both(x.relu()))
        return self.after_hooked(self.hooked(x))


def twice(_, args, output):
    return output * 2


class Untraceable(tnn.Module):
    """Runs a sequence step by step and keeps what lies between a convolution and its norm."""

    def __init__(self):
        super().__init__()
        self.block = Kinds()
        self.steps = tnn.Sequential(
            tnn.Conv2d(8, 8, 1),
            tnn.BatchNorm2d(8),
            nn.BasicBlock(8, 8),
        )

    def forward(self, x):
        x = self.block(x)
        kept = []
        for step in self.steps:
            x = step(x)
            kept.append(x)
        return torch.stack(kept) if x.sum() < 1e9 else x


@torch.no_grad()
@pytest.mark.parametrize(("make", "folded"), [(Kinds, 3), (Untraceable, 5)])
def test_folds_what_is_safe_and_leaves_the_rest(make, folded, caplog):
    torch.manual_seed(0)
    network = make()
    for module in network.modules():
        if isinstance(module, tnn.BatchNorm2d) and module.track_running_stats:
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    network = network.double().eval()
    with caplog.at_level(logging.INFO, logger="fastwsi"):
        fast = nn.for_inference(network)
    assert f"{folded} of {len(norms(network))} batch norms folded" in caplog.text
    assert ("cannot be traced" in caplog.text) == (make is Untraceable)
    assert len(norms(fast)) == len(norms(network)) - folded
    x = torch.randn(2, 3, 20, 20, dtype=torch.float64)
    torch.testing.assert_close(fast(x), network(x))
    kinds = fast if make is Kinds else fast.block
    assert isinstance(kinds.plain, tnn.Identity)
    assert [type(m) for m in kinds.act] == [tnn.Identity, tnn.SiLU]


@torch.no_grad()
@pytest.mark.parametrize(
    ("convolution", "norm", "shape"),
    [
        (tnn.Conv1d(3, 4, 3), tnn.BatchNorm1d(4), (2, 3, 9)),
        (tnn.Conv3d(3, 4, 3), tnn.BatchNorm3d(4), (2, 3, 5, 5, 5)),
        (tnn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), tnn.SyncBatchNorm(4), (2, 3, 9, 9)),
        (tnn.ConvTranspose2d(3, 4, 3), tnn.BatchNorm2d(4), (2, 3, 9, 9)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_convolutions(convolution, norm, shape):
    network = randomised(tnn.Sequential(convolution, norm))
    fast = nn.for_inference(network)
    x = torch.randn(shape)
    torch.testing.assert_close(fast(x), network(x))
    assert isinstance(fast[1], tnn.Identity) != isinstance(convolution, tnn.ConvTranspose2d)


def test_networks_without_anything_to_fold():
    for network in (tnn.BatchNorm2d(3), tnn.Linear(3, 3), tnn.Sequential()):
        fast = nn.for_inference(network)
        assert type(fast) is type(network)
        assert fast is not network


def test_streaming_and_splitting_take_it():
    torch.manual_seed(0)
    network = randomised(nn.resnet18(num_classes=2))
    trunk, head = nn.split(nn.for_inference(network), "layer2")
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(head(trunk(x)), network(x), rtol=1e-4, atol=1e-4)


def statistics(network):
    return [t.clone() for m in norms(network) for t in (m.running_mean, m.running_var, m.num_batches_tracked)]


@pytest.mark.parametrize("copied", ["itself", "deepcopy", "pickle", "torch.save"])
def test_frozen_batch_norms_keep_still_under_train(copied):
    torch.manual_seed(0)
    network = randomised(nn.ResNet(nn.BasicBlock, (1, 1, 1, 1), num_classes=2)).train()
    assert nn.freeze_batch_norm(network) == 12 == len(norms(network))
    if copied == "deepcopy":
        network = copy.deepcopy(network)
    elif copied == "pickle":
        network = pickle.loads(pickle.dumps(network))
    elif copied == "torch.save":
        file = io.BytesIO()
        torch.save(network, file)
        file.seek(0)
        network = torch.load(file, weights_only=False)
    network.eval()
    x = torch.randn(2, 3, 40, 40)
    expected, before = network(x), statistics(network)
    for mode in (True, False, True):
        network.train(mode)
        assert network.training == network.layer1[0].training == mode
        assert not any(m.training for m in norms(network))
        torch.testing.assert_close(network(x), expected)
    network(x).sum().backward()
    assert network.bn1.weight.grad is not None
    assert all(torch.equal(a, b) for a, b in zip(statistics(network), before, strict=True))

    assert nn.freeze_batch_norm(network, False) == 12
    assert all(m.training for m in norms(network))
    network(x)
    assert not torch.equal(network.bn1.running_mean, before[0])
    assert not any(m.training for m in norms(network.eval()))


def test_freezing_parameters_too_is_reversible():
    network = tnn.Sequential(
        tnn.Conv2d(3, 4, 3), tnn.BatchNorm2d(4), tnn.BatchNorm2d(4), tnn.BatchNorm2d(4, affine=False)
    )
    network[2].bias.requires_grad_(False)
    keys = list(network.state_dict())

    def needed():
        return [p.requires_grad for p in network.parameters()]

    before = needed()
    nn.freeze_batch_norm(network, parameters=True)
    assert needed() == [True, True, False, False, False, False]
    nn.freeze_batch_norm(network, parameters=True)  # again: the state before the first is remembered
    nn.freeze_batch_norm(network)  # without parameters from now on
    assert needed() == before
    assert list(network.state_dict()) == keys
    nn.freeze_batch_norm(network, parameters=True)
    nn.freeze_batch_norm(network, False)
    assert needed() == before
    assert nn.freeze_batch_norm(network, False) == 3
    assert nn.freeze_batch_norm(tnn.Linear(2, 2)) == 0


def test_a_batch_norm_by_itself():
    norm = tnn.BatchNorm2d(3)
    nn.freeze_batch_norm(norm)
    assert not norm.train().training
    nn.freeze_batch_norm(norm, False)
    assert norm.training
    assert not norm.eval().training
    assert norm.train().training


def test_frozen_networks_fold():
    torch.manual_seed(0)
    network = randomised(nn.ResNet(nn.BasicBlock, (1, 1, 1, 1), num_classes=2))
    nn.freeze_batch_norm(network, parameters=True)
    x = torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(nn.for_inference(network.train())(x), network.eval()(x), rtol=1e-4, atol=1e-4)
