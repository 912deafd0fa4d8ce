"""Images cut into upright windows, by hand and by a memory budget: the same features and gradients."""

from __future__ import annotations

import pytest
import torch

import fastwsi
from fastwsi._numbers import bytes_of
from fastwsi.streaming import Streamed
from streaming import networks
from streaming.compare import check


@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize("name", list(networks.SMALL))
def test_windows_give_the_whole_image(name, cells, monkeypatch):
    """Pyramids too, whose outputs are read by other outputs in more than one window."""
    monkeypatch.setattr("fastwsi.streaming.units._COARSE", 16)
    trunk = networks.SMALL[name]()
    height, width = networks.size_for(name, 70, 150)
    windows = []

    def plan_for(graph, height, width, pace):
        layout = layout_of_image(graph, height, width)
        plan = Plan(graph, layout, pace, cells)
        windows.append(len(plan.regions(skipping=False)))
        return plan

    from fastwsi.streaming.plans import Plan
    from fastwsi.streaming.units import layout_of_image

    monkeypatch.setattr("fastwsi.streaming.streamed.plan_for", plan_for)
    check(trunk, networks.image(height, width, batch=2), 16)
    assert all(count > 1 for count in windows) or name in {"resnet50"}


def test_memory_decides_the_windows():
    trunk = networks.SMALL["resnet18"]()
    image = networks.image(90, 1200)
    wide = Streamed(trunk, memory="1GiB").explain(90, 1200)
    assert (wide.windows, wide.band) == (1, 90)
    least = Streamed(trunk, rows=16).explain(90, 1200).training_memory
    narrow = Streamed(trunk, memory=least - 200_000)
    plan = narrow.explain(90, 1200)
    assert plan.windows > 1
    assert plan.halo > 1
    assert plan.training_memory <= least - 200_000
    check(trunk, image, None, of_image=False, stream=narrow)


def test_what_fits_nowhere_says_what_would():
    trunk = networks.SMALL["resnet18"]()
    stream = Streamed(trunk, memory="1MB")
    with pytest.raises(
        ValueError, match=r"memory: got 1 MiB for an image of 900 x 800, expected at least (\d+) MiB"
    ) as e:
        stream.explain(900, 800)
    with pytest.raises(ValueError, match=r"memory: got"):
        stream(networks.image(900, 800))
    least = int(str(e.value).split("at least ")[1].split(" ")[0]) + 1
    assert Streamed(trunk, memory=f"{least}MiB").explain(900, 800).windows > 1


def test_a_pass_without_gradients_needs_less():
    trunk = networks.SMALL["resnet18"]()
    needed = Streamed(trunk, rows=16).explain(300, 900)
    budget = needed.forward_memory + needed.outputs + 500_000
    assert budget < needed.training_memory
    seen = []
    stream = Streamed(trunk, memory=budget, progress=lambda *told: seen.append(told))
    with torch.no_grad():
        stream(networks.image(300, 900))
    assert {what for what, _, _ in seen} == {"forward"}
    assert seen[-1][1] == seen[-1][2] >= 300


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("6GiB", 6 * 2**30),
        ("6 gib", 6 * 2**30),
        ("800MB", 8 * 10**8),
        (1000, 1000),
        ("1.5KiB", 1536),
        ("1e9", 10**9),
    ],
)
def test_sizes_in_words(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "6 GiBs", "-1GB", "1.2.3MB", "0", 0])
def test_no_sizes(text):
    with pytest.raises(ValueError, match=r"^memory: got"):
        Streamed(torch.nn.Conv2d(3, 4, 3), memory=text)


@pytest.mark.parametrize("value", [True, [1], 1j])
def test_no_sizes_at_all(value):
    with pytest.raises(TypeError, match=r"^memory: got"):
        Streamed(torch.nn.Conv2d(3, 4, 3), memory=value)


def test_rows_or_memory():
    with pytest.raises(ValueError, match=r"^rows, memory: got 64 and '1GB', expected one of them"):
        Streamed(torch.nn.Conv2d(3, 4, 3), 64, memory="1GB")
    for rows in (0, -3):
        with pytest.raises(ValueError, match=r"^rows: got"):
            Streamed(torch.nn.Conv2d(3, 4, 3), rows)
    with pytest.raises(TypeError, match=r"^rows: got"):
        Streamed(torch.nn.Conv2d(3, 4, 3), 2.5)


def test_plans_are_readable_and_quick():
    trunk, _ = fastwsi.nn.split(fastwsi.nn.resnet34(), "layer3")
    plan = Streamed(trunk, rows=128).explain(100_000, 80_000)
    text = str(plan)
    assert "image 100000 x 80000, bands of 128 rows\n" in text
    assert "an output sees 547 x 547 pixels" in text
    assert "layer3.5.conv2" in text
    assert "convolution, batch norm, add, relu" in text
    assert "batch norm and dropout compute as in evaluation" in text
    assert plan.outputs == 256 * 6250 * 5000 * 4
    assert 1.3 < plan.work <= 4 / 3
    assert plan.lines[0].lag == 3
    # Flat in height, but for the outputs.
    low = Streamed(trunk, rows=128).explain(20_000, 80_000)
    assert plan.memory == low.memory
    assert plan.forward_memory < plan.memory
    assert Streamed(trunk, rows=256).explain(100_000, 80_000).memory > plan.memory


def test_frozen_networks_need_less():
    trunk, _ = fastwsi.nn.split(fastwsi.nn.resnet18(), "layer3")
    whole = Streamed(trunk).explain(4096, 4096)
    trunk.conv1.requires_grad_(False)
    trunk.layer1.requires_grad_(False)
    trunk.bn1.requires_grad_(False)
    part = Streamed(trunk).explain(4096, 4096)
    assert part.memory < 0.8 * whole.memory


class Mismatched(torch.nn.Module):
    """Maps of strides 2 and 3 along an axis meet, which only some sizes allow."""

    def __init__(self, axis):
        super().__init__()
        steps = [(2, 1), (3, 1)] if axis == 0 else [(1, 2), (1, 3)]
        self.one = torch.nn.Conv2d(3, 2, 1, steps[0])
        self.other = torch.nn.Conv2d(3, 2, 1, steps[1], padding=(2, 0) if axis == 0 else (0, 2))

    def forward(self, x):
        return self.one(x) + self.other(x)


@pytest.mark.parametrize(
    ("axis", "told"), [(0, "background cannot be skipped: "), (1, "it cannot be cut into windows, nor can ")]
)
def test_plans_say_what_cannot_be_done(axis, told):
    size = (7, 30) if axis == 0 else (30, 7)
    trunk = Mismatched(axis).double()
    text = str(Streamed(trunk, rows=4).explain(*size))
    assert told in text
    assert "got maps of strides 2 and 3" in text
    check(trunk, networks.image(*size), 4)
    assert told not in str(Streamed(networks.SMALL["resnet18"](), rows=4).explain(64, 64))
