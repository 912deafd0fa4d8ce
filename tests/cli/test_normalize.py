"""`fastwsi normalize`, as a user types it."""

from __future__ import annotations

import json

import pytest

import fastwsi
from cli.running import run
from fastwsi.data import SlideRecord, stain_moments, stain_reference
from fastwsi.slides import synthetic_slide, write_slide
from fastwsi.stain import HsdNormalizer


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """A folder of plain files."""
    folder = tmp_path_factory.mktemp("normalize") / "slides"
    folder.mkdir()
    for seed in range(3):
        write_slide(folder / f"s{seed}.tif", synthetic_slide(seed, size=(700, 600), mpp=1.5), mpp=1.5)
    return folder


def test_a_folder_takes_the_colours_of_a_slide(slides, tmp_path):
    done = run("normalize", slides, "--reference", slides / "s1.tif", "--out", tmp_path / "out",
               "--save-reference", tmp_path / "ref.json", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["done"] == {f"s{seed}": str(tmp_path / "out" / f"s{seed}.tif") for seed in range(3)}
    wanted = stain_moments(SlideRecord("s1", slides / "s1.tif"))
    assert HsdNormalizer.load(tmp_path / "ref.json").reference.numbers() == wanted.numbers()
    with fastwsi.open_slide(tmp_path / "out" / "s2.tif") as made:
        assert (made.dimensions, round(made.mpp, 4)) == ((700, 600), 1.5)
        assert stain_moments(made).density_mean == pytest.approx(wanted.density_mean, abs=0.03)
    again = run("normalize", slides, "--reference", tmp_path / "ref.json", "--out", tmp_path / "out")
    assert again.stdout == f"0 normalized, 3 done before: {tmp_path / 'out'}\n"


def test_a_reference_of_several_is_their_medians(slides, tmp_path):
    both = [slides / "s1.tif", slides / "s2.tif"]
    done = run("normalize", slides / "s0.tif", "--reference", both[0], "--reference", both[1], "--out",
               tmp_path / "a.tif", "--save-reference", tmp_path / "ref.json", "-q")  # fmt: skip
    assert (done.exit_code, done.output) == (0, "")
    expected = stain_reference([SlideRecord(path.stem, path) for path in both])
    assert HsdNormalizer.load(tmp_path / "ref.json") == expected


def test_a_data_sets_reference_is_its_slides_for_training(tmp_path):
    made = run("synth", tmp_path / "set", "--slides", 4, "--test", 2, "--size", "600x500", "--mpp", 1.5, "-q")
    assert made.exit_code == 0, made.output
    training = sorted((tmp_path / "set" / "training").rglob("*.tif"))
    run("normalize", training[0], "--reference", tmp_path / "set", "--out", tmp_path / "a.tif",
        "--save-reference", tmp_path / "ref.json")  # fmt: skip
    expected = stain_reference([SlideRecord(path.stem, path) for path in training])
    assert HsdNormalizer.load(tmp_path / "ref.json") == expected


def test_another_reference_is_not_written_over(slides, tmp_path):
    def kept(slide, *more):
        out = ["--out", tmp_path / f"of_{slide}", "--save-reference", tmp_path / "ref.json"]
        return run("normalize", slides / "s0.tif", "--reference", slides / slide, *out, *more)

    assert kept("s1.tif").exit_code == 0
    assert kept("s1.tif").exit_code == 0, "the same one may be there"
    before = (tmp_path / "ref.json").read_bytes()
    refused = kept("s2.tif")
    assert refused.exit_code == 1
    assert "ref.json is there, and another; --overwrite replaces it" in refused.output
    assert (tmp_path / "ref.json").read_bytes() == before
    assert not (tmp_path / "of_s2.tif").exists()
    assert kept("s2.tif", "--overwrite").exit_code == 0


def test_what_fails_is_told_after_the_others(slides, tmp_path):
    (tmp_path / "cut.tif").write_bytes((slides / "s0.tif").read_bytes()[:9000])
    done = run("normalize", tmp_path / "cut.tif", slides / "s2.tif", "--reference", slides / "s1.tif",
               "--out", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 1
    assert done.stdout == f"1 normalized, 1 failed: {tmp_path / 'out'}\n"
    assert done.stderr.startswith("error: cut: ")
    assert (tmp_path / "out" / "s2.tif").exists()


def test_errors_are_one_line(slides, tmp_path):
    (tmp_path / "no.json").write_text("{}")
    one, out = slides / "s0.tif", tmp_path / "out"
    for arguments, message in (
        (
            (one, "--reference", tmp_path / "no.json", "--out", out),
            "no.json: not the JSON of an HsdNormalizer",
        ),
        ((one, "--reference", tmp_path / "none.svs", "--out", out), "there is no such file or folder"),
        ((one, "--reference", tmp_path / "no.json", "--reference", one, "--out", out), "expected it alone"),
        ((one, "--reference", one, "--out", slides), "is the slide itself, expected another folder"),
        ((slides, "--reference", one, "--out", tmp_path / "a.tif"), "for 3 slides, expected a folder"),
    ):
        done = run("normalize", *arguments)
        assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
        assert message in done.output
