"""RMSProp against the formula, written out in numpy."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from fastwsi.engine.optimisers import TensorFlowRMSProp


def formula(weight, gradients, rates, decay=0.9, momentum=0.9, epsilon=1.0, weight_decay=0.0):
    """All weights that the steps pass through."""
    square, step, passed = np.ones_like(weight), np.zeros_like(weight), []
    for gradient, rate in zip(gradients, rates, strict=True):
        pull = gradient + weight_decay * weight
        square = decay * square + (1 - decay) * pull**2
        step = momentum * step + rate * pull / np.sqrt(square + epsilon)
        weight = weight - step
        passed.append(weight)
    return passed


@pytest.mark.parametrize(
    "settings", [{}, {"epsilon": 1e-3, "momentum": 0.5}, {"weight_decay": 0.1, "decay": 0.99}]
)
def test_over_a_change_of_the_learning_rate(settings):
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal(7), rng.standard_normal((12, 7))
    rates = [0.05] * 6 + [0.025] * 6
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = TensorFlowRMSProp([weight], **settings)
    for gradient, rate, wanted in zip(
        gradients, rates, formula(start, gradients, rates, **settings), strict=True
    ):
        optimiser.param_groups[0]["lr"] = rate
        weight.grad = torch.from_numpy(gradient)
        optimiser.step()
        np.testing.assert_allclose(weight.detach().numpy(), wanted, rtol=1e-12)


def test_torchs_own_is_another():
    """The reason why this one is here."""
    ours, theirs = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    a = TensorFlowRMSProp([ours], lr=0.05)
    b = torch.optim.RMSprop([theirs], lr=0.05, alpha=0.9, eps=1.0, momentum=0.9)
    for _ in range(3):
        for weight, optimiser in ((ours, a), (theirs, b)):
            weight.grad = torch.full((1,), 0.5)
            optimiser.step()
    assert abs(ours.item() - theirs.item()) > 0.01


def test_goes_on_from_its_state():
    def trained(steps, start=None):
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 2)
        optimiser = TensorFlowRMSProp(network.parameters(), lr=0.1)
        if start is not None:
            network.load_state_dict(start[0])
            optimiser.load_state_dict(start[1])
        for step in steps:
            optimiser.zero_grad()
            network(torch.full((1, 3), float(step))).square().sum().backward()
            optimiser.step()
        return copy.deepcopy((network.state_dict(), optimiser.state_dict()))

    whole = trained(range(1, 7))
    parted = trained(range(4, 7), trained(range(1, 4)))
    for name, value in whole[0].items():
        assert torch.equal(parted[0][name], value)


def test_groups_closures_and_weights_without_gradient():
    used, unused, frozen = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    optimiser = TensorFlowRMSProp([{"params": [used, unused]}, {"params": [frozen], "lr": 0.0}], lr=0.1)

    def closure():
        optimiser.zero_grad()
        loss = (used.sum() + frozen.sum()) ** 2
        loss.backward()
        return loss

    assert optimiser.step(closure).item() == 16
    assert (used < 1).all()
    assert torch.equal(unused, torch.ones(2))
    assert torch.equal(frozen, torch.ones(2))


def test_arguments():
    weight = torch.nn.Parameter(torch.ones(1))
    for name, value in (
        ("lr", -1),
        ("decay", 1),
        ("momentum", -0.1),
        ("epsilon", float("nan")),
        ("weight_decay", -1),
    ):
        with pytest.raises(ValueError, match=f"{name}: got"):
            TensorFlowRMSProp([weight], **{name: value})
    sparse = torch.nn.Embedding(3, 2, sparse=True)
    optimiser = TensorFlowRMSProp(sparse.parameters())
    sparse(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="got a sparse gradient"):
        optimiser.step()
