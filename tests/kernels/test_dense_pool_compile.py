"""dense_pool under torch.compile and torch.library: opaque operators; eager calls are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi import kernels
from fastwsi.kernels import pooling_torch_ops
from reference import pooling as reference


def pooled(x):
    return kernels.dense_pool(x.sin(), (4, 3), 2).cos() + kernels.dense_pool(x, (4, 3), (2, 2))


def by_hand(x):
    """The same through the reference, in float64."""
    a, b = (torch.from_numpy(reference.dense_pool(v.numpy(), (4, 3), (2, 2))) for v in (x.sin(), x))
    return a.cos() + b


@pytest.mark.parametrize("dynamic", [None, True])
def test_compiles_into_one_graph_for_any_size(dynamic):
    compiled = torch.compile(pooled, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for shape in [(2, 3, 12, 20), (5, 2, 7, 9), (3, 40, 33), (50, 60), (0, 3, 8, 8)]:
        torch.compiler.reset()  # or the changes of rank and layout count as too many compilations
        x = torch.randn(shape)
        np.testing.assert_allclose(compiled(x).numpy(), by_hand(x).numpy(), atol=1e-6)
        last = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.mT
        np.testing.assert_allclose(compiled(last).numpy(), by_hand(last).numpy(), atol=1e-6)


def test_one_graph_serves_several_sizes():
    graphs = []

    def counting(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(pooled, fullgraph=True, backend=counting, dynamic=True)
    for side in (10, 14, 27, 33):
        x = torch.randn(2, 3, side, side + 5)
        np.testing.assert_allclose(compiled(x).numpy(), by_hand(x).numpy(), atol=1e-6)
    assert len(graphs) == 1


@pytest.mark.parametrize("dynamic", [None, True])
def test_compiled_gradients_are_the_transpose(dynamic):
    torch.compiler.reset()
    compiled = torch.compile(
        lambda x: kernels.dense_pool(x, (4, 3), 2), fullgraph=True, backend="aot_eager", dynamic=dynamic
    )
    for shape in [(2, 3, 12, 20), (1, 5, 7, 9), (2, 3, 16, 16)]:
        for memory in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(shape).contiguous(memory_format=memory).requires_grad_()
            y = compiled(x)
            g = torch.randn(y.shape)
            y.backward(g)
            expected = reference.dense_pool_back(g.numpy(), shape, (4, 3), (2, 2))
            np.testing.assert_allclose(x.grad.numpy(), expected, atol=1e-6)


def in_each_layout(shape, dtype=torch.float32):
    """Leaves that require grad, or not, in each memory layout."""
    x = torch.randn(shape, dtype=dtype)
    every = [x, torch.randn(shape, dtype=dtype).mT.contiguous().mT]
    if x.ndim == 4:
        every.append(x.contiguous(memory_format=torch.channels_last))
    return [one.detach().requires_grad_(grad) for one in every for grad in (False, True)]


def test_opcheck():
    for shape in [(2, 3, 9, 8), (7, 6), (0, 2, 5, 5), (1, 2, 2, 6, 6)]:
        for x in in_each_layout(shape):
            torch.library.opcheck(pooling_torch_ops.dense_pool_op, (x, [3, 2], [2, 1]))


def test_opcheck_of_the_backward():
    for shape in [(2, 3, 9, 8), (7, 6), (1, 2, 2, 6, 6)]:
        axes = list(range(len(shape)))
        orders = [axes, [*axes[:-2], axes[-1], axes[-2]]]
        if len(shape) == 4:
            orders.append([0, 2, 3, 1])
        size = reference.output_size(*shape[-2:], (3, 2), (2, 1))
        for order in orders:
            for g in in_each_layout((*shape[:-2], *size), torch.float64):
                torch.library.opcheck(
                    pooling_torch_ops.dense_pool_backward_op, (g, list(shape), order, [3, 2], [2, 1])
                )


def test_a_window_that_is_too_large_is_refused_while_tracing():
    torch.compiler.reset()
    compiled = torch.compile(lambda x: kernels.dense_pool(x, 9, 1), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match=r"window: got \D*9(, | x )9\D* for an input of 8 x 8"):
        compiled(torch.zeros(1, 1, 8, 8))


def test_eager_calls_bypass_the_operators(monkeypatch):
    """An operator call costs several times the rest of a small call."""

    def forbidden(*args):
        raise AssertionError("the operator was called in eager mode")

    monkeypatch.setattr(pooling_torch_ops, "dense_pool_op", forbidden)
    monkeypatch.setattr(pooling_torch_ops, "dense_pool_backward_op", forbidden)
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    y = kernels.dense_pool(x, 2, 2)
    np.testing.assert_allclose(
        y.detach().numpy(), reference.dense_pool(x.detach().numpy(), (2, 2), (2, 2)), atol=1e-6
    )
    y.sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 0.25))
