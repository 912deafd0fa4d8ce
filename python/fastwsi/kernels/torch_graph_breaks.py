"""The torch half of `graph_breaks`, imported once torch's compiler is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def untraced(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function as if nothing were being compiled; refuse torch.export, whose graphs cannot break."""
    if hasattr(torch.compiler, "is_exporting") and torch.compiler.is_exporting():
        raise RuntimeError(
            f"{function.__name__}: not supported under torch.export; export the network alone and call "
            f"{function.__name__} on its output"
        )
    return _disabled(function, *args, **kwargs)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _disabled(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)
