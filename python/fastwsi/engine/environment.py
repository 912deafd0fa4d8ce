"""Versions and machine: what results may depend on beside settings and slides."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import Any

from fastwsi._native import build_info, get_num_threads

_PACKAGES = ("numpy", "torch", "lightning", "openslide-python", "openslide-bin", "tifffile", "imagecodecs")


def environment() -> dict[str, Any]:
    """Return versions and machine, as far as results may depend on them.

    Examples
    --------
    >>> environment()["threads"]["torch"] >= 1
    True
    """
    import torch  # noqa: PLC0415  (imported where used)

    there = {str(each.metadata["Name"]).lower(): each.version for each in metadata.distributions()}
    return {
        "fastwsi": build_info().version,
        "python": sys.version.split()[0],
        "packages": {name: there[name] for name in _PACKAGES if name in there},
        "platform": platform.platform(),
        "host": platform.node(),
        "processors": os.cpu_count(),
        "threads": {"fastwsi": get_num_threads(), "torch": torch.get_num_threads()},
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }
