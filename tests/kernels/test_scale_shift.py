"""scale_shift against the reference, under autograd, and as torch's compiler sees it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from kernels.arrays import to_numpy
from reference import pixels as reference

LEVELS = _core.simd_usable()
# Of the result's magnitude: half a unit in the last place, and the float32 arithmetic inside.
TOLERANCE = {"float64": 1e-15, "float32": 2e-7, "float16": 2**-11 + 2e-7, "bfloat16": 2**-8 + 2e-7}


@st.composite
def batches(draw):
    shape = (
        draw(st.integers(0, 3)),
        draw(st.integers(1, 16)),
        *draw(st.lists(st.integers(0, 21), min_size=0, max_size=3)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.normal(0, 3, shape), rng.normal(0, 2, shape[1]), rng.normal(0, 2, shape[1])


def lay_out(x: torch.Tensor, layout: str) -> torch.Tensor:
    if layout == "sliced" and x.ndim > 2:
        return torch.cat([x, x], dim=-1)[..., : x.shape[-1]]
    if layout == "transposed" and x.ndim > 2:
        return x.transpose(1, -1).contiguous().transpose(1, -1)
    return x.contiguous()


@given(
    batch=batches(),
    dtype=st.sampled_from(sorted(TOLERANCE)),
    layout=st.sampled_from(["packed", "sliced", "transposed"]),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
)
def test_equals_the_reference(batch, dtype, layout, level, threads):
    values, scale, shift = batch
    x = lay_out(torch.from_numpy(values).to(getattr(torch, dtype)), layout)
    exact = x.to(torch.float64).numpy()
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        found = kernels.scale_shift(x, scale, shift)
    assert found.dtype == x.dtype
    expected = reference.scale_shift(exact, scale, shift)
    size = np.abs(exact) * np.abs(np.reshape(scale, (1, -1) + (1,) * (x.ndim - 2))) + 3
    error = np.abs(found.to(torch.float64).numpy() - expected) / size
    assert error.max(initial=0) <= TOLERANCE[dtype] * 4


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_16_bit_value_survives_the_identity(dtype, level):
    """Conversions both ways: normals, subnormals, both zeros, infinities, NaN."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype).reshape(1, 1, -1)
    with kernels.simd_level(level):
        for values in (x, x[..., :-3]):  # with and without a rest behind the last full vector
            found = kernels.scale_shift(values, [1.0], [-0.0])
            same = found.view(torch.int16) == values.view(torch.int16)
            assert bool((same | (values.isnan() & found.isnan())).all())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_results_are_rounded_as_torch_rounds(dtype, level):
    x = torch.randn(1, 1, 100_003).to(dtype)
    with kernels.simd_level(level):
        for scale in (1 / 3, 1e-4, 7e4):
            found = kernels.scale_shift(x, [scale], [0.0])
            expected = (x.float() * np.float32(scale)).to(dtype)
            assert torch.equal(found, expected)


def test_numpy_in_numpy_out_and_in_place():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    expected = kernels.scale_shift(torch.from_numpy(x), [1, 2, 3], [4, 5, 6])
    found = kernels.scale_shift(x, [1, 2, 3], [4, 5, 6])
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, to_numpy(expected))
    assert kernels.scale_shift(x, [1, 2, 3], [4, 5, 6], x) is x
    np.testing.assert_array_equal(found, x)


def test_memory_format_is_kept():
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    assert kernels.scale_shift(x, [1, 2, 3], [0, 0, 0]).is_contiguous(memory_format=torch.channels_last)


def test_gradients_first_and_second():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)

    def run(values):
        return kernels.scale_shift(values, [1.5, -2.0, 0.5], [0.1, 0.2, 0.3])

    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


def test_grad_is_recorded_only_where_it_is_wanted():
    x = torch.randn(1, 2, 3, requires_grad=True)
    assert kernels.scale_shift(x, [1, 1], [0, 0]).requires_grad
    with torch.no_grad():
        assert not kernels.scale_shift(x, [1, 1], [0, 0]).requires_grad
    assert not kernels.scale_shift(x.detach(), [1, 1], [0, 0]).requires_grad


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own, at first use
def test_forward_mode_carries_the_tangent():
    from torch.autograd import forward_ad

    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.zeros(1, 2, 3), torch.ones(1, 2, 3))
        tangent = forward_ad.unpack_dual(kernels.scale_shift(dual, [2.0, -3.0], [5.0, 5.0])).tangent
    assert tangent.tolist() == [[[2.0] * 3, [-3.0] * 3]]


def test_writing_into_a_tensor_that_backward_needs_is_noticed():
    x, w = torch.ones(1, 2, 3), torch.ones(1, 2, 3, requires_grad=True)
    y = (x * w).sum()
    kernels.scale_shift(x, [100.0, 100.0], [0.0, 0.0], x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_out_under_inference_mode_and_no_grad():
    with torch.inference_mode():
        x = torch.ones(1, 2, 3)
        assert kernels.scale_shift(x, [2.0, 3.0], [0.0, 0.0], x).sum() == 15
    parameter = torch.nn.Parameter(torch.ones(1, 2, 3))
    with torch.no_grad():
        kernels.scale_shift(parameter, [2.0, 3.0], [0.0, 0.0], parameter)
    assert parameter.sum().item() == 15


def test_wrong_arguments_say_what_they_got_and_what_is_expected():
    x = torch.zeros(1, 2, 3)
    with pytest.raises(TypeError, match="x: got dtype int64, expected one of float32"):
        kernels.scale_shift(x.long(), [1, 1], [0, 0])
    with pytest.raises(ValueError, match=r"x: got shape \(3,\), expected \(batch, channels"):
        kernels.scale_shift(x[0, 0], [1, 1], [0, 0])
    with pytest.raises(ValueError, match="got 1 and 2 values, expected 2, one per channel"):
        kernels.scale_shift(x, [1], [0, 0])
    with pytest.raises(TypeError, match=r"scale: got \['a', 1\], expected a sequence of numbers"):
        kernels.scale_shift(x, ["a", 1], [0, 0])
    with pytest.raises(ValueError, match="got 17 channels, expected at most 16"):
        kernels.scale_shift(torch.zeros(1, 17, 1), [1] * 17, [0] * 17)
    with pytest.raises(TypeError, match="out: got dtype float64, expected float32"):
        kernels.scale_shift(x, [1, 1], [0, 0], x.double())
    with pytest.raises(ValueError, match=r"out: got shape \(1, 2, 4\), expected \(1, 2, 3\)"):
        kernels.scale_shift(x, [1, 1], [0, 0], torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match="out: not supported for a tensor that requires grad"):
        kernels.scale_shift(x.requires_grad_(), [1, 1], [0, 0], torch.zeros(1, 2, 3))
