"""Functions that torch.compile is to call rather than to look into."""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def outside_graphs(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Make a function end the graph of a compiled one that calls it, in order and without a warning.

    For what answers in sizes or objects that no graph knows, or works on memory of its own.

    Examples
    --------
    >>> @outside_graphs
    ... def double(x):
    ...     return 2 * x
    >>> double(21)
    42
    """

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        # Also where nothing is traced now: a frame that torch's compiler leaves alone, for want of tensors
        # among its arguments, calls others that it would take.
        if "torch._dynamo" in sys.modules:
            from fastwsi.kernels.torch_graph_breaks import untraced  # noqa: PLC0415

            return untraced(function, *args, **kwargs)  # type: ignore[no-any-return]
        return function(*args, **kwargs)

    return call
