"""What `Streamed` promises as a module: gradients, modes, autocast, copies, and the failures of its peers."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

from fastwsi.streaming import Streamed
from streaming import networks
from streaming.compare import check, error

IMAGE = networks.image(45, 38)


def gradients(network, image=IMAGE):
    loss = network(image).square().sum()
    return torch.autograd.grad(loss, [p for p in network.parameters() if p.requires_grad])


def same(found, expected, limit=1e-11):
    return all(error(a, b) <= limit for a, b in zip(found, expected, strict=True))


class Owner(nn.Module):
    """Parts of every kind: two names for one module, tensors of its own, one that is not saved."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3)
        self.again = self.first
        self.scale = nn.Parameter(torch.rand(3, 1, 1))
        self.tied = self.scale
        self.register_buffer("shift", torch.rand(3, 1, 1))
        self.register_buffer("unsaved", torch.rand(3, 1, 1), persistent=False)
        self.register_parameter("missing", None)

    def forward(self, x):
        return self.again(self.first(x) * self.scale + self.shift) * self.tied - self.unsaved


def test_state_dict_is_the_trunks():
    trunk = Owner().double()
    stream = Streamed(trunk, rows=8)
    assert list(stream.state_dict()) == list(trunk.state_dict())
    assert {id(p) for p in stream.parameters()} == {id(p) for p in trunk.parameters()}
    other = Owner().double()
    stream.load_state_dict(other.state_dict())
    assert torch.equal(trunk.first.weight, other.first.weight)
    check(trunk, IMAGE, 8)


def test_gradients_accumulate():
    trunk = networks.narrow18()
    stream = Streamed(trunk, rows=16)
    for scale in (1, 2):
        (stream(IMAGE).square().sum() * scale).backward()
    expected = gradients(trunk)
    assert same([p.grad for p in trunk.parameters()], [3 * g for g in expected])


