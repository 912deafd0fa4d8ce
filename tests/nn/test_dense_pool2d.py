"""nn.DensePool2d: few outputs in training, dense ones in evaluation, over the same weights."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch

from fastwsi import nn
from reference import pooling as reference


class Pyramid(torch.nn.Module):
    """Three levels of features, as a feature pyramid has them, each pooled over 32 cells."""

    def __init__(self, alpha=None):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 4, 1)
        self.pools = torch.nn.ModuleList(nn.DensePool2d(32, stride, alpha) for stride in (128, 64, 32))
        self.heads = torch.nn.ModuleList(torch.nn.Conv2d(4, 1, 1) for _ in range(3))

    def forward(self, x):
        x = self.stem(x).relu()
        return [head(pool(x)) for pool, head in zip(self.pools, self.heads, strict=True)]

    @property
    def strides(self):
        return [pool.stride for pool in self.pools]

    @property
    def alphas(self):
        return [pool.alpha for pool in self.pools]


def pairs(*strides):
    return [(n, n) for n in strides]


def test_training_stride_and_evaluation_stride():
    pool = nn.DensePool2d(3, 8, alpha=4)
    assert pool.training
    assert pool.stride == (8, 8)
    assert pool.eval().stride == (2, 2)
    assert pool.train().stride == (8, 8)
    pool.eval().alpha = None
    assert pool.stride == (8, 8)
    pool.alpha = 8
    assert pool.stride == (1, 1)
    assert nn.DensePool2d((5, 3), (12, 8), alpha=4).eval().stride == (3, 2)
    assert nn.DensePool2d((5, 3), (12, 8)).eval().stride == (12, 8)


@pytest.mark.parametrize("alpha", [None, 1, 2, 4])
@pytest.mark.parametrize("training", [True, False])
def test_forward_is_the_mean_of_the_windows(alpha, training):
    pool = nn.DensePool2d((5, 3), (8, 4), alpha).train(training)
    x = torch.randn(2, 3, 23, 30)
    stride = (8, 4) if training or alpha is None else (8 // alpha, 4 // alpha)
    expected = reference.dense_pool(x.numpy(), (5, 3), stride)
    np.testing.assert_allclose(pool(x).numpy(), expected, atol=1e-6)


def test_strides_of_the_progressive_field_of_attention():
    model = Pyramid()
    assert model.strides == pairs(128, 64, 32)
    assert nn.set_dense_alpha(model, 16) == 3
    assert model.strides == pairs(128, 64, 32)  # still training
    assert model.eval().strides == pairs(8, 4, 2)
    assert nn.set_dense_alpha(model, 32) == 3
    assert model.strides == pairs(4, 2, 1)
    assert nn.set_dense_alpha(model, None) == 3
    assert model.strides == pairs(128, 64, 32)


def test_an_alpha_that_one_pool_refuses_changes_none():
    model = Pyramid(alpha=16).eval()
    with pytest.raises(
        ValueError, match=r"alpha: got 64, expected a divisor of the training stride 32"
    ) as error:
        nn.set_dense_alpha(model, 64)
    assert "pools.2" in str(error.value)
    assert model.alphas == [16, 16, 16]
    assert model.strides == pairs(8, 4, 2)
    # 64 fits the first two pools; 48 fits none, 96 neither; whichever is looked at first, nothing changes.
    for alpha in (48, 96, 0, -1):
        with pytest.raises(ValueError, match=f"alpha: got {alpha}, expected"):
            nn.set_dense_alpha(model, alpha)
        assert model.alphas == [16, 16, 16]


@pytest.mark.parametrize("alpha", [3, 64, 0, -1, 2.0, True, "2", (2, 2)], ids=repr)
def test_wrong_alphas_are_refused_everywhere_and_change_nothing(alpha):
    message = r"alpha: got .*, expected"
    with pytest.raises((TypeError, ValueError), match=message):
        nn.DensePool2d(2, (32, 64), alpha)
    pool = nn.DensePool2d(2, (32, 64), 8)
    with pytest.raises((TypeError, ValueError), match=message):
        pool.alpha = alpha
    assert pool.alpha == 8
    with pytest.raises((TypeError, ValueError), match=message):
        nn.set_dense_alpha(torch.nn.Sequential(pool), alpha)
    assert pool.alpha == 8
    assert pool.eval().stride == (4, 8)


def test_alpha_must_divide_each_side():
    with pytest.raises(ValueError, match=r"alpha: got 8, expected a divisor of the training stride .*12"):
        nn.DensePool2d(2, (16, 12), 8)
    with pytest.raises(ValueError, match=r"alpha: got 8, expected a divisor of the training stride .*12"):
        nn.DensePool2d(2, (12, 16), 8)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3", None, (1, 0), (1, 2, 3)], ids=repr)
def test_wrong_windows_and_strides_are_refused_at_once(wrong):
    with pytest.raises((TypeError, ValueError), match="window: got"):
        nn.DensePool2d(wrong, 2)
    with pytest.raises((TypeError, ValueError), match="train_stride: got"):
        nn.DensePool2d(2, wrong)


def test_a_model_without_pools_is_refused():
    with pytest.raises(ValueError, match="model: got"):
        nn.set_dense_alpha(torch.nn.Linear(2, 2), 4)


def test_a_pool_alone_is_a_model_and_a_shared_one_counts_once():
    pool = nn.DensePool2d(2, 8)
    assert nn.set_dense_alpha(pool, 4) == 1
    assert pool.alpha == 4
    assert nn.set_dense_alpha(torch.nn.Sequential(pool, torch.nn.ReLU(), pool), 2) == 1
    assert pool.alpha == 2


def test_switching_leaves_a_trained_model_as_it_is():
    model = Pyramid()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    sum(y.square().mean() for y in model(torch.randn(2, 3, 64, 64))).backward()
    optimiser.step()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = [(id(p), p._version) for p in model.parameters()]
    model.eval()
    nn.set_dense_alpha(model, 16)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [(id(p), p._version) for p in model.parameters()] == parameters
    assert not any("pools" in name for name in before)
    assert not list(model.pools.parameters())
    assert not list(model.pools.buffers())
    fresh = Pyramid(alpha=32)
    fresh.load_state_dict(after)  # strict: alpha is no part of it
    assert fresh.alphas == [32, 32, 32]


def test_a_training_output_is_one_cell_of_the_dense_output():
    """Features of a patch (53 x 53 cells of 692 pixels) give one window; the dense map has each such."""
    pool = nn.DensePool2d(32, 32, alpha=16)
    scene = torch.randn(1, 3, 150, 170)
    dense = pool.eval()(scene)
    assert dense.shape[-2:] == (60, 70)
    pool.train()
    for top, left in [(0, 0), (2, 4), (60, 30), (96, 116)]:
        patch = scene[..., top : top + 53, left : left + 53]
        found = pool(patch)
        assert found.shape[-2:] == (1, 1)
        torch.testing.assert_close(found[..., 0, 0], dense[..., top // 2, left // 2], rtol=1e-6, atol=1e-8)


def test_a_whole_model_s_training_outputs_are_in_its_dense_outputs():
    model = Pyramid(alpha=16)
    scene = torch.randn(1, 3, 200, 180)
    with torch.no_grad():
        coarse, fine = model(scene), model.eval()(scene)
    for few, many in zip(coarse, fine, strict=True):
        assert few.shape[-1] < many.shape[-1]
        torch.testing.assert_close(few, many[..., ::16, ::16], rtol=1e-5, atol=1e-6)


def test_gradients_flow_through():
    pool = nn.DensePool2d(4, 4, alpha=4)
    x = torch.randn(1, 1, 8, 8, requires_grad=True)
    pool(x).sum().backward()
    assert torch.equal(x.grad, torch.full((1, 1, 8, 8), 1 / 16))


def test_copies_are_independent_and_pickles_complete():
    pool = nn.DensePool2d((4, 3), (16, 8), alpha=4).eval()
    twin = copy.deepcopy(pool)
    twin.alpha = 8
    assert (pool.alpha, twin.alpha) == (4, 8)
    saved = io.BytesIO()
    torch.save(pool, saved)
    saved.seek(0)
    for other in (pickle.loads(pickle.dumps(pool)), torch.load(saved, weights_only=False)):
        assert (other.alpha, other.stride, other.training) == (4, (4, 2), False)
        other.alpha = 2
        assert other.stride == (8, 4)
        x = torch.randn(1, 20, 20)
        np.testing.assert_allclose(
            other(x).numpy(), reference.dense_pool(x.numpy(), (4, 3), (8, 4)), atol=1e-6
        )


def test_repr_says_window_stride_and_alpha():
    text = repr(nn.DensePool2d((7, 5), 64, alpha=16))
    assert text.startswith("DensePool2d(")
    for part in ("7, 5", "train_stride=64", "alpha=16"):
        assert part in text
    assert "alpha=None" in repr(nn.DensePool2d(3, 2))


def test_half_precision_and_memory_formats():
    pool = nn.DensePool2d(4, 2, alpha=2).eval()
    x = torch.randn(2, 3, 9, 9)
    assert pool.half()(x.half()).dtype == torch.float16
    assert pool.double()(x.double()).dtype == torch.float64
    assert pool(x.bfloat16()).dtype == torch.bfloat16
    last = x.contiguous(memory_format=torch.channels_last)
    assert pool(last).is_contiguous(memory_format=torch.channels_last)


def test_a_window_larger_than_the_input_is_refused():
    with pytest.raises(
        ValueError, match=r"window: got \D*32(, | x )32\D* for an input of 31 x 40, expected at most"
    ):
        nn.DensePool2d(32, 32)(torch.zeros(1, 3, 31, 40))


@pytest.mark.parametrize("name", ["window", "train_stride", "stride"])
def test_what_alpha_was_checked_against_is_fixed(name):
    pool = nn.DensePool2d(4, 4, alpha=2)
    with pytest.raises(AttributeError):
        setattr(pool, name, (3, 3))
    assert (pool.window, pool.train_stride, pool.eval().stride) == ((4, 4), (4, 4), (2, 2))


def test_symbolic_tracing_records_the_call_of_the_mode():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), nn.DensePool2d(4, 4, alpha=2)).eval()
    traced = torch.fx.symbolic_trace(model)
    x = torch.randn(1, 1, 14, 18)
    assert torch.equal(traced(x), model(x))
    (call,) = (node for node in traced.graph.nodes if node.op == "call_function")
    assert call.args[1:] == ((4, 4), (2, 2))
