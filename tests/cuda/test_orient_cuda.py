"""The CUDA twins of orient and orient_mean against the CPU's, which are tested against the reference."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fastwsi import kernels
from gpu_arrays import to_host

RNG = np.random.default_rng(0)
EIGHT = range(8)
# Units of one word, of several, and of so many that they are no longer moved tile by tile.
DTYPES = ["uint8", "bool", "int16", "float32", "int64", "complex64", "complex128"]
# Around the sides of the tiles, many planes, and nothing at all.
SHAPES = [
    (1, 1, 1),
    (5, 7, 3),
    (32, 32, 1),
    (33, 31, 3),
    (2, 64, 65, 3),
    (3, 100, 40, 2),
    (2, 17, 19, 16),
    (2, 3, 5, 4, 5),
    (1, 1000, 1100, 3),
    (0, 4, 4, 3),
    (2, 4, 0, 3),
]


def values(shape, dtype):
    return RNG.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_orient(to_gpu, shape, dtype):
    x = values(shape, dtype)
    on_gpu = to_gpu(x)
    for k in EIGHT:
        for inverse in (False, True):
            found = kernels.orient(on_gpu, k, inverse=inverse)
            np.testing.assert_array_equal(to_host(found), kernels.orient(x, k, inverse=inverse))


@pytest.mark.parametrize("axes", [(-2, -1), (0, 1), (-1, 0), (1, 0)], ids=str)
def test_orient_over_other_axes(to_gpu, axes):
    x = values((6, 40, 50), "float32")
    on_gpu = to_gpu(x)
    for k in EIGHT:
        found = kernels.orient(on_gpu, k, axes=axes)
        np.testing.assert_array_equal(to_host(found), kernels.orient(x, k, axes=axes))


def test_orient_views(to_gpu):
    """Rows that no word is aligned to, planes of channels, exchanged axes, steps; and into a view."""
    for dtype in ("uint8", "float32", "complex128"):
        x = values((3, 44, 44, 5), dtype)
        on_gpu = to_gpu(x)
        for view in (
            lambda a: a[:, 1:-2, 3:-1, 1:4],
            lambda a: a.swapaxes(1, 2),
            lambda a: a.swapaxes(1, 3),
            lambda a: a[::2, ::3, 1::2],
        ):
            for k in EIGHT:
                expected = kernels.orient(view(x), k)
                np.testing.assert_array_equal(to_host(kernels.orient(view(on_gpu), k)), expected)
        out = to_gpu(np.zeros((3, 60, 70, 5), dtype))
        kernels.orient(on_gpu, 3, out[:, 2:46, 5:49])
        whole = to_host(out)
        np.testing.assert_array_equal(whole[:, 2:46, 5:49], kernels.orient(x, 3))
        whole[:, 2:46, 5:49] = 0
        assert not whole.any()


@pytest.mark.parametrize("images", [7, 2500])
def test_an_orientation_for_each_image(to_gpu, images):
    """More images than one launch takes."""
    x = values((images, 9, 9, 3), "uint8")
    ks = RNG.integers(0, 8, images)
    found = kernels.orient(to_gpu(x), ks)
    np.testing.assert_array_equal(to_host(found), kernels.orient(x, ks))


@pytest.mark.parametrize(
    "shape", [(5, 7), (2, 33, 31), (3, 2, 70, 40), (1, 900, 1000), (0, 4, 4), (2, 0, 3)], ids=str
)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_orient_mean_of_maps(to_gpu, shape, dtype):
    maps = [kernels.orient(RNG.normal(size=shape).astype(dtype), k, axes=(-2, -1)) for k in EIGHT]
    found = kernels.orient_mean([to_gpu(m) for m in maps], axes=(-2, -1))
    np.testing.assert_array_equal(to_host(found), kernels.orient_mean(maps, axes=(-2, -1)))


@pytest.mark.parametrize("channels", [1, 3, 130])
def test_orient_mean_with_channels_last_and_views(to_gpu, channels):
    maps = [kernels.orient(RNG.normal(size=(2, 40, 37, channels)), k) for k in EIGHT]
    expected = kernels.orient_mean(maps, axes=(1, 2))
    on_gpu = [to_gpu(m) for m in maps]
    np.testing.assert_array_equal(to_host(kernels.orient_mean(on_gpu, axes=(1, 2))), expected)
    views = [to_gpu(np.repeat(m, 2, axis=2))[:, :, ::2] for m in maps]
    np.testing.assert_array_equal(to_host(kernels.orient_mean(views, axes=(1, 2))), expected)


@pytest.mark.parametrize("shape", [(), (1,), (31,), (33,), (100_003,), (5, 2)], ids=str)
def test_orient_mean_of_vectors(to_gpu, shape):
    said = RNG.normal(size=(8, *shape)).astype(np.float32)
    np.testing.assert_array_equal(to_host(kernels.orient_mean(to_gpu(said))), kernels.orient_mean(said))


def test_bfloat16_gradients_and_compilation():
    import torch

    maps = torch.randn(8, 3, 20, 20, device="cuda")
    found = kernels.orient_mean(maps.bfloat16(), axes=(-2, -1))
    assert torch.equal(found.cpu(), kernels.orient_mean(maps.bfloat16().cpu(), axes=(-2, -1)))
    x = torch.randn(2, 4, 5, 3, device="cuda", dtype=torch.float64, requires_grad=True)

    def run(images):
        return kernels.orient_mean([kernels.orient(images, k).sin() for k in EIGHT], axes=(1, 2))

    assert torch.autograd.gradcheck(run, x)
    compiled = torch.compile(run, backend="aot_eager")
    torch.testing.assert_close(compiled(x.detach()), run(x.detach()))


def test_calls_return_before_the_work_is_done():
    import torch

    images = torch.randint(0, 256, (4, 512, 512, 3), dtype=torch.uint8, device="cuda")
    maps = torch.randn(8, 512, 512, device="cuda")

    def both():
        kernels.orient(images, [1, 2, 3, 4])
        kernels.orient_mean(maps, axes=(0, 1))

    both()
    torch.cuda.synchronize()
    done = torch.cuda.Event()
    torch.cuda._sleep(2_000_000_000)  # about a second
    start = time.perf_counter()
    both()
    elapsed = time.perf_counter() - start
    done.record()
    assert not done.query()
    assert elapsed < 0.2
    torch.cuda.synchronize()


def test_predictions_of_several_devices_are_refused():
    import torch

    said = [torch.zeros(3, device="cuda") for _ in EIGHT]
    said[2] = torch.zeros(3)
    with pytest.raises(ValueError, match=r"predictions\[2\]: got an array on cpu, expected cuda:0"):
        kernels.orient_mean(said)


def test_a_plane_behind_four_gibibytes():
    """Offsets past 2^32 bytes, inside one array."""
    import torch

    if torch.cuda.mem_get_info()[0] < 12 << 30:
        pytest.skip("needs 12 GiB of GPU memory")
    big = torch.zeros(38_000, 38_000, 3, dtype=torch.uint8, device="cuda")
    corner = torch.from_numpy(values((64, 64, 3), "uint8")).cuda()
    big[-64:, -64:] = corner
    turned = kernels.orient(big, 2)
    assert torch.equal(turned[:64, :64], kernels.orient(corner, 2))
