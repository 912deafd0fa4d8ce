"""The CUDA twin of augment_patches against the CPU's, which is tested against the reference."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fastwsi import kernels
from fastwsi.kernels import PatchParams
from gpu_arrays import to_host

RNG = np.random.default_rng(0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Half a unit in the last place, of the value itself; both twins are within 1e-5 of exact arithmetic.
ROUNDING = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8}
DTYPES = [*ROUNDING, "uint8"]
# Around the sides of the tiles, many blocks, more of them than threads in one, and more tiles than blocks.
SIZES = [(1, 1), (31, 33), (32, 32), (33, 65), (200, 3), (3, 200), (256, 130), (1100, 1000), (1500, 1700)]
# Each with what it needs to do anything.
STEPS = [
    {},
    {"lch_mul": (0.95, 1.05, 1.0)},
    {"lch_mul": (1.05, 0.95, 1.0), "contrast": 1.3, "hue": 0.1, "saturation_mul": 0.9},
    {"brightness_mul": 1.3137},
    {"brightness_add": -0.2},
    {"saturation_mul": 1.7},
    {"saturation_add": 40.0},
    {"saturation_add": -30.0},
    {"hue": 0.3},
    {"contrast": 1.6},
    {"contrast": 0.4, "contrast_first": True},
    {"contrast": 1.6, "contrast_mean": (0.21, 0.47, 0.93)},
    {"contrast": 1.6, "contrast_mean": (0.21, 0.47, 0.93), "contrast_first": True, "hue": -0.4},
    {"contrast": 1.2, "hue": 0.1, "saturation_mul": 0.5},
    {"noise_sigma": 0.2, "noise_seed": 2**64 - 1},
    {"noise_fraction": 0.3, "noise_seed": 7},
    {"noise_fraction": 0.3, "noise_sigma": 0.1},
]


def pictures(*shape):
    """Every level of every channel, with grey and black pixels among them."""
    images = RNG.integers(0, 256, (*shape, 3), np.uint8)
    images[..., ::7, ::5, :] = images[..., ::7, ::5, :1]
    images[..., ::11, ::3, :] = 0
    return images


def everything(images):
    """Every parameter, another one for each image."""
    return PatchParams(
        origin=RNG.integers(0, 5, (images, 2)),
        orientation=RNG.integers(0, 8, images),
        brightness_mul=RNG.uniform(0.7, 1.3, images),
        brightness_add=RNG.uniform(-0.2, 0.2, images),
        saturation_mul=RNG.uniform(0.5, 1.6, images),
        saturation_add=RNG.uniform(-20, 20, images),
        hue=RNG.uniform(-0.5, 0.5, images),
        contrast=RNG.uniform(0.6, 1.5, images),
        noise_fraction=RNG.uniform(0, 0.1, images),
        noise_sigma=RNG.uniform(0, 0.1, images),
        noise_seed=RNG.integers(0, 2**63, images),
    )


def assert_close(found, expected, dtype, std=(1.0, 1.0, 1.0), layout="NCHW"):
    """``expected``: the CPU's, of uint8 as it is and of the floats in float32."""
    found = to_host(found)
    assert found.shape == expected.shape
    if dtype == "uint8":
        difference = np.abs(found.astype(int) - expected)
        assert difference.max(initial=0) <= 1
        assert (difference > 0).mean() <= 1e-3 if difference.size > 10_000 else (difference > 0).sum() <= 3
        return
    slack = 1e-5 / np.array(std)
    slack = slack[:, None, None] if layout == "NCHW" else slack
    allowed = slack + ROUNDING[dtype] * (np.abs(expected) + slack)
    assert (np.abs(found - expected) <= allowed).all(), np.abs(found - expected).max()


def skip_what_cupy_lacks(array, dtype):
    if dtype == "bfloat16" and not hasattr(array, "detach"):
        pytest.skip("cupy has no bfloat16")


@pytest.mark.parametrize("size", [(33, 65), (70, 40)], ids=str)
@pytest.mark.parametrize("fields", STEPS, ids=lambda fields: "+".join(fields) or "nothing")
def test_each_step(to_gpu, fields, size):
    images, params = pictures(3, 72, 75), PatchParams(**fields)
    for dtype in ("float32", "uint8"):
        expected = kernels.augment_patches(images, params, size=size, dtype=dtype)
        found = kernels.augment_patches(to_gpu(images), params, size=size, dtype=dtype)
        assert_close(found, expected, dtype)


