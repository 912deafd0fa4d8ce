"""The CUDA twins of the HSD kernels against the CPU's, which are tested against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from fastwsi import kernels
from gpu_arrays import to_host

RNG = np.random.default_rng(0)


def image(*shape):
    """Every grey level of every channel, near-white and near-black more often."""
    values = RNG.beta(0.6, 0.6, (*shape, 3)) * 255
    return np.rint(values).astype(np.uint8)


SOURCE = kernels.hsd_moments(image(200, 200))
TARGET = kernels.hsd_moments((image(200, 200) * 0.7 + 40).astype(np.uint8))
# Shapes around the four-pixel steps, aligned and not, many rows, and nothing at all.
SHAPES = [
    (1, 1),
    (1, 3),
    (4, 4),
    (5, 7),
    (3, 64, 64),
    (2, 3, 33, 31),
    (1, 2050),
    (600, 1),
    (0, 4, 4),
    (2, 0, 3),
]


def crop(array):
    """A view inside a larger array: rows that no 4-byte word is aligned to."""
    return array[..., 1:-2, 3:-1, :]


def assert_same_bytes(found, expected):
    difference = np.abs(to_host(found).astype(int) - expected.astype(int))
    assert difference.max(initial=0) <= 1
    assert (difference > 0).sum() <= max(1, 1e-3 * expected.size)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bytes(to_gpu, shape):
    pixels = image(*shape)
    expected = kernels.hsd_normalize(pixels, SOURCE, TARGET)
    assert_same_bytes(kernels.hsd_normalize(to_gpu(pixels), SOURCE, TARGET), expected)


def test_bytes_of_views_and_in_place(to_gpu):
    pixels = image(3, 40, 51)
    expected = kernels.hsd_normalize(crop(pixels), SOURCE, TARGET)
    on_gpu = to_gpu(pixels)
    assert_same_bytes(kernels.hsd_normalize(crop(on_gpu), SOURCE, TARGET), expected)
    kernels.hsd_normalize(crop(on_gpu), SOURCE, TARGET, crop(on_gpu))
    assert_same_bytes(crop(on_gpu), expected)
    border = np.ones(pixels.shape, bool)
    crop(border)[...] = False
    np.testing.assert_array_equal(to_host(on_gpu)[border], pixels[border])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float16", 2e-3), ("bfloat16", 2e-2)])
def test_planes(to_gpu, shape, dtype, tolerance):
    pixels = to_gpu(image(*shape))
    if dtype == "bfloat16" and not hasattr(pixels, "detach"):
        pytest.skip("cupy has no bfloat16")
    scaling = {"mean": (0.5, 0.6, 0.7), "std": (0.2, 0.25, 0.3)}
    expected = kernels.hsd_normalize(to_host(pixels), SOURCE, TARGET, dtype="float32", **scaling)
    found = to_host(kernels.hsd_normalize(pixels, SOURCE, TARGET, dtype=dtype, **scaling))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) <= tolerance


def test_channels_last_output():
    import torch

    pixels = torch.from_numpy(image(2, 20, 30)).cuda()
    out = torch.empty(2, 3, 20, 30, device="cuda").to(memory_format=torch.channels_last)
    kernels.hsd_normalize(pixels, SOURCE, TARGET, out)
    torch.testing.assert_close(
        out, kernels.hsd_normalize(pixels, SOURCE, TARGET, dtype="float32"), rtol=0, atol=0
    )


def test_one_source_per_image(to_gpu):
    batch = image(5, 16, 20)
    sources = [kernels.hsd_moments(one) for one in batch]
    found = kernels.hsd_normalize(to_gpu(batch), sources, TARGET)
    assert_same_bytes(found, kernels.hsd_normalize(batch, sources, TARGET))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_moments(to_gpu, shape, masked):
    pixels = image(*shape)
    mask = RNG.random(shape) < 0.5 if masked else None
    expected = kernels.hsd_moments(pixels, mask)
    found = kernels.hsd_moments(to_gpu(pixels), to_gpu(mask) if masked else None)
    assert_moments_close(found, expected)


def assert_moments_close(found, expected):
    assert found.count == expected.count
    for name in ("chroma_mean", "chroma_covariance", "density_mean", "density_variance"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-6, err_msg=name
        )


def test_moments_of_views(to_gpu):
    pixels, mask = image(3, 40, 51), RNG.random((3, 40, 51)) < 0.5
    found = kernels.hsd_moments(crop(to_gpu(pixels)), crop(to_gpu(mask)[..., None])[..., 0])
    assert_moments_close(found, kernels.hsd_moments(crop(pixels), crop(mask[..., None])[..., 0]))


def test_moments_of_many_pixels_are_the_same_bits_every_time(to_gpu):
    pixels = to_gpu(image(4, 1500, 1500))
    results = [kernels.hsd_moments(pixels) for _ in range(3)]
    assert results.count(results[0]) == 3
    assert_moments_close(results[0], kernels.hsd_moments(to_host(pixels)))


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 120, 180)])
def test_constant_images_have_exactly_no_spread(to_gpu, colour):
    found = kernels.hsd_moments(to_gpu(np.full((300, 301, 3), colour, np.uint8)))
    assert found.chroma_covariance == ((0.0, 0.0), (0.0, 0.0))
    assert found.density_variance == 0.0


def test_rows_behind_four_gibibytes():
    """Offsets past 2^32 bytes, inside one array."""
    import torch

    if torch.cuda.mem_get_info()[0] < 12 << 30:
        pytest.skip("needs 12 GiB of GPU memory")
    big = torch.zeros(1, 38_000, 38_000, 3, dtype=torch.uint8, device="cuda")
    corner = torch.from_numpy(image(64, 64)).cuda()
    big[0, -64:, -64:] = corner
    out = kernels.hsd_normalize(big, SOURCE, TARGET)
    expected = kernels.hsd_normalize(corner, SOURCE, TARGET)
    assert torch.equal(out[0, -64:, -64:], expected)
    assert kernels.hsd_moments(big).count == 38_000**2
