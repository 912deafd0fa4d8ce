"""HSD stain statistics and normalisation beside torch, numpy and torchstain."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import fastwsi
from benchmarks import hsd_peers as peers
from benchmarks import hsd_reference as reference
from benchmarks.measure import Entry, Role, time_call, time_on_gpu
from benchmarks.pictures import stained_tissue
from fastwsi.kernels import HsdMoments, hsd_moments, hsd_normalize, simd_level

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pytest_benchmark.fixture import BenchmarkFixture

SIZE = 2048
BATCH = 16
POISON = 1  # outputs start as what no answer is, or an unwritten one could pass for right
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as most networks want

NORMALISE_FLOOR = 35.0
MOMENTS_FLOOR = 25.0
COPY_FLOOR = 0.60

OURS = ("fastwsi, baseline", "fastwsi, best")
TORCH = ("torch eager", "torch, planes and table", "torch, hand-tuned")
NUMPY = ("numpy", "numpy, planes and table", "numpy, hand-tuned")
NOTES = {
    "torch eager": "formula by formula on channels-last images",
    "numpy": "formula by formula on channels-last images",
    "torch, planes and table": "channels as planes, logarithms from a table",
    "numpy, planes and table": "channels as planes, logarithms from a table",
    "torch, hand-tuned": "in place, constants folded, in bands of rows that fit the cache",
    "numpy, hand-tuned": "in bands of rows that fit the cache",
}


@dataclass(frozen=True)
class Scene:
    """A picture, one that it is to look like, and the right answer."""

    image: np.ndarray
    target_image: np.ndarray
    source: HsdMoments
    target: HsdMoments
    statistics: reference.Statistics
    expected: np.ndarray  # intensities, not rounded

    @property
    def plan(self) -> peers.Plan:
        return peers.Plan.between(self.source, self.target)


@pytest.fixture(scope="module")
def scene() -> Scene:
    image = stained_tissue(SIZE, seed=1)
    target_image = stained_tissue(512, seed=2, haematoxylin=1.3, eosin=0.9)
    source, target = reference.statistics(image), reference.statistics(target_image)
    expected = reference.normalise(image, source, target)
    return Scene(image, target_image, hsd_moments(image), hsd_moments(target_image), source, expected)


def level_of(contender: str) -> AbstractContextManager[None]:
    """Hold fastwsi to its portable code where the contender says so."""
    return simd_level("baseline") if contender == "fastwsi, baseline" else nullcontext()


def entry(
    group: str, contender: str, bytes_per_pixel: int, floors: dict[str, float], images: int = 1
) -> Entry:
    pixels = images * SIZE * SIZE
    role: Role = "ours" if contender.startswith("fastwsi") else "peer"
    shown = contender.replace("best", fastwsi.build_info().simd_chosen)
    note = NOTES.get(contender, "")
    return Entry(group, shown, role, pixels, bytes_per_pixel * pixels, floors.get(contender), note)


def rounds_of(contender: str) -> int:
    return 40 if contender.startswith("fastwsi") else 15


def densities_table(device: torch.device | str, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(peers.DENSITIES).to(device, dtype)


@pytest.mark.parametrize("contender", [*OURS, *TORCH, "numpy, planes and table"])
def test_normalise_to_bytes(benchmark: BenchmarkFixture, scene: Scene, contender: str) -> None:
    image, plan = scene.image, scene.plan
    tensor, table = torch.from_numpy(image), densities_table("cpu", torch.float32)
    out = np.full_like(image, POISON)

    def hand_tuned(rows: torch.Tensor) -> torch.Tensor:
        return peers.torch_bytes(peers.torch_densities_in_place(rows, plan, table))

    ours = partial(hsd_normalize, image, scene.source, scene.target, out=out)
    function = {
        "fastwsi, baseline": ours,
        "fastwsi, best": ours,
        "torch eager": lambda: peers.torch_by_formula(tensor, plan).round().to(torch.uint8),
        "torch, planes and table": lambda: peers.torch_bytes(peers.torch_densities(tensor, plan, table)),
        "torch, hand-tuned": partial(peers.in_bands, hand_tuned, tensor, torch.from_numpy(out), row_dim=0),
        "numpy, planes and table": partial(peers.numpy_bytes, image, plan, table.numpy()),
    }[contender]
    group = f"normalise {SIZE} x {SIZE}, uint8 to uint8"
    described = entry(group, contender, 6, {"torch eager": NORMALISE_FLOOR})
    with level_of(contender):
        equal = 0.999 if described.role == "ours" else 0.0
        reference.check_bytes(np.asarray(function()), scene.expected, equal=equal)
        time_call(benchmark, function, described, rounds=rounds_of(contender))


@pytest.mark.parametrize("contender", [*OURS, *TORCH])
def test_normalise_to_planes(benchmark: BenchmarkFixture, scene: Scene, contender: str) -> None:
    tensor, plan = torch.from_numpy(scene.image), scene.plan
    table = densities_table("cpu", torch.float32)
    finish = peers.torch_network_input(MEAN, STD, torch.float32)
    out = torch.full((3, SIZE, SIZE), torch.nan)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)

    def by_formula() -> torch.Tensor:
        scaled = (peers.torch_by_formula(tensor, plan) / 255 - mean) / std
        return scaled.movedim(-1, -3).contiguous()

    def hand_tuned(rows: torch.Tensor) -> torch.Tensor:
        return finish(peers.torch_densities_in_place(rows, plan, table))

    ours = partial(hsd_normalize, tensor, scene.source, scene.target, out=out, mean=MEAN, std=STD)
    function: Callable[[], torch.Tensor] = {
        "fastwsi, baseline": ours,
        "fastwsi, best": ours,
        "torch eager": by_formula,
        "torch, planes and table": lambda: finish(peers.torch_densities(tensor, plan, table)),
        "torch, hand-tuned": partial(peers.in_bands, hand_tuned, tensor, out, row_dim=1),
    }[contender]
    group = f"normalise {SIZE} x {SIZE}, uint8 to float32 network input"
    described = entry(group, contender, 15, {"torch eager": NORMALISE_FLOOR})
    with level_of(contender):
        reference.check_planes(function().numpy(), scene.expected, MEAN, STD, levels=0.01)
        time_call(benchmark, function, described, rounds=rounds_of(contender))


@pytest.mark.parametrize("contender", [*OURS, *NUMPY, "torch, planes and table"])
def test_moments(benchmark: BenchmarkFixture, scene: Scene, contender: str) -> None:
    image = scene.image
    tensor, table = torch.from_numpy(image), densities_table("cpu", torch.float64)
    ours = partial(hsd_moments, image)
    function: Callable[[], HsdMoments] = {
        "fastwsi, baseline": ours,
        "fastwsi, best": ours,
        "torch, planes and table": partial(peers.torch_moments, tensor, table),
        "numpy": partial(peers.numpy_moments_by_formula, image),
        "numpy, planes and table": partial(peers.numpy_moments, image),
        "numpy, hand-tuned": partial(peers.numpy_moments_in_bands, image),
    }[contender]
    described = entry(f"moments of {SIZE} x {SIZE}, float64", contender, 3, {"numpy": MOMENTS_FLOOR})
    with level_of(contender):
        assert scene.statistics.differs_from(function()) <= 1e-9
        time_call(benchmark, function, described, rounds=rounds_of(contender))


@pytest.mark.parametrize(
    "contender",
    [
        "fastwsi, best",
        "torchstain Macenko, torch",
        "torchstain Macenko, numpy",
        "torchstain Reinhard, torch",
        "torchstain Reinhard, numpy",
    ],
)
def test_measure_and_normalise(benchmark: BenchmarkFixture, scene: Scene, contender: str) -> None:
    """What a user would install instead.

    torchstain measures the source again at each call, so here fastwsi does too. Its two algorithms
    are others than HSD and give other colours: there is no common answer to check.
    """
    group = f"measure and normalise {SIZE} x {SIZE}, uint8 to uint8"
    out = np.full_like(scene.image, POISON)
    if contender.startswith("fastwsi"):

        def function() -> object:
            return hsd_normalize(scene.image, hsd_moments(scene.image), scene.target, out=out)

        reference.check_bytes(np.asarray(function()), scene.expected, equal=0.999)
    else:
        normalizers = pytest.importorskip("torchstain").normalizers
        method, backend = contender.removeprefix("torchstain ").split(", ")
        source, target = (
            torch.from_numpy(a).permute(2, 0, 1) if backend == "torch" else a
            for a in (scene.image, scene.target_image)
        )
        normalizer = getattr(normalizers, f"{method}Normalizer")(backend=backend)
        normalizer.fit(target)
        # Without stains=False Macenko would also draw one image for each stain.
        options = {"stains": False} if method == "Macenko" else {}
        function = partial(normalizer.normalize, source, **options)
    described = entry(group, contender, 6, {})
    time_call(benchmark, function, described, rounds=40 if described.role == "ours" else 3)


@dataclass(frozen=True)
class GpuScene:
    """The picture 16 times on a GPU, each time rolled further, so that no two images are equal."""

    batch: torch.Tensor
    scene: Scene

    @property
    def copy(self) -> Callable[[], torch.Tensor]:
        """What the card can do: every byte read once and written once."""
        return partial(torch.empty_like(self.batch).copy_, self.batch)

    def check(self, results: torch.Tensor, row_dim: int, check_image: Callable[[np.ndarray], None]) -> None:
        """Check the first and the last image of a batch, rolled back."""
        for i in (0, BATCH - 1):
            check_image(results[i].roll(-i * SIZE // BATCH, dims=row_dim).cpu().numpy())


@pytest.fixture(scope="module")
def gpu_scene(gpu: torch.device, scene: Scene) -> GpuScene:
    picture = torch.from_numpy(scene.image).to(gpu)
    rolled = [picture.roll(i * SIZE // BATCH, dims=0) for i in range(BATCH)]
    return GpuScene(torch.stack(rolled), scene)


def gpu_entry(work: str, contender: str, bytes_per_pixel: int) -> Entry:
    group = f"{work} of {BATCH} x {SIZE} x {SIZE} uint8 on the GPU"
    if contender == "copy":
        pixels, note = BATCH * SIZE * SIZE, "device to device, of the uint8 batch"
        return Entry(group, contender, "ceiling", pixels, 6 * pixels, note=note)
    return entry(group, contender, bytes_per_pixel, {"fastwsi": COPY_FLOOR}, BATCH)


GPU_CONTENDERS = ("copy", "fastwsi", "torch eager")


@pytest.mark.cuda
@pytest.mark.parametrize("contender", GPU_CONTENDERS)
def test_gpu_normalise_to_bytes(benchmark: BenchmarkFixture, gpu_scene: GpuScene, contender: str) -> None:
    batch, scene, plan = gpu_scene.batch, gpu_scene.scene, gpu_scene.scene.plan
    out = torch.full_like(batch, POISON)
    function: Callable[[], torch.Tensor] = {
        "copy": gpu_scene.copy,
        "fastwsi": partial(hsd_normalize, batch, scene.source, scene.target, out=out),
        "torch eager": lambda: peers.torch_by_formula(batch, plan).round().to(torch.uint8),
    }[contender]
    if contender != "copy":
        equal = 0.999 if contender == "fastwsi" else 0.0
        check = partial(reference.check_bytes, expected=scene.expected, equal=equal)
        gpu_scene.check(function(), 0, check)
    time_on_gpu(benchmark, function, gpu_entry("normalisation to uint8", contender, 6))


@pytest.mark.cuda
@pytest.mark.parametrize("contender", GPU_CONTENDERS)
def test_gpu_normalise_to_planes(benchmark: BenchmarkFixture, gpu_scene: GpuScene, contender: str) -> None:
    batch, scene, plan = gpu_scene.batch, gpu_scene.scene, gpu_scene.scene.plan
    table = densities_table(batch.device, torch.float32)
    finish = peers.torch_network_input(MEAN, STD, torch.float16)
    out = torch.full((BATCH, 3, SIZE, SIZE), torch.nan, dtype=torch.float16, device=batch.device)
    ours = partial(hsd_normalize, batch, scene.source, scene.target, out=out, mean=MEAN, std=STD)
    function: Callable[[], torch.Tensor] = {
        "copy": gpu_scene.copy,
        "fastwsi": ours,
        "torch eager": lambda: finish(peers.torch_densities(batch, plan, table)),
    }[contender]
    if contender != "copy":
        # Inputs reach 2.7, where float16 is accurate to 0.001: a seventeenth of a grey level.
        check = partial(reference.check_planes, expected=scene.expected, mean=MEAN, std=STD, levels=0.1)
        gpu_scene.check(function(), 1, check)
    time_on_gpu(benchmark, function, gpu_entry("normalisation to float16 planes", contender, 9))


@pytest.mark.cuda
@pytest.mark.parametrize("contender", GPU_CONTENDERS)
def test_gpu_moments(benchmark: BenchmarkFixture, gpu_scene: GpuScene, contender: str) -> None:
    """fastwsi's moments and torch's lists come back to the host, so each call waits for the GPU."""
    batch = gpu_scene.batch
    table = densities_table(batch.device, torch.float32)
    function: Callable[[], Any] = {
        "copy": gpu_scene.copy,
        "fastwsi": partial(hsd_moments, batch),
        "torch eager": partial(peers.torch_moments, batch, table),
    }[contender]
    if contender != "copy":
        # Rolling keeps an image's pixels, so the batch has the picture's moments; fastwsi's
        # coordinates are float32 here.
        found = function()
        tolerance = 1e-6 if contender == "fastwsi" else 1e-3  # torch also sums in float32
        assert gpu_scene.scene.statistics.differs_from(found) <= tolerance
    time_on_gpu(benchmark, function, gpu_entry("moments", contender, 3))


@pytest.mark.cuda
def test_gpu_normalise_does_not_wait(gpu_scene: GpuScene) -> None:
    """Called while the stream is busy, it must return before the work ahead of it is done.

    torch's own check for waiting (set_sync_debug_mode) does not see launches from other libraries.
    """
    batch, scene = gpu_scene.batch[:1], gpu_scene.scene
    out = torch.empty_like(batch)
    hsd_normalize(batch, scene.source, scene.target, out=out)  # loads the kernel, which may wait
    torch.cuda.synchronize()
    ahead = torch.cuda.Event()
    torch.cuda._sleep(2_000_000_000)  # cycles: about a second
    ahead.record()
    hsd_normalize(batch, scene.source, scene.target, out=out)
    returned_first = not ahead.query()
    torch.cuda.synchronize()
    assert returned_first, "hsd_normalize waited for the stream"
