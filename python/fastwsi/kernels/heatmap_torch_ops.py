"""Heatmaps under torch.compile."""

from __future__ import annotations

import torch

from fastwsi.kernels.heatmap import nms

# How many peaks there are is not known to a graph: an orderly break, without the warning that torch gives
# where it runs into native code.
nms_outside_the_graph = torch.compiler.disable(nms)  # type: ignore[no-untyped-call]
