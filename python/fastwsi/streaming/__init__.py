"""Exact streaming: a CNN over an image of any size, forward and backward, in the memory of a few bands."""

from fastwsi.streaming.sources import RowSource
from fastwsi.streaming.streamed import Streamed

__all__ = ["RowSource", "Streamed"]
