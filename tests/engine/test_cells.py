"""Where cells lie: exactly in memory, and nearly where a viewer stretches a map over the slide."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.results import scales, slide_sizes
from fastwsi.engine import CellGrid


@given(size=slide_sizes, scale=st.tuples(scales, scales))
def test_a_stretched_map_is_wrong_by_less_than_a_cell(size, scale):
    across, down = CellGrid(scale, (0, 0), size).map_size
    for cells, side, cell in ((across, size[0], scale[0]), (down, size[1], scale[1])):
        assert cells * cell >= side - 1e-5 * cell, "all of the slide has cells"
        last = side - 1  # the furthest pixel
        assert abs(last * cells / side - last / cell) < 1


def shown_by_asap(size, cells):
    """ASAP 2 compares quotients of whole numbers, and shows nothing where they differ."""
    return size[0] // cells[0] == size[1] // cells[1]


@given(
    scale=st.integers(1, 96),
    cells=st.tuples(st.integers(96, 900), st.integers(96, 900)),
    rest=st.tuples(st.integers(0, 95), st.integers(0, 95)),
)
def test_asap_shows_maps_of_whole_slides(scale, cells, rest):
    """Of slides with as many cells along each side as a cell has pixels; real ones have more."""
    size = tuple(n * scale + min(r, scale - 1) for n, r in zip(cells, rest, strict=True))
    assert shown_by_asap(size, CellGrid((scale, scale), (0, 0), size).map_size)


def test_a_side_of_whole_cells_gets_one_more_only_where_it_must():
    assert CellGrid((128, 128), (0, 0), (97792, 221184)).map_size == (764, 1728)
    assert CellGrid((32, 32), (0, 0), (1600, 1200)).map_size == (51, 38)  # 1600 / 50 and 1200 / 38 differ
    assert CellGrid((32, 32), (0, 0), (1200, 1600)).map_size == (38, 51)


def test_rounding_makes_no_cells():
    size = (3000, 999)
    assert CellGrid((1000 / 3, 333.0), (0, 0), size).map_size == (9, 3)
    assert math.ceil(0.1 * 3 / 0.1) == 4, "as it would without a tolerance"
    assert CellGrid((0.1, 0.1), (0, 0), (3, 3)).map_size == (30, 30)


@given(scale=scales, offset=st.tuples(st.floats(-50, 5000), st.floats(-50, 5000)))
def test_centres(scale, offset):
    grid = CellGrid((scale, scale), offset, (9000, 9000))
    (x, y), (right, below) = grid.centres([0, 7], [0, 3])
    assert (x, y) == (scale / 2 + offset[0], scale / 2 + offset[1])
    np.testing.assert_allclose([right - x, below - y], [7 * scale, 3 * scale], rtol=1e-9, atol=1e-9)
    for cell, place in zip(grid.first_cell, offset, strict=True):
        assert abs(cell - place / scale) <= 0.5 + 1e-9


def test_errors():
    for arguments, message in (
        (((0, 1), (0, 0), (5, 5)), "scale: got"),
        (((1, math.nan), (0, 0), (5, 5)), "scale: got nan"),
        (((1, 1), (0,), (5, 5)), "offset: got .0,., expected two numbers"),
        (((1, 1), (0, 0), (5, 0)), "slide_size: got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            CellGrid(*arguments)
    with pytest.raises(TypeError, match="slide_size"):
        CellGrid((1, 1), (0, 0), (5.5, 5))
    grid = CellGrid((10, 10), (20, 0), (100, 100))
    grid.check((8, 10))
    with pytest.raises(ValueError, match="got 9 cells along x from the slide's cell 2 on"):
        grid.check((9, 11))
    with pytest.raises(ValueError, match="from the slide's cell -1 on"):
        CellGrid((10, 10), (0, -6), (100, 100)).check((1, 1))
