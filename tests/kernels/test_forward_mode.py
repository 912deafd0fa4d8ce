"""Reverse over forward mode: tangents that require grad themselves."""

from __future__ import annotations

import pytest
import torch
import torch.autograd.forward_ad as fwad
import torch.nn.functional as F  # noqa: N812

from fastwsi import kernels


def plainly_oriented(x):
    return x.transpose(-2, -1).flip(-2)


ORIENTATION = next(
    k
    for k in range(8)
    if torch.equal(
        kernels.orient(torch.eye(3)[None, :2], k, axes=(1, 2)), plainly_oriented(torch.eye(3)[None, :2])
    )
)
SCALE, SHIFT = [2.0, -3.0], [1.0, 0.0]
CASES = {
    "dense_pool": (lambda x: kernels.dense_pool(x, 3, 2), lambda x: F.avg_pool2d(x, 3, 2)),
    "scale_shift": (
        lambda x: kernels.scale_shift(x, SCALE, SHIFT),
        lambda x: x * torch.tensor(SCALE).view(2, 1, 1) + torch.tensor(SHIFT).view(2, 1, 1),
    ),
    "orient": (lambda x: kernels.orient(x, ORIENTATION, axes=(2, 3)), plainly_oriented),
    "orient_mean": (
        lambda x: kernels.orient_mean([x[:, 0, 0, :]] * 8, axes=None),
        lambda x: x[:, 0, 0, :],
    ),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own, at first use
@pytest.mark.parametrize("name", CASES)
def test_gradients_reach_a_tangent(name):
    found = []
    for function in CASES[name]:
        torch.manual_seed(0)
        x = torch.randn(2, 2, 6, 7, dtype=torch.float64)
        weight = torch.randn_like(x).requires_grad_()
        with fwad.dual_level():
            value, tangent = fwad.unpack_dual(function(fwad.make_dual(x, weight.sin())))
            loss = (value + 1).square().sum() + tangent.pow(3).sum()
            (gradient,) = torch.autograd.grad(loss, weight)
        found.append(gradient)
    torch.testing.assert_close(found[0], found[1])
    assert found[0].abs().max() > 0
