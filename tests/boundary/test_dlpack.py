"""The DLPack door: what comes in, what is refused, and that everything borrowed is given back once."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from boundary.dlpack_producer import CPU, CUDA, Producer
from fastwsi import _core, kernels

SCALE, SHIFT = [2.0, 3.0], [1.0, -1.0]


@pytest.fixture(params=["exchange API", "methods"])
def exchange(request):
    if request.param == "exchange API" and not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        pytest.skip("this torch has no exchange API")
    _core.use_exchange_api(request.param == "exchange API")
    yield request.param
    _core.use_exchange_api(True)


def sample(dtype=np.float32):
    return np.arange(24, dtype=dtype).reshape(2, 2, 6)


def expected(x):
    return x * np.reshape(SCALE, (1, 2, 1)) + np.reshape(SHIFT, (1, 2, 1))


def run(x, out=None, stream=0):
    """Through the extension itself, where arrays may be anything that speaks DLPack."""
    out = np.empty(x.array.shape, x.array.dtype) if out is None else out
    _core.scale_shift(x, out, SCALE, SHIFT, stream)
    return out


def capsule_name(capsule) -> bytes:
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return get_name(capsule)


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("knows_max_version", [True, False])
def test_capsules_are_consumed_and_their_deleter_called_once(versioned, knows_max_version):
    x = Producer(sample(), versioned=versioned, knows_max_version=knows_max_version)
    np.testing.assert_allclose(run(x), expected(x.array))
    assert x.deleted == 1
    asked = [call for call in x.calls if "device" not in call]
    assert asked == ([{"max_version": (1, 0)}] if knows_max_version else [{"max_version": (1, 0)}, {}])
    assert capsule_name(x.capsules[-1]).startswith(b"used_dltensor")
    del x.capsules[:]
    gc.collect()
    assert x.deleted == 1


@pytest.mark.parametrize("versioned", [True, False])
def test_the_deleter_is_called_once_where_the_call_fails_too(versioned):
    x = Producer(sample(), versioned=versioned)
    with pytest.raises(ValueError, match="out: got shape"):
        run(x, np.zeros((2, 2, 5), np.float32))
    assert x.deleted == 1
    wrong = Producer(sample(np.int64), versioned=versioned)
    with pytest.raises(TypeError, match="x: got dtype int64"):
        run(wrong)
    assert wrong.deleted == 1


def test_byte_offset_and_null_strides():
    x = Producer(sample(), byte_offset=64, null_strides=True)
    np.testing.assert_allclose(run(x), expected(x.array))


def test_a_versioned_read_only_input_is_read_and_as_output_refused():
    frozen = Producer(sample(), flags=1)
    np.testing.assert_allclose(run(frozen), expected(frozen.array))
    with pytest.raises(ValueError, match="out: got a read-only array, expected a writable one"):
        _core.scale_shift(sample(), Producer(sample(), flags=1), SCALE, SHIFT, 0)


def test_read_only_numpy(exchange):
    x = sample()
    x.flags.writeable = False
    np.testing.assert_allclose(kernels.scale_shift(x, SCALE, SHIFT), expected(x))
    with pytest.raises(ValueError, match=r"out: got .*(read-only|cannot be written)"):
        kernels.scale_shift(sample(), SCALE, SHIFT, x)


class OldNumpy(np.ndarray):
    """numpy before 2.1: no max_version, and read-only arrays are not exported."""

    def __dlpack__(self, *, stream=None):
        if not self.flags.writeable:
            raise BufferError("Cannot export readonly array since signalling readonly is unsupported")
        return super().__dlpack__(stream=stream)


def test_old_numpy_goes_through_the_buffer_protocol_where_it_must():
    x = sample().view(OldNumpy)
    np.testing.assert_allclose(kernels.scale_shift(x, SCALE, SHIFT), expected(x))
    x.flags.writeable = False
    np.testing.assert_allclose(kernels.scale_shift(x, SCALE, SHIFT), expected(x))
    with pytest.raises(ValueError, match="out: got an array that cannot be written"):
        kernels.scale_shift(sample(), SCALE, SHIFT, x)
    odd = np.zeros((2, 2, 6), np.dtype({"names": ["a"], "formats": ["f4"], "itemsize": 7}))["a"]
    odd.flags.writeable = False
    with pytest.raises((ValueError, TypeError, BufferError)):
        kernels.scale_shift(odd.view(OldNumpy), SCALE, SHIFT)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "f4,i4", "M8[s]", "O", "U3", "i2", "u8", "c8", "longdouble"])
def test_unusual_numpy_dtypes_are_refused_by_name(dtype):
    x = np.zeros((2, 2, 6), dtype)
    with pytest.raises(TypeError, match=r"x: got dtype .*, expected one of float32"):
        kernels.scale_shift(x, SCALE, SHIFT)
    with pytest.raises(
        TypeError,
        match=r"x: got .*expected uint8|x: got an array of format|x: got numpy.ndarray with",
    ):
        _core.scale_shift(x, sample(), SCALE, SHIFT, 0)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_known_dtypes_that_a_kernel_does_not_take_are_refused_by_name(dtype):
    x = np.zeros((2, 2, 6), dtype)
    with pytest.raises(TypeError, match=f"x: got dtype {dtype}, expected float32"):
        _core.scale_shift(x, sample(), SCALE, SHIFT, 0)
    x.flags.writeable = False
    with pytest.raises(TypeError, match=f"x: got dtype {dtype}, expected float32"):
        _core.scale_shift(x.view(OldNumpy), sample(), SCALE, SHIFT, 0)


def test_broadcast_arrays_are_read_and_not_written(exchange):
    row = torch.arange(12, dtype=torch.float32).reshape(1, 2, 6)
    x = row.expand(3, 2, 6)
    np.testing.assert_allclose(kernels.scale_shift(x, SCALE, SHIFT), expected(x.numpy()))
    column = row[..., :1].expand(1, 2, 6)
    np.testing.assert_allclose(kernels.scale_shift(column, SCALE, SHIFT), expected(column.numpy()))
    overlapping = torch.zeros(36).as_strided((3, 2, 6), (1, 6, 1))
    for out in (x, overlapping):
        with pytest.raises(ValueError, match="out: got an array whose elements share memory"):
            kernels.scale_shift(torch.zeros(3, 2, 6), SCALE, SHIFT, out)
    interleaved = torch.zeros(36).as_strided((3, 2, 6), (1, 18, 3))
    kernels.scale_shift(torch.ones(3, 2, 6), SCALE, SHIFT, interleaved)
    assert interleaved.sum().item() == 3 * 6 * (3 + 2)


def test_strided_views_and_zero_sizes(exchange):
    base = torch.arange(480, dtype=torch.float32).reshape(4, 2, 60)
    for view in (base[::2, :, ::3], base[1:3, :, 5:17], base.transpose(0, 2)[7:9].transpose(0, 2)):
        np.testing.assert_allclose(kernels.scale_shift(view, SCALE, SHIFT).numpy(), expected(view.numpy()))
        flipped = view.numpy()[::-1, :, ::-1]
        np.testing.assert_allclose(kernels.scale_shift(flipped, SCALE, SHIFT), expected(flipped))
    for shape in [(0, 2, 6), (2, 2, 0)]:
        assert kernels.scale_shift(torch.zeros(shape), SCALE, SHIFT).shape == shape
        assert kernels.scale_shift(np.zeros(shape, np.float32), SCALE, SHIFT).shape == shape


def test_a_tensor_that_requires_grad_goes_in_and_autograd_is_attached_in_python(exchange):
    x = torch.ones(1, 2, 3, requires_grad=True)
    kernels.scale_shift(x, SCALE, SHIFT).sum().backward()
    assert x.grad.tolist() == [[[2.0] * 3, [3.0] * 3]]
    with torch.no_grad():
        assert not kernels.scale_shift(x, SCALE, SHIFT).requires_grad


def test_both_exchanges_give_the_same_bits():
    x = torch.randn(3, 2, 50)
    fast = kernels.scale_shift(x, SCALE, SHIFT)
    _core.use_exchange_api(False)
    try:
        slow = kernels.scale_shift(x, SCALE, SHIFT)
    finally:
        _core.use_exchange_api(True)
    assert torch.equal(fast, slow)


def test_subclasses_of_tensor_are_tensors(exchange):
    x = torch.nn.Parameter(torch.ones(1, 2, 3), requires_grad=False)
    assert kernels.scale_shift(x, SCALE, SHIFT).tolist() == [[[3.0] * 3, [2.0] * 3]]


def test_wrong_devices():
    with pytest.raises(ValueError, match="out: got an array on cpu, expected cuda:1, where x is"):
        run(Producer(sample(), device=(CUDA, 1)), stream=1)
    with pytest.raises(ValueError, match="x: got an array on DLPack device type 8"):
        run(Producer(sample(), device=(8, 0)))


def test_tensors_without_plain_memory_are_refused_by_name():
    x = torch.zeros(1, 2, 3)
    for odd in (x.to("meta"), x.to_sparse()):
        with pytest.raises(ValueError, match="x: got an array without plain memory"):
            kernels.scale_shift(odd, SCALE, SHIFT)
    with pytest.raises(ValueError, match="x: got an array without plain memory"):
        torch.func.vmap(lambda row: kernels.scale_shift(row, SCALE, SHIFT))(x[None])


def test_negative_views_keep_their_sign(exchange):
    x = torch.ones(1, 2, 3)._neg_view()
    assert kernels.scale_shift(x, SCALE, SHIFT).tolist() == [[[-1.0] * 3, [-4.0] * 3]]
    with pytest.raises(ValueError, match="out: got a tensor that requires grad or is a negative view"):
        kernels.scale_shift(x, SCALE, SHIFT, x)


@pytest.mark.parametrize(("stream", "spelled"), [(1, 1), (4096, 4096)])
def test_a_gpu_producer_is_told_our_stream(stream, spelled):
    x = Producer(sample(), device=(CUDA, 0))
    with pytest.raises(ValueError, match="out: got an array on cpu"):
        run(x, stream=stream)
    assert x.calls == [{"device": True}, {"stream": spelled, "max_version": (1, 0)}]
    assert x.deleted == 1


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"dtype": (2, 32, 2)}, "x: got dtype float32x2"),
        ({"dtype": (5, 64, 1)}, "x: got dtype complex64"),
        ({"dtype": (2, 8, 1)}, "x: got dtype float8"),
        ({"dtype": (17, 4, 1)}, "x: got dtype type code 17"),
        ({"version": (2, 0)}, r"x: got DLPack version 2\.0, expected 1\.x"),
        ({"null_data": True}, "x: got an array without memory"),
        ({"capsule_name": b"used_dltensor"}, "something else than an unused DLPack capsule"),
    ],
)
def test_broken_exports_are_refused(fields, match):
    x = Producer(sample(), **fields)
    with pytest.raises((TypeError, ValueError), match=match):
        run(x)
    assert x.deleted == (0 if "capsule_name" in fields else 1)


def test_more_than_eight_dimensions_and_things_that_are_no_arrays():
    with pytest.raises(ValueError, match="x: got 9 dimensions, expected at most 8"):
        kernels.scale_shift(np.zeros((1, 2) + (1,) * 7, np.float32), SCALE, SHIFT)
    for thing in (None, 3, [1.0], "text", memoryview(b"abc")):
        with pytest.raises(TypeError, match=rf"x: got {type(thing).__name__}, expected"):
            kernels.scale_shift(thing, SCALE, SHIFT)
        with pytest.raises(TypeError, match=rf"x: got {type(thing).__name__}, expected an array"):
            _core.scale_shift(thing, sample(), SCALE, SHIFT, 0)


def test_an_error_inside_the_producer_reaches_the_caller():
    class Broken:
        def __dlpack__(self, **keywords):
            raise OSError("the slide went away")

    with pytest.raises(OSError, match="the slide went away"):
        _core.scale_shift(Broken(), sample(), SCALE, SHIFT, 0)


def test_a_device_type_that_only_the_methods_know_is_a_host_array():
    x = Producer(sample(), device=(3, 0))  # pinned host memory
    np.testing.assert_allclose(run(x), expected(x.array))
    assert x.device != (CPU, 0)


def resident_bytes() -> int:
    """Memory in use now; the peak, where nothing better is known, may hide a leak below an older peak."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("kind", ["torch", "numpy", "methods"])
