"""Random trunks, streamed and whole: the same in float64, whatever the graph, the image and the bands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from fastwsi.streaming import Streamed
from streaming.compare import check
from streaming.graphs import Program, Step, build, fine, programs

FOUND = {
    "rows wholly in padding come before any row of their source": Program(
        steps=(Step("pad", a=3, b=3, c=6, d=1),), rows=1
    ),
    "a map of which only padding is read": Program(
        steps=(Step("pad", a=3, b=6, c=2, d=14),), height=1, width=1
    ),
    "a convolution of which only padding is read, and its zero gradient": Program(
        steps=(Step("conv", c=14), Step("conv", a=6, c=8)), height=2, width=1, channels=1
    ),
    "an output that has no columns in a window": Program(
        steps=(Step("norm"), Step("conv"), Step("conv"), Step("conv", c=11)),
        height=1,
        width=1,
        rows=1,
        window=2,
        outputs=(0, 7, 15),
        container="dict",
    ),
    "a function that overwrites its input": Program(
        steps=(Step("norm"), Step("act", a=11, b=9, c=5), Step("join", first=1)), height=1, width=3
    ),
    "a sum in place, and its old name": Program(
        steps=(Step("up"), Step("join", second=15)), outputs=(0, 7, 14), container="list", channels=1
    ),
    "a map added to a concatenation": Program(
        steps=(
            Step("cat"),
            Step("join", first=1),
            Step("pad", a=4, b=4, c=1, d=13),
            Step("norm"),
            Step("up"),
            Step("constant", first=3, a=6),
        ),
        channels=1,
    ),
    "columns of the image that nobody reads": Program(steps=(Step("conv"), Step("pad", a=0, b=2, c=3, d=3))),
}


def agrees(program):
    trunk, image = build(program)
    with fine(program.window, program.numbers):
        check(trunk, image, program.rows, stream=Streamed(trunk, rows=program.rows))


@settings(max_examples=3 * settings().max_examples)
@given(program=programs)
def test_random_trunks(program):
    agrees(program)


@pytest.mark.parametrize("what", list(FOUND))
def test_what_was_found(what):
    agrees(FOUND[what])
