"""Results as Camelyon16's script reads them."""

from __future__ import annotations

import numpy as np
import pytest

from engine.results import heatmap, result
from fastwsi import data
from fastwsi.engine import SlideResult, export_camelyon16
from fastwsi.slides import SlideError


def official(path):
    """How the challenge's script takes a file apart: every line a detection, whole numbers for places."""
    cells = [line.rstrip().split(",") for line in path.read_text().splitlines()]
    return [(float(score), int(x), int(y)) for score, x, y in cells]


@pytest.fixture
def saved(tmp_path):
    for i, scale in enumerate((32.0, 31.7)):
        result(name=f"Test_00{i}", scale=scale, seed=i).save(tmp_path / "results" / f"{i}")
    zero = heatmap(4, 4) * 0
    SlideResult.of(zero, name="Test_009", scale=8, slide_size=(32, 32), radius=1, threshold=0.5).save(
        tmp_path / "results"
    )
    return tmp_path / "results"


def test_the_script_reads_them(saved, tmp_path):
    done = export_camelyon16(saved, tmp_path / "out")
    assert (done.slides, done.unfinished) == (("Test_000", "Test_001", "Test_009"), ())
    files = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name.endswith(".csv"))
    assert files == ["Test_000.csv", "Test_001.csv", "Test_009.csv"], "the script takes each for a slide"
    for i in (0, 1):
        made = SlideResult.load(saved / f"{i}", f"Test_00{i}")
        found = official(tmp_path / "out" / f"Test_00{i}.csv")
        assert len(found) == len(made.detections) > 5
        for own, (score, x, y) in zip(made.detections, found, strict=True):
            assert own[0] == score
            assert (x <= own[1] < x + 1, y <= own[2] < y + 1) == (True, True), "the pixel it lies in"
    assert (tmp_path / "out" / "Test_009.csv").read_bytes() == b""
    assert data.read_scores(done.scores) == {
        name.lower(): SlideResult.load(folder, name).score
        for folder, name in ((saved / "0", "Test_000"), (saved / "1", "Test_001"), (saved, "Test_009"))
    }
    once = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.csv")}
    export_camelyon16(saved, tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.csv")} == once


def test_what_is_not_done_is_left_out(saved, tmp_path):
    (saved / "1" / "Test_001.json").unlink()
    done = export_camelyon16(saved, tmp_path / "out")
    assert (done.slides, done.unfinished) == (("Test_000", "Test_009"), ("test_001",))
    assert not (tmp_path / "out" / "Test_001.csv").exists()
    for path in saved.rglob("*.json"):
        path.write_text("{}")
    with pytest.raises(SlideError, match="no slide is done: 3 have detections"):
        export_camelyon16(saved, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_a_former_export_wrote_and_this_one_does_not_goes(saved, tmp_path):
    """The script would take it for a slide."""
    out = tmp_path / "out"
    export_camelyon16(saved, out)
    (saved / "1" / "Test_001.json").unlink()
    export_camelyon16(saved, out)
    assert sorted(path.name for path in out.glob("*.csv")) == ["Test_000.csv", "Test_009.csv"]
    (out / "mine.csv").write_text("0.5,1,1\n")
    with pytest.raises(ValueError, match=r"out holds mine\.csv, which no export wrote"):
        export_camelyon16(saved, out)
    assert len(list(out.glob("*.csv"))) == 3


def test_slides_that_were_scanned_otherwise_are_counted(saved, tmp_path):
    assert export_camelyon16(saved, tmp_path / "out").ways == 2  # two with one radius, one with another
    result(name="Test_009", settings={"model": "another"}).save(saved)
    result(name="Test_000", settings={"slide": {"bytes": 7}}).save(saved / "0")
    assert export_camelyon16(saved, tmp_path / "out").ways == 2
    result(name="Test_009", settings={"slide": {"bytes": 8}}).save(saved)
    assert export_camelyon16(saved, tmp_path / "out").ways == 1


def test_a_slides_own_name_may_end_as_files_do(tmp_path):
    for name in ("a_candidates", "b_detections", "c"):
        result(name=name).save(tmp_path / "results")
    done = export_camelyon16(tmp_path / "results", tmp_path / "out")
    assert done.slides == ("a_candidates", "b_detections", "c")
    assert data.find_detections(tmp_path / "out").keys() >= {"c"}


@pytest.mark.parametrize("size", [(33, 40), (97, 64), (130, 129)])
def test_places_lie_on_the_slide(tmp_path, size):
    """Where the last cell hangs over its edge: the script looks each place up in a mask."""
    made = result(size=size, scale=32.0, radius=0.5, threshold=0.01)
    made.save(tmp_path / "results")
    export_camelyon16(tmp_path / "results", tmp_path / "out")
    found = official(tmp_path / "out" / "tumor_001.csv")
    assert len(found) == np.count_nonzero(made.heatmap > 0.01) > 0
    assert all(0 <= x < size[0] and 0 <= y < size[1] for _, x, y in found)


def test_errors(saved, tmp_path):
    with pytest.raises(SlideError, match="there is no such folder"):
        export_camelyon16(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SlideError, match="no results of slides"):
        export_camelyon16(tmp_path / "empty", tmp_path / "out")
    for out in (saved, saved / "submission"):
        with pytest.raises(ValueError, match="expected a folder that is not among the results"):
            export_camelyon16(saved, out)
    for text in ('"high"', "null", "true"):
        summary = saved / "Test_009.json"
        summary.write_text(summary.read_text().replace('"score": 0.0', f'"score": {text}'))
        with pytest.raises(SlideError, match="is damaged: got the score"):
            export_camelyon16(saved, tmp_path / "out")
        summary.write_text(summary.read_text().replace(f'"score": {text}', '"score": 0.0'))


def test_detections_read_back_exactly(tmp_path):
    points = np.array([[0.1 + 0.2, 1 / 3, 2.0**53], [1e-300, 1e15, 0.0], [1.0, 5.0, 1e22]])
    data.write_detections(tmp_path / "a.csv", points)
    np.testing.assert_array_equal(data.read_detections(tmp_path / "a.csv"), points)
    data.write_detections(tmp_path / "b.csv", [], header=False)
    assert data.read_detections(tmp_path / "b.csv").shape == (0, 3)