def test_a_million_calls_leak_nothing(kind):
    """Memory must not grow: one leaked capsule of 100 bytes a call would be 100 MB."""
    x = torch.zeros(1, 2, 1)
    out = torch.empty_like(x)
    if kind == "numpy":
        x, out = x.numpy(), out.numpy()
    elif kind == "methods":

        class Wrapped:  # a type without the exchange API; numpy's export is the quickest to call
            def __init__(self, array):
                self.__dlpack__ = array.__dlpack__

        x, out = Wrapped(x.numpy()), Wrapped(out.numpy())
    references = sys.getrefcount(x)
    for _ in range(20_000):
        _core.scale_shift(x, out, SCALE, SHIFT, 0)
    before = resident_bytes()
    for _ in range(1_000_000):
        _core.scale_shift(x, out, SCALE, SHIFT, 0)
    assert resident_bytes() - before < 4 << 20
    assert sys.getrefcount(x) == references


def test_refused_calls_leak_nothing():
    x, wrong = np.zeros((1, 2, 1), np.float32), np.zeros((1, 2, 1), np.int64)
    references = sys.getrefcount(x), sys.getrefcount(wrong)

    def refuse():
        with pytest.raises(TypeError):
            _core.scale_shift(x, wrong, SCALE, SHIFT, 0)

    for _ in range(1000):
        refuse()
    before = resident_bytes()
    for _ in range(20_000):
        refuse()
    assert resident_bytes() - before < 4 << 20
    assert (sys.getrefcount(x), sys.getrefcount(wrong)) == references
