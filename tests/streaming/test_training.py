"""Learning with a streamed trunk: the whole image's loss curve, in one process and in two."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fastwsi.streaming import Streamed
from streaming import networks
from streaming.compare import error


class Model(nn.Module):
    """A trunk and a head that concludes from all positions."""

    def __init__(self, trunk, channels, rows=None):
        super().__init__()
        self.trunk = trunk if rows is None else Streamed(trunk, rows=rows)
        self.head = nn.Linear(channels, 2).to(next(trunk.parameters()).dtype)

    def forward(self, image):
        return self.head(self.trunk(image).amax((2, 3)))


def losses(model, steps=20):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    found = []
    for step in range(steps):
        image = networks.image(60, 50, dtype=torch.float32, seed=step % 4)
        loss = nn.functional.cross_entropy(model(image), torch.tensor([step % 2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return torch.tensor(found)


@pytest.mark.parametrize(("name", "channels"), [("resnet18", 16), ("vgg_norm", 10), ("mobilenet", 10)])
def test_the_loss_curve_is_that_of_whole_images(name, channels):
    trunk = networks.SMALL[name](dtype=torch.float32)
    torch.manual_seed(0)
    whole = Model(trunk, channels)
    streamed = Model(copy.deepcopy(trunk), channels, rows=16)
    streamed.head.load_state_dict(whole.head.state_dict())
    curves = losses(whole), losses(streamed)
    assert curves[0][-4:].mean() < curves[0][:4].mean()
    assert (curves[0] - curves[1]).abs().max() <= 1e-4


def _process(rank, path):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}/store", rank=rank, world_size=2)
    torch.manual_seed(1)
    model = DistributedDataParallel(Model(networks.narrow18(), 16, rows=16))
    for seed in (0, 2):  # twice: gradients accumulate
        model(networks.image(45, 38, seed=seed + rank)).square().sum().backward()
    torch.save([p.grad for p in model.module.parameters()], f"{path}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_have_the_mean_gradient(tmp_path):
    torch.multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    torch.manual_seed(1)
    model = Model(networks.narrow18(), 16)
    for seed in range(4):
        (model(networks.image(45, 38, seed=seed)).square().sum() / 2).backward()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for a, b, parameter in zip(first, second, model.parameters(), strict=True):
        assert torch.equal(a, b)
        assert error(a, parameter.grad) <= 1e-11
