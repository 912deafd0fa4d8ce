"""Runs that do not all go well: what is done stays done, what failed is no more, and all others go on."""

from __future__ import annotations

import errno
import json
import os
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from engine.scanned import detector
from fastwsi.data import SlideRecord
from fastwsi.engine import SlideResult, predict_slides
from fastwsi.engine.scanning import run as running
from fastwsi.slides import write_slide
from slides.pyramids import picture

CPU = {"device": "cpu", "batch_size": 8}


@pytest.fixture(scope="module")
def models():
    return [detector(seed, **{"scan.tissue": "all", "scan.nms_threshold": 0.2}) for seed in (0, 1)]


@pytest.fixture
def slides(tmp_path):
    """Three of them, as records."""
    records = []
    for number, name in enumerate("abc"):
        write_slide(tmp_path / f"{name}.tif", picture(160, 130, number), mpp=0.5)
        records.append(SlideRecord(name, tmp_path / f"{name}.tif"))
    return records


def broken(record):
    record.path.write_bytes(record.path.read_bytes()[:3000])


def identity(folder, name):
    return SlideResult.load(folder, name).settings["model"]


def test_a_slide_that_fails_when_it_is_done_anew_is_not_done(models, slides, tmp_path):
    """Else the first model's results would be taken for the second one's."""
    out = tmp_path / "out"
    predict_slides(models[0], slides, out, overlays=True, **CPU)
    whole = slides[1].path.read_bytes()
    broken(slides[1])
    found = predict_slides(models[1], slides, out, overwrite=True, **CPU)
    assert list(found.failed) == ["b"]
    assert not (out / "b.json").exists()
    assert not (out / "b_overlay.png").exists()
    assert (out / "b_failed.txt").exists()
    slides[1].path.write_bytes(whole)
    found = predict_slides(models[1], slides, out, **CPU)
    assert (found.skipped, found.failed, set(found.scores)) == (("a", "c"), {}, {"a", "b", "c"})
    assert not (out / "b_failed.txt").exists()
    assert len({json.dumps(identity(out, name)) for name in "abc"}) == 1


def test_a_picture_of_another_scan_does_not_stay(models, slides, tmp_path):
    out = tmp_path / "out"
    predict_slides(models[0], slides[:1], out, overlays=True, **CPU)
    before = (out / "a_overlay.png").read_bytes()
    predict_slides(models[1], slides[:1], out, overwrite=True, **CPU)
    assert not (out / "a_overlay.png").exists()
    predict_slides(models[1], slides[:1], out, overlays=True, **CPU)
    assert (out / "a_overlay.png").read_bytes() != before


def summary_is_broken(out, record):
    (out / "a.json").write_text("{")
    return record, "broken JSON"


def slide_was_replaced(out, record):
    write_slide(record.path, picture(160, 130, 9), mpp=0.5)
    return record, "was made otherwise: slide."


def resolution_is_another(out, record):
    return replace(record, mpp=0.7), "slide.mpp was None, and is to be 0.7"


@pytest.mark.parametrize("harm", [summary_is_broken, slide_was_replaced, resolution_is_another])
def test_one_that_is_not_as_it_was_stops_no_other(models, slides, tmp_path, harm):
    out = tmp_path / "out"
    predict_slides(models[0], slides[:1], out, **CPU)
    slides[0], reason = harm(out, slides[0])
    found = predict_slides(models[0], slides, out, **CPU)
    assert reason in found.failed["a"]
    assert set(found.scores) == {"b", "c"}


def test_one_that_cannot_be_drawn_stops_no_other(models, slides, tmp_path, caplog):
    out = tmp_path / "out"
    predict_slides(models[0], slides[:1], out, **CPU)
    path = out / "a_likelihood_map.tif"
    path.write_bytes(path.read_bytes()[:-30])
    found = predict_slides(models[0], slides, out, overlays=True, **CPU)
    assert (found.failed, set(found.scores)) == ({}, {"a", "b", "c"})
    assert "a: no overlay: " in caplog.text
    assert (out / "b_overlay.png").exists()


def test_other_settings_for_what_is_done_are_a_wrong_command(models, slides, tmp_path):
    out = tmp_path / "out"
    predict_slides(models[0], slides[:1], out, **CPU)
    with pytest.raises(ValueError, match="was made otherwise: model"):
        predict_slides(models[1], slides, out, **CPU)
    assert not (out / "b.json").exists()


