"""orient against the reference: dtypes, layouts, backends, SIMD levels, threads; and under autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from kernels.arrays import BACKENDS, LAYOUTS, lay_out, to_backend
from reference import orient as reference

LEVELS = _core.simd_usable()
# One dtype for each size of element, and what needs care: signs, complex numbers, records, other byte orders.
NUMPY_DTYPES = (
    "bool", "u1", "i2", "f2", "f4", "i4", "f8", "i8", "c8", "c16", "M8[s]", "S3", "U3", "f4,u1", ">f8", "g",
)  # fmt: skip
TORCH_DTYPES = (
    torch.bool, torch.int8, torch.uint8, torch.int16, torch.bfloat16, torch.float16, torch.float8_e5m2,
    torch.int32, torch.float32, torch.int64, torch.float64, torch.complex64, torch.complex128,
)  # fmt: skip
EIGHT = range(8)


def random_array(rng, shape, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "fc" and dtype.names is None:  # no NaN, which equals nothing
        return rng.integers(-99, 99, shape).astype(dtype)
    if dtype.kind == "U":
        return rng.integers(0, 999, shape).astype(dtype)
    whole = rng.integers(1, 127, (*shape, dtype.itemsize), np.uint8)
    return whole.view(dtype)[..., 0]


def with_any_channels(draw, rng, dtype, max_side):
    """(..., height, width, channels); the number of channels makes units of every size that is special."""
    lead = draw(st.lists(st.integers(0, 3), max_size=2))
    sides = st.integers(0, max_side) | st.sampled_from([16, 64, 65, 70, 133])
    channels = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 12, 16]))
    return random_array(rng, (*lead, draw(sides), draw(sides), channels), dtype)


@st.composite
def arrays(draw, dtypes, max_side=40):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return with_any_channels(draw, rng, draw(st.sampled_from(dtypes)), max_side)


@st.composite
def laid_out(draw, dtypes):
    """An array in one of the layouts; those of `arrays.py` are for three channels."""
    layout = draw(st.sampled_from(LAYOUTS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = with_any_channels(draw, rng, draw(st.sampled_from(dtypes)), 40)
    if layout == "strided":
        return np.repeat(x, 2, axis=-2)[..., ::2, :]
    return lay_out(x, layout)


def assert_same(found, expected):
    """The same elements, whichever they are; C-contiguous, as promised."""
    assert found.dtype == expected.dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)


@given(
    x=laid_out(NUMPY_DTYPES),
    k=st.integers(0, 7),
    inverse=st.booleans(),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
)
def test_equals_the_reference(x, k, inverse, level, threads):
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        found = kernels.orient(x, k, inverse=inverse)
    undo = reference.orient_back if inverse else reference.orient
    assert_same(found, undo(x, k, (-3, -2)))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "f4,f4,f4", "c16", "S3", "S5", "S6"])
def test_every_size_at_every_edge_of_the_tiles(dtype, level):
    """Whole blocks, rests of each length, and planes larger than a tile, a band and a piece of columns."""
    rng = np.random.default_rng(0)
    sides = [*range(1, 36), 63, 64, 65, 67, 130]
    shapes = [(1, side, other) for side in sides for other in (5, 16, 64, 71)]
    shapes += [(1, 7, 4100), (1, 70, 4100), (2, 129, 300)]
    for shape in shapes:
        x = random_array(rng, shape, dtype)
        with kernels.simd_level(level):
            for k in EIGHT:
                found = kernels.orient(x, k, axes=(1, 2))
                assert found.tobytes() == reference.orient(x, k, (1, 2)).tobytes()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("k", EIGHT)
def test_nothing_beside_the_image_is_read_or_written(k, level):
    """The fast copies move more than a pixel at a time, up to the very border."""
    rng = np.random.default_rng(k)
    for height, width in [(8, 8), (9, 7), (64, 64), (66, 33), (6, 6), (5, 11)]:
        x = rng.integers(1, 255, (height, width, 3), np.uint8)
        turned = reference.orient(x, k, (0, 1))
        frame = np.zeros((turned.shape[0] + 2, turned.shape[1] + 6, 3), np.uint8)
        out = frame[1:-1, 3:-3]
        with kernels.simd_level(level):
            assert kernels.orient(x, k, out) is out
        np.testing.assert_array_equal(out, turned)
        out[...] = 0
        assert not frame.any()


@given(
    data=st.data(),
    dtype=st.sampled_from(TORCH_DTYPES),
    k=st.integers(0, 7),
    level=st.sampled_from(LEVELS),
    transposed=st.booleans(),
)
def test_torch_dtypes(data, dtype, k, level, transposed):
    shape = data.draw(st.lists(st.integers(0, 20), min_size=2, max_size=4))
    x = torch.randint(0, 2, shape).to(dtype) if dtype.is_complex else torch.randint(0, 100, shape).to(dtype)
    if dtype.is_complex:
        x = torch.complex(torch.randn(shape).double(), torch.randn(shape).double()).to(dtype)
    if transposed:
        x = x.transpose(0, -1)
    with kernels.simd_level(level):
        found = kernels.orient(x, k, axes=(-2, -1))
    size = dtype.itemsize
    as_bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    if size in as_bits:
        found_bits, bits = found.view(as_bits[size]).numpy(), x.contiguous().view(as_bits[size]).numpy()
    else:
        found_bits, bits = found.numpy(), x.numpy()
    assert found.dtype == x.dtype
    assert found.is_contiguous()
    np.testing.assert_array_equal(found_bits, reference.orient(bits, k, (-2, -1)))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_lazy_conjugates_and_negatives_are_resolved(dtype):
    x = torch.randn(4, 5, dtype=torch.complex128).to(dtype)
    for view in (x.conj(), x.conj().imag):
        assert torch.equal(kernels.orient(view, 1, axes=(0, 1)), torch.rot90(view, 1, (0, 1)))


@given(
    data=st.data(),
    backend=st.sampled_from(BACKENDS),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
    layout=st.sampled_from(LAYOUTS),
    inverse=st.booleans(),
)
def test_one_orientation_per_image(data, backend, level, threads, layout, inverse):
    n, side = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 70))
    square = data.draw(st.booleans())
    shape = (n, side, side if square else side + 3, 3)
    step, start = (1, 0) if square else (2, data.draw(st.integers(0, 1)))
    ks = [start + step * data.draw(st.integers(0, 7 // step - start)) for _ in range(n)]
    x = lay_out(np.random.default_rng(n).integers(0, 255, shape, np.uint8), layout)
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        found = kernels.orient(to_backend(x, backend), ks, inverse=inverse)
    undo = reference.orient_back if inverse else reference.orient
    expected = [undo(image, k, (0, 1)) for image, k in zip(x, ks, strict=True)]
    assert len(found) == n
    for one, image in zip(np.asarray(found), expected, strict=True):
        np.testing.assert_array_equal(one, image)


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_orientations_come_in_any_sequence(kind):
    x = np.random.default_rng(0).integers(0, 255, (4, 6, 6, 3), np.uint8)
    found = kernels.orient(x, kind([3, 0, 5, 6]))
    for image, k, one in zip(x, [3, 0, 5, 6], found, strict=True):
        np.testing.assert_array_equal(one, reference.orient(image, k, (0, 1)))


def test_many_images_of_one_pixel_row_and_wide_ones_on_threads():
    rng = np.random.default_rng(0)
    for shape in [(3000, 3, 3, 3), (1, 1, 100_000, 3), (1, 2, 30_000, 16), (2, 700, 700, 3)]:
        x = rng.integers(0, 255, shape, np.uint8)
        for threads in (1, 3):
            fastwsi.set_num_threads(threads)
            for k in EIGHT:
                assert_same(kernels.orient(x, k), reference.orient(x, k, (1, 2)))


@given(x=arrays(("u1", "f4", "i8")), k=st.integers(0, 7), axes=st.permutations(range(3)))
def test_any_two_axes(x, k, axes):
    x = x.reshape(-1, *x.shape[-2:]) if x.size else np.zeros((2, 0, 3), x.dtype)
    rows, columns = axes[:2]
    expected = reference.orient(x, k, (rows, columns))
    assert_same(kernels.orient(x, k, axes=(rows, columns)), expected)
    assert_same(kernels.orient(x, k, axes=(rows - 3, columns)), expected)


@pytest.mark.parametrize("shape", [(5, 7), (6, 6)])
def test_inverse_is_the_identity_and_the_eight_are_a_group(shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    eight = [kernels.orient(x, k, axes=(0, 1)) for k in EIGHT]
    assert len({(one.shape, one.tobytes()) for one in eight}) == 8
    for k, turned in zip(EIGHT, eight, strict=True):
        np.testing.assert_array_equal(kernels.orient(turned, k, inverse=True, axes=(0, 1)), x)
        back = kernels.orient(turned, kernels.inverse_orientation(k), axes=(0, 1))
        np.testing.assert_array_equal(back, x)
        twice = [kernels.orient(turned, j, axes=(0, 1)) for j in EIGHT]
        assert sorted(one.tobytes() for one in twice) == sorted(one.tobytes() for one in eight)


def test_the_result_is_never_a_view():
    x = np.zeros((4, 4, 3), np.uint8)
    for k in EIGHT:
        assert not np.shares_memory(kernels.orient(x, k), x)
    t = torch.zeros(4, 4, 3)
    assert kernels.orient(t, 0).data_ptr() != t.data_ptr()


def test_out_of_any_layout_is_filled():
    x = np.random.default_rng(0).integers(0, 255, (2, 70, 40, 3), np.uint8)
    for k in EIGHT:
        expected = reference.orient(x, k, (1, 2))
        for layout in LAYOUTS:
            out = lay_out(np.zeros_like(expected), layout)
            if not out.flags.writeable:
                continue
            assert kernels.orient(x, k, out) is out
            np.testing.assert_array_equal(out, expected)
    wide = np.zeros((2, 3), np.complex128)
    kernels.orient(np.arange(6).reshape(3, 2).astype(np.complex128), 1, wide, axes=(0, 1))
    assert wide.real.tolist() == [[1, 3, 5], [0, 2, 4]]


def test_read_only_and_broadcast_images():
    x = np.broadcast_to(np.arange(3, dtype=np.uint8), (4, 5, 3))
    assert_same(kernels.orient(x, 1), reference.orient(x, 1, (0, 1)))


@pytest.mark.parametrize("k", [3, [6, 1, 0]], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients_first_and_second(k, dtype):
    x = torch.randn(3, 4, 4, 2, dtype=dtype, requires_grad=True)

    def run(values):
        return kernels.orient(values, k)

    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


def test_the_gradient_of_other_shapes_is_the_inverse():
    for k in EIGHT:
        x = torch.randn(2, 3, 5, 1, requires_grad=True)
        y = kernels.orient(x, k)
        g = torch.randn(y.shape)
        y.backward(g)
        np.testing.assert_array_equal(x.grad.numpy(), reference.orient_back(g.numpy(), k, (1, 2)))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own, at first use
def test_forward_mode_carries_the_tangent():
    from torch.autograd import forward_ad

    tangent = torch.randn(4, 6, 3)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.zeros(4, 6, 3), tangent)
        found = forward_ad.unpack_dual(kernels.orient(dual, 5)).tangent
        mask = kernels.orient(torch.ones(4, 6, 1, dtype=torch.int64), 1)
    np.testing.assert_array_equal(found.numpy(), reference.orient(tangent.numpy(), 5, (0, 1)))
    assert mask.shape == (6, 4, 1)


def test_grad_is_recorded_only_where_it_is_wanted():
    x = torch.randn(2, 2, 3, requires_grad=True)
    assert kernels.orient(x, 1).requires_grad
    with torch.no_grad():
        assert not kernels.orient(x, 1).requires_grad
        kernels.orient(x, 1, torch.zeros(2, 2, 3))
    assert not kernels.orient(x.detach(), 1).requires_grad


def test_writing_into_a_tensor_that_backward_needs_is_noticed():
    out, w = torch.ones(2, 2, 3), torch.ones(2, 2, 3, requires_grad=True)
    y = (out * w).sum()
    kernels.orient(torch.zeros(2, 2, 3), 1, out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


X = np.zeros((2, 4, 6, 3), np.uint8)
ONE = X[0, 0]
SPARSE = torch.zeros(2, 2, 2).to_sparse()
WRONG = [
    (ValueError, "k: got 8, expected 0 to 7", lambda: kernels.orient(X, 8)),
    (ValueError, "k: got -1, expected 0 to 7", lambda: kernels.orient(X, -1)),
    (TypeError, "k: got True, expected an integer", lambda: kernels.orient(X, True)),
    (TypeError, "k: got True, expected an integer", lambda: kernels.orient(X, np.True_)),
    (TypeError, "k: got True, expected an integer", lambda: kernels.orient(X, torch.tensor(True))),
    (TypeError, r"k: got 1\.0, expected an integer", lambda: kernels.orient(X, 1.0)),
    (TypeError, "k: got nan, expected an integer", lambda: kernels.orient(X, float("nan"))),
    (TypeError, r"k\[1\]: got nan, expected an integer", lambda: kernels.orient(X, [0, np.nan])),
    (TypeError, "k: got '3', expected an integer", lambda: kernels.orient(X, "3")),
    (TypeError, r"k\[0\]: got False", lambda: kernels.orient(X, [False, 1])),
    (ValueError, r"k\[1\]: got 9, expected 0 to 7", lambda: kernels.orient(X, [0, 9])),
    (ValueError, "k: got 1 orientations for images of .* or 2", lambda: kernels.orient(X, [0])),
    (ValueError, "k: got 3 for image 1 and 0 for image 0", lambda: kernels.orient(X, [0, 3])),
    (ValueError, "k: got a sequence for images of shape", lambda: kernels.orient(ONE, [0] * 6, axes=(0, 1))),
    (ValueError, "k: got a sequence for images of shape", lambda: kernels.orient(X, [0, 0], axes=(0, 1))),
    (ValueError, r"axes: got \(1, 1\) for 4 dimensions", lambda: kernels.orient(X, 0, axes=(1, 1))),
    (ValueError, r"axes: got \(1, -3\) for 4 dimensions", lambda: kernels.orient(X, 0, axes=(1, -3))),
    (ValueError, r"axes: got \(1, 4\) for 4 dimensions", lambda: kernels.orient(X, 0, axes=(1, 4))),
    (ValueError, r"axes: got \(-3, -2\) for 2 dimensions", lambda: kernels.orient(X[0, 0], 0)),
    (TypeError, r"axes: got \(1,\), expected two integers", lambda: kernels.orient(X, 0, axes=(1,))),
    (TypeError, r"axes: got 1, expected two integers", lambda: kernels.orient(X, 0, axes=1)),
    (TypeError, r"axes: got \(1, 2\.0\), expected two", lambda: kernels.orient(X, 0, axes=(1, 2.0))),
    (TypeError, "images: got list, expected a numpy array", lambda: kernels.orient([[1]], 0)),
    (TypeError, "images: got dtype object", lambda: kernels.orient(X.astype(object), 0)),
    (TypeError, "images: got a sparse", lambda: kernels.orient(SPARSE.long(), 0)),
    (ValueError, "images: got an array without plain memory", lambda: kernels.orient(SPARSE, 0)),
    (ValueError, r"out: got shape \(2, 4, 6, 3\), expected", lambda: kernels.orient(X, 1, X.copy())),
    (TypeError, "out: got dtype float32, expected uint8", lambda: kernels.orient(X, 0, X.astype(np.float32))),
    (TypeError, "out: got list", lambda: kernels.orient(X, 0, [1])),
    (TypeError, "k: got None, expected an integer", lambda: kernels.inverse_orientation(None)),
    (ValueError, "k: got 8, expected 0 to 7", lambda: kernels.inverse_orientation(8)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), WRONG, ids=[row[1] for row in WRONG])
@pytest.mark.filterwarnings("ignore:.*Sparse.*:UserWarning")
def test_wrong_arguments_say_what_they_got_and_what_is_expected(error, message, call):
    with pytest.raises(error, match=message):
        call()


def test_wrong_out():
    x = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="out: got the memory of images"):
        kernels.orient(x, 1, x)
    longer = np.zeros((6, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="out: lies in the same memory range as images"):
        kernels.orient(longer[:4], 1, longer[2:])
    x.flags.writeable = False
    with pytest.raises(ValueError, match="out: got a read-only array"):
        kernels.orient(np.zeros((4, 4, 3), np.uint8), 1, x)
    t = torch.zeros(4, 4, 3, requires_grad=True)
    with pytest.raises(ValueError, match="out: not supported for a tensor that requires grad"):
        kernels.orient(t, 1, torch.zeros(4, 4, 3))
    z = torch.zeros(4, 4, 3, dtype=torch.complex64)
    with pytest.raises(ValueError, match="out: got a conjugated view"):
        kernels.orient(z, 1, torch.zeros_like(z).conj())


def test_the_extension_checks_for_itself():
    """The door behind the door: whatever Python lets through, memory is safe."""
    x = np.zeros((2, 4, 6, 3), np.uint8)
    out = np.zeros((2, 6, 4, 3), np.uint8)
    for ks, rows, columns, error in [
        ([8], 1, 2, "expected 0 to 7"),
        ([1, 1, 1], 1, 2, "3 orientations"),
        ([1, 2], 1, 2, "expected the oriented shape"),
        ([0], 1, 2, "expected the oriented shape"),
        ([1], 1, 1, "two different ones"),
        ([1], 1, 9, "two different ones"),
    ]:
        with pytest.raises(ValueError, match=error):
            _core.orient(x, out, ks, rows, columns, 0)
