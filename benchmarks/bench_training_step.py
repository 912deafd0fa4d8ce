"""A training step of the whole network: a run of ours beside a loop in plain torch."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from benchmarks.measure import Entry, time_call
from fastwsi.data import PatchSample
from fastwsi.detectors import Liu2017
from fastwsi.engine import train
from fastwsi.nn import inception_v3

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.measure import Role

BATCH, STEPS = 32, 6
WARM = 2  # steps that are left out: memory is new to them
SLOWER = 1.05  # at most, than the plain loop


class Noise(torch.utils.data.Dataset[Any]):
    """Patches that cost nothing to read."""

    def __init__(self, side: int) -> None:
        self._pixels = np.random.default_rng(0).integers(80, 250, (side, side, 3), np.uint8)

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> PatchSample:
        return PatchSample(self._pixels, index % 2, 0.0, None, "noise", (0, 0), index, "any")


class Timed(pl.Callback):
    """Notes when steps end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())


def ours(folder: Path, steps: int) -> float:
    """Seconds of a step of a run."""
    recipe = Liu2017.recipes["liu2017"].changed({"steps": steps, "validate_every": 0, "workers": 0})
    made, timed = Liu2017(recipe), Timed()
    made.samples = lambda *, training: Noise(recipe.patch + 2 * recipe.jitter) if training else None  # type: ignore[method-assign]
    train(made, folder, accelerator="cpu", devices=1, progress=False, callbacks=[timed])
    return float(np.median(np.diff(timed.ends)[WARM - 1 :]))


def plain(steps: int) -> float:
    """Seconds of a step of a loop."""
    network = inception_v3(num_classes=2, dropout=0.2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.RMSprop(network.parameters(), lr=0.001, momentum=0.9)
    pixels = torch.rand(BATCH, 3, 299, 299).contiguous(memory_format=torch.channels_last)
    labels, ends = torch.arange(BATCH) % 2, []
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(pixels), labels).backward()
        optimiser.step()
        ends.append(time.perf_counter())
    return float(np.median(np.diff(ends)[WARM - 1 :]))


@pytest.mark.parametrize("who", ["fastwsi", "plain torch"])
def test_a_step(benchmark: BenchmarkFixture, tmp_path: Path, who: str) -> None:
    """A step of a run reads, varies, trains and logs; the plain loop has its pixels ready."""
    found: list[float] = []
    step = partial(ours, tmp_path) if who == "fastwsi" else plain
    role: Role = "ours" if who == "fastwsi" else "peer"
    group = f"a step of Inception-V3, {BATCH} patches of 299: ours may take {SLOWER:g} x"
    entry = Entry(group, who, role, BATCH * 299**2, floor=None if who == "fastwsi" else 1 / SLOWER)
    time_call(benchmark, lambda: found.append(step(STEPS)), entry, rounds=1, warm_up=False)
    benchmark.extra_info.update(seconds_median=found[0], seconds_min=found[0])
