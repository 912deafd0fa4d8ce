"""Scanning on a GPU: the CPU's heatmaps, whatever the batches, through pinned memory that is used again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi.engine.scanning.device import OnGPU, pipeline

IMAGE = np.random.default_rng(0).integers(60, 250, (301, 403, 3), np.uint8)
# Parts unlike each other: noise alone would be the same everywhere.
IMAGE[:150, :200] //= 2
IMAGE[200:, :, 0] = 250


@pytest.mark.parametrize(("count", "size"), [(100, 7), (3, 7), (9, 3), (0, 5), (64, 1)])
def test_scores_come_in_order_whatever_is_on_its_way(count, size):
    """Each batch lies in pinned memory that others had before; its scorer is slow, and copies overtake it."""
    pixels = np.random.default_rng(1).integers(0, 256, (count, 64, 64, 3), np.uint8)
    weight = torch.rand(2048, 2048, device="cuda")

    def slow(batch):
        held = weight
        for _ in range(20):
            held = torch.nn.functional.normalize(held @ weight)
        return batch.float().mean((1, 2, 3)) + 0 * held.sum()

    made = pipeline(slow, torch.device("cuda"), count)
    assert isinstance(made, OnGPU)
    for first in range(0, count, size):
        batch = pixels[first : first + size].copy()
        made.add(batch)
        batch[:] = 0  # the caller's memory is the caller's again
    np.testing.assert_allclose(made.finish(), pixels.reshape(count, -1).mean(1, dtype=np.float64), rtol=1e-5)
    assert made.busy > 0 or not count


@pytest.fixture
def detectors():
    """The room of detectors, which needs packages that a machine may not have."""
    return pytest.importorskip("fastwsi.detectors.liu2017", reason="detectors need lightning and pydantic")


@pytest.fixture(autouse=True)
def _full_float32():
    """Without TensorFloat-32, in whose ten bits convolutions would be done otherwise."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def detector(room, seed=0, **changes):
    small = room.Liu2017.recipes["liu2017-small"]
    recipe = small.changed({"patch": 75, "centre": 25, "scan.orientations": False, "seed": seed, **changes})
    made = room.Liu2017(recipe)
    with torch.no_grad():
        made.network.fc.weight *= 20
    return made


def scanned(model, device, **options):
    from fastwsi import open_slide
    from fastwsi.engine import scan

    slide = open_slide(IMAGE, mpp=0.5)
    return scan(model, slide, device=device, **{"precision": "32", "stride": 20, **options})


def heatmap(model, device, **options):
    return scanned(model, device, **options).heatmap


@pytest.mark.parametrize("orientations", [False, True])
@pytest.mark.parametrize("mpp", [[], [1.0], [0.5, 1.3]], ids=str)
def test_is_the_cpus(detectors, mpp, orientations):
    model = detector(detectors, mpp=mpp)
    wanted = heatmap(model, "cpu", orientations=orientations)
    found = heatmap(model, "cuda", orientations=orientations)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    assert wanted.std() > 1e-3


@pytest.mark.parametrize("size", [1, 4, 23, 336, 1000])
def test_any_batches_in_the_same_pinned_memory(detectors, size):
    """336 cells: many batches for three slots, a last one that is smaller, one batch, and less than one."""
    model = detector(detectors)
    wanted = heatmap(model, "cpu")
    assert wanted.size == 336
    for _ in range(3):
        np.testing.assert_allclose(heatmap(model, "cuda", batch_size=size), wanted, rtol=0, atol=1e-4)


def test_an_ensemble(detectors):
    from fastwsi.detectors import Ensemble

    model = Ensemble([detector(detectors, 1), detector(detectors, 2)])
    np.testing.assert_allclose(heatmap(model, "cuda"), heatmap(model, "cpu"), rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "16"])
def test_half_precision_is_near(detectors, precision):
    model = detector(detectors)
    apart = np.abs(heatmap(model, "cuda", precision=precision) - heatmap(model, "cpu"))
    assert 0 < apart.max() < 0.05


def test_times_are_told(detectors):
    found = scanned(detector(detectors), "cuda", batch_size=16)
    for share in (found.device, found.host, found.reader, found.waited):
        assert 0 < share < 1
