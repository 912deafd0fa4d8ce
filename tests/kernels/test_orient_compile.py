"""orient and orient_mean under torch.compile and torch.export: opaque operators; eager calls are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi import kernels
from fastwsi.kernels import orientation_torch_ops
from reference import orient as reference

EIGHT = range(8)


def everywhere(images):
    """A map made of each orientation of (n, h, w, c) images, and their mean in the images' own frame."""
    maps = [kernels.orient(images, k).float().mean(-1).sin() * (k + 1) for k in EIGHT]
    return kernels.orient_mean(maps, axes=(-2, -1))


def test_compiles_into_one_graph():
    compiled = torch.compile(everywhere, fullgraph=True, backend="aot_eager")
    for shape in [(2, 12, 20, 3), (3, 7, 5, 3), (1, 9, 9, 3)]:
        images = torch.randint(0, 256, shape, dtype=torch.uint8)
        torch.testing.assert_close(compiled(images), everywhere(images), rtol=0, atol=0)


def test_a_compiled_call_follows_its_orientation():
    def run(images, k, inverse):
        return kernels.orient(images, k, inverse=inverse, axes=(-2, -1))

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    images = torch.arange(60).reshape(3, 4, 5)
    for k in EIGHT:
        assert torch.equal(compiled(images, k, k > 4), run(images, k, k > 4))
    for ks in ([0, 2, 4], [1, 3, 5]):
        assert torch.equal(compiled(images, ks, False), run(images, ks, False))


def test_out_is_refused_under_the_compiler():
    compiled = torch.compile(lambda x, out: kernels.orient(x, 1, out), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match="out: not supported under"):
        compiled(torch.zeros(2, 2, 3), torch.zeros(2, 2, 3))


def test_opcheck():
    images = torch.randint(0, 256, (3, 6, 6, 3), dtype=torch.uint8)
    for x, ks in [(images, [1, 6, 0]), (images.transpose(1, 2), [5]), (images.long(), [0])]:
        torch.library.opcheck(orientation_torch_ops.orient_op, (x, ks, 1, 2))
    floats = torch.randn(2, 3, 4, 5, requires_grad=True)
    for k in EIGHT:
        torch.library.opcheck(orientation_torch_ops.orient_op, (floats, [k], 2, 3))
    maps = [torch.randn(2, 3, 4 + k % 2, 5 - k % 2, requires_grad=k != 2) for k in EIGHT]
    torch.library.opcheck(orientation_torch_ops.orient_mean_op, (maps, 2, 3))
    vectors = [torch.randn(2, 3, requires_grad=True) for _ in EIGHT]
    torch.library.opcheck(orientation_torch_ops.orient_mean_op, (vectors, -1, -1))


@pytest.mark.parametrize("axes", [None, (-2, -1)], ids=str)
def test_compiled_gradients_equal_the_eager_ones(axes):
    def loss(x):
        said = [kernels.orient(x, k, axes=(-2, -1)).sin() * (k + 1) for k in EIGHT]
        return kernels.orient_mean(said, axes=axes).square().sum()

    gradients = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        x = torch.linspace(-1, 1, 72).reshape(2, 6, 6).requires_grad_()
        function(x).backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_exports():
    class Everywhere(torch.nn.Module):
        def forward(self, images):
            return everywhere(images)

    images = torch.randint(0, 256, (2, 12, 20, 3), dtype=torch.uint8)
    program = torch.export.export(Everywhere(), (images,))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {"fastwsi.orient.default", "fastwsi.orient_mean.default"} <= names
    torch.testing.assert_close(program.module()(images), everywhere(images), rtol=0, atol=0)


def test_eager_calls_bypass_the_operators(monkeypatch):
    """An operator call costs several times the rest of a small call."""

    def forbidden(*args):
        raise AssertionError("the operator was called in eager mode")

    monkeypatch.setattr(orientation_torch_ops, "orient_op", forbidden)
    monkeypatch.setattr(orientation_torch_ops, "orient_mean_op", forbidden)
    x = torch.randn(2, 4, 5, 3, requires_grad=True)
    turned = kernels.orient(x, 3)
    expected = reference.orient(x.detach().numpy(), 3, (1, 2))
    np.testing.assert_array_equal(turned.detach().numpy(), expected)
    kernels.orient_mean([turned] * 8).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))
