"""The only module that knows numpy from torch from cupy.

torch and cupy are never imported here: an array of theirs proves that they already are.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = TypeVar("Array")
"""A numpy array, torch tensor or cupy array; functions return the kind that they are given."""

Framework = Literal["numpy", "torch", "cupy"]
DTypeName = Literal["bool", "uint8", "float16", "bfloat16", "float32", "float64"]


def framework_of(array: Any, name: str) -> Framework:
    """Tell whose array this is; TypeError names the argument ``name`` where it is nobody's.

    Examples
    --------
    >>> framework_of(np.zeros(3), "x")
    'numpy'
    """
    if isinstance(array, np.ndarray):
        if isinstance(array, np.ma.MaskedArray):
            raise TypeError(f"{name}: got a masked array, whose mask would be ignored; pass array.data")
        return "numpy"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return "torch"
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        return "cupy"
    raise TypeError(f"{name}: got {type(array).__name__}, expected a numpy array, torch tensor or cupy array")


def dtype_name(array: Any) -> str:
    """Return the name of an array's dtype: "float32" for numpy's and torch's alike.

    Examples
    --------
    >>> dtype_name(np.zeros(3, "float16"))
    'float16'
    """
    if isinstance(array, np.ndarray):
        return _numpy_dtype_name(array.dtype)
    return str(array.dtype).removeprefix("torch.")


@lru_cache(maxsize=256)  # numpy takes 4 us to spell a dtype
def _numpy_dtype_name(dtype: np.dtype[Any]) -> str:
    return str(dtype)


def check_dense(array: Any, name: str) -> None:
    """TypeError unless this is an array, and no sparse or quantized tensor.

    Examples
    --------
    >>> check_dense(np.zeros(3), "x")
    """
    if framework_of(array, name) != "torch":
        return
    if array.layout != sys.modules["torch"].strided or array.is_quantized:
        raise TypeError(f"{name}: got a sparse or quantized tensor, expected a dense one of plain numbers")


def normalise_dtype(dtype: Any, name: str) -> str:
    """Return the name of a dtype given as a string, a numpy dtype or a torch dtype.

    Examples
    --------
    >>> normalise_dtype("bfloat16", "dtype"), normalise_dtype(np.float32, "dtype")
    ('bfloat16', 'float32')
    """
    text = str(dtype).removeprefix("torch.")
    if text in ("bool", "uint8", "float16", "bfloat16", "float32", "float64"):
        return text
    try:
        return str(np.dtype(dtype))
    except TypeError:
        raise TypeError(f"{name}: got {dtype!r}, expected a dtype or its name") from None


def empty(like: Any, shape: Sequence[int], dtype: str) -> Any:
    """Allocate an array by the framework and on the device of ``like``, uninitialised.

    Examples
    --------
    >>> empty(np.zeros(1), (2, 3), "uint8").shape
    (2, 3)
    """
    framework = framework_of(like, "like")
    if framework == "torch":
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype), device=like.device)
    if dtype == "bfloat16":
        raise TypeError(f"dtype: got bfloat16 for a {framework} array, which has no such dtype; use torch")
    if framework == "cupy":
        with like.device:
            return sys.modules["cupy"].empty(shape, dtype)
    return np.empty(shape, dtype)


def empty_like(array: Any) -> Any:
    """Allocate an array of the same shape, dtype, device and, where it is dense, memory layout.

    Examples
    --------
    >>> empty_like(np.zeros((2, 3), order="F")).flags.f_contiguous
    True
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch.empty_like(array)
    if isinstance(array, np.ndarray):
        return np.empty_like(array, subok=False)
    with array.device:
        return sys.modules["cupy"].empty_like(array)


def beside(array: np.ndarray[Any, Any], like: Any) -> Any:
    """Return a numpy array where kernels on ``like`` can read it: as it is, or copied to the same GPU.

    Examples
    --------
    >>> beside(np.ones(2), np.zeros(1)).tolist()
    [1.0, 1.0]
    """
    if not is_gpu(like):
        return array
    if framework_of(like, "like") == "torch":
        # From memory that may be paged out, the copy would wait for the stream.
        tensor = sys.modules["torch"].tensor(array).pin_memory()
        return tensor.to(like.device, non_blocking=True)
    with like.device:
        return sys.modules["cupy"].asarray(array)


