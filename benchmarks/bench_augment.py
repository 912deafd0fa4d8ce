"""Variation, resampling and orientation of images beside OpenCV, albumentations, kornia and others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from benchmarks import augment_packages as packages
from benchmarks import augment_peers as peers
from benchmarks import augment_reference as reference
from benchmarks.augment_scene import (
    MARGIN,
    MEAN,
    PATCHES,
    SIZE,
    SLIDE,
    SMALL,
    STD,
    Scene,
    bend_of,
    check_warp,
    drawn_labels,
    entry,
    gpu_entry,
    is_ours,
    level_of,
    params_of,
    rounds_of,
)
from benchmarks.measure import time_call, time_on_gpu
from fastwsi.kernels import augment_patches, orient, orient_mean, warp

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

NORMALISED = {"mean": [MEAN] * 3, "std": [STD] * 3}
TOLERANCE = 1e-5  # on the colours' scale [0, 1]
HALF_TOLERANCE = 3e-4  # of float16: half of its last place near 1, and a little
POISON = 99  # outputs start as what no answer is, or an unwritten one could pass for right

ALBUMENTATIONS_FLOOR, KORNIA_FLOOR, OPENCV_FLOOR = 4.0, 35.0, 2.0
GPU_COLOUR_FLOOR = 0.50

OURS = ("fastwsi, baseline", "fastwsi, best")
FORMULAS = ("torch, whole batch", "torch, image by image", "numpy, image by image", "skimage HSV")
JITTERS = ("albumentations", "kornia")


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene.drawn()


@pytest.fixture(scope="module")
def expected(scene: Scene) -> np.ndarray:
    return reference.network_input(scene.images, scene.colours, MEAN, STD)


def new_planes(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.full((PATCHES, 3, SIZE, SIZE), torch.nan, dtype=dtype)


@pytest.mark.parametrize("contender", [*OURS, *FORMULAS, *JITTERS])
def test_colours(benchmark: BenchmarkFixture, scene: Scene, expected: np.ndarray, contender: str) -> None:
    images, colours, out = scene.images, scene.colours, new_planes()
    batch = torch.from_numpy(images)
    plan = peers.Plan.of_batch(colours, MEAN, STD, "cpu")
    plans = peers.Plan.of_images(colours, MEAN, STD)
    ours = partial(augment_patches, batch, params_of(colours), out, **NORMALISED)
    function: Callable[[], Any] = {
        "fastwsi, baseline": lambda: ours,
        "fastwsi, best": lambda: ours,
        "torch, whole batch": lambda: partial(peers.torch_colours, batch, plan, out),
        "torch, image by image": lambda: partial(peers.torch_one_by_one, batch, plans, out),
        "numpy, image by image": lambda: partial(peers.numpy_one_by_one, images, plans, out.numpy()),
        "skimage HSV": lambda: packages.skimage_colours(images, plans, out.numpy()),
        "albumentations": lambda: packages.albumentations_colours(images, MEAN, STD, out.numpy()),
        "kornia": lambda: packages.kornia_colours(batch, MEAN, STD),
    }[contender]()
    floor = {"albumentations": ALBUMENTATIONS_FLOOR, "kornia": KORNIA_FLOOR}.get(contender)
    group = f"colour: {PATCHES} x {SIZE} x {SIZE}, uint8 to float32 NCHW"
    with level_of(contender):
        found = np.asarray(function())
        if contender in JITTERS:
            assert found.shape == expected.shape
            assert found.dtype == np.float32
            assert np.isfinite(found).all()
        else:
            reference.check_planes(found, expected, STD, TOLERANCE)
        described = entry(group, contender, PATCHES * SIZE * SIZE, 15, floor)
        time_call(benchmark, function, described, rounds=rounds_of(contender))


@pytest.mark.parametrize("contender", [*OURS, "torch, image by image"])
def test_colours_to_half(
    benchmark: BenchmarkFixture, scene: Scene, expected: np.ndarray, contender: str
) -> None:
    batch, colours, out = torch.from_numpy(scene.images), scene.colours, new_planes(torch.float16)
    plans = peers.Plan.of_images(colours, MEAN, STD)
    ours = partial(augment_patches, batch, params_of(colours), out, **NORMALISED)
    function = ours if is_ours(contender) else partial(peers.torch_one_by_one, batch, plans, out)
    group = f"colour: {PATCHES} x {SIZE} x {SIZE}, uint8 to float16 NCHW"
    with level_of(contender):
        reference.check_planes(function().numpy(), expected, STD, HALF_TOLERANCE)
        described = entry(group, contender, PATCHES * SIZE * SIZE, 9)
        time_call(benchmark, function, described, rounds=rounds_of(contender))


@pytest.mark.parametrize("contender", [*OURS, "torch, image by image"])
def test_crops_and_orientations(benchmark: BenchmarkFixture, scene: Scene, contender: str) -> None:
    patches, colours, out = torch.from_numpy(scene.patches), scene.colours, new_planes()
    rng = np.random.default_rng(5)
    origins = [(int(x), int(y)) for x, y in rng.integers(0, MARGIN + 1, (PATCHES, 2))]
    orientations = rng.integers(0, 8, PATCHES).tolist()
    params = params_of(colours, origin=origins, orientation=orientations)
    plans = peers.Plan.of_images(colours, MEAN, STD)
    ours = partial(augment_patches, patches, params, out, size=(SIZE, SIZE), **NORMALISED)
    theirs = partial(peers.torch_crops, patches, origins, orientations, plans, out)
    function = ours if is_ours(contender) else theirs
    crops = [
        reference.oriented(patch[y : y + SIZE, x : x + SIZE], k)
        for patch, (x, y), k in zip(scene.patches, origins, orientations, strict=True)
    ]
    wanted = reference.network_input(np.stack(crops), colours, MEAN, STD)
    group = f"crop from {SIZE + MARGIN} x {SIZE + MARGIN}, 8 orientations, colour: to float32 NCHW"
    with level_of(contender):
        reference.check_planes(function().numpy(), wanted, STD, TOLERANCE)
        described = entry(group, contender, PATCHES * SIZE * SIZE, 15)
        time_call(benchmark, function, described, rounds=rounds_of(contender))


@pytest.mark.parametrize("contender", [*OURS, "OpenCV", "OpenCV, hand-tuned"])
@pytest.mark.parametrize("kind", ["uint8", "labels, nearest"])
def test_warp(benchmark: BenchmarkFixture, scene: Scene, kind: str, contender: str) -> None:
    smooth = kind == "uint8"
    image, bend = scene.slide if smooth else drawn_labels(), bend_of(SLIDE)
    out = np.full_like(image, POISON)
    ours = partial(warp, image, bend.matrix, bend.nodes, out, order=int(smooth))
    function: Callable[[], Any] = {
        "fastwsi, baseline": lambda: ours,
        "fastwsi, best": lambda: ours,
        "OpenCV": lambda: packages.opencv_warp(image, bend, out, smooth=smooth),
        "OpenCV, hand-tuned": lambda: packages.opencv_warp_in_bands(image, bend, out, smooth=smooth),
    }[contender]()
    floor = OPENCV_FLOOR if smooth and contender == "OpenCV" else None
    group = f"warp {SLIDE} x {SLIDE}: rotation + elastic, {kind}"
    with level_of(contender):
        check_warp(function(), image, bend, contender, nearly=1.5 if smooth else 0.05)
        described = entry(group, contender, SLIDE * SLIDE, 6 if smooth else 2, floor)
        time_call(benchmark, function, described, rounds=rounds_of(contender) // 2)


@pytest.mark.parametrize("contender", [*OURS, "scipy"])
def test_small_warp(benchmark: BenchmarkFixture, scene: Scene, contender: str) -> None:
    image, bend = np.ascontiguousarray(scene.slide[:SMALL, :SMALL]), bend_of(SMALL)
    out = np.full_like(image, POISON)
    ours = partial(warp, image, bend.matrix, bend.nodes, out)
    function = ours if is_ours(contender) else packages.scipy_warp(image, bend, out)
    with level_of(contender):
        check_warp(function(), image, bend, contender, nearly=2.0)
        described = entry(f"warp {SMALL} x {SMALL}: rotation + elastic, uint8", contender, SMALL * SMALL, 6)
        time_call(benchmark, function, described, rounds=rounds_of(contender))


@pytest.mark.parametrize("contender", [*OURS, "np.rot90, ascontiguousarray", "torch.rot90, contiguous"])
@pytest.mark.parametrize("k", [1, 4])
def test_orient(benchmark: BenchmarkFixture, scene: Scene, k: int, contender: str) -> None:
    """Into new memory each time, as the peers have no other way."""
    images = np.ascontiguousarray(scene.patches[:32, :256, :256])
    tensor, ours = torch.from_numpy(images), partial(orient, images, k)
    function: Callable[[], Any] = {
        "fastwsi, baseline": ours,
        "fastwsi, best": ours,
        "np.rot90, ascontiguousarray": lambda: np.ascontiguousarray(
            np.rot90(images, k, (1, 2)) if k < 4 else images[:, :, ::-1]
        ),
        "torch.rot90, contiguous": lambda: peers.torch_oriented(tensor, k, (1, 2)).contiguous(),
    }[contender]
    with level_of(contender):
        found = np.asarray(function())
        assert found.flags.c_contiguous
        assert np.array_equal(found, [reference.oriented(image, k) for image in images])
        described = entry(f"orient 32 x 256 x 256 x 3 uint8, k = {k}", contender, 32 * 256 * 256, 6)
        time_call(benchmark, function, described, rounds=100)


@pytest.mark.parametrize("contender", [*OURS, "torch, stack and mean", "torch, in place"])
def test_orient_mean(benchmark: BenchmarkFixture, contender: str) -> None:
    maps = np.random.default_rng(8).random((8, 16, 512, 512), np.float32)
    tensors, ours = list(torch.from_numpy(maps)), partial(orient_mean, torch.from_numpy(maps), axes=(-2, -1))
    function = {
        "fastwsi, baseline": ours,
        "fastwsi, best": ours,
        "torch, stack and mean": partial(peers.torch_orientations_mean, tensors),
        "torch, in place": partial(peers.torch_orientations_sum, tensors),
    }[contender]
    with level_of(contender):
        np.testing.assert_allclose(function(), reference.orientations_mean(list(maps)), rtol=0, atol=1e-6)
        described = entry("orient_mean 8 x 16 x 512 x 512 float32", contender, 16 * 512 * 512, 36)
        time_call(benchmark, function, described, rounds=rounds_of(contender))


GPU_CONTENDERS = ("copy", "fastwsi", "torch")


def copy_of(total: int, gpu: torch.device) -> Callable[[], torch.Tensor]:
    """What the card can do: as many bytes read and written as ``total``, each once."""
    buffer = torch.zeros(total // 2, dtype=torch.uint8, device=gpu)
    return partial(torch.empty_like(buffer).copy_, buffer)


@pytest.fixture(scope="module")
def gpu_batch(gpu: torch.device, scene: Scene) -> torch.Tensor:
    """Tiles of the slide, four times over: more than any cache holds."""
    tiles = torch.from_numpy(scene.slide).view(4, SMALL, 4, SMALL, 3).transpose(1, 2)
    return tiles.reshape(16, SMALL, SMALL, 3).repeat(PATCHES // 16, 1, 1, 1).to(gpu)


@pytest.mark.cuda
@pytest.mark.parametrize("contender", GPU_CONTENDERS)
def test_gpu_colours(
    benchmark: BenchmarkFixture, scene: Scene, gpu_batch: torch.Tensor, contender: str
) -> None:
    colours, device, pixels = scene.colours, gpu_batch.device, PATCHES * SMALL * SMALL
    plan = peers.Plan.of_batch(colours, MEAN, STD, device)
    out = torch.full((PATCHES, 3, SMALL, SMALL), torch.nan, device=device)
    function: Callable[[], torch.Tensor] = {
        "copy": lambda: copy_of(15 * pixels, device),
        "fastwsi": lambda: partial(augment_patches, gpu_batch, params_of(colours), out, **NORMALISED),
        "torch": lambda: partial(peers.torch_colours, gpu_batch, plan, out),
    }[contender]()
    if contender != "copy":
        found = function()
        for i in (0, PATCHES - 1):
            wanted = reference.varied(gpu_batch[i].cpu().numpy(), colours, i).transpose(2, 0, 1)
            # torch also sums the means in float32.
            tolerance = TOLERANCE if is_ours(contender) else 10 * TOLERANCE
            reference.check_planes(found[i].cpu().numpy(), (wanted - MEAN) / STD, STD, tolerance)
    group = f"colour: {PATCHES} x {SMALL} x {SMALL}, uint8 to float32 NCHW"
    time_on_gpu(benchmark, function, gpu_entry(group, contender, pixels, 15, GPU_COLOUR_FLOOR))


@pytest.mark.cuda
@pytest.mark.parametrize("contender", ["copy", "fastwsi"])
def test_gpu_warp(benchmark: BenchmarkFixture, scene: Scene, gpu: torch.device, contender: str) -> None:
    bend = bend_of(SLIDE)
    image = torch.from_numpy(scene.slide).to(gpu)
    out = torch.full_like(image, POISON)
    function: Callable[[], torch.Tensor] = {
        "copy": lambda: copy_of(2 * image.numel(), gpu),
        "fastwsi": lambda: partial(warp, image, bend.matrix, bend.nodes, out),
    }[contender]()
    if contender != "copy":
        check_warp(function().cpu().numpy(), scene.slide, bend, contender, nearly=0)
    group = f"warp {SLIDE} x {SLIDE}: rotation + elastic, uint8"
    time_on_gpu(benchmark, function, gpu_entry(group, contender, SLIDE * SLIDE, 6))


@pytest.mark.cuda
@pytest.mark.parametrize("contender", GPU_CONTENDERS)
@pytest.mark.parametrize("k", [1, 4])
def test_gpu_orient(benchmark: BenchmarkFixture, gpu_batch: torch.Tensor, k: int, contender: str) -> None:
    function: Callable[[], torch.Tensor] = {
        "copy": lambda: copy_of(2 * gpu_batch.numel(), gpu_batch.device),
        "fastwsi": lambda: partial(orient, gpu_batch, k),
        "torch": lambda: lambda: peers.torch_oriented(gpu_batch, k, (1, 2)).contiguous(),
    }[contender]()
    if contender != "copy":
        found = function()
        for i in (0, PATCHES - 1):
            wanted = reference.oriented(gpu_batch[i].cpu().numpy(), k)
            assert np.array_equal(found[i].cpu().numpy(), wanted)
    group = f"orient {PATCHES} x {SMALL} x {SMALL} x 3 uint8, k = {k}"
    time_on_gpu(benchmark, function, gpu_entry(group, contender, gpu_batch.numel() // 3, 6))


@pytest.mark.cuda
@pytest.mark.parametrize("contender", GPU_CONTENDERS)
def test_gpu_orient_mean(benchmark: BenchmarkFixture, gpu: torch.device, contender: str) -> None:
    maps = torch.rand((8, 16, SMALL, SMALL), device=gpu)
    pixels = maps.numel() // 8
    function: Callable[[], torch.Tensor] = {
        "copy": lambda: copy_of(36 * pixels, gpu),
        "fastwsi": lambda: partial(orient_mean, maps, axes=(-2, -1)),
        "torch": lambda: partial(peers.torch_orientations_mean, list(maps)),
    }[contender]()
    if contender != "copy":
        found = function()
        for i in (0, -1):
            wanted = reference.orientations_mean(list(maps[:, i].cpu().numpy()))
            np.testing.assert_allclose(found[i].cpu().numpy(), wanted, rtol=0, atol=1e-6)
    group = f"orient_mean 8 x 16 x {SMALL} x {SMALL} float32"
    time_on_gpu(benchmark, function, gpu_entry(group, contender, pixels, 36))