def test_hues_are_turned_alike(to_gpu):
    """On greens, away from where 360 degrees meet 0."""
    images = RNG.integers((20, 150, 20), (120, 256, 120), (2, 60, 70, 3)).astype(np.uint8)
    params = PatchParams(lch_mul=[(0.95, 1.05, 1.05), (1.05, 0.95, 0.95)])
    expected = kernels.augment_patches(images, params)
    assert_close(kernels.augment_patches(to_gpu(images), params), expected, "float32")


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_steps_together(to_gpu, dtype, layout):
    images = [pictures(84, 66), pictures(70, 90), pictures(100, 101)]
    on_gpu = [to_gpu(image) for image in images]
    skip_what_cupy_lacks(on_gpu[0], dtype)
    scaling = {} if dtype == "uint8" else {"mean": [MEAN, STD, MEAN], "std": STD}
    params = everything(3)
    how = {"size": (61, 59), "layout": layout, **scaling}
    exact = "uint8" if dtype == "uint8" else "float32"
    expected = kernels.augment_patches(images, params, dtype=exact, **how)
    found = kernels.augment_patches(on_gpu, params, dtype=dtype, **how)
    assert_close(found, expected, dtype, STD, layout)


@pytest.mark.parametrize("images", [32, 33, 70])
def test_more_images_than_one_launch_takes(to_gpu, images):
    batch, params = pictures(images, 40, 40), everything(images)
    expected = kernels.augment_patches(batch, params, size=(35, 33), mean=MEAN, std=STD)
    on_gpu = to_gpu(batch)
    found = kernels.augment_patches(on_gpu, params, size=(35, 33), mean=MEAN, std=STD)
    assert_close(found, expected, "float32", STD)
    listed = kernels.augment_patches(list(on_gpu), params, size=(35, 33), mean=MEAN, std=STD)
    np.testing.assert_array_equal(to_host(listed), to_host(found))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_means_are_measured_over_the_whole_patch(to_gpu, size):
    width, height = size
    images = pictures(2, height, width)
    images[0, : height // 2] //= 2  # so that no part of the patch has the mean of all of it
    images[1, :, : width // 3] //= 3
    on_gpu = to_gpu(images)
    for fields in (
        {"contrast": [1.5, 0.5]},
        {"contrast": [0.5, 1.5], "contrast_first": True},
        {"contrast": [1.4, 0.7], "brightness_add": 0.1, "saturation_mul": 1.5, "hue": 0.2},
    ):
        expected = kernels.augment_patches(images, PatchParams(**fields))
        found = [kernels.augment_patches(on_gpu, PatchParams(**fields)) for _ in range(3)]
        assert_close(found[0], expected, "float32")
        for again in found[1:]:
            np.testing.assert_array_equal(to_host(again), to_host(found[0]))


@pytest.mark.parametrize("size", [(33, 65), (300, 200)], ids=str)
def test_noise_is_the_cpus(to_gpu, size):
    """The same pixels chosen, the same colours in their place; and bell-shaped noise but for rounding."""
    images = np.full((3, size[1], size[0], 3), 128, np.uint8)
    on_gpu, seeds = to_gpu(images), [0, 2**64 - 1, 12345678901234567]
    chosen = PatchParams(noise_fraction=[0.5, 0.01, 1.0], noise_seed=seeds)
    found = to_host(kernels.augment_patches(on_gpu, chosen))
    np.testing.assert_array_equal(found, kernels.augment_patches(images, chosen))
    replaced = (found != kernels.augment_patches(images)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(replaced, [0.5, 0.01, 1.0], atol=0.03)
    bell = PatchParams(noise_sigma=0.08, noise_seed=seeds)
    found = to_host(kernels.augment_patches(on_gpu, bell))
    assert np.abs(found - kernels.augment_patches(images, bell)).max() <= 1e-5
    assert 0.07 < found.std() < 0.09


@pytest.mark.parametrize("k", range(8))
def test_crops_and_orientations_are_exact(to_gpu, k):
    images = pictures(3, 61, 67)
    on_gpu = to_gpu(images)
    for size, origin in [((40, 50), None), ((61, 61), (3, 0)), ((1, 33), [(0, 0), (30, 20), (66, 12)])]:
        params = PatchParams(orientation=k, origin=origin)
        how = {"size": size[::-1] if k % 2 else size, "dtype": "uint8"}
        expected = kernels.augment_patches(images, params, **how)
        found = kernels.augment_patches(on_gpu, params, **how)
        np.testing.assert_array_equal(to_host(found), expected)


VIEWS = {
    "crop": lambda a: a[:, 1:-2, 3:-1],
    "swapped": lambda a: a.swapaxes(1, 2),
    "planes": lambda a: a.reshape(3, 3, 72, 72).swapaxes(1, 2).swapaxes(2, 3),
    "steps": lambda a: a[:, ::2, 1::3],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_views(to_gpu, view):
    images = pictures(3, 72, 72)
    on_gpu = to_gpu(images)
    for k in range(8):
        params = PatchParams(orientation=k, contrast=1.3, hue=0.1, noise_sigma=0.1)
        expected = kernels.augment_patches(view(images), params)
        assert_close(kernels.augment_patches(view(on_gpu), params), expected, "float32")
        listed = [view(on_gpu)[i] for i in range(3)]
        assert_close(kernels.augment_patches(listed, params), expected, "float32")


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_into_a_view(to_gpu, dtype, layout):
    images, params = pictures(2, 40, 50), PatchParams(contrast=1.3, saturation_mul=1.5)
    expected = kernels.augment_patches(images, params, dtype=dtype, layout=layout)
    whole = to_gpu(np.full([side * 2 + 1 for side in expected.shape], 7, dtype))
    part = (slice(1, None, 2),) * 4
    out = whole[part]
    assert kernels.augment_patches(to_gpu(images), params, out, layout=layout) is out
    assert_close(out, expected.astype(int if dtype == "uint8" else "f4"), dtype, layout=layout)
    beside = to_host(whole).copy()
    beside[part] = 7
    assert (beside == 7).all(), "wrote beside out"


@pytest.mark.parametrize("shape", [(0, 8, 6), (2, 8, 6)], ids=str)
def test_no_images(to_gpu, shape):
    images, params = pictures(*shape), PatchParams(contrast=1.5, orientation=1)
    found = kernels.augment_patches(to_gpu(images), params)
    assert_close(found, kernels.augment_patches(images, params), "float32")


def test_on_a_side_stream():
    """Pixels written late on a side stream must be seen by a call on that stream."""
    import torch

    stream, params = torch.cuda.Stream(), PatchParams(contrast=1.5)
    images = torch.zeros(4, 256, 256, 3, dtype=torch.uint8, device="cuda")
    late = torch.from_numpy(pictures(4, 256, 256)).cuda()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        images.copy_(late)
        found = kernels.augment_patches(images, params)
    stream.synchronize()
    assert_close(found, kernels.augment_patches(late.cpu(), params).numpy(), "float32")


def test_calls_return_before_the_work_is_done():
    import torch

    images = torch.randint(0, 256, (40, 256, 256, 3), dtype=torch.uint8, device="cuda")
    params, mixed = everything(40), PatchParams(contrast=1.2)

    def all_of_it():
        kernels.augment_patches(images, params, size=(250, 250), mean=MEAN, std=STD)
        kernels.augment_patches(list(images), mixed, dtype="float16", layout="NHWC")

    all_of_it()
    torch.cuda.synchronize()
    done = torch.cuda.Event()
    torch.cuda._sleep(2_000_000_000)  # about a second
    start = time.perf_counter()
    all_of_it()
    elapsed = time.perf_counter() - start
    done.record()
    assert not done.query()
    assert elapsed < 0.2
    torch.cuda.synchronize()


def test_captured_in_a_cuda_graph():
    """More than one launch, and means that must be measured anew."""
    import torch

    images = torch.zeros(40, 64, 64, 3, dtype=torch.uint8, device="cuda")
    params = everything(40)

    def run():
        return kernels.augment_patches(images, params, size=(60, 60), mean=MEAN, std=STD)

    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = run()
    for _ in range(2):
        images.copy_(torch.from_numpy(pictures(40, 64, 64)))
        graph.replay()
        torch.cuda.synchronize()
        expected = kernels.augment_patches(images.cpu(), params, size=(60, 60), mean=MEAN, std=STD)
        assert_close(found, expected.numpy(), "float32", STD)


def test_compilation():
    import torch

    def run(pixels, params):
        return kernels.augment_patches(pixels, params, size=(30, 30), mean=MEAN, std=STD) * 2

    images = torch.from_numpy(pictures(3, 40, 40)).cuda()
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for params in (everything(3), everything(3)):
        assert torch.equal(compiled(images, params), run(images, params))


def test_images_of_several_devices_are_refused():
    import torch

    images = [torch.zeros(8, 8, 3, dtype=torch.uint8, device=device) for device in ("cuda", "cpu")]
    with pytest.raises(ValueError, match=r"got an array on .*expected"):
        kernels.augment_patches(images)


def test_a_crop_behind_four_gibibytes():
    """Offsets past 2^32 bytes, inside one array."""
    import torch

    if torch.cuda.mem_get_info()[0] < 12 << 30:
        pytest.skip("needs 12 GiB of GPU memory")
    big = torch.zeros(38_000, 38_000, 3, dtype=torch.uint8, device="cuda")
    corner = pictures(64, 64)
    big[-64:, -64:] = torch.from_numpy(corner).cuda()
    for k in range(8):
        params = PatchParams(origin=(38_000 - 64, 38_000 - 64), orientation=k, contrast=1.3)
        expected = kernels.augment_patches(corner[None], PatchParams(orientation=k, contrast=1.3))
        assert_close(kernels.augment_patches([big], params, size=(64, 64)), expected, "float32")
