"""scipy.ndimage for arrays on the CPU, cupyx.scipy.ndimage for those on a GPU; imported when first used."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastwsi import _arrays, _devices

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class NdImage:
    """One array with the modules that work on it.

    Attributes
    ----------
    xp, ndimage : module
        numpy and scipy.ndimage, or cupy and cupyx.scipy.ndimage.
    array : numpy or cupy array
        The values; 16-bit floats without a numpy dtype (bfloat16) as float32.
    like : array
        What was opened.
    """

    xp: Any
    ndimage: Any
    array: Any
    like: Any

    def back(self, array: Any, dtype: str | None = None) -> Any:
        """Return an array in the framework that the input came in, as ``dtype`` where one is given."""
        if _arrays.framework_of(self.like, "like") != "torch":
            return array if dtype is None else array.astype(dtype, copy=False)
        torch = sys.modules["torch"]
        tensor = torch.from_dlpack(array) if _arrays.is_gpu(self.like) else torch.from_numpy(array)
        return tensor if dtype is None else tensor.to(getattr(torch, dtype))


@contextmanager
def opened(array: Any, name: str, purpose: str) -> Iterator[NdImage]:
    """Lend an array's memory to numpy and scipy, or to cupy on the stream that its framework uses now.

    Examples
    --------
    >>> with opened(np.ones((2, 2)), "x", "sums") as x:
    ...     float(x.xp.sum(x.array))
    4.0
    """
    device = _devices.device_name(array, name)
    torch = sys.modules["torch"] if _arrays.framework_of(array, name) == "torch" else None
    plain = _arrays.plain(array)
    if torch is not None and plain.dtype == torch.bfloat16:
        plain = plain.float()
    if device == "cpu":
        import numpy as np  # noqa: PLC0415  (beside its twin)

        ndimage = _imported("scipy.ndimage", f"scipy is needed for {purpose}: pip install scipy")
        yield NdImage(np, ndimage, np.asarray(plain if torch is None else plain.numpy()), array)
        return
    missing = "cupy is needed for GPU arrays: pip install 'fastwsi[cuda]'"
    cupy = _imported("cupy", missing)
    ndimage = _imported("cupyx.scipy.ndimage", missing)
    if torch is None:
        with plain.device:
            yield NdImage(cupy, ndimage, plain, array)
        return
    stream = torch.cuda.current_stream(array.device).cuda_stream
    with cupy.cuda.Device(array.device.index), cupy.cuda.ExternalStream(stream, array.device.index):
        yield NdImage(cupy, ndimage, cupy.from_dlpack(plain), array)


def _imported(module: str, missing: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(missing) from error
