"""Random trunks, streamed and whole: the same in float64, whatever the graph, the image and the bands."""

from __future__ import annotations

from unittest import mock

from hypothesis import event, given

from fastwsi.streaming import Streamed, units
from streaming.compare import check
from streaming.graphs import build, programs


@given(program=programs)
def test_random_trunks(program):
    trunk, image = build(program)
    event(f"{len(trunk.ops)} operations")
    with mock.patch.object(units, "_COARSE", 1):
        stream = Streamed(trunk, rows=program.rows)
        stream._window = program.window
        check(trunk, image, program.rows, stream=stream)
