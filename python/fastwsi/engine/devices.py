"""Where to compute: what a user asks for, as far as torch and this package can have it."""

from __future__ import annotations

import logging
from typing import Any

import torch

from fastwsi._native import cuda_available

logger = logging.getLogger(__name__)


def cuda_is_usable() -> bool:
    """Tell whether a GPU can be computed on: torch must see one, and this package must be built for it."""
    if not torch.cuda.is_available():
        return False
    if not cuda_available():
        logger.warning("torch sees a GPU, and fastwsi was built without CUDA: the CPU is used")
        return False
    return True


def device_of(asked: str | torch.device) -> torch.device:
    """Return a device that there is.

    Examples
    --------
    >>> device_of("cpu")
    device(type='cpu')
    """
    if asked == "auto":
        return torch.device("cuda" if cuda_is_usable() else "cpu")
    try:
        found = torch.device(asked)
    except RuntimeError:
        raise ValueError(f"device: got {asked!r}, expected auto, cpu, cuda or cuda:1") from None
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device: got {asked!r}, expected auto, cpu, cuda or cuda:1")
    if found.type == "cuda":
        _check_cuda(str(asked), found.index or 0)
    return found


def trained_on(device: torch.device) -> dict[str, Any]:
    """Return `fastwsi.engine.train`'s options for one device.

    Examples
    --------
    >>> trained_on(torch.device("cpu"))
    {'accelerator': 'cpu', 'devices': 1}
    """
    if device.type == "cpu":
        return {"accelerator": "cpu", "devices": 1}
    return {"accelerator": "gpu", "devices": [device.index or 0]}


def accelerator_of(asked: str) -> str:
    """Return Lightning's name of what to train on: "cpu" or "gpu".

    Examples
    --------
    >>> accelerator_of("cpu")
    'cpu'
    """
    if asked in ("gpu", "cuda"):
        _check_cuda(asked, 0)
        return "gpu"
    if asked == "auto":
        return "gpu" if cuda_is_usable() else "cpu"
    return asked


def _check_cuda(asked: str, index: int) -> None:
    if index >= torch.cuda.device_count():
        raise ValueError(f"device: got {asked!r}, and torch sees {torch.cuda.device_count()} GPUs here")
    if not cuda_available():
        raise ValueError(f"device: got {asked!r}, and fastwsi was built without CUDA; see fastwsi doctor")
