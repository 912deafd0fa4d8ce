"""The LCh step of augment_patches and warp against the standards' formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastwsi import _core, kernels
from fastwsi.kernels import PatchParams
from kernels.arrays import images, tissue
from reference import lch as reference

LEVELS = _core.simd_usable()
# Not the 1e-5 of the other steps: near black, sRGB is 12.9 times as steep as linear light, and a small
# channel of a saturated colour is the difference of large ones. CIE's cube roots rounded to float32,
# correctly, with all else exact, cost 5e-6 within sRGB and 1.1e-5 where the factors leave it; with every
# step rounded it is 2.2e-5.
TOLERANCE = 3e-5


def comparable(rgb, factors):
    """Left out: pixels next to hue 0, where 0 and 360 degrees are multiplied to different angles."""
    if factors[2] == 1:
        return np.ones(rgb.shape[:-1], bool)
    lch = reference.rgb_to_lch(rgb)
    return (np.minimum(lch[..., 2], 360 - lch[..., 2]) > 0.01) | (lch[..., 1] < 1e-3)


def assert_agrees(found, image, factors):
    exact = np.clip(reference.multiply(image / 255, factors), 0, 1)
    kept = comparable(image / 255, factors)
    assert image.size < 300 or kept.mean() > 0.5
    assert np.abs(np.moveaxis(found, 0, -1) - exact)[kept].max(initial=0) <= TOLERANCE


FACTORS = st.tuples(st.floats(0.5, 1.5), st.floats(0, 2), st.one_of(st.just(1.0), st.floats(0.8, 1.2)))


@given(image=images(), factors=FACTORS, level=st.sampled_from(LEVELS))
def test_equals_the_standards(image, factors, level):
    image = image.reshape(int(np.prod(image.shape[:-2])), *image.shape[-2:])  # a batch as one tall image
    batch = image[None]
    with kernels.simd_level(level):
        found = kernels.augment_patches(batch, PatchParams(lch_mul=factors))
    assert_agrees(found[0], image, factors)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("factors", [(1, 1, 1), (0.95, 1.05, 1.05), (1.05, 0.95, 0.95), (1, 0, 1)])
def test_every_colour_on_a_grid(level, factors):
    axis = np.arange(0, 256, 5, dtype=np.uint8)
    cube = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(52, -1, 3)
    with kernels.simd_level(level):
        found = kernels.augment_patches(cube[None], PatchParams(lch_mul=factors))
    assert_agrees(found[0], cube, factors)


def test_factors_of_one_change_nothing_and_chroma_0_is_grey():
    image = tissue(np.random.default_rng(0), (50, 60))[None]
    same = kernels.augment_patches(image, PatchParams(lch_mul=(1, 1, 1)), dtype="uint8", layout="NHWC")
    np.testing.assert_array_equal(same, image)
    grey = kernels.augment_patches(image, PatchParams(lch_mul=(1, 0, 1)))
    assert np.ptp(grey, axis=1).max() < 1e-5


def test_comes_before_the_other_steps_and_per_image():
    image = tissue(np.random.default_rng(1), (2, 40, 30))
    factors = [(0.95, 1.05, 1.0), (1.05, 0.9, 1.0)]
    params = PatchParams(lch_mul=factors, brightness_mul=0.5, contrast=1.5, contrast_first=True)
    found = kernels.augment_patches(torch.from_numpy(image), params)
    for k in range(2):
        x = reference.multiply(image[k] / 255, factors[k])
        mean = x.mean(axis=(0, 1))
        exact = np.clip(((x - mean) * 1.5 + mean) * 0.5, 0, 1)
        assert np.abs(found[k].numpy() - np.moveaxis(exact, -1, 0)).max() <= TOLERANCE


def test_hue_and_saturation_follow_on_what_it_leaves():
    image = tissue(np.random.default_rng(2), (1, 40, 30))
    once = kernels.augment_patches(image, PatchParams(lch_mul=(0.9, 1.2, 1.02), hue=0.1, saturation_mul=0.8))
    values = reference.multiply(image[0] / 255, (0.9, 1.2, 1.02))
    from reference.augment import colour_steps

    exact = np.clip(colour_steps(values, np.arange(1200).reshape(40, 30), hue=0.1, saturation_mul=0.8), 0, 1)
    kept = comparable(image[0] / 255, (0.9, 1.2, 1.02))
    assert np.abs(np.moveaxis(once[0], 0, -1) - exact)[kept].max() <= TOLERANCE


def test_in_a_warp():
    image = tissue(np.random.default_rng(3), (40, 50))
    found = kernels.warp(
        image,
        [[1, 0, 0], [0, 1, 0]],
        colour=PatchParams(lch_mul=(0.97, 1.04, 1)),
        dtype="float32",
        layout="CHW",
    )
    assert_agrees(found, image, (0.97, 1.04, 1))


@pytest.mark.parametrize("bad", [(1, 1), (1, 1, 1, 1), (1, -1, 1), (1, float("nan"), 1), "lch"])
def test_bad_factors(bad):
    with pytest.raises((ValueError, TypeError), match=r"lch_mul: got .*expected"):
        PatchParams(lch_mul=bad)
    with pytest.raises((ValueError, TypeError), match=r"(image 1: )?lch_mul: got .*expected"):
        PatchParams(lch_mul=[(1, 1, 1), bad])
