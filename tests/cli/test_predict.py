"""`fastwsi predict`, as a user types it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import torch

from cli.predicting import Scanned, contents, run
from fastwsi.cli.evaluate import EXAMPLES as EVALUATE
from fastwsi.cli.export import _EXAMPLES as EXPORT
from fastwsi.cli.predict import EXAMPLES as PREDICT
from fastwsi.cli.scanning import ScanBar
from fastwsi.engine import SlideResult
from slides.pyramids import picture, write

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")
KINDS = (".json", "_detections.csv", "_detections.geojson", "_likelihood_map.tif", "_overlay.png")


def predict(*arguments):
    return run("predict", *arguments, "--device", "cpu")


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    return Scanned(tmp_path_factory.mktemp("predict"))


@pytest.fixture
def never_scanned(monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("something was scanned")

    monkeypatch.setattr("fastwsi.engine.scanning.run.predict", fail)


def test_files_of_each_slide(scanned):
    assert scanned.done.exit_code == 0, scanned.done.output
    assert scanned.done.stdout == f"3 scanned: {scanned.out}\n"
    assert set(contents(scanned.out)) == {name + kind for name in scanned.names for kind in KINDS}
    for name in scanned.names:
        assert f"{name}  score " in scanned.done.stderr
        result = SlideResult.load(scanned.out, name)
        assert (result.slide_size, result.scale) == ((900, 700), (48.0, 48.0))
        assert 0 < result.score < 1
        assert np.nanstd(result.heatmap) > 1e-4, "else nothing here would show anything"


def test_evaluate_reads_them(scanned):
    done = run("evaluate", scanned.out, "--truth", scanned.slides, "--replicates", 0, "--json", "--out",
               scanned.out.parent / "evaluation.json")  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert {row["slide"] for row in told["slide_scores"]} == set(scanned.names)
    assert told["froc"]["n_slides"] == 3


def test_a_rerun_scans_nothing_and_changes_nothing(scanned, never_scanned):
    before = contents(scanned.out)
    done = predict(scanned.one, scanned.slides, "--out", scanned.out, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["skipped"] == scanned.names
    assert told["scores"] == {name: SlideResult.load(scanned.out, name).score for name in scanned.names}
    assert contents(scanned.out) == before


def test_scanning_anew_gives_the_same_bytes(scanned, tmp_path):
    done = predict(
        scanned.one / "model.safetensors", *scanned.files, "--out", tmp_path, "--no-overlays", "-q"
    )
    assert (done.exit_code, done.output) == (0, "")
    before = contents(scanned.out)
    assert contents(tmp_path) == {key: before[key] for key in before if not key.endswith("overlay.png")}


def test_pictures_that_were_not_wanted_can_be_had_later(scanned, never_scanned, tmp_path):
    before = contents(scanned.out)
    for name in (name for name in before if not name.endswith("overlay.png")):
        (tmp_path / name).write_bytes(before[name])
    done = predict(scanned.one, scanned.slides, "--out", tmp_path)
    assert done.stdout == f"0 scanned, 3 done before: {tmp_path}\n"
    assert contents(tmp_path) == before


def test_other_settings_are_refused_unless_they_may_replace(scanned, tmp_path):
    one, out = scanned.files[0], tmp_path / "out"
    assert predict(scanned.one, one, "--out", out).exit_code == 0
    before = contents(out)
    for arguments, change in (
        (
            [scanned.one, one, "--set", "stride=64", "--set", "nms_radius=2"],
            (
                "nms.radius was 6.0, and is to be 2.0, scan.stride was 48, and is to be 64; --overwrite "
                "replaces it, another --out keeps both, --set nms_radius=6.0 --set stride=48 goes on with it"
            ),
        ),
        ([scanned.one, one, "--slide-mpp", 1.5], "mpp was None, and is to be 1.5"),
        ([scanned.other, one], "model.recipe was"),
        ([scanned.members, one], "model.members.1.weights was None, and is to be "),
    ):
        done = predict(*arguments, "--out", out)
        assert done.exit_code == 1
        assert f"{one.stem}.json: was made otherwise: " in done.stderr
        assert change in done.stderr
        assert contents(out) == before
    done = predict(scanned.one, one, "--out", out, "--set", "stride=64", "--overwrite")
    assert done.exit_code == 0, done.output
    assert SlideResult.load(out, one.stem).scale == (64.0, 64.0)


def test_a_resolution_that_is_given_scales_the_scan(scanned, tmp_path):
    assert predict(scanned.one, scanned.files[0], "--out", tmp_path, "--slide-mpp", 0.5).exit_code == 0
    found = SlideResult.load(tmp_path, scanned.names[0])
    assert (found.scale, found.mpp) == ((96.0, 96.0), (0.5, 0.5))
    again = predict(scanned.one, scanned.files[0], "--out", tmp_path, "--slide-mpp", 0.5)
    assert again.stdout == f"0 scanned, 1 done before: {tmp_path}\n"


def test_settings_of_a_file_and_single_ones(scanned, tmp_path):
    (tmp_path / "scan.yaml").write_text("stride: 64\nnms_radius: 3\n")
    asked = ["--config", tmp_path / "scan.yaml", "--set", "stride=100"]
    done = predict(scanned.one, scanned.files[0], "--out", tmp_path, *asked)
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / f"{scanned.names[0]}.json").read_text())["settings"]
    assert (told["scan"]["stride"], told["nms"]["radius"]) == (100, 3.0)


def failures(folder):
    return sorted(path.name.removesuffix("_failed.txt") for path in folder.glob("*_failed.txt"))


class TestFailures:
    @pytest.fixture
    def mixed(self, scanned, tmp_path):
        """A folder of plain files: a good slide, one that was cut off, and a text called a slide."""
        folder = tmp_path / "mixed"
        folder.mkdir()
        shutil.copy(scanned.files[0], folder / "good.tif")
        (folder / "cut.tif").write_bytes(scanned.files[0].read_bytes()[:20_000])
        (folder / "text.svs").write_text("nothing")
        return folder

    def test_the_others_are_done_and_the_reasons_told(self, scanned, mixed, tmp_path):
        out = tmp_path / "out"
        done = predict(scanned.one, mixed, "--out", out)
        assert done.exit_code == 1
        assert done.stdout == f"1 scanned, 2 failed: {out}\n"
        cut, text = done.stderr.splitlines()[-2:]
        assert cut.startswith(f"error: cut: {mixed / 'cut.tif'}: the file is cut short")
        assert text.startswith(f"error: text: {mixed / 'text.svs'}: no slide that can be read")
        for name, line in (("cut", cut), ("text", text)):
            assert f"error: {name}: {(out / f'{name}_failed.txt').read_text()}" == f"{line}\n"
        assert {name.partition("_")[0].partition(".")[0] for name in contents(out)} == {"good", "cut", "text"}

    def test_a_run_of_other_slides_forgets_no_failure_and_a_mended_slide_is_none(
        self, scanned, mixed, tmp_path
    ):
        out = tmp_path / "out"
        first = predict(scanned.one, mixed, "--out", out, "--json")
        assert first.exit_code == 1
        assert set(json.loads(first.stdout)["failed"]) == {"cut", "text"}
        assert predict(scanned.one, scanned.files[1], "--out", out).exit_code == 0
        assert failures(out) == ["cut", "text"]
        shutil.copy(scanned.files[0], mixed / "cut.tif")
        assert predict(scanned.one, mixed / "cut.tif", mixed / "good.tif", "--out", out).exit_code == 0
        assert failures(out) == ["text"]
        (mixed / "text.svs").unlink()
        shutil.copy(scanned.files[0], mixed / "text.svs")
        assert predict(scanned.one, mixed, "--out", out).exit_code == 0
        assert failures(out) == []

    def test_a_reason_of_several_lines_is_one_line(self, scanned, tmp_path, monkeypatch):
        def fail(*arguments, **options):
            raise ValueError("the first line\nthe second")

        monkeypatch.setattr("fastwsi.engine.scanning.run.predict", fail)
        done = predict(scanned.one, scanned.files[0], "--out", tmp_path, "-q")
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == f"error: {scanned.names[0]}: the first line the second\n"


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A slide without tissue, and one whose file is damaged within."""
    folder = tmp_path_factory.mktemp("odd")
    write(folder / "blank.tif", [np.full((700, 900, 3), 255, np.uint8)], mpp=1.0)
    write(folder / "holed.tif", [picture(900, 700)], mpp=1.0, tile=128, compression="zlib")
    with tifffile.TiffFile(folder / "holed.tif") as file:
        page = file.pages[0]
        offset, count = page.dataoffsets[10], page.databytecounts[10]
    with (folder / "holed.tif").open("r+b") as file:
        file.seek(offset)
        file.write(bytes(count))
    (folder / "slides.csv").write_text("slide,label\nblank.tif,normal\nholed.tif,tumor\n")
    return folder


