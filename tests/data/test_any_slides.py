"""Slides wherever they are: files, folders, data sets, tables."""

from __future__ import annotations

import numpy as np
import pytest

from fastwsi.data import slides_at
from fastwsi.slides import SlideError, SyntheticSet, write_camelyon16, write_slide


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    folder = tmp_path_factory.mktemp("any") / "camelyon16"
    write_camelyon16(folder, SyntheticSet(3, 2, (600, 500), 1.5, 0))
    return folder


@pytest.fixture
def plain(tmp_path):
    """A folder of slides, and of what is none."""
    folder = tmp_path / "plain"
    (folder / "below").mkdir(parents=True)
    for name in ("b.svs", "a.TIF", "c.ndpi", "below/d.svs"):
        (folder / name).touch()
    (folder / "notes.txt").touch()
    (folder / "e.zarr").mkdir()
    return folder


def names(*found):
    return [record.name for record in slides_at(*found)]


def test_files_in_the_order_they_are_named(plain):
    assert names([plain / "b.svs", str(plain / "a.TIF")]) == ["b", "a"]
    assert slides_at(plain / "b.svs")[0].path == plain / "b.svs"


def test_a_folder_of_plain_files_is_what_ends_like_a_slide_in_it(plain):
    assert names(plain) == ["a", "b", "c", "e"]
    assert names([plain, plain / "below"]) == ["a", "b", "c", "e", "d"]


def test_results_and_pictures_beside_slides_are_no_slides(plain):
    for name in ("b_likelihood_map.tif", "b_overlay.png", "b_mask.tif", "label.png", ".a.TIF.x.tif"):
        (plain / name).touch()
    assert names(plain) == ["a", "b", "c", "e"]
    pictures = plain / "below"
    (pictures / "d.svs").unlink()
    (pictures / "x.png").touch()
    assert names(pictures) == ["x"]


def test_a_zarr_folder_is_one_slide(plain):
    assert names(plain / "e.zarr") == ["e"]


def test_of_a_data_set_the_slides_for_testing_unless_others_are_asked_for(known):
    assert names(known) == ["test_001", "test_002"]
    assert names(known, "test") == names(known)
    assert len(names(known, "train")) == 3
    assert sorted(names(known, "all")) == sorted(names(known, "train") + names(known))


def test_records_know_what_the_data_set_knows(known):
    tumour = next(record for record in slides_at(known, "train") if record.label == "tumor")
    assert tumour.annotation is not None
    assert tumour.annotations()


def test_a_table_without_slides_for_testing_is_all_of_it(tmp_path):
    write_slide(tmp_path / "a.tif", np.full((300, 300, 3), 200, np.uint8), mpp=1.0)
    table = tmp_path / "mine.csv"
    table.write_text("slide,label,mpp,split\na.tif,tumor,0.25,train\n")
    assert [(record.name, record.mpp) for record in slides_at(table)] == [("a", 0.25)]
    with pytest.raises(SlideError, match=r"mine\.csv: has no slides of the split 'test'"):
        slides_at(table, "test")


@pytest.mark.parametrize("path", ["~/nowhere.svs", "nowhere"])
def test_what_is_not_there(path):
    with pytest.raises(SlideError, match="there is no such file or folder"):
        slides_at(path)


def test_what_is_no_slide(plain, known, tmp_path):
    with pytest.raises(SlideError, match=r"notes\.txt: no slide by its ending, and no CSV file"):
        slides_at([plain / "b.svs", plain / "notes.txt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SlideError, match="no data set that is known"):
        slides_at(tmp_path / "empty")
    with pytest.raises(ValueError, match="slides: found none in nothing"):
        slides_at([])
    with pytest.raises(ValueError, match="split: got 'tests', expected train, validation, test or all"):
        slides_at(known, "tests")


class TestMixedFolders:
    """Slides beside a data set's are not passed over in silence."""

    @pytest.mark.parametrize("place", ["", "below"])
    def test_are_refused(self, tmp_path, place):
        (tmp_path / place).mkdir(exist_ok=True)
        for name in ("case_7.svs", "case_8.svs"):
            (tmp_path / name).touch()
        assert names(tmp_path) == ["case_7", "case_8"]
        (tmp_path / place / "normal_001.tif").touch()
        with pytest.raises(
            SlideError, match=r"is Camelyon16 by names of files, and also holds case_7\.svs, case"
        ):
            slides_at(tmp_path)
        assert names([tmp_path / "case_7.svs", tmp_path / place / "normal_001.tif"]) == [
            "case_7",
            "normal_001",
        ]

    def test_a_data_sets_own_are_none(self, known, tmp_path):
        (known / "testing" / "images" / "test_001_likelihood_map.tif").touch()
        assert names(known) == ["test_001", "test_002"]
        (tmp_path / "normal_001.tif").touch()
        (tmp_path / "normal_001_mask.tif").touch()
        assert names(tmp_path) == ["normal_001"]

    def test_a_table_says_which(self, tmp_path):
        for name in ("a.tif", "b.tif"):
            write_slide(tmp_path / name, np.full((300, 300, 3), 200, np.uint8), mpp=1.0)
        (tmp_path / "slides.csv").write_text("slide,label\na.tif,normal\n")
        assert names(tmp_path) == ["a"]


def test_dicom_files_of_a_folder_are_to_be_named(tmp_path):
    """Any of a series opens all of it: each would be scanned as often as it has files."""
    (tmp_path / "level_0.dcm").touch()
    assert names(tmp_path) == ["level_0"]
    (tmp_path / "level_1.dcm").touch()
    with pytest.raises(SlideError, match="holds 2 DICOM files, of which several may be one slide: name one"):
        slides_at(tmp_path)
    assert names(tmp_path / "level_1.dcm") == ["level_1"]
