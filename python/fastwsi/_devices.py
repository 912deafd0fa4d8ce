"""Where arrays live, and the order of work on a GPU that comes from several streams."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _arrays

if TYPE_CHECKING:
    from collections.abc import Sequence


def device_name(array: Any, name: str) -> str:
    """Return "cpu", or "cuda:0" and the like; ValueError names the argument where it is neither.

    Examples
    --------
    >>> device_name(np.zeros(1), "x")
    'cpu'
    """
    framework = _arrays.framework_of(array, name)
    if framework == "numpy":
        return "cpu"
    if framework == "cupy":
        return f"cuda:{array.device.id}"
    if array.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name}: got a tensor on {array.device}, expected one on the CPU or a CUDA GPU")
    return str(array.device)


def check_beside(array: Any, like: Any, name: str, like_name: str) -> None:
    """Raise unless native code can use both at once: on one device, and on a GPU of one framework.

    Examples
    --------
    >>> check_beside(np.zeros(1), np.zeros(2), "tiles", "state")
    """
    device, expected = device_name(array, name), device_name(like, like_name)
    if device != expected:
        raise ValueError(f"{name}: got an array on {device}, expected {expected}, where {like_name} is")
    if expected != "cpu":
        framework = _arrays.framework_of(like, like_name)
        if _arrays.framework_of(array, name) != framework:
            raise TypeError(
                f"{name}: got a {_arrays.framework_of(array, name)} array, expected a {framework} one, as "
                f"{like_name} is: the two frameworks' streams do not wait for each other"
            )


def zeros(like: Any, shape: Sequence[int], dtype: str) -> Any:
    """Allocate zeros where ``like`` lives; on the CPU by numpy, whose zeros take no memory until written.

    Examples
    --------
    >>> zeros(np.ones(1), (2, 2), "int32").tolist()
    [[0, 0], [0, 0]]
    """
    if not _arrays.is_gpu(like):
        return np.zeros(tuple(shape), dtype)
    if _arrays.framework_of(like, "like") == "torch":
        torch = sys.modules["torch"]
        return torch.zeros(tuple(shape), dtype=getattr(torch, dtype), device=like.device)
    with like.device:
        return sys.modules["cupy"].zeros(tuple(shape), dtype)


def snapshot(array: Any, like: Any) -> Any:
    """Return a copy; of a numpy array by the framework of ``like``.

    Examples
    --------
    >>> snapshot(np.ones(2), np.zeros(0)).tolist()
    [1.0, 1.0]
    """
    if isinstance(array, np.ndarray):
        copied = np.array(array)
        if _arrays.framework_of(like, "like") == "torch":
            return sys.modules["torch"].from_numpy(copied)
        return copied
    if _arrays.framework_of(array, "array") == "torch":
        return array.clone()
    with array.device:
        return array.copy()


_PER_THREAD = 2  # the number of every thread's own default stream


class StreamOrder:
    """Puts work on memory that several streams use in the order in which it is given, ``with`` by ``with``.

    Streams wait for each other; the host waits for none of them, until the end. Every turn waits for the one
    before, though the stream seem the same: a number is that of another stream once the first is destroyed,
    and that of the per-thread default stream is another stream's in each thread. Does nothing on the CPU. Not
    thread-safe.

    Parameters
    ----------
    array : array
        The memory; what it was allocated for must be on the current stream.

    Examples
    --------
    >>> order = StreamOrder(np.zeros(1))
    >>> with order:
    ...     pass
    """

    def __init__(self, array: Any) -> None:
        self._array: Any = array if _arrays.is_gpu(array) else None
        if self._array is None:
            return
        if _arrays.framework_of(array, "array") == "torch":
            self._event: Any = sys.modules["torch"].cuda.Event()
        else:
            with array.device:
                self._event = sys.modules["cupy"].cuda.Event(disable_timing=True)
        self._home = self._current()
        self._home_differs = _arrays.stream_of(array) == _PER_THREAD
        self._event.record(self._home)

    def __enter__(self) -> None:
        if self._array is not None:
            self._current().wait_event(self._event)

    def __exit__(self, *_: object) -> None:
        if self._array is not None:
            self._event.record(self._current())

    def release(self) -> None:
        """Let go of the memory: whoever is given it next, on the stream it came from, finds the work done."""
        if self._array is not None:
            if self._home_differs:
                self._event.synchronize()  # the stream it came from cannot be named in another thread
            else:
                self._home.wait_event(self._event)
            self._array = None

    def _current(self) -> Any:
        if _arrays.framework_of(self._array, "array") == "torch":
            return sys.modules["torch"].cuda.current_stream(self._array.device)
        with self._array.device:
            return sys.modules["cupy"].cuda.get_current_stream()
