"""Stain normalisation: policies over the HSD kernels.

``HsdNormalizer`` fits and applies; ``HsdNormalize`` is its form as a torch module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastwsi.stain.hsd import HsdNormalizer

if TYPE_CHECKING:
    from fastwsi.stain.module import HsdNormalize as HsdNormalize

__all__ = ["HsdNormalize", "HsdNormalizer"]


def __getattr__(name: str) -> Any:
    if name == "HsdNormalize":  # its base class needs torch; the normaliser itself does not
        return importlib.import_module("fastwsi.stain.module").HsdNormalize
    raise AttributeError(f"module 'fastwsi.stain' has no attribute {name!r}")
