"""`fastwsi synth` and `fastwsi data check`, as a user types them."""

from __future__ import annotations

import json

import pytest

from cli.running import run

SMALL = ["--size", "600x500", "--mpp", "1.5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "slides"
    done = run("synth", folder, "--slides", 4, "--test", 2, *SMALL)
    assert done.exit_code == 0, done.output
    assert f"4 slides in {folder}" in done.output
    return folder


def test_help_has_examples():
    for command in (["synth"], ["data", "check"]):
        shown = run(*command, "--help").output
        assert "Examples:" in shown
        assert f"fastwsi {' '.join(command)}" in shown


def test_what_was_made_is_whole(folder):
    done = run("data", "check", folder)
    assert done.exit_code == 0, done.output
    assert "Camelyon16: 4" in done.output
    assert "nothing is missing" in done.output


def test_json(folder):
    assert run("data", "check", folder, "-q").output == ""
    told = json.loads(run("data", "check", folder, "--json").output)
    assert told["usable"]
    assert sum(told["counts"].values()) == 4


def test_what_is_broken_is_named(folder, tmp_path):
    import shutil

    broken = tmp_path / "copy"
    shutil.copytree(folder, broken)
    slide = next(broken.rglob("tumor_001.tif"))
    slide.write_bytes(slide.read_bytes()[:3000])
    next(broken.rglob("tumor_001.xml")).unlink()
    done = run("data", "check", broken)
    assert done.exit_code == 1
    assert "missing tumor_001 annotation" in done.output
    assert "unreadable tumor_001" in done.output
    assert run("data", "check", broken, "--names-only").exit_code == 1
    quiet = run("data", "check", broken, "-q")
    assert quiet.exit_code == 1
    assert {line.split()[0] for line in quiet.stdout.splitlines()} == {"missing", "unreadable"}


def test_an_error_is_one_line(tmp_path):
    for arguments, message in (
        (["synth", tmp_path / "a", "--size", "big"], "--size: got 'big', expected WIDTHxHEIGHT"),
        (["synth", tmp_path / "a", "--slides", 2, "--test", 3], "--test: got 3"),
        (["data", "check", tmp_path], "no data set that is known"),
        (["data", "check", tmp_path / "none"], "there is no such folder"),
    ):
        done = run(*arguments)
        assert done.exit_code == 1
        assert message in done.output.replace("\n", " ")
        assert "Traceback" not in done.output
    assert isinstance(run("data", "check", tmp_path, "--debug").exception, Exception)


def test_another_set_needs_overwrite(folder):
    done = run("synth", folder, "--slides", 4, "--test", 2, "--seed", 9, *SMALL)
    assert done.exit_code == 1
    assert "made with other settings" in done.output


def test_quiet(tmp_path):
    assert run("synth", tmp_path / "a", "--slides", 1, "--test", 0, *SMALL, "-q").output == ""


@pytest.mark.parametrize("layout", ["labelled", "pcam"])
def test_other_layouts(tmp_path, layout):
    done = run("synth", tmp_path, "--slides", 4, "--layout", layout, *SMALL)
    assert done.exit_code == 0, done.output
    checked = run("data", "check", tmp_path)
    assert checked.exit_code == 0, checked.output
