"""Which GPUs this machine has, asked of the driver's management library.

CUDA itself is never touched: a process that has initialised CUDA cannot fork any more, and looking
must not take that away.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import cache

_LIBRARY = "libnvidia-ml.so.1"
_NAME_BYTES = 96


@dataclass(frozen=True)
class Gpu:
    """One GPU that CUDA would see.

    Attributes
    ----------
    name : str
        The vendor's name of the card.
    compute_capability : tuple of int
        (major, minor), such as (9, 0).
    """

    name: str
    compute_capability: tuple[int, int]


@dataclass(frozen=True)
class GpuProbe:
    """What the driver says.

    Attributes
    ----------
    gpus : tuple of Gpu
        The visible ones, in the driver's order; empty where there are none.
    driver_cuda : int
        Newest CUDA version that the driver serves, as 1000 * major + 10 * minor; 0 without a driver.
    hidden : int
        GPUs of the machine that CUDA_VISIBLE_DEVICES takes away.
    """

    gpus: tuple[Gpu, ...] = ()
    driver_cuda: int = 0
    hidden: int = 0


def visible_gpus(uuids: list[str], environment: str | None) -> list[int]:
    """Return the indices that CUDA would show, in the order of the list.

    Parameters
    ----------
    uuids : list of str
        One per GPU of the machine.
    environment : str or None
        The value of CUDA_VISIBLE_DEVICES, None where it is unset.

    Examples
    --------
    >>> visible_gpus(["GPU-aa", "GPU-bb"], "1,0")
    [1, 0]
    >>> visible_gpus(["GPU-aa", "GPU-bb"], "GPU-b,7,0")
    [1]
    """
    if environment is None:
        return list(range(len(uuids)))
    chosen: list[int] = []
    if environment.strip().startswith("MIG-"):
        # CUDA shows the first slice of the list and no more. The older spelling names the card that it is
        # cut from; the newer does not, and then any card will do for asking what it can run.
        parents = [i for i, uuid in enumerate(uuids) if uuid in environment.split(",")[0]]
        return (parents or list(range(len(uuids))))[:1]
    for word in (part.strip() for part in environment.split(",")):
        matches = [i for i, uuid in enumerate(uuids) if word.startswith("GPU-") and uuid.startswith(word)]
        if word.isdigit() and int(word) < len(uuids):
            matches = [int(word)]
        if len(matches) != 1 or matches[0] in chosen:
            break  # CUDA stops reading the list at the first entry that it does not understand
        chosen += matches
    return chosen


class _Nvml:
    """The few calls of the management library that are needed, each returning None on failure."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def number(self, function: str, *arguments: object) -> int | None:
        value = ctypes.c_int()
        try:
            call = getattr(self._library, function)
        except AttributeError:  # a driver older than the question
            return None
        return None if call(*arguments, ctypes.byref(value)) else value.value

    def text(self, function: str, device: ctypes.c_void_p) -> str:
        buffer = ctypes.create_string_buffer(_NAME_BYTES)
        failed = getattr(self._library, function)(device, buffer, _NAME_BYTES)
        return "" if failed else buffer.value.decode(errors="replace")

    def device(self, index: int) -> ctypes.c_void_p | None:
        handle = ctypes.c_void_p()
        failed = self._library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
        return None if failed else handle

    def gpu(self, device: ctypes.c_void_p) -> Gpu:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._library.nvmlDeviceGetCudaComputeCapability(device, ctypes.byref(major), ctypes.byref(minor))
        return Gpu(self.text("nvmlDeviceGetName", device), (major.value, minor.value))


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library


def probe() -> GpuProbe:
    """Ask the driver which GPUs CUDA would see in this process, without initialising CUDA.

    Examples
    --------
    >>> isinstance(probe().gpus, tuple)
    True
    """
    library = _library()
    if library is None:
        return GpuProbe()
    nvml = _Nvml(library)
    devices = [nvml.device(i) for i in range(nvml.number("nvmlDeviceGetCount_v2") or 0)]
    found = [device for device in devices if device is not None]
    uuids = [nvml.text("nvmlDeviceGetUUID", device) for device in found]
    shown = visible_gpus(uuids, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return GpuProbe(
        gpus=tuple(nvml.gpu(found[i]) for i in shown),
        driver_cuda=nvml.number("nvmlSystemGetCudaDriverVersion_v2") or 0,
        hidden=len(found) - len(shown),
    )
