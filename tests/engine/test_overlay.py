"""Pictures of results: the right colours at the right places, and what they say of lesions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import fastwsi
from engine.results import result
from fastwsi.engine import CellGrid, draw_overlay, legend, overlay
from fastwsi.slides import Annotation, Annotations

GRID = CellGrid((50.0, 50.0), (0.0, 0.0), (1010, 610))
NONE = np.zeros((0, 3))
SQUARE = np.array([[0, 0], [200, 0], [200, 200], [0, 200]], float)


@pytest.fixture
def slide():
    return fastwsi.open_slide(np.full((610, 1010, 3), (225, 180, 210), np.uint8))


def hot(row, column, value=1.0):
    cells = np.zeros((13, 21), np.float32)
    cells[row, column] = value
    return cells


def test_colours_are_where_the_cells_are(slide):
    for row, column in ((0, 0), (5, 11), (11, 19)):
        picture = draw_overlay(hot(row, column), GRID, NONE, slide, size=505)
        x, y = round((column + 0.5) * 25), round((row + 0.5) * 25)
        red, green, blue = picture[y, x].astype(int)
        assert red > 100 > max(green, blue)
        changed = np.argwhere((picture[:305] != picture[150, 3 if column else 500]).any(-1))
        assert abs(changed - (y, x)).max() <= 25, "nowhere further than a cell's side"


def test_what_is_low_or_not_scanned_shows_tissue(slide):
    cells = np.full((13, 21), 0.02, np.float32)
    cells[:, 10:] = np.nan
    picture = draw_overlay(cells, GRID, NONE, slide, size=1010)
    assert (picture[:610, :1010] == (225, 180, 210)).all()
    without = draw_overlay(np.where(np.isnan(cells), np.nan, 0).astype(np.float32), GRID, NONE)
    assert without[300, 100].tolist() != without[300, 900].tolist(), "paper tells what was scanned"


def test_no_lesion_falls_between_pixels():
    """A map of many cells in a small picture: each cell alone is seen."""
    grid = CellGrid((10.0, 10.0), (0.0, 0.0), (8010, 4010))
    rng = np.random.default_rng(0)
    paper = np.full((100, 200, 3), 255, np.uint8)
    for row, column in zip(rng.integers(0, 401, 20), rng.integers(0, 801, 20), strict=True):
        cells = np.zeros((401, 801), np.float32)
        cells[row, column] = 1
        below = draw_overlay(cells, grid, NONE, paper)[:100]
        assert (below.min(axis=-1) < 150).any()


def test_colours_darken_as_scores_rise():
    colours = overlay.colour_of(np.linspace(0, 1, 101)).astype(float)
    light = colours @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(light) <= 0.5).all()
    assert light[0] - light[-1] > 150


def test_lesions_found_and_missed(slide, monkeypatch):
    told = []
    monkeypatch.setattr(
        overlay, "with_legend", lambda picture, _c, _t, entries: (told.extend(entries), picture)[1]
    )
    found, missed = SQUARE + 50, SQUARE + np.array([600, 300])
    hole = (SQUARE / 4) + 100
    truth = Annotations(
        (Annotation("polygon", found, "_0", holes=(hole,)), Annotation("polygon", missed, "_0"))
    )
    points = np.array([[0.9, 70.0, 70.0], [0.8, 125.0, 125.0], [0.7, 900.0, 50.0], [0.2, 700.0, 400.0]])
    picture = draw_overlay(np.zeros((13, 21), np.float32), GRID, points, slide, truth=truth, threshold=0.5)
    assert [str(entry) for entry in told] == [
        "1 lesion found",
        "1 lesion missed",
        "1 detection in a lesion",
        "2 false detections",
    ]
    green, blue = (
        picture[:, :, 1].astype(int) - 60 > picture[:, :, 0],
        picture[:, :, 2].astype(int) - 100 > picture[:, :, 0],
    )
    assert green[150, 45:56].any()
    assert blue[300, 600:800].any()
    assert not blue[40:260, 40:260].any()
    assert not green[290:510, 590:810].any()
    told.clear()
    draw_overlay(np.zeros((13, 21), np.float32), GRID, points, slide, truth=[found, missed], threshold=0.0)
    assert [entry.count for entry in told] == [2, 0, 3, 1], "plain outlines do, too"
    told.clear()
    draw_overlay(np.zeros((13, 21), np.float32), GRID, points[:1], slide)
    assert [str(entry) for entry in told] == ["1 detection"]


def test_a_result_draws_itself(tmp_path):
    made = result(name="Größe 1", size=(1010, 610), scale=50.0)
    slide = fastwsi.open_slide(np.full((610, 1010, 3), 200, np.uint8))
    picture = made.overlay(slide, size=300)
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 420, "room for the legend"
    made.save_overlay(tmp_path / "a.png", slide, size=300)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[:, :, ::-1], picture)
    np.testing.assert_array_equal(made.overlay(slide.thumbnail(300)), picture)
    assert (made.overlay(slide, size=300) == picture).all()
    assert made.overlay(size=64).shape[0] > 39
    assert result(size=(3, 900), scale=50.0).overlay().shape[0] > 900


def test_legends_of_any_width():
    entry = legend.Entry("hit", 3, "detection", "detections")
    for width in (1, 419, 420, 1000, 3000):
        picture = legend.with_legend(
            np.zeros((9, width, 3), np.uint8), np.zeros((256, 3), np.uint8), "a name " * 30, [entry] * 9
        )
        assert picture.shape[1] == max(width, 420)


def test_errors(slide):
    cells = np.zeros((13, 21), np.float32)
    with pytest.raises(ValueError, match=r"slide: got one of \(1010, 610\) pixels, expected \(1010, 600\)"):
        draw_overlay(cells[:12], CellGrid((50.0, 50.0), (0.0, 0.0), (1010, 600)), NONE, slide)
    with pytest.raises(ValueError, match="slide: got"):
        draw_overlay(cells, GRID, NONE, np.zeros((5, 5)))
    with pytest.raises(ValueError, match=r"opacity: got 1\.5"):
        draw_overlay(cells, GRID, NONE, opacity=1.5)
    with pytest.raises(ValueError, match="truth: got an outline"):
        draw_overlay(cells, GRID, NONE, truth=[np.zeros((2, 2))])
    with pytest.raises(ValueError, match=r"expected a name that ends in \.png"):
        result().save_overlay("a.jpg")
