"""augment_patches writes the same numbers whatever the output's layout: each layout has code of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastwsi import _core, kernels
from fastwsi.kernels import PatchParams
from kernels.arrays import tissue

LEVELS = _core.simd_usable()
DTYPES = ("float32", "float16", "bfloat16", "uint8")
COLOUR = st.fixed_dictionaries(
    {"contrast": st.sampled_from([None, 0.0, 0.6, 1.7])},
    optional={
        "brightness_mul": st.floats(0.3, 2),
        "brightness_add": st.floats(-0.5, 0.5),
        "saturation_mul": st.floats(0, 3),
        "saturation_add": st.floats(-64, 64),
        "hue": st.floats(-1, 1),
        "contrast_first": st.booleans(),
        "noise_fraction": st.floats(0, 1),
        "noise_sigma": st.floats(0, 0.3),
        "lch_mul": st.just((1.1, 0.9, 1.02)),
    },
)
# Blocks are of 16 pixels, runs of 1024, tiles of 1024 columns: sides about all of them.
SIDES = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 299]))
WIDE = st.sampled_from([(1023, 2), (1024, 3), (1025, 3), (1041, 1), (2051, 2), (2, 1100)])


def augmented(images, params, dtype, layout, out=None):
    # The numbers themselves, as bytes: a float's bits, so that -0 is not 0.
    scale = {} if dtype == "uint8" else {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}
    found = kernels.augment_patches(images, params, out, dtype=dtype, layout=layout, **scale)
    channels_last = found if layout == "NHWC" else found.permute(0, 2, 3, 1)
    return channels_last.contiguous().view(torch.uint8).numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", LEVELS)
@given(
    size=st.one_of(st.tuples(SIDES, SIDES), WIDE),
    turned=st.booleans(),
    colour=COLOUR,
    gap=st.sampled_from([None, (0, 0), (1, 0), (0, 2), (3, 5)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_pixels_equal_planes_bit_by_bit(dtype, level, size, turned, colour, gap, seed):
    width, height = size
    images = tissue(np.random.default_rng(seed), (2, width, height) if turned else (2, height, width))
    source = torch.from_numpy(images.transpose(0, 2, 1, 3)[:, ::-1].copy() if turned else images)
    noisy = {"noise_fraction", "noise_sigma"} & set(colour)
    params = PatchParams(**colour, noise_seed=seed if noisy else None)
    with kernels.simd_level(level):
        planes = augmented(source, params, dtype, "NCHW")
        out = whole = None
        if gap is not None:  # rows that do not follow one another, and pixels about them that are not ours
            wide = (2, height + gap[0], width + gap[1], 3)
            whole = torch.full(wide, 7, dtype=getattr(torch, dtype))
            out = whole[:, : wide[1] - gap[0], : wide[2] - gap[1]]
        pixels = augmented(source, params, dtype, "NHWC", out)
    np.testing.assert_array_equal(pixels, planes)
    if whole is not None:
        out[...] = 7
        assert bool((whole == 7).all()), "wrote beside out"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_other_strides_equal_planes_too(dtype, level):
    """Outputs that no packed code writes: through scratch, and nothing is parked there."""
    images = torch.from_numpy(tissue(np.random.default_rng(1), (2, 37, 53)))
    params = PatchParams(saturation_mul=1.3, hue=0.1, contrast=1.4, noise_sigma=0.1, noise_seed=3)
    views = (
        torch.empty((2, 37, 53, 4), dtype=getattr(torch, dtype))[..., :3],
        torch.empty((2, 37, 106, 3), dtype=getattr(torch, dtype))[:, :, ::2],
        torch.empty((3, 53, 37, 2), dtype=getattr(torch, dtype)).permute(3, 2, 1, 0),
    )
    with kernels.simd_level(level):
        planes = augmented(images, params, dtype, "NCHW")
        for view in views:
            np.testing.assert_array_equal(augmented(images, params, dtype, "NHWC", view), planes)
