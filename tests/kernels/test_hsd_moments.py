"""hsd_moments against the float64 reference, for every layout, backend, SIMD level and thread count."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from fastwsi.kernels import HsdMoments
from kernels.arrays import BACKENDS, LAYOUTS, images, lay_out, tissue, to_backend
from reference import hsd as reference

LEVELS = _core.simd_usable()


def assert_close(found: HsdMoments, expected: dict, tolerance: float = 1e-12) -> None:
    """Relative to the values' own scale: densities reach 5.5, chromatic coordinates 2."""
    assert found.count == expected["count"]
    if not found.count:
        return
    for name in ("chroma_mean", "chroma_covariance", "density_mean", "density_variance"):
        np.testing.assert_allclose(
            getattr(found, name), expected[name], rtol=tolerance, atol=tolerance, err_msg=name
        )


def as_dict(m: HsdMoments) -> dict:
    return {name: getattr(m, name) for name in m.__dataclass_fields__}


@given(
    image=images(),
    layout=st.sampled_from(LAYOUTS),
    backend=st.sampled_from(BACKENDS),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 4),
)
def test_equals_the_reference(image, layout, backend, level, threads):
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        found = kernels.hsd_moments(to_backend(lay_out(image, layout), backend))
    if image.size:
        assert_close(found, reference.moments(image))
    else:
        assert found == HsdMoments.empty()


@given(
    image=images(),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    kind=st.sampled_from(["bool", "uint8", "strided"]),
    backend=st.sampled_from(BACKENDS),
    level=st.sampled_from(LEVELS),
)
def test_mask_counts_the_pixels_that_are_not_zero(image, seed, share, kind, backend, level):
    rng = np.random.default_rng(seed)
    keep = rng.random(image.shape[:-1]) < share
    mask = keep if kind == "bool" else keep.astype(np.uint8) * rng.integers(1, 256)
    mask = mask.astype(np.uint8) if kind == "uint8" else mask
    if kind == "strided":
        mask = np.repeat(mask.astype(np.uint8), 2, axis=-1)[..., ::2]
    with kernels.simd_level(level):
        found = kernels.hsd_moments(to_backend(image, backend), to_backend(mask, backend))
    if keep.any():
        assert_close(found, reference.moments(image, keep))
    else:
        assert found == HsdMoments.empty()


@given(parts=st.lists(images(max_side=24, min_dims=3), min_size=1, max_size=4))
def test_sums_equal_one_pass_over_everything(parts):
    pixels = [part.reshape(1, -1, 3) for part in parts]
    whole = kernels.hsd_moments(np.concatenate(pixels, axis=1))
    assert_close(sum(kernels.hsd_moments(part) for part in parts), as_dict(whole))


def test_large_images_keep_the_precision_and_ignore_the_threads():
    image = tissue(np.random.default_rng(0), (3, 700, 811))
    found = []
    for threads in (1, 2, 3, 8):
        fastwsi.set_num_threads(threads)
        found.append(kernels.hsd_moments(image))
    assert_close(found[0], reference.moments(image))
    assert found.count(found[0]) == len(found), "must be the same bits for any number of threads"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 255), (200, 120, 180)])
def test_constant_images_have_exactly_no_spread(colour, level):
    image = np.full((37, 53, 3), colour, np.uint8)
    with kernels.simd_level(level):
        found = kernels.hsd_moments(image)
    assert found.chroma_covariance == ((0.0, 0.0), (0.0, 0.0))
    assert found.density_variance == 0.0
    assert_close(found, reference.moments(image))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_broadcast_images_count_each_time(axis):
    """Axes that repeat the same memory, where a stride is 0."""
    image = tissue(np.random.default_rng(8), tuple(1 if k == axis else 7 for k in range(3)))
    repeated = np.broadcast_to(image, (7, 7, 7, 3))
    assert_close(kernels.hsd_moments(repeated), reference.moments(np.ascontiguousarray(repeated)))


def test_sum_starts_from_zero_and_empty_is_neutral():
    one = kernels.hsd_moments(tissue(np.random.default_rng(1), (5, 5)))
    assert sum([one]) == one
    assert one + HsdMoments.empty() == one == HsdMoments.empty() + one
    with pytest.raises(TypeError):
        one + 1


@given(image=images())
def test_json_and_pickle_give_back_the_same_bits(image):
    moments = kernels.hsd_moments(image)
    assert HsdMoments.from_json(moments.to_json()) == moments
    assert pickle.loads(pickle.dumps(moments)) == moments
    assert json.loads(moments.to_json())["count"] == image[..., 0].size


WHOLE = HsdMoments.empty().to_json()


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"count": 1}', '{"count": -1}'),
        *(WHOLE.replace('"count": 0', f'"count": {count}') for count in ("1e999", "1.7", "-1", "true_")),
    ],
)
def test_json_of_something_else_is_refused(text):
    with pytest.raises(ValueError, match="HsdMoments"):
        HsdMoments.from_json(text)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"count": -1}, "count"),
        ({"density_mean": float("nan")}, "finite"),
        ({"density_variance": -1e-9}, "variances of 0 or more"),
        ({"chroma_covariance": ((1.0, 0.1), (0.2, 1.0))}, "symmetric"),
    ],
)
def test_moments_that_cannot_be_are_refused(change, match):
    fields = as_dict(HsdMoments.empty()) | change
    with pytest.raises(ValueError, match=match):
        HsdMoments(**fields)


def test_wrong_arguments_say_what_they_got_and_what_is_expected():
    image = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(TypeError, match="images: got list, expected a numpy array, torch tensor or cupy"):
        kernels.hsd_moments([[1, 2, 3]])
    with pytest.raises(TypeError, match="images: got dtype float32, expected uint8"):
        kernels.hsd_moments(image.astype(np.float32))
    with pytest.raises(ValueError, match=r"images: got shape \(4, 5\), expected \(..., height, width, 3\)"):
        kernels.hsd_moments(image[..., 0])
    with pytest.raises(ValueError, match=r"images: got shape \(4, 5, 4\)"):
        kernels.hsd_moments(np.zeros((4, 5, 4), np.uint8))
    with pytest.raises(ValueError, match=r"mask: got shape \(5, 4\), expected \(4, 5\)"):
        kernels.hsd_moments(image, np.ones((5, 4), bool))
    with pytest.raises(TypeError, match="mask: got dtype float64, expected bool or uint8"):
        kernels.hsd_moments(image, np.ones((4, 5)))
    with pytest.raises(TypeError, match="mask: got a torch array, expected a numpy one"):
        kernels.hsd_moments(image, torch.ones(4, 5, dtype=torch.bool))