def test_a_full_disk_costs_no_reason(models, slides, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    broken(slides[0])
    monkeypatch.setattr(running, "keep_failure", full)
    monkeypatch.setattr("fastwsi.engine.slide_result.write_detections", full)
    found = predict_slides(models[0], slides, tmp_path / "out", **CPU)
    assert list(found.failed) == ["a", "b", "c"]
    assert "cut short" in found.failed["a"]
    assert "No space left" in found.failed["c"]


def test_what_a_killed_run_left_half_written_goes(models, slides, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    ours = [out / ".a_likelihood_map.tif.x1y2.tif", out / ".a.json.q.json", out / ".a_overlay.png.7.png"]
    others = [out / ".ab_likelihood_map.tif.x1y2.tif", out / ".notes"]
    for path in (*ours, *others):
        path.write_text("half")
    predict_slides(models[0], slides[:1], out, **CPU)
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)


@pytest.mark.parametrize(("lets_go", "left"), [(True, ()), (False, ("b",))])
def test_what_another_process_was_at_is_looked_at_again(models, slides, tmp_path, monkeypatch, lets_go, left):
    own, asked = running.claimed, []

    @contextmanager
    def claimed(folder, name):
        asked.append(name)
        if name == "b" and not (lets_go and asked.count("b") > 1):
            yield False
            return
        with own(folder, name) as free:
            yield free

    monkeypatch.setattr(running, "claimed", claimed)
    found = predict_slides(models[0], slides, tmp_path / "out", **CPU)
    assert asked == ["a", "b", "c", "b"]
    assert (found.elsewhere, found.failed) == (left, {})
    assert ("b" in found.scores) == lets_go


def test_names_that_differ_in_case_alone_are_one(models, slides, tmp_path):
    with pytest.raises(ValueError, match="have one name, A, and so would their results"):
        predict_slides(models[0], [slides[0], replace(slides[1], name="A")], tmp_path / "out", **CPU)


class TestResolution:
    """A model that takes level 0 as it is knows what it was trained on, and tells of other slides."""

    @pytest.mark.parametrize(
        ("trained", "remark"),
        [
            (None, ""),
            (0.5, ""),
            (0.45, ""),
            (0.25, "level 0 has 0.5 µm per pixel, and the model was trained at 0.25"),
            (1.0, "level 0 has 0.5 µm per pixel, and the model was trained at 1"),
        ],
    )
    def test_is_told(self, models, slides, tmp_path, monkeypatch, trained, remark):
        monkeypatch.setattr(models[0], "trained_mpp", trained)
        found = predict_slides(models[0], slides[:1], tmp_path / "out", **CPU)
        assert found.remarks == ({"a": remark} if remark else {})
        assert SlideResult.load(tmp_path / "out", "a").remarks == ((remark,) if remark else ())

    def test_is_no_matter_where_the_recipe_asks_for_one(self, slides, tmp_path):
        model = detector(mpp=[1.0], **{"scan.tissue": "all"})
        model.trained_mpp = 0.25
        assert predict_slides(model, slides[:1], tmp_path / "out", **CPU).remarks == {}


def test_results_of_before_there_were_remarks(models, slides, tmp_path):
    predict_slides(models[0], slides[:1], tmp_path, **CPU)
    told = json.loads((tmp_path / "a.json").read_text())
    del told["remarks"]
    (tmp_path / "a.json").write_text(json.dumps(told))
    assert SlideResult.load(tmp_path, "a").remarks == ()


def test_pictures_judge_no_slide_that_is_not_annotated_everywhere(models, slides, tmp_path):
    (tmp_path / "a.xml").write_text(
        '<ASAP_Annotations><Annotations><Annotation Name="1" Type="Polygon" PartOfGroup="Tumor"><Coordinates>'
        + "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(
            [(10, 10), (90, 10), (90, 90), (10, 90)]))
        + "</Coordinates></Annotation></Annotations></ASAP_Annotations>"
    )  # fmt: skip
    known = replace(slides[0], annotation=tmp_path / "a.xml", label="tumor")
    pictures = []
    for exhaustive in (True, False):
        out = tmp_path / f"{exhaustive}"
        predict_slides(models[0], [replace(known, exhaustive=exhaustive)], out, overlays=True, **CPU)
        pictures.append((out / "a_overlay.png").read_bytes())
    result = SlideResult.load(tmp_path / "False", "a")
    with slides[0].open() as slide:
        result.save_overlay(tmp_path / "unjudged.png", slide, threshold=0.5)
    assert pictures[1] == (tmp_path / "unjudged.png").read_bytes() != pictures[0]


def test_a_picture_tells_from_which_score_on_it_shows_detections(models, slides, tmp_path):
    predict_slides(models[0], slides[:1], tmp_path, **CPU)
    result = SlideResult.load(tmp_path, "a")
    assert not np.array_equal(result.overlay(threshold=0), result.overlay(threshold=1e-9))
