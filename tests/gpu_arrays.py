"""GPU arrays of either framework, back on the host. Not in `cuda/`: that name is a package of NVIDIA's."""

from __future__ import annotations


def to_host(array):
    """A GPU array of either framework as numpy, 16-bit floats widened."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        return (array.float() if array.dtype.itemsize == 2 else array).numpy()
    return array.get()
