"""Inputs for kernel tests: images of many kinds in many memory layouts, as numpy or torch arrays."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

BACKENDS = ("numpy", "torch")
LAYOUTS = ("packed", "crop", "planar", "flipped", "swapped", "strided")


def tissue(rng, shape):
    """Pixels with the colours of H&E: two stains of varying amount, and noise."""
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    amount = rng.gamma(2.0, 0.35, (*shape, 2))
    intensity = 257 * np.exp(-amount @ stains) + rng.normal(0, 2, (*shape, 3))
    return np.clip(np.rint(intensity), 0, 255).astype(np.uint8)


def lay_out(image, layout):
    """The same values behind other strides; (..., H, W, 3)."""
    if layout == "packed":
        return np.ascontiguousarray(image)
    if layout == "crop":
        pad = [(0, 0)] * (image.ndim - 3) + [(1, 2), (3, 1), (0, 0)]
        return np.pad(image, pad)[..., 1:-2, 3:-1, :]
    if layout == "planar":
        return np.ascontiguousarray(np.moveaxis(image, -1, -3)).swapaxes(-3, -2).swapaxes(-2, -1)
    if layout == "swapped":
        return np.ascontiguousarray(image.swapaxes(-3, -2)).swapaxes(-3, -2)
    if layout == "flipped":
        return np.ascontiguousarray(image[..., ::-1, ::-1, :])[..., ::-1, ::-1, :]
    wide = np.zeros((*image.shape[:-2], 2 * image.shape[-2], 3), image.dtype)
    wide[..., ::2, :] = image
    return wide[..., ::2, :]


def to_backend(array, backend):
    """numpy stays; torch shares the memory where torch can (it knows no negative strides)."""
    if backend == "numpy":
        return array
    return torch.from_numpy(array.copy() if any(s < 0 for s in array.strides) else array)


def to_numpy(array):
    if isinstance(array, torch.Tensor):
        return array.detach().to(torch.float32).numpy() if array.dtype == torch.bfloat16 else array.numpy()
    return array


@st.composite
def images(draw, max_side=40, min_dims=3):
    """uint8 images or batches of them, tissue-like, uniform noise or constant, some without pixels."""
    lead = draw(st.lists(st.integers(0, 3), min_size=max(0, min_dims - 3), max_size=2))
    height, width = draw(st.integers(0, max_side)), draw(st.integers(0, max_side))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (*lead, height, width)
    kind = draw(st.sampled_from(["tissue", "noise", "constant"]))
    if kind == "tissue":
        return tissue(rng, shape)
    if kind == "noise":
        return rng.integers(0, 256, (*shape, 3), np.uint8)
    return np.full((*shape, 3), rng.integers(0, 256, 3), np.uint8)
