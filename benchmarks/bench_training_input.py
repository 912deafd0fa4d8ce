"""What a training step waits for: batches of varied patches, beside a plain Dataset of the usual packages."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from benchmarks.measure import Entry, time_call
from fastwsi import data
from fastwsi.detectors import Liu2017
from fastwsi.slides import SyntheticSet, write_camelyon16

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

BATCH, BATCHES, WORKERS = 32, 32, 2
FLOOR = 3.0
RECIPE = Liu2017.recipes["liu2017"]
SIDE = RECIPE.patch + 2 * RECIPE.jitter


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides in Camelyon16's layout, larger than any cache of tiles, as scanners' are."""
    path = tmp_path_factory.mktemp("slides")
    write_camelyon16(path, SyntheticSet(2, 0, (12288, 8192), 0.5, 1))
    return path


@pytest.fixture(scope="module")
def patches(root: Path) -> data.PatchDataset:
    records = data.camelyon16(root, validation=0).records
    return data.balanced_patches(records, size=SIDE, centre=RECIPE.centre)


class Plain(torch.utils.data.Dataset[Any]):
    """The same patches, read with openslide, made a PIL image, varied with albumentations."""

    def __init__(self, patches: data.PatchDataset) -> None:
        self.sampler, self.records = patches.sampler, patches.records
        self._open: dict[int, Any] = {}
        self._vary: Any = None

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        import albumentations
        import openslide

        if self._vary is None:
            self._vary = albumentations.Compose(
                [
                    albumentations.RandomCrop(RECIPE.patch, RECIPE.patch),
                    albumentations.D4(p=1),
                    albumentations.ColorJitter((0.75, 1.25), (0.25, 1.75), (0.75, 1.25), (-0.04, 0.04), p=1),
                    albumentations.Normalize((0.5,) * 3, (0.5,) * 3),
                ]
            )
        draw = self.sampler.draw(index)
        if draw.slide not in self._open:
            self._open[draw.slide] = openslide.OpenSlide(self.records[draw.slide].path)
        corner = tuple(int(c - SIDE / 2) for c in draw.centre)
        region = self._open[draw.slide].read_region(corner, 0, (SIDE, SIDE)).convert("RGB")
        pixels = self._vary(image=np.asarray(region))["image"]
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), int(draw.stream == "tumor")


DETECTOR = Liu2017(Liu2017.recipes["liu2017-small"])  # a run has one for all its batches


def ours(patches: data.PatchDataset) -> Iterator[torch.Tensor]:
    """Batches as a training run makes them."""
    order = data.Consecutive(BATCHES, BATCH)
    for batch in data.patch_loader(patches, order, workers=WORKERS):
        yield DETECTOR.pixels(batch, training=True)


def theirs(patches: data.PatchDataset) -> Iterator[torch.Tensor]:
    order = data.Consecutive(BATCHES, BATCH)
    loader = torch.utils.data.DataLoader(Plain(patches), batch_sampler=order, num_workers=WORKERS)
    for pixels, _ in loader:
        yield pixels


@pytest.mark.parametrize("who", ["fastwsi", "openslide, PIL, albumentations"])
def test_batches(benchmark: BenchmarkFixture, patches: data.PatchDataset, who: str) -> None:
    make = ours if who == "fastwsi" else theirs
    for package in ("albumentations", "openslide"):  # here, so that no worker has to import them
        pytest.importorskip(package)

    def run() -> int:
        return sum(len(batch) for batch in make(patches))

    first = next(islice(make(patches), 1))
    assert first.shape == (BATCH, 3, RECIPE.patch, RECIPE.patch)
    assert -1 <= float(first.min()) < -0.2 < 0.2 < float(first.max()) <= 1
    pixels = BATCH * BATCHES * RECIPE.patch**2
    entry = Entry(
        f"{BATCHES} batches of {BATCH} patches of {RECIPE.patch}, {WORKERS} workers", who,
        "ours" if who == "fastwsi" else "peer", pixels, 15 * pixels, None if who == "fastwsi" else FLOOR,
    )  # fmt: skip
    time_call(benchmark, run, entry, rounds=3)
