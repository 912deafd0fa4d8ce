"""Under torch.compile and torch.export every kernel is one opaque operator; eager calls are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi import kernels
from fastwsi.kernels import torch_ops
from kernels.arrays import tissue

SOURCE = kernels.hsd_moments(tissue(np.random.default_rng(0), (64, 64)))
TARGET = kernels.hsd_moments(tissue(np.random.default_rng(1), (64, 64)) // 2 + 60)


def preprocess(images):
    planes = kernels.hsd_normalize(images, SOURCE, TARGET, dtype="float32")
    return kernels.scale_shift(planes * 2, [1.0, 2.0, 3.0], [0.0, 0.0, 1.0])


def test_compiles_into_one_graph():
    images = torch.from_numpy(tissue(np.random.default_rng(2), (2, 32, 48)))
    compiled = torch.compile(preprocess, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images), preprocess(images), rtol=0, atol=0)
    other = torch.from_numpy(tissue(np.random.default_rng(3), (3, 40, 24)))
    torch.testing.assert_close(compiled(other), preprocess(other), rtol=0, atol=0)


def test_a_compiled_call_follows_its_source():
    """Other statistics in one compiled function, the reference itself first: none may be mistaken."""
    images = torch.from_numpy(tissue(np.random.default_rng(6), (2, 16, 24)))
    sources = [TARGET, *(kernels.hsd_moments(tissue(np.random.default_rng(k), (50, 50))) for k in range(3))]

    def run(pixels, source):
        return kernels.hsd_normalize(pixels, source, TARGET, dtype="float32")

    compiled = torch.compile(run, backend="aot_eager")
    for source in sources:
        torch.testing.assert_close(compiled(images, source), run(images, source), rtol=0, atol=0)
    per_image = torch.compile(run, backend="aot_eager")
    for pair in (sources[:2], sources[2:]):
        torch.testing.assert_close(per_image(images, pair), run(images, pair), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*singular.*:RuntimeWarning")
def test_a_singular_source_compiles():
    images = torch.full((1, 8, 8, 3), 200, dtype=torch.uint8)
    flat = kernels.hsd_moments(images)

    def run(pixels):
        return kernels.hsd_normalize(pixels, flat, TARGET)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(images), run(images))


def test_opcheck():
    for x in (torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, requires_grad=True)):
        torch.library.opcheck(torch_ops.scale_shift_op, (x, [1.0, 2.0, 3.0], [0.0, 1.0, 2.0]))
    images = torch.from_numpy(tissue(np.random.default_rng(7), (2, 8, 12)))
    numbers = [*SOURCE.numbers(), *TARGET.numbers()]
    for pixels in (images, images.transpose(1, 2)):
        for dtype in ("uint8", "float16"):
            arguments = (pixels, numbers, [1 / 255] * 3, [0.0] * 3, dtype)
            torch.library.opcheck(torch_ops.hsd_normalize_op, arguments)


def test_compiled_gradient_equals_the_eager_one():
    def loss(x):
        return kernels.scale_shift(x, [1.0, 2.0, 3.0], [0.0, 0.0, 1.0]).square().sum()

    gradients = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        x = torch.linspace(-1, 1, 48).reshape(2, 3, 8).requires_grad_()
        function(x).backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_exports():
    class Preprocess(torch.nn.Module):
        def forward(self, images):
            return preprocess(images)

    images = torch.from_numpy(tissue(np.random.default_rng(4), (2, 32, 48)))
    program = torch.export.export(Preprocess(), (images,))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {"fastwsi.hsd_normalize.default", "fastwsi.scale_shift.default"} <= names
    torch.testing.assert_close(program.module()(images), preprocess(images), rtol=0, atol=0)


def test_moments_break_the_graph_and_still_work():
    def brightness(images):
        return images.float().mean() + kernels.hsd_moments(images).density_mean

    images = torch.from_numpy(tissue(np.random.default_rng(5), (16, 16)))
    compiled = torch.compile(brightness, backend="aot_eager")
    torch.testing.assert_close(compiled(images), brightness(images))


def test_eager_calls_bypass_the_operator(monkeypatch):
    """An operator call costs several times the rest of a small call."""
    import fastwsi.kernels.torch_ops as ops

    def forbidden(*args):
        raise AssertionError("the operator was called in eager mode")

    monkeypatch.setattr(ops, "scale_shift_op", forbidden)
    monkeypatch.setattr(ops, "hsd_normalize_op", forbidden)
    x = torch.ones(1, 3, 2, 2, requires_grad=True)
    assert kernels.scale_shift(x, [1, 2, 3], [0, 0, 0]).sum().item() == 24
    kernels.hsd_normalize(torch.zeros(4, 4, 3, dtype=torch.uint8), SOURCE, TARGET)