def test_examples_run(scanned, tmp_path, monkeypatch):
    """Those of predict, evaluate and export, on a folder in which their files are."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(scanned.one, "run")
    shutil.copy(scanned.one / "model.safetensors", "best.safetensors")
    for name, path in zip(("a.svs", "b.svs"), scanned.files, strict=False):
        shutil.copy(path, name)
    ran = set()
    for epilog in (PREDICT, EXPORT, EVALUATE):
        for line in epilog.splitlines():
            words = [str(scanned.slides) if word == "/data/camelyon16" else word for word in line.split()]
            if words[:1] != ["fastwsi"] or {"cuda:1", "stage_labels.csv", "slides.csv"} & {*words}:
                continue
            if "best.safetensors" in words:  # another scan: the folder of the first refuses it
                words[words.index("results")] = "others"
            done = run(*words[1:])
            assert done.exit_code == 0, (words, done.output)
            ran.add(words[1])
    assert ran == {"predict", "evaluate", "export"}


class TestRemarks:
    """What a score does not tell."""

    def test_are_told_at_once_and_later(self, scanned, odd, tmp_path):
        empty, holed = "nothing was scanned: no tissue was found", "1 unreadable tile was scanned as blank"
        for scans in (2, 0):
            done = predict(scanned.one, odd, "--out", tmp_path, "--json")
            assert done.exit_code == 0, done.output
            told = json.loads(done.stdout)
            assert told["remarks"] == {"blank": empty, "holed": holed}
            assert len(told["skipped"]) == 2 - scans
        assert told["scores"]["blank"] == 0
        assert SlideResult.load(tmp_path, "holed").remarks == (holed,)
        done = predict(scanned.one, odd, "--out", tmp_path)
        assert sorted(done.stdout.splitlines()[:-1]) == [f"blank: {empty}", f"holed: {holed}"]

    def test_evaluate_tells_them(self, scanned, odd, tmp_path):
        assert predict(scanned.one, odd, "--out", tmp_path, "-q").exit_code == 0
        done = run("evaluate", tmp_path, "--truth", odd / "slides.csv", "--replicates", 0, "--json")
        assert done.exit_code == 0, done.output
        notes = json.loads(done.stdout)["notes"]
        assert "blank: nothing was scanned: no tissue was found" in notes
        assert "holed: 1 unreadable tile was scanned as blank" in notes
        assert not any("ways" in note for note in notes)
        options = ["--out", tmp_path, "--set", "stride=64", "--overwrite", "-q"]
        assert predict(scanned.one, odd / "holed.tif", *options).exit_code == 0
        done = run("evaluate", tmp_path, "--truth", odd / "slides.csv", "--replicates", 0, "--json")
        assert any("slides were scanned in 2 ways" in note for note in json.loads(done.stdout)["notes"])


KILLED = """
import os, signal, sys
from fastwsi.cli import main
from fastwsi.cli.scanning import ScanBar

