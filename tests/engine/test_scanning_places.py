"""One marked cell on a white slide is where a heatmap, its detections and its files say it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tifffile

import fastwsi
from fastwsi.data import read_detections
from fastwsi.engine import PatchInput, SlideResult, scan

RED = (200, 30, 30)


class Marked:
    """The part of a patch's centre that is red."""

    def __init__(self, size, centre, mpp=(), tower=0):
        self.input, self._tower = PatchInput(size, centre, mpp), tower

    def scorer(self, device, *, precision, orientations):
        first = (self.input.size - self.input.centre + 1) // 2
        middle = slice(first, first + self.input.centre)

        def score(pixels):
            if pixels.ndim == 5:
                pixels = pixels[:, self._tower]
            return ((pixels[:, middle, middle, 1] / 255 - 1).mean((1, 2)) / (RED[1] / 255 - 1)).float()

        return score

    def colours(self, slide):
        return None


def slide_with(cell, scale, size, mpp):
    """A white slide of which one cell is red, to the pixel where cells are whole pixels."""
    image = np.full((size[1], size[0], 3), 255, np.uint8)
    left, top = (math.floor(at * step + 0.5) for at, step in zip(cell, scale, strict=True))
    right, bottom = (math.floor((at + 1) * step + 0.5) for at, step in zip(cell, scale, strict=True))
    image[top:bottom, left:right] = RED
    return fastwsi.open_slide(image, mpp=mpp)


def cells(columns, rows):
    """The corners, the middles of the edges, the middle."""
    return [(x, y) for x in (0, columns // 2, columns - 1) for y in (0, rows // 2, rows - 1)]


# Patch, centre, stride, the resolutions, and of the slide the mpp and the size.
KINDS = [
    (75, 25, 25, (), 0.5, (250, 175)),
    (75, 25, 25, (), 0.5, (261, 190)),  # the last cells hang over the edge
    (64, 25, 10, (), 0.5, (110, 90)),  # stride smaller than the centre
    (64, 25, 60, (), 0.5, (343, 291)),  # and larger
    (20, 8, 50, (), 0.5, (231, 290)),  # larger than the patch
    (299, 128, 128, (), 0.25, (1152, 896)),
    (75, 25, 25, (1.0,), 0.5, (515, 320)),
    (31, 9, 9, (1.5,), 0.5, (243, 170)),
    (75, 25, 25, (1.0,), 0.37, (640, 420)),  # cells begin between the slide's pixels
    (75, 25, 19, (1.0,), 0.37, (640, 440)),
    (40, 16, 16, (0.3,), 0.5, (120, 91)),  # finer than the slide
    (75, 25, 25, (0.5, 2.0), 0.5, (250, 175)),
]


@pytest.mark.parametrize(("size", "centre", "stride", "mpp", "own", "shape"), KINDS)
def test_a_marked_cell_is_found_to_the_cell(tmp_path, size, centre, stride, mpp, own, shape):
    scale = ((mpp[0] if mpp else own) / own * stride,) * 2
    columns, rows = (math.ceil(side / step - 1e-9) for side, step in zip(shape, scale, strict=True))
    for number, (column, row) in enumerate(cells(columns, rows)):
        slide = slide_with((column, row), scale, shape, own)
        found = scan(Marked(size, centre, mpp), slide, stride=stride, device="cpu")
        assert found.heatmap.shape == (rows, columns)
        assert found.scale == pytest.approx(scale, rel=1e-12)
        order = np.argsort(found.heatmap, axis=None)
        assert divmod(int(order[-1]), columns) == (row, column)
        best, second = found.heatmap.flat[order[-1]], found.heatmap.flat[order[-2]]
        assert best > 1.1 * second  # no tie
        if stride == centre and float(scale[0]).is_integer() and (column + 1) * scale[0] <= shape[0]:
            assert best == pytest.approx(min(1, (shape[1] - row * scale[1]) / scale[1]), abs=1e-6)
            assert second == pytest.approx(0, abs=1e-6)
        result = SlideResult.of(
            found.heatmap, name=f"slide{number}", scale=found.scale, slide_size=shape, radius=3,
            threshold=0.1, mpp=own,
        )  # fmt: skip
        assert_within(result.detections[0], (column, row), scale)
        assert (result.detections[:, 1:] < shape).all(), "no lesion lies outside the slide"
        paths = result.save(tmp_path)
        assert_within(read_detections(paths.detections)[0], (column, row), scale)
        written = tifffile.imread(paths.likelihood_map)
        assert np.unravel_index(np.nanargmax(written), written.shape) == (row, column)
        assert SlideResult.load(tmp_path, result.name).grid.scale == found.scale


def assert_within(detection, cell, scale):
    _, *place = detection
    for at, number, step in zip(place, cell, scale, strict=True):
        assert number * step < at < (number + 1) * step


@pytest.mark.parametrize("mpp", [(0.5, 2.0), (0.5, 1.3), (1.0, 2.0, 4.0), (0.8, 1.5)])
@pytest.mark.parametrize(("size", "centre"), [(75, 25), (64, 24), (75, 24)])
def test_coarser_resolutions_have_the_same_middle(mpp, size, centre):
    """A tower that sees more around a cell: its maximum is there, too, and it falls off alike around it."""
    shape, stride = (1300, 1200), centre
    scale = (mpp[0] / 0.5 * stride,) * 2
    columns, rows = (math.ceil(side / step - 1e-9) for side, step in zip(shape, scale, strict=True))
    column, row = columns // 2, rows // 2
    for tower in range(len(mpp)):
        slide = slide_with((column, row), scale, shape, 0.5)
        # Centres that span a cell's length and a half at the tower's resolution.
        own = max(3, round(centre * 1.5 * mpp[0] / mpp[tower])) | (size % 2)
        model = Marked(size, own, mpp, tower)
        found = scan(model, slide, stride=stride, device="cpu").heatmap.astype(float)
        assert np.unravel_index(found.argmax(), found.shape) == (row, column)
        # Places are rounded to pixels, which at most moves the middle by one of them.
        about = found[row - 1 : row + 2, column - 1 : column + 2]
        share = 1.01 * mpp[tower] / mpp[0] / (own * mpp[tower] / mpp[0])
        assert np.abs(about - about[::-1, ::-1]).max() <= share + 0.02


def test_tissue_decides_which_cells_are_scanned():
    mask = np.zeros((20, 30), bool)
    mask[5, 7] = mask[19, 29] = True
    slide = fastwsi.open_slide(np.full((400, 600, 3), 255, np.uint8), mpp=0.5)
    tissue = fastwsi.slides.TissueMask.of(slide, mask)  # of 20 level-0 pixels each
    found = scan(Marked(75, 25), slide, tissue=tissue, device="cpu").heatmap
    wanted = np.zeros((16, 24), bool)
    wanted[4, 5] = wanted[4, 6] = wanted[15, 23] = True  # rows 100 to 119, columns 140 to 159; the last 20
    np.testing.assert_array_equal(~np.isnan(found), wanted)
