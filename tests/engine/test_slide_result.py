"""Results of slides: what they are made of, and what becomes of them in files."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.results import heatmap, result, scales, slide_sizes
from fastwsi import data
from fastwsi.data import ResultPaths
from fastwsi.engine import SlideResult, slide_result
from fastwsi.slides import SlideError
from reference import heatmap as reference

FILES = ["tumor_001.json", "tumor_001_detections.csv", "tumor_001_detections.geojson"]
FILES = sorted([*FILES, "tumor_001_likelihood_map.tif"])


def test_detections_are_peaks_and_the_score_is_the_maximum():
    made = result(size=(1003, 711), scale=127.5, radius=1.5, threshold=0.3, offset=(0.0, 20.0))
    peaks = reference.nms(np.nan_to_num(made.heatmap, nan=0), 1.5, np.float32(0.3))
    assert len(peaks) > 3

    def middle(number, first, side):
        """Of a cell, and of the last one, which hangs over the slide, of what it has of it."""
        begin = number * 127.5 + first
        return (begin + min(begin + 127.5, side)) / 2

    expected = [[score, middle(x, 0, 1003), middle(y, 20, 711)] for x, y, score in peaks]
    np.testing.assert_array_equal(made.detections, expected)
    assert made.score == np.nanmax(made.heatmap) == made.detections[0, 0]
    assert made.settings["nms"] == {"radius": 1.5, "threshold": 0.3}
    assert made.scanned.tolist() == (~np.isnan(made.heatmap)).tolist()
    assert {"fastwsi", "numpy", "python", "torch"} <= made.versions.keys()


def test_a_slide_of_which_nothing_was_scanned(tmp_path):
    empty = np.full((3, 4), np.nan, np.float32)
    made = SlideResult.of(empty, name="empty", scale=10, slide_size=(40, 30), radius=1, threshold=0.5)
    assert (made.score, made.detections.shape, made.mpp) == (0.0, (0, 3), None)
    made.save(tmp_path)
    assert SlideResult.load(tmp_path, "empty") == made


@settings(max_examples=25)
@given(size=slide_sizes, scale=scales, seed=st.integers(0, 99), number=st.floats(-1e9, 1e9))
def test_loaded_is_what_was_saved(tmp_path_factory, size, scale, seed, number):
    if max(size) / scale > 300:
        scale *= 64
    folder = tmp_path_factory.mktemp("results")
    made = result(size=size, scale=scale, seed=seed, settings={"n": number, "m": {"ß": [1, None, "x"]}})
    paths = made.save(folder / "new")
    loaded = SlideResult.load(folder / "new", "tumor_001")
    assert loaded == made
    loaded.save(folder / "again")
    assert sorted(path.name for path in (folder / "again").iterdir()) == FILES
    for path in dataclasses.astuple(paths):
        assert path.read_bytes() == (folder / "again" / path.name).read_bytes()


def test_differences_are_seen():
    made = result()
    assert made == result()
    for name, value in (
        ("name", "b"),
        ("heatmap", np.zeros_like(made.heatmap)),
        ("scale", (32.0, 31.99)),
        ("detections", made.detections[1:]),
        ("score", 0.1),
        ("mpp", None),
        ("bounds", (1, 0)),
        ("remarks", ("no tissue",)),
        ("settings", {}),
        ("versions", {}),
    ):
        assert made != dataclasses.replace(made, **{name: value})
    assert made != "something else"
    with pytest.raises(TypeError, match="unhashable"):
        hash(made)


def test_nothing_can_be_changed():
    cells = heatmap(3, 4)
    made = SlideResult.of(cells, name="a", scale=10, slide_size=(40, 30), radius=1, threshold=0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.score = 1
    for array in (made.heatmap, made.detections):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    cells[0] = 0.5  # the caller's own stays the caller's


def test_the_summary(tmp_path):
    made = result(settings={"recipe": "liu2017"}, bounds=(7, 9), mpp=(0.25, 0.26))
    paths = made.save(tmp_path / "deep" / "er")
    text = paths.summary.read_text()
    told = json.loads(text)
    assert list(told) == sorted(told)
    assert (told["name"], told["score"]) == ("tumor_001", made.score)
    assert (told["scale"], told["offset"], told["slide_size"]) == ([32, 32], [0, 0], [1003, 711])
    assert (told["mpp"], told["bounds"], told["cells"]) == ([0.25, 0.26], [7, 9], [32, 23])
    assert told["n_detections"] == len(made.detections)
    assert told["n_scanned"] == made.scanned.sum()
    assert told["settings"] == {"recipe": "liu2017", "nms": {"radius": 2.5, "threshold": 0.3}}
    assert {file["name"] for file in told["files"].values()} == set(FILES) - {"tumor_001.json"}
    assert paths.detections.read_text().startswith("prob,x,y\n")
    np.testing.assert_array_equal(data.read_detections(paths.detections), made.detections)
    assert all((path.stat().st_mode & 0o777) == 0o644 for path in dataclasses.astuple(paths))


@pytest.mark.parametrize("step", ["write_likelihood_map", "write_detections", "write_detections_geojson"])
def test_a_killed_run_is_not_done(tmp_path, monkeypatch, step):
    """Neither on its first way nor where a former result lies."""

    def killed(*_args, **_more):
        raise KeyboardInterrupt

    for former in (False, True):
        folder = tmp_path / f"{former}"
        if former:
            result(seed=1).save(folder)
        with monkeypatch.context() as patched:
            patched.setattr(slide_result, step, killed)
            with pytest.raises(KeyboardInterrupt):
                result(seed=2).save(folder)
        assert not ResultPaths.of(folder, "tumor_001").summary.exists()
        assert data.find_results(folder) == {}
        assert not any(path.name.startswith(".") for path in folder.iterdir())
        result(seed=2).save(folder)
        assert SlideResult.load(folder, "tumor_001") == result(seed=2)


def test_names_of_files():
    paths = ResultPaths.of("out", "a.b c")
    assert sorted(path.name for path in dataclasses.astuple(paths)) == [
        "a.b c.json",
        "a.b c_detections.csv",
        "a.b c_detections.geojson",
        "a.b c_likelihood_map.tif",
    ]


def test_what_is_missing_damaged_or_of_others(tmp_path):
    made = result()
    paths = made.save(tmp_path / "whole")

    def refused(path, message, name="tumor_001"):
        with pytest.raises(SlideError, match=message) as caught:
            SlideResult.load(tmp_path / "now", name)
        assert caught.value.path.name == path.name

    def now(**changes):
        shutil.rmtree(tmp_path / "now", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "now")
        there = ResultPaths.of(tmp_path / "now", "tumor_001")
        if changes:
            there.summary.write_text(json.dumps({**json.loads(there.summary.read_text()), **changes}))
        return there

    refused(paths.summary, "No such file")
    for missing in ("summary", "likelihood_map", "detections"):
        path = getattr(now(), missing)
        path.unlink()
        refused(path, "No such file" if missing == "summary" else "is missing beside tumor_001.json")
    there = now()
    there.geojson.unlink()  # a picture for people, not read again
    assert SlideResult.load(tmp_path / "now", "tumor_001") == made
    now().likelihood_map.write_bytes(paths.likelihood_map.read_bytes()[:-1])
    refused(paths.likelihood_map, "is not, or no longer, what tumor_001.json was written for")
    now().detections.write_text("prob,x,y\n")
    refused(paths.detections, "is not, or no longer")
    now().summary.write_text('{"slide": ')
    refused(paths.summary, "broken JSON")
    for content in ("[]", "{}", '{"format": "other"}', "3"):
        now().summary.write_text(content)
        refused(paths.summary, "no summary of a slide's results")
    now(version=2)
    refused(paths.summary, "got version 2 of the format, expected 1")
    for changes in ({"score": "high"}, {"score": -1}, {"scale": 3.5}, {"files": []}, {"settings": 1}):
        now(**changes)
        refused(paths.summary, "is damaged|of another scan")
    now(name="tumor_002")
    refused(paths.summary, "is of 'tumor_002'")
    now(offset=[1.0, 0.0])
    refused(paths.summary, "of another scan than the map")
    there = now()
    for path in (tmp_path / "now").iterdir():
        path.rename(path.with_name(path.name.replace("001", "003")))
    refused(ResultPaths.of("", "tumor_003").summary, "is of 'tumor_001'", "tumor_003")
    for name in ("../tumor_001", "", ".", "a\nb", None, "a/b", "a\\b", ".hidden"):
        with pytest.raises(ValueError, match="name: got"):
            SlideResult.load(tmp_path / "whole", name)


def test_arguments():
    good = {"name": "a", "scale": 10, "slide_size": (40, 30), "radius": 1, "threshold": 0.5}
    cells = heatmap(3, 4)
    for changes, message in (
        ({"name": "a/b"}, "name: got 'a/b'"),
        ({"scale": 0}, "scale: got"),
        ({"scale": (1, 2, 3)}, "scale: got"),
        ({"slide_size": (39, 0)}, "slide_size: got 0"),
        ({"slide_size": (20, 30)}, "got 4 cells along x"),
        ({"mpp": 0}, "mpp: got 0.0, expected mic"),
        ({"mpp": (0.25, float("nan"))}, "mpp: got nan"),
        ({"bounds": 3}, "bounds: got 3"),
        ({"settings": {"a": float("nan")}}, "settings: got"),
        ({"settings": {"a": object()}}, "settings: got"),
        ({"radius": -1}, "radius: got -1"),
        ({"threshold": float("nan")}, "threshold: got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            SlideResult.of(cells, **{**good, **changes})
    with pytest.raises(TypeError, match="got dtype float64"):
        SlideResult.of(cells.astype(np.float64), **good)
    made = SlideResult.of(cells, **good)
    for points, message in (
        (np.zeros((3, 2)), r"detections: got shape \(3, 2\)"),
        ([[np.nan, 0, 0]], "detections: got what is not finite"),
        ([[-1, 0, 0]], "detections: got what is not finite or a score below 0"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(made, detections=points)
    with pytest.raises(ValueError, match="score: got -1"):
        dataclasses.replace(made, score=-1)
