"""fastwsi: deep learning on gigapixel pathology slides, exact and fast.

Every name below is imported when it is first used, so that ``import fastwsi`` costs next to nothing.

Examples
--------
>>> import fastwsi
>>> fastwsi.build_info().version == fastwsi.__version__
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastwsi._version import __version__

if TYPE_CHECKING:
    from fastwsi import augment as augment
    from fastwsi import data as data
    from fastwsi import detectors as detectors
    from fastwsi import engine as engine
    from fastwsi import evaluation as evaluation
    from fastwsi import kernels as kernels
    from fastwsi import nn as nn
    from fastwsi import slides as slides
    from fastwsi import stain as stain
    from fastwsi import streaming as streaming
    from fastwsi._native import build_info as build_info
    from fastwsi._native import cuda_available as cuda_available
    from fastwsi._native import get_num_threads as get_num_threads
    from fastwsi._native import set_num_threads as set_num_threads
    from fastwsi.slides import SlideError as SlideError
    from fastwsi.slides import open_slide as open_slide
    from fastwsi.streaming import Streamed as Streamed

_MODULES = frozenset(
    {"augment", "data", "detectors", "engine", "evaluation", "kernels", "nn", "slides", "stain", "streaming"}
)
_NAMES = {
    "SlideError": "fastwsi.slides",
    "Streamed": "fastwsi.streaming",
    "build_info": "fastwsi._native",
    "cuda_available": "fastwsi._native",
    "get_num_threads": "fastwsi._native",
    "open_slide": "fastwsi.slides",
    "set_num_threads": "fastwsi._native",
}

__all__ = [  # noqa: PLE0604  (the sets are all strings)
    "__version__",
    *sorted(_MODULES | _NAMES.keys()),
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"fastwsi.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'fastwsi' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