class Killed(ScanBar):
    def begins(self, name, number, slides):
        self.number = number
        super().begins(name, number, slides)

    def moves(self, done, patches):
        if self.number == 2 and done < patches:
            os.kill(os.getpid(), signal.SIGKILL)

sys.modules["fastwsi.cli.scanning"].ScanBar = Killed
sys.argv[0] = "fastwsi"
main()
"""


def test_a_run_that_was_killed_goes_on(scanned, tmp_path):
    out = tmp_path / "out"
    command = [
        "predict",
        scanned.one,
        scanned.slides,
        "--out",
        out,
        "--device",
        "cpu",
        "--batch-size",
        4,
        "-q",
    ]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, command)], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120,
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr
    first = scanned.names[0]
    assert set(contents(out)) == {first + kind for kind in KINDS}, "the first whole, of the second nothing"
    before = (out / f"{first}.json").stat().st_mtime_ns
    done = run(*command[:-1])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"2 scanned, 1 done before: {out}\n"
    assert (out / f"{first}.json").stat().st_mtime_ns == before
    assert not list(out.glob(".*")), "no locks, no temporary files"
    for name in scanned.names:
        assert SlideResult.load(out, name).score == pytest.approx(
            SlideResult.load(scanned.out, name).score, abs=1e-5
        )


def test_an_ensemble_is_the_mean_however_it_is_named(scanned, tmp_path):
    one = scanned.files[0]
    assert predict(scanned.members, one, "--out", tmp_path / "folder").exit_code == 0
    assert predict(scanned.one, one, "--with", scanned.other, "--out", tmp_path / "with").exit_code == 0
    assert predict(scanned.other, one, "--out", tmp_path / "other").exit_code == 0
    assert contents(tmp_path / "folder") == contents(tmp_path / "with")
    both, first, second = (
        SlideResult.load(folder, one.stem).heatmap
        for folder in (tmp_path / "with", scanned.out, tmp_path / "other")
    )
    assert both == pytest.approx((first + second) / 2, abs=1e-5, nan_ok=True)
    assert np.nanmax(np.abs(both - first)) > 1e-3


def test_errors_are_one_line(scanned, tmp_path):
    twin = tmp_path / "twin"
    twin.mkdir()
    shutil.copy(scanned.files[0], twin)
    (tmp_path / "no.safetensors").write_text("no model")
    one, out = scanned.files[0], tmp_path / "out"
    cases = [
        ([scanned.one, one, twin], f"have one name, {one.stem}, and so would their results"),
        ([scanned.one, one, "--set", "strid=64"], "strid: no such setting; near it there is stride"),
        ([scanned.one, one, "--set", "stride"], "--set: got 'stride', expected name=value"),
        ([scanned.one, one, "--set", "tissue=fog"], "tissue: got 'fog'"),
        ([scanned.one, tmp_path / "none.svs"], "there is no such file or folder"),
        ([tmp_path / "none", one], "none"),
        ([twin, one], "holds no model.safetensors, and no members of an ensemble"),
        ([tmp_path / "no.safetensors", one], "no.safetensors"),
    ]
    for arguments, message in cases:
        done = run("predict", *arguments, "--out", out, "--device", "cpu")
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1), (arguments, done.output)
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
    assert not out.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_one_line(scanned, tmp_path):
    for device in ("cuda", "cuda:1"):
        done = run("predict", scanned.one, scanned.files[0], "--out", tmp_path / "out", "--device", device)
        assert done.exit_code == 1
        assert done.stderr == f"error: device: got '{device}', and torch sees 0 GPUs here\n"


def test_another_slide_of_the_same_name(scanned, tmp_path):
    """Is not done because the first one is."""
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
        shutil.copy(scanned.files[number], tmp_path / str(number) / "slide.tif")
    assert predict(scanned.one, tmp_path / "0" / "slide.tif", "--out", tmp_path / "out").exit_code == 0
    done = predict(scanned.one, tmp_path / "1" / "slide.tif", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "slide.json: was made otherwise: slide." in " ".join(done.stderr.split())
    assert (
        predict(scanned.one, tmp_path / "1" / "slide.tif", "--out", tmp_path / "out", "--overwrite").exit_code
        == 0
    )


def test_a_broken_annotation_costs_the_picture_alone(scanned, tmp_path, caplog):
    shutil.copy(scanned.files[0], tmp_path / "a.tif")
    (tmp_path / "a.xml").write_text("<ASAP")
    (tmp_path / "slides.csv").write_text("slide,label,annotation\na.tif,tumor,a.xml\n")
    done = predict(scanned.one, tmp_path / "slides.csv", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "a.json").exists()
    assert not (tmp_path / "out" / "a_overlay.png").exists()
    assert "a: no overlay: " in caplog.text


def test_a_map_that_was_deleted_is_made_again(scanned, tmp_path):
    out = tmp_path / "out"
    assert predict(scanned.one, scanned.files[0], "--out", out).exit_code == 0
    before = contents(out)
    (out / f"{scanned.names[0]}_likelihood_map.tif").unlink()
    assert predict(scanned.one, scanned.files[0], "--out", out).exit_code == 0
    assert contents(out) == before


def test_a_slide_may_fail_before_it_is_begun():
    with ScanBar() as bar:
        bar.fails("a", "made otherwise")
        bar.begins("b", 1, 1)
        bar.fails("b", "cut short")
