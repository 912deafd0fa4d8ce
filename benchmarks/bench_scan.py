"""Scanning a slide to its heatmap on two cores, beside the pipeline of openslide and torch one writes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import fastwsi
from benchmarks.measure import Entry, time_call
from fastwsi.detectors import Liu2017
from fastwsi.engine import Scan, scan
from fastwsi.nn import for_inference
from fastwsi.slides import synthetic_slide, write_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.measure import Role

CORES, WORKERS, BATCH = 2, 2, 32
SIZE, STRIDE = (4096, 2560), 128
RECIPE = Liu2017.recipes["liu2017-small"].changed({"scan.orientations": False})
SIDE = RECIPE.patch
FLOOR = 2.0
PLAIN, HYBRID = "openslide, DataLoader, torch", "the same with our network"


@pytest.fixture(scope="module", autouse=True)
def _two_threads() -> Iterator[None]:
    """Let both sides compute on both cores."""
    before = torch.get_num_threads(), fastwsi.get_num_threads()
    torch.set_num_threads(CORES)
    fastwsi.set_num_threads(CORES)
    yield
    torch.set_num_threads(before[0])
    fastwsi.set_num_threads(before[1])


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEG tiles of 256 pixels, 4:2:0, with a pyramid."""
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    write_slide(path, synthetic_slide(1, size=SIZE, mpp=0.25, lesions=["micro"]), mpp=0.25)
    return path


@pytest.fixture(scope="module")
def detector() -> Liu2017:
    """Random weights, whose scores differ from patch to patch."""
    made = Liu2017(RECIPE)
    with torch.no_grad():
        made.network.fc.weight *= 20  # type: ignore[operator,union-attr]
    return made


def ours(path: Path, detector: Liu2017) -> Scan:
    with fastwsi.open_slide(path) as opened:
        return scan(detector, opened, stride=STRIDE, device="cpu")


def corners() -> list[tuple[int, int]]:
    """Where patches lie, row by row."""
    margin = (SIDE - STRIDE + 1) // 2
    return [(x - margin, y - margin) for y in range(0, SIZE[1], STRIDE) for x in range(0, SIZE[0], STRIDE)]


class Plain(torch.utils.data.Dataset[torch.Tensor]):
    """Patches read with openslide as PIL images, as network input."""

    def __init__(self, path: Path) -> None:
        self._path, self._corners = path, corners()
        self._slide: Any = None

    def __len__(self) -> int:
        return len(self._corners)

    def __getitem__(self, index: int) -> torch.Tensor:
        import openslide
        from PIL import Image

        if self._slide is None:  # in the worker
            self._slide = openslide.OpenSlide(self._path)
        region = self._slide.read_region(self._corners[index], 0, (SIDE, SIDE))
        white = Image.new("RGB", region.size, "white")  # what lies outside the slide
        white.paste(region, mask=region.getchannel("A"))
        return torch.from_numpy(np.asarray(white).copy()).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)


def theirs(path: Path, network: torch.nn.Module, layout: torch.memory_format) -> np.ndarray[Any, Any]:
    loader = torch.utils.data.DataLoader(Plain(path), batch_size=BATCH, num_workers=WORKERS)
    with torch.inference_mode():
        found = [network(batch.contiguous(memory_format=layout)).softmax(1)[:, 1] for batch in loader]
    return torch.cat(found).numpy().reshape(SIZE[1] // STRIDE, SIZE[0] // STRIDE)


@pytest.mark.parametrize("who", ["fastwsi", PLAIN, HYBRID])
def test_a_slide(benchmark: BenchmarkFixture, slide: Path, detector: Liu2017, who: str) -> None:
    plain = partial(theirs, slide, detector.network.eval(), torch.contiguous_format)
    ready = for_inference(detector.network)
    runs: dict[str, Callable[[], Any]] = {
        "fastwsi": partial(ours, slide, detector),
        PLAIN: plain,
        HYBRID: partial(theirs, slide, ready, torch.channels_last),
    }
    found = runs[who]()  # also warms up
    if who == "fastwsi":
        found = found.heatmap
        np.testing.assert_allclose(found, plain(), rtol=0, atol=1e-4)
    else:
        np.testing.assert_allclose(found, ours(slide, detector).heatmap, rtol=0, atol=1e-4)
    assert found.std() > 0.01
    last: list[Any] = []
    role: Role = "ours" if who == "fastwsi" else "peer"
    pixels = len(corners()) * SIDE**2
    group = f"{len(corners())} patches of {SIDE}, stride {STRIDE}, small Inception-V3, {CORES} cores"
    entry = Entry(group, who, role, pixels, 3 * pixels, FLOOR if who == PLAIN else None)
    time_call(benchmark, lambda: last.append(runs[who]()), entry, rounds=3, warm_up=False)
    if who == "fastwsi":
        benchmark.extra_info["note"] = str(last[-1])
