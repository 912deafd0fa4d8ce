"""Heatmaps under torch.compile."""

from __future__ import annotations

from typing import Any

import torch

from fastwsi.kernels.heatmap import nms_eagerly

# How many peaks there are is not known to a graph: an orderly break, without the warning that torch gives
# where it runs into native code.
_disabled = torch.compiler.disable(nms_eagerly)  # type: ignore[no-untyped-call]


def nms_outside_the_graph(*args: Any) -> Any:
    """Break the graph and run; refuse torch.export, which has no graphs to break.

    Examples
    --------
    >>> nms_outside_the_graph(torch.eye(2), 3, 0.5, "disc", None, False).x.tolist()
    [0]
    """
    if hasattr(torch.compiler, "is_exporting") and torch.compiler.is_exporting():
        raise RuntimeError(
            "nms: not supported under torch.export; export the network alone and run nms on its output"
        )
    return _disabled(*args)