def empty_as(array: Any, shape: Sequence[int]) -> Any:
    """Allocate an array of another shape and of the same dtype, whichever that is, on the same device.

    Examples
    --------
    >>> empty_as(np.zeros(1, "datetime64[s]"), (2, 3)).dtype.name
    'datetime64[s]'
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch.empty(tuple(shape), dtype=array.dtype, device=array.device)
    if isinstance(array, np.ndarray):
        return np.empty(tuple(shape), array.dtype)
    with array.device:
        return sys.modules["cupy"].empty(tuple(shape), array.dtype)


def sorted_pairs(first: Any, second: Any) -> Any:
    """Return ``second``, each row in the order of the pairs (first, second); int64 arrays (rows, columns).

    Examples
    --------
    >>> sorted_pairs(np.array([[2, 1, 1]]), np.array([[5, 9, 7]])).tolist()
    [[7, 9, 5]]
    """
    if framework_of(first, "first") == "torch":
        # The later of two stable sorts goes by the key that counts more.
        by_second, places = second.sort(dim=-1)
        order = first.gather(-1, places).argsort(dim=-1, stable=True)
        return by_second.gather(-1, order)
    module = np if isinstance(first, np.ndarray) else sys.modules["cupy"]
    row = module.empty_like(first)
    row[...] = module.arange(len(first))[:, None]
    order = module.lexsort(module.stack([second.ravel(), first.ravel(), row.ravel()]))
    return second.ravel()[order].reshape(second.shape)


_CARRIERS = {1: "uint8", 2: "float16", 4: "float32", 8: "float64"}
_CARRIED = frozenset({"bool", "uint8", "float16", "bfloat16", "float32", "float64"})


def carrier(array: Any, name: str) -> Any:
    """Return the array's memory as a dtype that native code takes, for work that only moves elements.

    Elements of other sizes than 1, 2, 4 or 8 bytes are spread over one more axis, the last.

    Examples
    --------
    >>> carrier(np.zeros((2, 3), "int64"), "x").dtype.name, carrier(np.zeros(2, "complex128"), "x").shape
    ('float64', (2, 16))
    """
    if dtype_name(array) in _CARRIED:
        return array
    dtype = array.dtype
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        check_dense(array, name)
        array = array.detach().resolve_conj().resolve_neg()
        wide = dtype.itemsize not in _CARRIERS
        return torch.view_as_real(array) if wide else array.view(getattr(torch, _CARRIERS[dtype.itemsize]))
    if dtype.hasobject or not dtype.itemsize:
        raise TypeError(f"{name}: got dtype {dtype}, expected elements that are plain memory")
    if dtype.itemsize in _CARRIERS:
        return array.view(_CARRIERS[dtype.itemsize])
    return array[..., None].view("uint8")


def channel_sums(planes: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the sum of each plane of floats (channels, height, width), added up in float64, on the host.

    Examples
    --------
    >>> channel_sums(np.ones((3, 2, 2), np.float32)).tolist()
    [4.0, 4.0, 4.0]
    """
    if framework_of(planes, "planes") == "torch":
        if is_gpu(planes):
            return np.asarray(planes.sum(dim=(1, 2), dtype=sys.modules["torch"].float64).cpu())
        planes = planes.numpy()  # torch would cut the sum by its number of threads
    sums = planes.sum(axis=(1, 2), dtype=np.float64)
    return np.asarray(sums if isinstance(sums, np.ndarray) else sums.get())


def is_gpu(array: Any) -> bool:
    """Tell whether an array lives on a GPU.

    Examples
    --------
    >>> is_gpu(np.zeros(1))
    False
    """
    if isinstance(array, np.ndarray):
        return False
    return bool(getattr(array, "is_cuda", True))  # cupy arrays have no such attribute and no other home


def stream_of(array: Any) -> int:
    """Return the stream that kernels on this array belong on: its framework's current one.

    0 on the CPU; CUDA's legacy default stream is spelled 1, as DLPack wants it.

    Examples
    --------
    >>> stream_of(np.zeros(1))
    0
    """
    if not is_gpu(array):
        return 0
    if framework_of(array, "array") == "torch":
        return int(sys.modules["torch"].cuda.current_stream(array.device).cuda_stream) or 1
    with array.device:
        return int(sys.modules["cupy"].cuda.get_current_stream().ptr) or 1


