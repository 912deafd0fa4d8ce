"""Tests that need a GPU: skipped, with the reason, where there is none to use."""

from __future__ import annotations

import pytest

import fastwsi


def reason_to_skip() -> str:
    if not fastwsi.build_info().cuda_compiled:
        return "fastwsi was built without CUDA"
    if not fastwsi.cuda_available():
        return "no usable GPU"
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    return "" if torch.cuda.is_available() else "this torch cannot use the GPU"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if "cuda" in item.path.parent.name]
    reason = reason_to_skip() if here else ""
    for item in here:
        item.add_marker(pytest.mark.cuda)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(params=["torch", "cupy"])
def to_gpu(request):
    """A function that puts a numpy array on the GPU, as each framework's array in turn."""
    if request.param == "torch":
        import torch

        return lambda array: torch.from_numpy(array.copy()).cuda()
    cupy = pytest.importorskip("cupy")
    return cupy.asarray
