"""A trunk on the whole image and streamed, beside each other: what it returns, and every gradient."""

from __future__ import annotations

import torch

from fastwsi.streaming import Streamed

EXACT = 1e-11
"""What two orders of summation in float64 may differ by, relative to the norm of a tensor."""


def flat(outputs):
    """The tensors of an output: a tensor, or tuples, lists and dicts of them."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    each = outputs.values() if isinstance(outputs, dict) else outputs
    return [tensor for part in each for tensor in flat(part)]


def probes(outputs, seed=0):
    """What the loss weighs the outputs by."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(tensor.shape, generator=generator, dtype=torch.float64) for tensor in outputs]


def results(network, image, trunk, *, of_image=True):
    """Outputs, and the gradients of a loss by name: those of parameters, and the image's as "image"."""
    leaf = image.clone().requires_grad_(of_image)
    outputs = flat(network(leaf * 1.0 if network is trunk else leaf))  # lest it is written to
    named = {name: each for name, each in trunk.named_parameters() if each.requires_grad}
    if of_image:
        named["image"] = leaf
    loss = sum((o.double() * p).sum() for o, p in zip(outputs, probes(outputs), strict=True))
    gradients = dict.fromkeys(named)
    if loss.requires_grad:
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        gradients = dict(zip(named, found, strict=True))
    return [tensor.detach() for tensor in outputs], gradients


def error(found, expected):
    """How far a tensor is off, relative to the norm of the right one; absolute where that is zero."""
    off = (found.double() - expected.double()).norm()
    norm = expected.double().norm()
    return float((off / norm if norm > 0 else off).detach())


def check(trunk, image, rows, *, of_image=True, limit=EXACT, stream=None):
    """The trunk streamed gives what it gives whole, forward and backward."""
    trunk.eval()
    stream = Streamed(trunk, rows=rows) if stream is None else stream
    expected, gradients = results(trunk, image, trunk, of_image=of_image)
    outputs, found = results(stream, image, trunk, of_image=of_image)
    assert [o.shape for o in outputs] == [o.shape for o in expected]
    assert [o.dtype for o in outputs] == [o.dtype for o in expected]
    for i, (output, right) in enumerate(zip(outputs, expected, strict=True)):
        assert error(output, right) <= limit, f"output {i}: off by {error(output, right):.2e}"
    for name, right in gradients.items():
        if right is None:
            assert found[name] is None, f"{name}: got a gradient, expected None"
            continue
        assert found[name] is not None, f"{name}: got None, expected a gradient"
        assert found[name].dtype == right.dtype
        assert error(found[name], right) <= limit, f"{name}: off by {error(found[name], right):.2e}"