def plain(array: Any) -> Any:
    """Return an array whose memory holds its values and that torch will export.

    torch exports no tensor that requires grad (the methods refuse), and none with its negative bit
    set as it is meant (the exchange API shares the memory without the sign).

    Examples
    --------
    >>> import torch
    >>> plain(torch.zeros(1, requires_grad=True)).requires_grad
    False
    """
    if isinstance(array, np.ndarray) or not hasattr(array, "is_neg"):
        return array
    if array.requires_grad:
        array = array.detach()
    return array.resolve_neg() if array.is_neg() else array


def check_out(out: Any, like: Any) -> None:
    """TypeError unless ``out`` can stand beside an input: on a GPU, of the same framework and stream.

    Examples
    --------
    >>> check_out(np.zeros(1), np.zeros(1))
    """
    framework = framework_of(out, "out")
    if is_gpu(like) and framework != framework_of(like, "like"):
        raise TypeError(f"out: got a {framework} array, expected the input's framework on a GPU")
    if framework == "torch" and (out.is_neg() or (out.requires_grad and wants_grad(out))):
        raise ValueError("out: got a tensor that requires grad or is a negative view, expected a plain one")


def output_dtype(out: Any, dtype: Any, like: Any, allowed: Sequence[str]) -> str:
    """Return the dtype of a result: that asked for, else that of ``out``, else the first allowed.

    Examples
    --------
    >>> output_dtype(np.zeros(1, "float32"), None, np.zeros(1), ("uint8", "float32"))
    'float32'
    """
    wanted = None if dtype is None else normalise_dtype(dtype, "dtype")
    what = "dtype: got"
    if out is not None:
        check_out(out, like)
        given = dtype_name(out)
        if wanted not in (None, given):
            raise ValueError(f"out: got dtype {given}, expected {wanted}, the dtype asked for")
        wanted, what = given, "out: got dtype"
    if wanted is None:
        return allowed[0]
    if wanted not in allowed:
        raise TypeError(f"{what} {wanted}, expected one of {', '.join(allowed)}")
    return wanted


def refuse_out(out: Any) -> None:
    """ValueError for an ``out`` in a graph: an operator of ours that wrote into it would not be opaque.

    Examples
    --------
    >>> refuse_out(None)
    """
    if out is not None:
        raise ValueError("out: not supported under torch.compile; leave it out")


def floats(values: Any, name: str) -> list[float]:
    """Return numbers as a list of float; TypeError names the argument where they are no numbers.

    Examples
    --------
    >>> floats(np.ones(2), "scale")
    [1.0, 1.0]
    """
    try:
        return list(map(float, values))
    except (TypeError, ValueError):
        raise TypeError(f"{name}: got {values!r}, expected a sequence of numbers") from None


def mark_written(out: Any) -> None:
    """Tell autograd that a tensor given as ``out`` has changed, as torch's own in-place operations do.

    Examples
    --------
    >>> import torch
    >>> x = torch.zeros(1)
    >>> mark_written(x), x._version
    (None, 1)
    """
    if hasattr(out, "is_inference") and not out.is_inference():
        sys.modules["torch"].autograd.graph.increment_version(out)


def wants_grad(tensor: Any) -> bool:
    """Tell whether autograd is to record what is done to a torch tensor.

    Examples
    --------
    >>> import torch
    >>> wants_grad(torch.zeros(1, requires_grad=True)), wants_grad(torch.zeros(1))
    (True, False)
    """
    torch = sys.modules["torch"]
    if tensor.requires_grad and torch.is_grad_enabled():
        return True
    return bool(torch.autograd.forward_ad._current_level >= 0)  # noqa: SLF001  (inside dual_level; no public word)


def is_compiling() -> bool:
    """Tell whether torch is tracing this code, for ``torch.compile`` or ``torch.export``.

    Examples
    --------
    >>> is_compiling()
    False
    """
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.compiler.is_compiling())
