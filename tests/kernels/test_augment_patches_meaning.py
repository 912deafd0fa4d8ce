"""What augment_patches does to single pixels, in numbers worked by hand, and what its noise looks like."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import fastwsi
from fastwsi import _core, kernels
from fastwsi.kernels import PatchParams
from kernels.arrays import lay_out, tissue
from reference import augment as reference

LEVELS = _core.simd_usable()


def of_pixel(pixel, **fields):
    """The result for an image of one pixel."""
    image = np.array(pixel, np.uint8).reshape(1, 1, 1, 3)
    return kernels.augment_patches(image, PatchParams(**fields), layout="NHWC")[0, 0, 0]


@pytest.mark.parametrize("level", LEVELS)
def test_without_parameters_bytes_are_scaled_and_nothing_else(level):
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 8, 32, 3)
    with kernels.simd_level(level):
        for params in ((), (PatchParams(),)):
            found = kernels.augment_patches(image, *params)
            assert found.dtype == np.float32
            exact = np.moveaxis(image.astype(np.float64), -1, 1) / 255
            assert (np.abs(found - exact) <= 2**-23 * exact).all()
            assert found.min() == 0
            assert found.max() == 1


def test_orientations_of_six_numbers():
    image = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., None].repeat(3, axis=-1)
    expected = [
        [[1, 2, 3], [4, 5, 6]],
        [[3, 6], [2, 5], [1, 4]],
        [[6, 5, 4], [3, 2, 1]],
        [[4, 1], [5, 2], [6, 3]],
        [[3, 2, 1], [6, 5, 4]],
        [[1, 4], [2, 5], [3, 6]],
        [[4, 5, 6], [1, 2, 3]],
        [[6, 3], [5, 2], [4, 1]],
    ]
    for k, numbers in enumerate(expected):
        found = kernels.augment_patches(image[None], PatchParams(orientation=k))
        for channel in found[0]:
            assert np.rint(channel * 255).tolist() == numbers


def test_crops_are_cut_before_they_are_turned():
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)[..., None].repeat(3, axis=-1)

    def numbers(size, **fields):
        return np.rint(
            kernels.augment_patches([image], PatchParams(**fields), size=size)[0, 1] * 255
        ).tolist()

    assert numbers((2, 3), origin=(3, 1)) == [[8, 9], [13, 14], [18, 19]]
    assert numbers((2, 3)) == [[1, 2], [6, 7], [11, 12]], "the centre, rounded down"
    assert numbers((3, 1), origin=(0, 1), orientation=1) == [[5, 10, 15]]
    assert numbers((4, 2), orientation=3) == [[16, 11, 6, 1], [17, 12, 7, 2]], "the centre of what is turned"


HALF_WAY = {"contrast": 0.5, "contrast_mean": (0.5, 0.5, 0.5)}  # brings [-0.5, 1.5] into view


def test_worked_pixel_of_liu2017():
    """(1.2, .5, -.1): saturation by factor 1 clips S, so that it becomes (1.2, .554, 0)."""
    out_of_range = {"brightness_mul": 1.7, "brightness_add": -0.1}
    pixel = (195, 90, 0)
    np.testing.assert_allclose(of_pixel(pixel, **out_of_range), (1, 0.5, 0), atol=1e-6)
    found = of_pixel(pixel, **out_of_range, **HALF_WAY)
    np.testing.assert_allclose(found, (0.85, 0.5, 0.2), atol=1e-6)
    found = of_pixel(pixel, **out_of_range, **HALF_WAY, saturation_mul=1.0)
    np.testing.assert_allclose(found, (0.85, 0.5269231, 0.25), atol=1e-6)
    found = of_pixel(pixel, **out_of_range, saturation_mul=1.0)
    np.testing.assert_allclose(found, (1, 0.5538462, 0), atol=1e-6)


def test_hue_leaves_values_out_of_range_alone():
    bright = {"brightness_mul": 1.7, "brightness_add": -0.1, **HALF_WAY}
    np.testing.assert_allclose(of_pixel((195, 90, 0), **bright, hue=0.0), (0.85, 0.5, 0.2), atol=1e-6)
    np.testing.assert_allclose(of_pixel((195, 90, 0), **bright, hue=1 / 3), (0.2, 0.85, 0.5), atol=1e-6)
    # The mean of values that lie beside [0, 1]: red 1.2 and .2, now blue, about .7.
    image = np.array([[[255, 0, 0], [85, 0, 0]]], np.uint8)
    params = PatchParams(brightness_mul=1.5, brightness_add=-0.3, hue=-1 / 3, contrast=0.0)
    found = kernels.augment_patches(image[None], params, layout="NHWC")[0]
    np.testing.assert_allclose(found[0], [(0, 0, 0.7)] * 2, atol=1e-6)


@pytest.mark.parametrize(
    ("pixel", "fields", "expected"),
    [
        ((200, 100, 50), {"hue": 1 / 3}, (50, 200, 100)),
        ((200, 100, 50), {"hue": 1 / 6}, (150, 200, 50)),
        ((200, 100, 50), {"hue": 0.5}, (50, 150, 200)),
        ((200, 100, 50), {"hue": -1 / 6}, (200, 50, 150)),
        ((200, 100, 50), {"hue": 1.0}, (200, 100, 50)),
        ((200, 100, 50), {"hue": -1.0}, (200, 100, 50)),
        ((200, 100, 50), {"hue": 17.5}, (50, 150, 200)),
        ((200, 100, 50), {"saturation_mul": 0.0}, (200, 200, 200)),
        ((200, 100, 50), {"saturation_mul": 0.5}, (200, 150, 125)),
        ((200, 100, 50), {"saturation_mul": 2.0}, (200, 200 / 3, 0)),
        ((200, 100, 50), {"saturation_add": 51.0}, (200, 220 / 3, 10)),
        ((200, 100, 50), {"saturation_add": -51.0}, (200, 380 / 3, 90)),
        ((200, 100, 50), {"saturation_mul": 0.4, "saturation_add": -25.5}, (200, 520 / 3, 160)),
        ((200, 100, 50), {"saturation_mul": 0.5, "hue": 1 / 3}, (125, 200, 150)),
        # Grey has the hue 0, and what an additive step has made red has a hue to turn.
        ((100, 100, 100), {"saturation_add": 51.0}, (100, 80, 80)),
        ((100, 100, 100), {"saturation_add": 51.0, "hue": 1 / 3}, (80, 100, 80)),
        ((100, 100, 100), {"saturation_mul": 3.0, "hue": 1 / 3}, (100, 100, 100)),
        ((0, 0, 0), {"saturation_add": 51.0}, (0, 0, 0)),
        # Whatever brightness makes grey is grey, and what it makes negative is grey after the saturation.
        (
            (10, 200, 30),
            {"brightness_mul": 0.0, "brightness_add": 0.4, "saturation_add": 51.0},
            (102, 81.6, 81.6),
        ),
        ((50, 25, 0), {"brightness_add": -0.3, "saturation_mul": 1.0, **HALF_WAY}, (50.5, 50.5, 50.5)),
        ((51, 0, 0), {"brightness_mul": 2.0, "brightness_add": 0.1}, (127.5, 25.5, 25.5)),
        ((51, 0, 102), {"contrast": 2.0, "contrast_mean": (0.1, 0.2, 0.3)}, (76.5, 0, 127.5)),
        # Not the same, since the mean is given: (x / 2) + .2 and (x + .2) / 2.
        ((51, 0, 102), {"contrast": 0.5, "contrast_mean": (0,) * 3, "brightness_add": 0.2}, (51, 25.5, 76.5)),
        (
            (51, 0, 102),
            {"contrast": 0.5, "contrast_mean": (0,) * 3, "brightness_add": 0.2, "contrast_first": True},
            (76.5, 51, 102),
        ),
    ],
)
def test_pixels_worked_by_hand(pixel, fields, expected):
    np.testing.assert_allclose(of_pixel(pixel, **fields) * 255, expected, atol=1e-3)


def test_contrast_is_about_the_mean_of_each_channel_over_the_crop():
    image = np.array([[[0, 0, 0], [100, 200, 50], [255, 255, 255]]], np.uint8)
    params = PatchParams(origin=(0, 0), contrast=0.5)
    found = kernels.augment_patches([image], params, size=(2, 1), layout="NHWC")[0, 0] * 255
    np.testing.assert_allclose(found, [(25, 50, 12.5), (75, 150, 37.5)], atol=1e-3)
    # The mean is that of step 4: of the greys 0 and 200, after brightness has added 51.
    params = PatchParams(origin=(0, 0), contrast=0.0, brightness_add=0.2, saturation_mul=0.0)
    found = kernels.augment_patches([image], params, size=(2, 1), layout="NHWC")[0, 0] * 255
    np.testing.assert_allclose(found, np.full((2, 3), 151), atol=1e-3)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("contrast_first", [False, True])
def test_the_mean_is_summed_in_float64(level, contrast_first):
    rng = np.random.default_rng(1)
    image = (200 + rng.integers(0, 2, (512, 512, 3))).astype(np.uint8)
    values = image.reshape(-1, 3) / 255
    in_float32 = np.cumsum(values.astype(np.float32), axis=0, dtype=np.float32)[-1] / len(values)
    assert (np.abs(in_float32 - values.mean(axis=0)) > 1e-5).all(), "the image shows no difference"
    with kernels.simd_level(level):
        params = PatchParams(contrast=0.0, contrast_first=contrast_first)
        flat = kernels.augment_patches(image[None], params, layout="NHWC")
        params = PatchParams(contrast=3.0, contrast_first=contrast_first)
        stretched = kernels.augment_patches(image[None], params, layout="NHWC")
    np.testing.assert_allclose(flat[0], np.broadcast_to(values.mean(axis=0), image.shape), atol=3e-7)
    np.testing.assert_allclose(stretched[0], reference.augment_patch(image, contrast=3.0), atol=2e-6)


# Seed, pixel number: the three replacement colours and the three Gaussian numbers, computed with
# Python's integers straight from the definition. Patches of old runs must come out the same for ever.
PROMISED = {
    (0, 0): ((0.726704776, 0.561343431, 0.162473321), (0.837345506, 0.933843497, -1.189768442)),
    (0, 1): ((0.945873201, 0.502833247, 0.694209218), (0.603127434, -0.138827862, -0.369518076)),
    (2**64 - 1, 0): ((0.336999357, 0.300933719, 0.097128332), (1.680720158, 0.152783899, 2.527371594)),
    (2**64 - 1, 1): ((0.352453351, 0.746739566, 0.396615207), (1.424817305, 1.417372733, -1.451714169)),
}


@pytest.mark.parametrize(("seed", "number"), PROMISED)
@pytest.mark.parametrize("level", LEVELS)
def test_noise_of_a_seed_and_a_pixel_number_is_fixed(seed, number, level):
    image = np.full((1, 1, 2, 3), 128, np.uint8)
    colours, normal = PROMISED[seed, number]
    with kernels.simd_level(level):
        replaced = kernels.augment_patches(
            image, PatchParams(noise_fraction=1.0, noise_seed=seed), layout="NHWC"
        )
        shaken = kernels.augment_patches(image, PatchParams(noise_sigma=0.1, noise_seed=seed), layout="NHWC")
    np.testing.assert_allclose(replaced[0, 0, number], colours, atol=1e-6)
    np.testing.assert_allclose((shaken[0, 0, number] - 128 / 255) / 0.1, normal, atol=1e-5)


def noisy(seed, side=256, **fields):
    image = np.full((1, side, side, 3), 128, np.uint8)
    return kernels.augment_patches(image, PatchParams(noise_seed=seed, **fields), layout="NHWC")[0].astype(
        float
    )


@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_gaussian_noise_is_gaussian(seed):
    """Within four standard errors, of 65,536 numbers a channel."""
    n = (noisy(seed, noise_sigma=0.1) - 128 / 255) / 0.1
    count = n[..., 0].size
    assert (np.abs(n.mean(axis=(0, 1))) < 4 / np.sqrt(count)).all()
    assert (np.abs(n.std(axis=(0, 1)) - 1) < 4 / np.sqrt(2 * count)).all()
    assert (np.abs((n**3).mean(axis=(0, 1))) < 4 * np.sqrt(15 / count)).all()
    assert (np.abs((n**4).mean(axis=(0, 1)) - 3) < 4 * np.sqrt(96 / count)).all()
    same_pixel = np.corrcoef(n.reshape(-1, 3).T)
    neighbours = [np.corrcoef(n[:, 1:, c].ravel(), n[:, :-1, c].ravel())[0, 1] for c in range(3)]
    below = [np.corrcoef(n[1:, :, c].ravel(), n[:-1, :, c].ravel())[0, 1] for c in range(3)]
    for correlation in (*same_pixel[np.triu_indices(3, 1)], *neighbours, *below):
        assert abs(correlation) < 4 / np.sqrt(count)


@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.9])
def test_replaced_pixels_are_as_many_as_asked_and_uniform(fraction):
    found = noisy(3, noise_fraction=fraction)
    count = found[..., 0].size
    replaced = np.abs(found - 128 / 255).max(axis=-1) > 1e-6
    assert abs(replaced.mean() - fraction) < 4 * np.sqrt(fraction * (1 - fraction) / count)
    colours = found[replaced]
    assert (np.abs(colours.mean(axis=0) - 1 / 2) < 4 * np.sqrt(1 / 12 / len(colours))).all()
    assert (np.abs(colours.var(axis=0) - 1 / 12) < 4 * np.sqrt(1 / 180 / len(colours))).all()
    correlation = np.corrcoef(colours.T)[np.triu_indices(3, 1)]
    assert (np.abs(correlation) < 4 / np.sqrt(len(colours))).all()
    # The other pixels are as they were.
    np.testing.assert_allclose(found[~replaced], 128 / 255, atol=1e-6)


def test_seeds_differ_and_a_share_of_0_or_1_is_meant():
    seeds = [0, 1, 2, 2**32, 2**32 + 1, 2**64 - 1]
    results = [noisy(seed, 64, noise_sigma=0.1).ravel() for seed in seeds]
    correlation = np.corrcoef(results)[np.triu_indices(len(seeds), 1)]
    assert np.abs(correlation).max() < 4.5 / np.sqrt(len(results[0]))
    assert (np.abs(noisy(0, 64, noise_fraction=0.0) - 128 / 255) < 1e-6).all()
    assert (np.abs(noisy(0, 64, noise_sigma=0.0) - 128 / 255) < 1e-6).all()
    black = np.zeros((1, 64, 64, 3), np.uint8)
    every = kernels.augment_patches(black, PatchParams(noise_fraction=1.0, noise_seed=0), layout="NHWC")[0]
    np.testing.assert_allclose(
        every, reference.noise.replacement(0, np.arange(4096).reshape(64, 64)), atol=1e-6
    )


def test_replacement_is_the_last_step_and_pixels_are_numbered_in_the_output():
    """The same pixels get the same colours whatever was done to the image before."""
    rng = np.random.default_rng(5)
    images = tissue(rng, (2, 30, 40))
    noise = {"noise_fraction": 1.0, "noise_seed": 9}
    plain = kernels.augment_patches(images, PatchParams(**noise), size=(20, 10))
    varied = PatchParams(**noise, orientation=[3, 4], hue=0.2, contrast=2.0, noise_sigma=0.2, origin=(3, 5))
    np.testing.assert_array_equal(kernels.augment_patches(images, varied, size=(20, 10)), plain)
    np.testing.assert_array_equal(plain[0], plain[1])


def test_clipping_comes_before_mean_and_std():
    image = np.array([0, 255, 128], np.uint8).reshape(1, 1, 1, 3)
    params = PatchParams(brightness_mul=4.0, brightness_add=-1.0)
    found = kernels.augment_patches(image, params, mean=(0.5, 0.25, 0.75), std=(0.5, 0.25, 0.125))
    np.testing.assert_allclose(found.ravel(), (-1, 3, 2), atol=1e-5)


def test_sequences_may_be_arrays():
    images = tissue(np.random.default_rng(6), (3, 12, 9))
    lists = {"hue": [0.1, -0.2, 0.0], "orientation": [0, 6, 2], "noise_seed": [1, 2, 2**64 - 1]}
    arrays = {name: np.array(v, np.uint64 if name == "noise_seed" else None) for name, v in lists.items()}
    rest = {"noise_sigma": np.float32(0.1)}
    found = kernels.augment_patches(images, PatchParams(**arrays, **rest))
    np.testing.assert_array_equal(kernels.augment_patches(images, PatchParams(**lists, **rest)), found)


def test_params_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PatchParams().hue = 0.5


def test_images_may_be_read_only_and_are_left_as_they_are():
    image = tissue(np.random.default_rng(7), (2, 20, 30))
    before = image.copy()
    expected = kernels.augment_patches(image, PatchParams(hue=0.1))
    image.flags.writeable = False
    np.testing.assert_array_equal(kernels.augment_patches(image, PatchParams(hue=0.1)), expected)
    np.testing.assert_array_equal(kernels.augment_patches(list(image), PatchParams(hue=0.1)), expected)
    np.testing.assert_array_equal(image, before)


def test_broadcast_images_are_images():
    image = tissue(np.random.default_rng(8), (9, 1))
    repeated = np.broadcast_to(image, (4, 9, 21, 3))
    params = PatchParams(hue=0.1, contrast=1.5, noise_sigma=0.1, noise_seed=2)
    np.testing.assert_array_equal(
        kernels.augment_patches(repeated, params),
        kernels.augment_patches(np.ascontiguousarray(repeated), params),
    )


@pytest.mark.parametrize("layout", ["packed", "planar", "strided"])
def test_empty_batches(layout):
    images = lay_out(np.zeros((0, 7, 5, 3), np.uint8), layout)
    assert kernels.augment_patches(images).shape == (0, 3, 7, 5)
    assert kernels.augment_patches(images, PatchParams(orientation=1), layout="NHWC").shape == (0, 5, 7, 3)
    assert kernels.augment_patches(images, PatchParams(hue=[]), size=(2, 3)).shape == (0, 3, 3, 2)
    found = kernels.augment_patches(torch.from_numpy(images), dtype="bfloat16")
    assert found.dtype == torch.bfloat16
    assert tuple(found.shape) == (0, 3, 7, 5)


def test_out_is_filled_and_returned():
    image = tissue(np.random.default_rng(9), (2, 33, 20))
    expected = kernels.augment_patches(image, PatchParams(hue=0.1))
    out = np.zeros((2, 33, 20, 3), np.float32)
    found = kernels.augment_patches(image, PatchParams(hue=0.1), out, layout="NHWC")
    assert found is out
    np.testing.assert_array_equal(out, np.moveaxis(expected, 1, -1))
    channels_last = torch.zeros(2, 3, 33, 20).to(memory_format=torch.channels_last)
    fastwsi.set_num_threads(2)
    assert (
        kernels.augment_patches(torch.from_numpy(image), PatchParams(hue=0.1), channels_last) is channels_last
    )
    np.testing.assert_array_equal(channels_last.numpy(), expected)
