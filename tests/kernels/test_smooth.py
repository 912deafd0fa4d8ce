"""smooth is scipy's Gaussian filter over the last two axes, in float32 for 16-bit maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastwsi import kernels
from kernels.arrays import BACKENDS, to_numpy
from kernels.maps import DTYPES, as_input
from kernels.pools import LAYOUTS

MODES = ("nearest", "reflect", "mirror", "constant", "wrap")


def by_scipy(one, sigma, **options):
    """One map, as scipy filters it; 16-bit maps by way of float32."""
    wide = one.astype(np.float32) if one.dtype == np.float16 else one
    return scipy.ndimage.gaussian_filter(np.ascontiguousarray(wide), sigma, **options)


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    lead=st.sampled_from([(), (0,), (1,), (3,)]),
    dtype=st.sampled_from(DTYPES),
    backend=st.sampled_from(BACKENDS),
    layout=st.sampled_from(LAYOUTS),
    sigma=st.sampled_from([0.1, 0.5, 1, 1.7, 3.0, 8]),
    mode=st.sampled_from(MODES),
    truncate=st.sampled_from([1.0, 3, 4.0]),
)
def test_is_scipy_s_filter_of_each_map(seed, size, lead, dtype, backend, layout, sigma, mode, truncate):
    array = np.random.default_rng(seed).normal(size=(*lead, *size))
    x, same = as_input(array, dtype, backend, layout)
    found = kernels.smooth(x, sigma, mode=mode, truncate=truncate)
    assert found.dtype == x.dtype
    assert tuple(found.shape) == array.shape
    assert isinstance(found, type(x))
    for index in np.ndindex(lead):
        wide = by_scipy(same[index], sigma, mode=mode, truncate=truncate)
        if dtype == "bfloat16":
            wide = torch.from_numpy(wide).bfloat16().float().numpy()
        expected = wide.astype(np.float16) if dtype == "float16" else wide
        np.testing.assert_array_equal(to_numpy(found[index] if lead else found), expected)


def test_defaults_are_nearest_and_four_standard_deviations():
    x = np.random.default_rng(0).normal(size=(30, 40))
    expected = scipy.ndimage.gaussian_filter(x, 2.0, mode="nearest", truncate=4.0)
    np.testing.assert_array_equal(kernels.smooth(x, 2.0), expected)
    assert not np.array_equal(expected, scipy.ndimage.gaussian_filter(x, 2.0))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sigma_zero_copies(backend, dtype):
    x, same = as_input(np.random.default_rng(0).normal(size=(2, 5, 6)), dtype, backend, "strided")
    before = same.copy()
    found = kernels.smooth(x, 0)
    np.testing.assert_array_equal(to_numpy(found), before)
    found[...] = 7
    np.testing.assert_array_equal(to_numpy(x), before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 0), (0, 3, 4), (2, 0, 4)], ids=str)
def test_maps_without_cells(shape, backend):
    x, _ = as_input(np.zeros(shape), "float32", backend, "packed")
    assert tuple(kernels.smooth(x, 1.5).shape) == shape


def test_no_gradient_flows_and_the_input_stays():
    x = torch.randn(6, 7, requires_grad=True)
    before = x.detach().clone()
    found = kernels.smooth(x, 1.5)
    assert not found.requires_grad
    np.testing.assert_array_equal(found.numpy(), by_scipy(before.numpy(), 1.5, mode="nearest"))
    assert torch.equal(x.detach(), before)


def test_a_window_may_be_wider_than_the_map_within_reason():
    heatmap = np.random.default_rng(0).normal(size=(3, 12))
    expected = scipy.ndimage.gaussian_filter(heatmap, 250, mode="nearest", truncate=4)
    np.testing.assert_array_equal(kernels.smooth(heatmap, 250), expected)
    assert kernels.smooth(np.zeros((1, 11), np.float32), 275).shape == (1, 11)
    with pytest.raises(ValueError, match=r"sigma and truncate: got 276.*1104 cells.* at most 1100"):
        kernels.smooth(np.zeros((1, 11), np.float32), 276)


MAP = np.zeros((4, 5), np.float32)
WRONG = [
    (ValueError, r"heatmap: got shape \(5,\), expected", (MAP[0], 1), {}),
    (ValueError, r"heatmap: got shape \(1, 1, 4, 5\), expected", (MAP[None, None], 1), {}),
    (TypeError, "heatmap: got dtype uint8, expected", (MAP.astype(np.uint8), 1), {}),
    (TypeError, "heatmap: got list, expected", ([[0.5]], 1), {}),
    (ValueError, "sigma: got -1, expected", (MAP, -1), {}),
    (ValueError, "sigma: got nan, expected", (MAP, math.nan), {}),
    (ValueError, "sigma: got inf, expected", (MAP, math.inf), {}),
    (TypeError, "sigma: got '1', expected", (MAP, "1"), {}),
    (TypeError, "sigma: got True, expected", (MAP, True), {}),
    (TypeError, r"sigma: got \(1, 1\), expected", (MAP, (1, 1)), {}),
    (ValueError, r"sigma and truncate: got 1000000000000\.0 and 4\.0.* expected", (MAP, 1e12), {}),
    (ValueError, "sigma and truncate: got 1e.300 and 4.0.* expected", (MAP, 1e300), {}),
    (ValueError, "sigma and truncate: got 1e.300 and 1e.300.* expected", (MAP, 1e300), {"truncate": 1e300}),
    (ValueError, "sigma and truncate: got 1 and 1e.300.* expected", (MAP, 1), {"truncate": 1e300}),
    (ValueError, "sigma: got 1000.*, expected a number that fits", (MAP, 10**400), {}),
    (ValueError, "mode: got 'fast', expected", (MAP, 1), {"mode": "fast"}),
    (ValueError, "mode: got array.*, expected", (MAP, 1), {"mode": np.ones(2)}),
    (TypeError, "heatmap: got a sparse", (torch.zeros(4, 5).to_sparse(), 1), {}),
    (ValueError, "truncate: got nan, expected", (MAP, 1), {"truncate": math.nan}),
    (ValueError, "truncate: got -1, expected", (MAP, 1), {"truncate": -1}),
    (TypeError, "truncate: got None, expected", (MAP, 1), {"truncate": None}),
]


@pytest.mark.parametrize(("error", "message", "args", "options"), WRONG, ids=[row[1] for row in WRONG])
def test_wrong_arguments_say_what_they_got_and_what_is_expected(error, message, args, options):
    with pytest.raises(error, match=f"^{message}"):
        kernels.smooth(*args, **options)