def test_one_graph_may_be_gone_through_twice():
    trunk = networks.narrow18()
    loss = Streamed(trunk, rows=16)(IMAGE).square().sum()
    first = torch.autograd.grad(loss, list(trunk.parameters()), retain_graph=True)
    second = torch.autograd.grad(loss, list(trunk.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_second_derivatives_are_refused():
    trunk = networks.vgg()
    loss = Streamed(trunk, rows=16)(networks.image(60, 50)).square().sum()
    found = torch.autograd.grad(loss, list(trunk.parameters()), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        found[0].sum().backward()


@pytest.mark.parametrize("name", ["conv1.weight", "bn1.running_var", "layer2.0.bn1.weight"])
def test_a_tensor_changed_before_backward_raises(name):
    trunk = networks.narrow18()
    loss = Streamed(trunk, rows=16)(IMAGE).square().sum()
    with torch.no_grad():
        tensor = dict(trunk.state_dict(keep_vars=True))[name]
        tensor += 1
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation|changed"):
        loss.backward()


class Counting(TorchDispatchMode):
    """Counts convolutions, and the gradients of inputs and weights that are asked for."""

    def __init__(self):
        super().__init__()
        self.forward = self.inputs = self.weights = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name == "convolution_backward":
            self.inputs += args[-1][0]
            self.weights += args[-1][1]
        self.forward += name in {"convolution", "mkldnn_convolution", "_slow_conv2d_forward"}
        return func(*args, **(kwargs or {}))


def counted(trunk):
    stream = Streamed(trunk, rows=1000)
    loss = stream(IMAGE).square().sum()
    with Counting() as count:
        loss.backward()
    return count.forward, count.inputs, count.weights


def test_frozen_parameters_cost_nothing():
    trunk = networks.narrow18()
    block = trunk.layer3.get_submodule("1")
    convolutions = sum(isinstance(m, nn.Conv2d) for m in trunk.modules())
    last = sum(isinstance(m, nn.Conv2d) for m in block.modules())
    trunk.requires_grad_(False)
    block.requires_grad_(True)
    forward, inputs, weights = counted(trunk)
    assert (inputs, weights) == (last - 1, last)
    assert forward <= convolutions
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(False)
    block.conv1.requires_grad_(False)
    forward, inputs, weights = counted(trunk)
    assert (inputs, weights) == (0, 1)
    assert forward < convolutions  # of the last one only the input is needed


def test_no_grad_and_frozen_trunks_give_plain_tensors():
    trunk = networks.narrow18()
    stream = Streamed(trunk, rows=16)
    with torch.no_grad():
        assert not stream(IMAGE).requires_grad
    assert stream(IMAGE).requires_grad
    trunk.requires_grad_(False)
    assert not stream(IMAGE).requires_grad


def test_training_mode_changes_nothing():
    trunk = nn.Sequential(networks.narrow18(), nn.Dropout(0.5)).eval()
    expected = trunk(IMAGE)
    before = copy.deepcopy(trunk.state_dict())
    stream = Streamed(trunk, rows=16).train()
    assert stream.training
    assert error(stream(IMAGE), expected) <= 1e-11
    assert all(torch.equal(a, b) for a, b in zip(before.values(), trunk.state_dict().values(), strict=True))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch looks at it itself
def test_compiled_models_call_it_as_it_is():
    trunk = networks.vgg()
    stream, head = Streamed(trunk, rows=16), nn.Conv2d(10, 2, 1).double()
    image = networks.image(60, 50)
    compiled = torch.compile(lambda x: head(stream(x)).relu(), backend="eager")
    found = compiled(image)
    assert error(found, head(trunk(image)).relu()) <= 1e-11
    found.sum().backward()
    assert trunk[0].weight.grad is not None


@pytest.mark.parametrize("name", ["resnet18", "decoder", "smooth", "mobilenet", "inception"])
def test_autocast(name):
    trunk = networks.SMALL[name](dtype=torch.float32)
    stream = Streamed(trunk, rows=16)
    image = networks.image(*networks.size_for(name, 75, 58), dtype=torch.float32)
    exact = networks.SMALL[name]()(image.double())
    with torch.autocast("cpu", torch.bfloat16):
        whole, found = trunk(image), stream(image)
    assert found.dtype == whole.dtype
    assert error(found, exact) <= 2 * error(whole, exact) + 1e-6
    parameters = [p for p in trunk.parameters() if p.requires_grad]
    both = [torch.autograd.grad(y.float().square().sum(), parameters) for y in (whole, found)]
    assert all(g.dtype == torch.float32 for g in both[1])
    right = gradients(networks.SMALL[name](), image.double())
    off = [sum(error(a, b) for a, b in zip(given, right, strict=True)) for given in both]
    assert off[1] <= 2 * off[0]


def test_weight_gradients_are_summed_in_float32_under_autocast():
    trunk = nn.Conv2d(1, 1, 1, bias=False)
    stream = Streamed(trunk, rows=1)
    with torch.autocast("cpu", torch.bfloat16):
        found = stream(torch.ones(1, 1, 1000, 1))
    found.float().sum().backward()
    assert trunk.weight.grad.item() == 1000  # in bfloat16 the sum stands still at 256


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.slope = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.PReLU()

    def forward(self, x):
        for _ in range(3):
            x = x + self.slope(self.norm(self.conv(x)))
        return x


def test_modules_used_several_times():
    check(networks.seeded(Twice)(), IMAGE, 7)


def test_parametrized_modules():
    trunk = networks.vgg()
    parametrizations.weight_norm(trunk[0])
    parametrizations.orthogonal(trunk[2])
    check(trunk, networks.image(60, 50), 16)


def test_functional_call():
    trunk = networks.narrow18()
    stream = Streamed(trunk, rows=16)
    other = networks.narrow18(seed=5)
    values = dict(other.state_dict())
    found = torch.func.functional_call(stream, values, (IMAGE,))
    assert error(found, other(IMAGE)) <= 1e-11


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(way):
    trunk = networks.vgg()
    stream = Streamed(trunk, rows=16, mean=(0, 0, 0), std=(1, 1, 1))
    other = way(stream)
    image = networks.image(60, 50)
    assert torch.equal(other(image), stream(image))
    with torch.no_grad():
        next(other.parameters()).zero_()
    assert not torch.equal(other(image), stream(image))
    assert torch.equal(stream(image), Streamed(trunk, rows=16)(image))


def test_modules_may_change_after_streaming():
    trunk = networks.vgg()
    stream = Streamed(trunk, rows=16).to(torch.float32)
    assert stream(networks.image(60, 50)).dtype == torch.float32
    trunk[0].requires_grad_(False)
    trunk.double()
    check(trunk, networks.image(60, 50), 16, stream=stream)


# What lightstream gets silently wrong: trainable affine, PReLU, bias at batch > 1, reflecting padding. What
# HMS2 does: group norm, crops that are too small, a cache of background that outlives its colour. (Reflecting
# padding and group norm are refused: test_refusals.py.)


def test_lightstream_trainable_affine_prelu_and_bias_in_a_batch():
    layers = [
        nn.Conv2d(3, 4, 3, 2, 1, bias=True),
        nn.BatchNorm2d(4),
        nn.PReLU(4),
        nn.Conv2d(4, 3, 3, bias=True),
    ]
    check(networks.seeded(lambda: nn.Sequential(*layers))(), networks.image(45, 38, batch=3), 8)


def test_hms2_small_images_give_the_right_answer_or_none():
    trunk = networks.vgg()
    stream = Streamed(trunk, rows=16)
    for side in (44, 45, 46, 50):
        check(trunk, networks.image(side, side), 16)
    with pytest.raises(ValueError, match="expected a larger one"):
        stream(networks.image(43, 60))


def test_hms2_background_of_another_colour():
    trunk = networks.vgg()
    stream = Streamed(trunk, rows=16)
    image = networks.image(300, 280)
    mask = torch.ones(300, 280, dtype=torch.bool)
    mask[100:180, 120:190] = False
    for value in (0.5, -1.0, 0.5):
        painted = torch.where(mask, torch.tensor(value, dtype=torch.float64), image)
        found = stream(image, background=(value, mask.numpy(), 1))
        expected = trunk(painted)
        assert error(found, expected) <= 1e-11
        parameters = list(trunk.parameters())
        both = [torch.autograd.grad(y.square().sum(), parameters) for y in (found, expected)]
        assert same(*both)


class Inline(nn.Module):
    """Tensors that are neither parameters nor buffers."""

    def __init__(self):
        super().__init__()
        self.shift = torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)[:, None, None]

    def forward(self, x):
        return (x + self.shift) * torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64)[:, None, None]


def test_tensors_of_the_forward_itself():
    trunk = Inline()
    check(trunk, IMAGE, 7)
    check(nn.Sequential(trunk, nn.Conv2d(3, 2, 3).double()), IMAGE, 7)
