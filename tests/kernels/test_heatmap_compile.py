"""Under torch.compile heatmaps break the graph, in order: right answers, no warnings, no endless calls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi import kernels
from fastwsi.kernels.graph_breaks import outside_graphs


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()


def stitch(tile):
    stitcher = kernels.Stitcher((7, 6), like=tile)
    stitcher.add(tile.sin(), 1, 2)
    stitcher.add(tile.sin() * 2, 2, 1)
    return stitcher.heatmap() + 1, stitcher.count * 2


def stitch_and_close(tile):
    stitcher = kernels.Stitcher((7, 6), like=tile)
    stitcher.add(tile.sin(), 1, 2)
    heatmap = stitcher.heatmap()
    stitcher.close()
    return heatmap + 1, tile + 1


def sums(tile):
    state, count = torch.zeros(2, 6, 7, dtype=torch.float64), torch.zeros(6, 7, dtype=torch.int32)
    kernels.accumulate(state, count, tile.sin(), 1, 2)
    kernels.accumulate(state, count, torch.stack([tile, tile]), [0, 3], [0, 1])
    return kernels.average(state, count) + 1, count * 2


def blur(tile):
    return kernels.smooth(tile.sin(), 1.5, mode="wrap") + 1, tile


def regions(tile):
    found = kernels.components(tile.sin(), 0.2)
    return found.mean + 1, found.x


def peaks(tile):
    found = kernels.nms(tile.sin(), 1, 0.2)
    return found.score + 1, found.x


@pytest.mark.parametrize("run", [stitch, stitch_and_close, sums, blur, regions, peaks])
def test_stands_in_a_compiled_function(run):
    compiled = torch.compile(run, backend="eager")
    for seed in range(2):
        tile = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed))
        for found, expected in zip(compiled(tile), run(tile), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_stitcher_made_before_may_be_used_in_a_compiled_function():
    stitcher = kernels.Stitcher((7, 6), like=torch.zeros(1))

    def step(tile, x):
        stitcher.add(tile * 2, x, 1)
        return tile + 1

    compiled = torch.compile(step, backend="eager")
    for x in (0, 3):
        compiled(torch.ones(4, 5), x)
    expected = np.zeros((6, 7), np.int32)
    expected[1:5, 0:5] += 1
    expected[1:5, 3:8] += 1
    assert torch.equal(stitcher.count, torch.from_numpy(expected))
    assert torch.equal(stitcher.heatmap(), 2 * torch.from_numpy(expected > 0).float())


def test_export_ends_in_an_error_and_not_in_endless_calls():
    class Blur(torch.nn.Module):
        def forward(self, tile):
            return kernels.smooth(tile, 1.0)

    with pytest.raises(Exception) as caught:  # noqa: PT011  (torch has many for it)
        torch.export.export(Blur(), (torch.rand(4, 5),), strict=False)
    assert not isinstance(caught.value, RecursionError)


def test_calls_each_once_and_keeps_name_and_words():
    calls = []

    @outside_graphs
    def noted(x):
        """Words."""
        calls.append(torch.compiler.is_compiling())
        return x + 1

    def run(x):
        return noted(x * 2) * 3

    assert torch.compile(run, backend="eager")(torch.ones(1)).item() == 9
    assert run(torch.ones(1)).item() == 9
    assert calls == [False, False]
    assert (noted.__name__, noted.__doc__) == ("noted", "Words.")
