"""hsd_normalize against the float64 reference, for every dtype, layout, backend, level and thread count."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from fastwsi.kernels import HsdMoments
from fastwsi.kernels.hsd_statistics import chroma_map
from kernels.arrays import BACKENDS, LAYOUTS, images, lay_out, tissue, to_backend, to_numpy
from reference import hsd as reference

LEVELS = _core.simd_usable()
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Half a unit in the last place of values up to 8, beside the 2e-5 of the arithmetic (std is 0.22).
ROUNDING = {"float32": 0.0, "float16": 2**-9, "bfloat16": 2**-6}


def moments_of(pixels) -> HsdMoments:
    return kernels.hsd_moments(pixels)


SOURCE = moments_of(tissue(np.random.default_rng(10), (200, 200)))
TARGET = moments_of((tissue(np.random.default_rng(11), (200, 200)) * 0.8 + 20).astype(np.uint8))


def expected_intensity(image, source=SOURCE, target=TARGET):
    fields = [{name: getattr(m, name) for name in m.__dataclass_fields__} for m in (source, target)]
    return reference.normalize(image, *fields)


def assert_bytes_agree(found, image, source=SOURCE, target=TARGET, share=0.999):
    expected = np.rint(expected_intensity(image, source, target))
    difference = np.abs(found.astype(np.float64) - expected)
    assert difference.max(initial=0) <= 1
    # In small images one value at a rounding edge is more than 0.1 %.
    assert (difference > 0).sum() <= max(1, (1 - share) * found.size)


@given(
    image=images(),
    layout=st.sampled_from(LAYOUTS),
    out_layout=st.sampled_from([None, *LAYOUTS]),
    backend=st.sampled_from(BACKENDS),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
)
def test_bytes_equal_the_reference(image, layout, out_layout, backend, level, threads):
    fastwsi.set_num_threads(threads)
    given_image = to_backend(lay_out(image, layout), backend)
    out = None if out_layout is None else to_backend(lay_out(np.zeros_like(image), out_layout), backend)
    with kernels.simd_level(level):
        found = kernels.hsd_normalize(given_image, SOURCE, TARGET, out)
    assert out is None or found is out
    assert type(found) is type(given_image)
    assert_bytes_agree(to_numpy(found), image)


@given(
    image=images(),
    layout=st.sampled_from(LAYOUTS),
    dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
    backend=st.sampled_from(BACKENDS),
    channels_last=st.booleans(),
    scaled=st.booleans(),
    level=st.sampled_from(LEVELS),
)
def test_planes_equal_the_reference(image, layout, dtype, backend, channels_last, scaled, level):
    assume(dtype != "bfloat16" or backend == "torch")
    mean, std = (MEAN, STD) if scaled else (None, None)
    given_image = to_backend(lay_out(image, layout), backend)
    out = None
    if channels_last and backend == "torch":
        out = torch.full(image.shape, 7.0).to(getattr(torch, dtype)).movedim(-1, -3)
    with kernels.simd_level(level):
        found = kernels.hsd_normalize(given_image, SOURCE, TARGET, out, dtype=dtype, mean=mean, std=std)
    expected = expected_intensity(image) / 255
    if scaled:
        expected = (expected - MEAN) / STD
    expected = np.moveaxis(expected, -1, -3)
    assert str(found.dtype).removeprefix("torch.") == dtype
    assert tuple(found.shape) == expected.shape
    error = np.abs(to_numpy(found).astype(np.float64) - expected).max(initial=0)
    assert error <= 2e-5 + ROUNDING[dtype]


@pytest.mark.parametrize("level", LEVELS)
def test_a_megapixel_is_identical_on_999_of_1000_values(level):
    image = tissue(np.random.default_rng(0), (1000, 1001))
    with kernels.simd_level(level):
        found = kernels.hsd_normalize(image, SOURCE, TARGET)
    assert_bytes_agree(found, image)


def test_every_colour_there_is():
    """All 2^24 pixels, at the best level: no colour is special."""
    axis = np.arange(256, dtype=np.uint8)
    for red in range(0, 256, 5):
        cube = np.empty((256, 256, 3), np.uint8)
        cube[..., 0], cube[..., 1], cube[..., 2] = red, axis[:, None], axis[None, :]
        assert_bytes_agree(kernels.hsd_normalize(cube, SOURCE, TARGET), cube)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
@pytest.mark.parametrize("level", LEVELS)
def test_threads_do_not_change_a_bit(dtype, level):
    image = tissue(np.random.default_rng(2), (3, 300, 401))
    results = []
    with kernels.simd_level(level):
        for threads in (1, 2, 5):
            fastwsi.set_num_threads(threads)
            results.append(kernels.hsd_normalize(image, SOURCE, TARGET, dtype=dtype).tobytes())
    assert results.count(results[0]) == len(results)


def test_levels_agree():
    image = tissue(np.random.default_rng(3), (500, 500))
    results = []
    for level in LEVELS:
        with kernels.simd_level(level):
            results.append(kernels.hsd_normalize(image, SOURCE, TARGET, dtype="float32"))
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_same_statistics_leave_every_value_as_it_is(level):
    image = np.random.default_rng(4).integers(0, 256, (300, 300, 3), np.uint8)
    source = moments_of(image)
    with kernels.simd_level(level):
        np.testing.assert_array_equal(kernels.hsd_normalize(image, source, source), image)


def test_result_has_the_targets_statistics():
    """On mid-tones, where neither clipping nor rounding moves them much."""
    rng = np.random.default_rng(5)
    image = rng.normal((150, 110, 160), (12, 10, 8), (400, 400, 3)).astype(np.uint8)
    target = moments_of(rng.normal((120, 90, 140), (8, 12, 10), (400, 400, 3)).astype(np.uint8))
    found = moments_of(kernels.hsd_normalize(image, moments_of(image), target))
    np.testing.assert_allclose(found.chroma_mean, target.chroma_mean, atol=1e-3)
    np.testing.assert_allclose(found.chroma_covariance, target.chroma_covariance, rtol=0.02, atol=1e-5)
    np.testing.assert_allclose(found.density_mean, target.density_mean, atol=1e-3)
    np.testing.assert_allclose(found.density_variance, target.density_variance, rtol=0.02)


@given(
    st.lists(st.floats(-1, 1), min_size=4, max_size=4),
    st.lists(st.floats(-1, 1), min_size=4, max_size=4),
    st.sampled_from([0.0, 1e-3]),
)
def test_chroma_map_carries_one_covariance_into_the_other(a, b, floor):
    a, b = np.reshape(a, (2, 2)), np.reshape(b, (2, 2))
    source, target = a @ a.T + 1e-3 * np.eye(2), b @ b.T + floor * np.eye(2)
    t = np.array(chroma_map(tuple(map(tuple, source)), tuple(map(tuple, target))))
    np.testing.assert_allclose(t @ source @ t.T, target, atol=1e-9)
    np.testing.assert_allclose(t, t.T, atol=1e-9)
    if floor:  # the root of a singular target has no more than half the digits
        np.testing.assert_allclose(t, reference.chroma_map(source, target), atol=1e-9)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("threads", [1, 3])
def test_one_source_per_image_equals_one_call_per_image(level, threads):
    """Bit for bit, on other threads too: the SIMD level of the caller counts."""
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        assert_one_source_per_image()


def assert_one_source_per_image():
    batch = tissue(np.random.default_rng(6), (40, 33, 47))
    sources = [moments_of(image) for image in batch]
    for dtype in ("uint8", "float32"):
        together = kernels.hsd_normalize(batch, sources, TARGET, dtype=dtype)
        for image, source, result in zip(batch, sources, together, strict=True):
            np.testing.assert_array_equal(kernels.hsd_normalize(image, source, TARGET, dtype=dtype), result)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_broadcast_images_are_images(axis, dtype):
    image = tissue(np.random.default_rng(8), tuple(1 if k == axis else 7 for k in range(3)))
    repeated = np.broadcast_to(image, (7, 7, 7, 3))
    np.testing.assert_array_equal(
        kernels.hsd_normalize(repeated, SOURCE, TARGET, dtype=dtype),
        kernels.hsd_normalize(np.ascontiguousarray(repeated), SOURCE, TARGET, dtype=dtype),
    )


def test_works_in_place():
    image = tissue(np.random.default_rng(7), (61, 67))
    expected = kernels.hsd_normalize(image, SOURCE, TARGET)
    assert kernels.hsd_normalize(image, SOURCE, TARGET, image) is image
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize(
    "colour",
    [
        (255, 255, 255),
        (0, 0, 0),
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (0, 255, 255),
        (255, 0, 255),
    ],
)
def test_blank_black_and_saturated_pixels_are_finite_under_any_statistics(colour):
    image = np.full((5, 7, 3), colour, np.uint8)
    spread = HsdMoments(9, (0.5, -0.5), ((2.0, 0.1), (0.1, 1.0)), 3.0, 4.0)
    narrow = HsdMoments(9, (-0.4, 0.6), ((1e-5, 0.0), (0.0, 2e-6)), 0.1, 3e-6)
    for source, target in [(spread, narrow), (narrow, spread), (SOURCE, TARGET)]:
        assert_bytes_agree(kernels.hsd_normalize(image, source, target), image, source, target, share=0)
        planes = kernels.hsd_normalize(image, source, target, dtype="float32")
        assert np.isfinite(planes).all()
        assert planes.min() >= 0
        assert planes.max() <= 1


def test_singular_source_warns_once_and_stays_finite():
    image = np.full((16, 16, 3), (180, 90, 140), np.uint8)
    constant = moments_of(image)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            result = kernels.hsd_normalize(image, constant, TARGET)
    assert [w.category for w in caught] == [RuntimeWarning]
    assert "singular" in str(caught[0].message)
    assert caught[0].filename == __file__, "points at the caller"
    # The constant colour is the source's mean, so it must become the target's mean colour.
    expected = reference.normalize(
        image,
        {
            "chroma_mean": constant.chroma_mean,
            "chroma_covariance": np.eye(2),
            "density_mean": constant.density_mean,
            "density_variance": 1.0,
        },
        {name: getattr(TARGET, name) for name in TARGET.__dataclass_fields__},
    )
    assert np.abs(result - expected).max() <= 1


def test_empty_batches_and_images():
    for shape in [(0, 4, 5, 3), (2, 0, 5, 3), (2, 4, 0, 3), (0, 0, 3)]:
        assert kernels.hsd_normalize(np.zeros(shape, np.uint8), SOURCE, TARGET).shape == shape
    assert kernels.hsd_normalize(np.zeros((0, 4, 5, 3), np.uint8), [], TARGET).shape == (0, 4, 5, 3)


def test_wrong_arguments_say_what_they_got_and_what_is_expected():
    image = np.zeros((4, 5, 3), np.uint8)
    call = kernels.hsd_normalize
    with pytest.raises(TypeError, match="images: got dtype int64, expected uint8"):
        call(image.astype(int), SOURCE, TARGET)
    with pytest.raises(ValueError, match=r"images: got shape \(3,\)"):
        call(image[0, 0], SOURCE, TARGET)
    with pytest.raises(TypeError, match="target: got NoneType, expected HsdMoments"):
        call(image, SOURCE, None)
    with pytest.raises(TypeError, match="source: got str"):
        call(image, "source", TARGET)
    with pytest.raises(ValueError, match="source: got 2 moments for images of shape"):
        call(image[None], [SOURCE, SOURCE], TARGET)
    with pytest.raises(ValueError, match="source: got moments of no pixels"):
        call(image, HsdMoments.empty(), TARGET)
    with pytest.raises(ValueError, match="target: got moments of no pixels"):
        call(image, SOURCE, HsdMoments.empty())
    with pytest.raises(TypeError, match="dtype: got float64, expected one of uint8"):
        call(image, SOURCE, TARGET, dtype="float64")
    with pytest.raises(TypeError, match="dtype: got 'floaty', expected a dtype"):
        call(image, SOURCE, TARGET, dtype="floaty")
    with pytest.raises(TypeError, match="got bfloat16 for a numpy array"):
        call(image, SOURCE, TARGET, dtype="bfloat16")
    with pytest.raises(ValueError, match="mean and std: not for uint8"):
        call(image, SOURCE, TARGET, mean=MEAN)
    with pytest.raises(ValueError, match="mean: got"):
        call(image, SOURCE, TARGET, dtype="float32", mean=(0.5, 0.5))
    with pytest.raises(ValueError, match="std: got"):
        call(image, SOURCE, TARGET, dtype="float32", std=(0.5, 0.5, 0))
    with pytest.raises(ValueError, match=r"out: got shape \(4, 5, 3\) .* channels before height"):
        call(image, SOURCE, TARGET, np.zeros((4, 5, 3), np.float32))
    with pytest.raises(ValueError, match="out: got dtype float32, expected uint8"):
        call(image, SOURCE, TARGET, np.zeros((3, 4, 5), np.float32), dtype="uint8")
    with pytest.raises(ValueError, match="out: got a read-only array"):
        frozen = image.copy()
        frozen.flags.writeable = False
        call(image, SOURCE, TARGET, frozen)
    with pytest.raises(TypeError, match="images: got a masked array"):
        call(np.ma.masked_array(image), SOURCE, TARGET)
    with pytest.raises(ValueError, match="out: lies in the same memory range as images"):
        big = np.zeros((5, 5, 3), np.uint8)
        call(big[1:], SOURCE, TARGET, big[:-1])


@given(image=images(min_dims=4))
def test_the_registered_operator_equals_the_eager_call(image):
    import fastwsi.kernels.torch_ops as ops

    tensor = torch.from_numpy(image)
    numbers = [*SOURCE.numbers(), *TARGET.numbers()]
    found = ops.hsd_normalize_op(tensor, numbers, [1 / 255] * 3, [0.0] * 3, "float32")
    expected = kernels.hsd_normalize(tensor, SOURCE, TARGET, dtype="float32")
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
