"""DensePool2d under torch.compile and torch.export."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi import nn
from reference import pooling as reference


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = nn.DensePool2d(4, 4, alpha=2)

    def forward(self, x):
        return self.pool(x.sin())


def test_a_compiled_module_follows_its_mode_and_alpha():
    torch.compiler.reset()
    network = Network()
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3, 18, 22)

    def expect(stride):
        expected = reference.dense_pool(x.sin().numpy(), (4, 4), (stride, stride))
        found = compiled(x).numpy()
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-6)

    expect(4)
    network.eval()
    expect(2)
    nn.set_dense_alpha(network, 4)
    expect(1)
    network.pool.alpha = None
    expect(4)
    network.pool.alpha = 2
    network.train()
    expect(4)
    network.eval()
    expect(2)


@pytest.mark.parametrize("dynamic", [False, True])
def test_exports_in_evaluation_mode(dynamic):
    network = Network().eval()
    side = torch.export.Dim("side", min=8, max=500)
    shapes = {"x": {2: side}} if dynamic else None
    program = torch.export.export(network, (torch.randn(2, 3, 18, 22),), dynamic_shapes=shapes)
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "fastwsi.dense_pool.default" in names
    for height in (18, 31) if dynamic else (18,):
        x = torch.randn(2, 3, height, 22)
        expected = reference.dense_pool(x.sin().numpy(), (4, 4), (2, 2))
        np.testing.assert_allclose(program.module()(x).numpy(), expected, atol=1e-6)
