"""Files of detections and scores, and what they are held against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from fastwsi import data
from fastwsi.slides import Annotation, Annotations, SlideError, write_asap, write_slide
from slides.pyramids import picture

SQUARE = np.array([[100, 100], [500, 100], [500, 400], [100, 400]], float)


def written(path, text):
    path.write_text(text)
    return path


class TestDetections:
    @pytest.mark.parametrize(
        "text",
        [
            "0.9,100,200\n0.5,3,4\n",
            "prob,x,y\n0.9,100,200\n0.5,3,4\n",
            "X,Y,name,Score\n100,200,a,0.9\n3,4,b,0.5\n",
            "\ufeff0.9, 100, 200\r\n\r\n0.5,3,4",
            "confidence;x_coordinate;y_coordinate\n0.9;100.0;200\n0.5;3;4\n",
        ],
    )
    def test_forms(self, tmp_path, text):
        path = tmp_path / "a.csv"
        path.write_text(text, encoding="utf-8", newline="")
        assert data.read_detections(path).tolist() == [[0.9, 100, 200], [0.5, 3, 4]]

    def test_none(self, tmp_path):
        for text in ("", "prob,x,y\n", "\n\n"):
            assert data.read_detections(written(tmp_path / "a.csv", text)).shape == (0, 3)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("0.9,1,2\n0.8,1\n", "row 2: got '0.8,1', expected a score of at least 0, x and y"),
            ("prob,x,y\n0.9,1,2\nnan,1,2\n", "row 3: got 'nan,1,2'"),
            ("-0.1,1,2\n", "row 1: got '-0.1,1,2'"),
            ("0.9,1,zwei\n", "row 1"),
            ("a,b,c\n1,2,3\n", "got the columns a, b, c, expected prob, x, y"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, text, message):
        with pytest.raises(SlideError, match=message):
            data.read_detections(written(tmp_path / "a.csv", text))

    def test_files_are_found_by_their_slides(self, tmp_path):
        (tmp_path / "more").mkdir()
        for name in ("Test_001.csv", "test_002_detections.csv", "more/test_003.tif.csv", "slide_scores.csv"):
            written(tmp_path / name, "0.9,1,2\n")
        found = data.find_detections(tmp_path)
        assert {name: path.name for name, path in found.items()} == {
            "test_001": "Test_001.csv",
            "test_002": "test_002_detections.csv",
            "test_003": "test_003.tif.csv",
        }
        written(tmp_path / "test_001_detections.csv", "0.9,1,2\n")
        with pytest.raises(
            SlideError, match=r"is another file of detections of test_001 beside Test_001\.csv"
        ):
            data.find_detections(tmp_path)


class TestScores:
    @pytest.mark.parametrize(
        "text",
        ["a.tif,0.9\nB,0.5\n", "slide,score\na.tif,0.9\nB,0.5\n", "x,prob,image\n1,0.9,s/a.svs\n1,0.5,b"],
    )
    def test_forms(self, tmp_path, text):
        assert data.read_scores(written(tmp_path / "s.csv", text)) == {"a": 0.9, "b": 0.5}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a,0.9\na.tif,0.5\n", "row 2: a is listed twice"),
            ("a,0.9\nb\n", "row 2: got 'b', expected a slide and its score"),
            ("a,0.9\nb,inf\n", "row 2: got 'b,inf'"),
            ("slide,score\n", "no scores"),
            ("slide,value\na,0.9\n", "got the columns slide, value, expected slide and score"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, text, message):
        with pytest.raises(SlideError, match=message):
            data.read_scores(written(tmp_path / "s.csv", text))


@pytest.fixture
def annotated(tmp_path):
    """One slide with a square of tumour, a hole cut out of it, and a speck between pixels of level 5."""
    write_slide(tmp_path / "tumor_001.tif", picture(1000, 800), mpp=0.5)
    speck = np.array([[700, 700], [703, 700], [703, 703]], float)
    hole = np.array([[210, 210], [310, 210], [310, 310], [210, 310]], float)
    shapes = Annotations(
        (
            Annotation("polygon", SQUARE, "_0"),
            Annotation("polygon", speck, "_1"),
            Annotation("polygon", hole, "_2"),
        )
    )
    write_asap(tmp_path / "tumor_001.xml", shapes)
    return tmp_path


class TestLesionMask:
    def test_of_an_annotation(self, annotated):
        record = data.camelyon16(annotated).records[0]
        found = data.lesion_mask(record)
        assert found.pixels.shape == (50, 63)
        assert (found.mpp, found.downsample, found.own_mpp) == (8, 16, 0.5)
        # Pixels whose middle lies in the square, less the hole's, and the speck's.
        wanted = np.zeros((50, 63), bool)
        y, x = (16 * np.arange(n) + 8 for n in (50, 63))
        wanted[np.ix_((y > 100) & (y < 400), (x > 100) & (x < 500))] = True
        wanted[np.ix_((y > 210) & (y < 310), (x > 210) & (x < 310))] = False
        wanted[700 // 16, 700 // 16] = True
        np.testing.assert_array_equal(found.pixels, wanted)

    def test_at_another_resolution(self, annotated):
        found = data.lesion_mask(data.camelyon16(annotated).records[0], mpp=0.243)
        assert found.downsample == 32
        assert found.mpp == pytest.approx(0.243 * 32)
        assert found.own_mpp == 0.5

    def test_of_a_mask_alone(self, tmp_path):
        mask = np.zeros((800, 1000), np.uint8)
        mask[100:400, 100:500] = 1
        tifffile.imwrite(tmp_path / "tumor_001_mask.tif", mask, tile=(256, 256), metadata=None)
        (tmp_path / "reference.csv").write_text("tumor_001,Tumor,IDC,Macro\nnormal_001,Normal,None,None\n")
        found = data.read_truth(tmp_path)
        assert [(r.name, r.label, r.mask is not None) for r in found.records] == [
            ("normal_001", "normal", False),
            ("tumor_001", "tumor", True),
        ]
        assert data.lesion_mask(found["normal_001"]) is None
        with pytest.raises(SlideError, match="no resolution is known of the slide: give mpp"):
            data.lesion_mask(found["tumor_001"])
        at = data.lesion_mask(found["tumor_001"], mpp=0.5)
        assert at.pixels.shape == (50, 63)
        assert at.pixels.sum() == 19 * 25

    def test_resolutions_are_checked(self, annotated):
        record = data.camelyon16(annotated).records[0]
        for wrong in (-1, 0, 100):
            with pytest.raises(ValueError, match="mpp: got"):
                data.lesion_mask(record, mpp=wrong)

    def test_of_an_annotation_alone(self, annotated):
        with_slide = data.lesion_mask(data.camelyon16(annotated).records[0])
        (annotated / "tumor_001.tif").unlink()
        alone = data.lesion_mask(data.read_truth(annotated)["tumor_001"], mpp=0.5)
        np.testing.assert_array_equal(alone.pixels[:50, : with_slide.pixels.shape[1]], with_slide.pixels)
        assert alone.pixels.sum() == with_slide.pixels.sum()


def test_truth(annotated, tmp_path_factory):
    assert data.read_truth(annotated).name == "Camelyon16"
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(SlideError, match="no data set that is known"):
        data.read_truth(empty)
    with pytest.raises(SlideError, match="there is no such folder"):
        data.read_truth(empty / "none")


def test_labels_that_mean_tumour():
    def tumour(label):
        return data.is_tumour(data.SlideRecord("a", Path("a.tif"), label))

    assert [tumour(each) for each in ("normal", "Negative", "tumor", "itc", "3", "0", "")] == [
        False, False, True, True, True, False, None,
    ]  # fmt: skip
    with pytest.raises(SlideError, match="got the label 'benign tissue', expected one of normal, negative"):
        tumour("benign tissue")


def test_a_reference_of_ones_own_slides(tmp_path):
    """Names are the user's; a header may name the columns; what lies beside belongs to them."""
    shapes = Annotations((Annotation("polygon", SQUARE, "Tumor"),))
    write_asap(tmp_path / "slide_01.xml", shapes)
    for text in (
        "slide_01,Tumor\nslide_02,Normal\n",
        "slide,label\nslide_01.svs,tumor\nslide_02.svs,normal\n",
    ):
        (tmp_path / "reference.csv").write_text(text)
        found = data.read_truth(tmp_path)
        assert [(r.name, r.label) for r in found.records] == [("slide_01", "tumor"), ("slide_02", "normal")]
        assert found["slide_01"].annotation is not None
