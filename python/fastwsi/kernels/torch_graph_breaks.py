"""The torch half of `graph_breaks`, imported once torch's compiler is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


@torch.compiler.disable  # type: ignore[untyped-decorator]
def untraced(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function as if nothing were being compiled."""
    return function(*args, **kwargs)
