"""Exact streaming: a CNN over an image of any size, forward and backward, in the memory of a few bands."""

from fastwsi.streaming.explaining import Explanation
from fastwsi.streaming.sources import RowSource
from fastwsi.streaming.streamed import Streamed
from fastwsi.streaming.tracing import Unstreamable

__all__ = ["Explanation", "RowSource", "Streamed", "Unstreamable"]
