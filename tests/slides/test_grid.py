"""Slides cut into patches."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi.slides import PatchGrid, TissueMask
from slides.pyramids import picture

IMAGE = picture(403, 301)


@given(st.integers(1, 120), st.integers(1, 90), st.sampled_from([None, 0.5, 0.8, 1.25]))
def test_cells_cover_the_slide_and_patches_lie_about_their_middles(size, stride, mpp):
    slide = fastwsi.open_slide(IMAGE, mpp=0.5)
    grid = PatchGrid(slide, size, stride, mpp=mpp)
    scale = 1 if mpp is None else mpp / 0.5
    assert grid.scale_to_level_0 == pytest.approx((stride * scale, stride * scale))
    assert grid.columns * stride * scale >= 403 - 1e-6
    assert (grid.columns - 1) * stride * scale < 403
    assert len(grid) == grid.columns * grid.rows
    for index in {0, len(grid) // 2, len(grid) - 1}:
        patch = grid[index]
        for axis in range(2):
            middle = (patch.cell[axis] + 0.5) * stride * scale
            # Half a pixel where size and stride are not both odd or even; and ``xy`` is rounded down.
            assert -scale / 2 - 1e-9 <= middle - patch.xy[axis] - size * scale / 2 < scale / 2 + 1 + 1e-9


def test_reads_its_patches():
    slide = fastwsi.open_slide(IMAGE, mpp=0.5)
    grid = PatchGrid(slide, 64)
    assert [patch.cell for patch in grid][:3] == [(0, 0), (1, 0), (2, 0)]
    np.testing.assert_array_equal(grid.read(8), IMAGE[64:128, 64:128])
    np.testing.assert_array_equal(PatchGrid(slide, 32, mpp=1.0).read(0), slide.read((0, 0), 32, mpp=1.0))
    assert "7 x 5 cells" in repr(grid)


@pytest.mark.parametrize("least", [0.0, 0.3, 1.0])
def test_only_cells_of_tissue(least):
    slide = fastwsi.open_slide(IMAGE, mpp=0.5)
    mask = np.zeros((301, 403), bool)
    mask[40:150, 90:200] = True
    grid = PatchGrid(slide, 64, 32, tissue=TissueMask(mask, (1.0, 1.0), None), min_tissue=least)
    wanted = []
    for row in range(grid.rows):
        for column in range(grid.columns):
            part = mask[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32]
            share = part.sum() / 32**2
            if share > 0 and share >= least:
                wanted.append((column, row))
    assert [patch.cell for patch in grid] == wanted
    assert wanted


def test_arguments_are_checked():
    slide = fastwsi.open_slide(IMAGE)
    with pytest.raises(ValueError, match="size: got 0"):
        PatchGrid(slide, 0)
    with pytest.raises(ValueError, match="min_tissue: got 2, expected 0 to 1"):
        PatchGrid(slide, 8, min_tissue=2)
    with pytest.raises(TypeError, match="tissue: got ndarray, expected a TissueMask"):
        PatchGrid(slide, 8, tissue=np.ones((3, 3), bool))
    with pytest.raises(TypeError, match="index: got slice"):
        PatchGrid(slide, 64)[0:3]
    with pytest.raises(fastwsi.SlideError, match="no resolution"):
        PatchGrid(slide, 8, mpp=1)


@pytest.mark.parametrize("masked", [False, True])
def test_cells_take_little_memory(masked):
    """Eight bytes each, and twice that while they are found: slides have tens of millions."""
    slide = fastwsi.open_slide(np.broadcast_to(np.uint8(200), (12_000, 12_000, 3)), mpp=0.5)
    tissue = TissueMask.of(slide, np.ones((50, 50), bool)) if masked else None
    tracemalloc.start()
    grid = PatchGrid(slide, 32, 8, tissue=tissue)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(grid) == 1500**2
    assert held / len(grid) < 9
    assert peak / len(grid) < 17 + 40e6 / len(grid), "a part's tissue takes 40 MB at most"
