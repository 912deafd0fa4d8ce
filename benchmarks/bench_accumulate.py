"""Tiles laid on a heatmap, and the heatmap read back, beside plain sums in numpy or torch and a copy."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from benchmarks.augment_scene import level_of
from benchmarks.measure import Entry, Role, time_call, time_on_gpu
from fastwsi.kernels import accumulate, average

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

SIZE, TILES, SIDE = (
    8192,
    1024,
    64,
)  # cells of the heatmap's side, tiles, cells of theirs: far more than a cache
CELLS = TILES * SIDE * SIDE
COPY_FLOOR, NUMPY_FLOOR = 0.60, 1.0
# A float32 tile read, a float64 sum and an int32 count read and written; ours leaves the rounding errors
# alone, as sums of such tiles have none.
BYTES, FLOAT32_BYTES = 28, 20
OURS = ("fastwsi, baseline", "fastwsi, batch", "fastwsi, tile by tile")
PEERS = ("numpy float64", "numpy float32")

Grid = tuple[list[int], list[int]]


@pytest.fixture(scope="module")
def places() -> Grid:
    """Columns and rows of the tiles, anywhere, so that some overlap."""
    rng = np.random.default_rng(11)
    x, y = rng.integers(0, SIZE - SIDE + 1, (2, TILES)).tolist()
    return x, y


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    return np.random.default_rng(12).random((TILES, SIDE, SIDE), np.float32)


@pytest.fixture(scope="module")
def expected(places: Grid, tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts, the slow and obvious way, in float64."""
    return added(np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE), np.int32), tiles, places)


def added(sums: Any, count: Any, tiles: Any, places: Grid) -> tuple[Any, Any]:
    for tile, x, y in zip(tiles, *places, strict=True):
        sums[y : y + SIDE, x : x + SIDE] += tile
        count[y : y + SIDE, x : x + SIDE] += 1
    return sums, count


def one_by_one(state: Any, count: Any, tiles: Any, places: Grid) -> None:
    for tile, x, y in zip(tiles, *places, strict=True):
        accumulate(state, count, tile, x, y)


def copy_of(count: int) -> Callable[[], object]:
    """A copy that reads and writes as many bytes, half of them each."""
    source = np.ones(count // 2 // 8)
    return partial(np.copyto, np.zeros_like(source), source)


def entry(group: str, contender: str, cells: int, bytes_per_cell: int, floor: float | None) -> Entry:
    role: Role = "ceiling" if contender == "copy" else "ours" if contender.startswith("fastwsi") else "peer"
    note = "of as many bytes, in one piece" if role == "ceiling" else ""
    return Entry(group, contender, role, cells, bytes_per_cell * cells, floor, note)


@pytest.mark.parametrize("contender", ["copy", *OURS, *PEERS])
def test_accumulate(
    benchmark: BenchmarkFixture,
    places: Grid,
    tiles: np.ndarray,
    expected: tuple[np.ndarray, np.ndarray],
    contender: str,
) -> None:
    group = f"{TILES} tiles of {SIDE} x {SIDE} float32 onto {SIZE} x {SIZE} cells"
    if contender == "copy":
        time_call(benchmark, copy_of(BYTES * CELLS), entry(group, contender, CELLS, BYTES, None), rounds=20)
        return
    count = np.zeros((SIZE, SIZE), np.int32)
    if contender.startswith("fastwsi"):
        state = np.zeros((2, SIZE, SIZE))
        sums = state[0]
        each = contender == "fastwsi, tile by tile"
        function: Callable[[], object] = (
            partial(one_by_one, state, count, tiles, places)
            if each
            else partial(accumulate, state, count, tiles, *places)
        )
    else:
        sums = np.zeros((SIZE, SIZE), contender.removeprefix("numpy "))
        function = partial(added, sums, count, tiles, places)
    with level_of(contender):
        function()
        assert np.array_equal(count, expected[1])
        if sums.dtype == np.float32:
            np.testing.assert_allclose(sums, expected[0], rtol=1e-6)
        else:
            assert np.array_equal(sums, expected[0])
        floor = NUMPY_FLOOR if contender in PEERS else None
        width = FLOAT32_BYTES if sums.dtype == np.float32 else BYTES
        time_call(benchmark, function, entry(group, contender, CELLS, width, floor), rounds=20)


@pytest.mark.parametrize("contender", ["copy", "fastwsi", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_average(
    benchmark: BenchmarkFixture, expected: tuple[np.ndarray, np.ndarray], contender: str, dtype: str
) -> None:
    group = f"the mean of {SIZE} x {SIZE} cells as {dtype}"
    width = 20 + np.dtype(dtype).itemsize  # sum, error and count
    described = entry(group, contender, SIZE * SIZE, width, NUMPY_FLOOR if contender == "numpy" else None)
    if contender == "copy":
        time_call(benchmark, copy_of(width * SIZE * SIZE), described, rounds=9)
        return
    state, count = np.stack([expected[0], np.zeros_like(expected[0])]), expected[1]
    out = np.full((SIZE, SIZE), np.nan, dtype)

    def plain_mean() -> None:
        """As one writes it, in bands that fit the cache; cells without a tile become 0."""
        for y in range(0, SIZE, 16):
            band = slice(y, y + 16)
            out[band] = (state[0, band] + state[1, band]) / np.maximum(count[band], 1)

    function = partial(average, state, count, out) if contender == "fastwsi" else plain_mean
    function()
    assert np.array_equal(out, (expected[0] / np.maximum(expected[1], 1)).astype(dtype))
    time_call(benchmark, function, described, rounds=9)


@pytest.mark.cuda
@pytest.mark.parametrize("contender", ["copy", "fastwsi", "torch, tile by tile"])
def test_gpu_accumulate(
    benchmark: BenchmarkFixture,
    gpu: torch.device,
    places: Grid,
    tiles: np.ndarray,
    expected: tuple[np.ndarray, np.ndarray],
    contender: str,
) -> None:
    group = f"{TILES} tiles of {SIDE} x {SIDE} float32 onto {SIZE} x {SIZE} cells on the GPU"
    floor = COPY_FLOOR if contender == "fastwsi" else None
    described = entry(group, contender, CELLS, BYTES, floor)
    if contender == "copy":
        source = torch.ones(BYTES * CELLS // 2 // 8, dtype=torch.float64, device=gpu)
        time_on_gpu(benchmark, partial(torch.empty_like(source).copy_, source), described)
        return
    batch = torch.from_numpy(tiles).to(gpu)
    state = torch.zeros((2, SIZE, SIZE), dtype=torch.float64, device=gpu)
    count = torch.zeros((SIZE, SIZE), dtype=torch.int32, device=gpu)
    function: Callable[[], object] = (
        partial(accumulate, state, count, batch, *places)
        if contender == "fastwsi"
        else partial(added, state[0], count, batch, places)
    )
    function()
    assert np.array_equal(state[0].cpu().numpy(), expected[0])
    assert np.array_equal(count.cpu().numpy(), expected[1])
    time_on_gpu(benchmark, function, described, count=50 if contender == "fastwsi" else 3)
