"""`fastwsi doctor`: every finding, in words a user can act on."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import fastwsi
from fastwsi._diagnosis import Surroundings, diagnose
from fastwsi.cli import app

RUNNER = CliRunner(env={"COLUMNS": "200"})
PLAIN = Surroundings(
    torch_cuda="13.0",
    hidden_gpus=0,
    has_openslide_library=True,
    missing=(),
    simd_request="",
    threads_request="",
)


def machine(**changes):
    """A machine on which everything works."""
    info = replace(
        fastwsi.build_info(),
        simd_built=("baseline", "avx2"),
        simd_usable=("baseline", "avx2"),
        simd_chosen="avx2",
        cuda_compiled=13000,
        gpus=("NVIDIA H200 (9.0)",),
        gpus_uncovered=(),
        driver_cuda=13000,
        packages=(("numpy", "2.0"), ("torch", "2.9"), ("openslide", "1.4"), ("cupy", "13.6")),
    )
    return replace(info, **changes)


def without(package):
    return tuple((n, "" if n == package else v) for n, v in machine().packages)


def test_a_complete_machine_has_nothing_but_ok():
    assert {finding.severity for finding in diagnose(machine(), PLAIN)} == {"ok"}


@pytest.mark.parametrize(
    ("info", "around", "severity", "subject", "words"),
    [
        ({"cuda_compiled": 0}, {}, "note", "GPU", "built without CUDA"),
        ({}, {"missing": ("tifffile", "torch")}, "problem", "packages", "tifffile: not installed"),
        (
            {"driver_cuda": 12040},
            {},
            "problem",
            "NVIDIA driver",
            "serves CUDA 12.4, fastwsi needs 13.0",
        ),
        ({}, {"torch_cuda": ""}, "note", "torch", "CPU build"),
        ({"gpus_uncovered": ("Old (6.1)",)}, {}, "problem", "GPU", "no kernels for Old (6.1)"),
        ({"gpus": (), "driver_cuda": 0}, {}, "note", "GPU", "no NVIDIA driver found"),
        ({"gpus": ()}, {}, "note", "GPU", "check nvidia-smi"),
        ({"gpus": ()}, {"hidden_gpus": 2}, "note", "GPU", "2 hidden by CUDA_VISIBLE_DEVICES"),
        (
            {"packages": without("torch")},
            {"torch_cuda": None},
            "problem",
            "torch",
            "pip install torch",
        ),
        (
            {"packages": without("openslide")},
            {},
            "note",
            "openslide",
            "pip install openslide-python",
        ),
        ({"packages": without("cupy")}, {}, "note", "cupy", "fastwsi[cuda]"),
        ({}, {"has_openslide_library": False}, "note", "openslide", "pip install openslide-bin"),
        ({"simd_chosen": "FASTWSI_SIMD: no"}, {}, "problem", "kernels", "unset FASTWSI_SIMD"),
        ({"simd_chosen": "baseline"}, {"simd_request": "baseline"}, "note", "SIMD", "can run avx2"),
        (
            {},
            {"threads_request": "many"},
            "note",
            "threads",
            "OMP_NUM_THREADS='many' is not a number",
        ),
    ],
)
def test_findings(info, around, severity, subject, words):
    findings = diagnose(machine(**info), replace(PLAIN, **around))
    matching = [f for f in findings if f.subject == subject and words in f.text]
    assert [f.severity for f in matching] == [severity]


def test_output_and_exit_code():
    result = RUNNER.invoke(app, ["doctor"])
    report = json.loads(RUNNER.invoke(app, ["doctor", "--json"]).stdout)
    assert fastwsi.__version__ in result.stdout
    assert report["build"]["version"] == fastwsi.__version__
    problems = [f for f in report["findings"] if f["severity"] == "problem"]
    assert result.exit_code == (1 if problems else 0)
    for finding in report["findings"]:
        assert finding["text"].split()[0] in result.stdout


def test_quiet_tells_problems_alone(monkeypatch):
    module = importlib.import_module("fastwsi.cli.doctor")
    monkeypatch.setattr(module, "look_around", lambda: PLAIN)
    monkeypatch.setattr(module, "build_info", lambda: machine(gpus_uncovered=("Old (6.1)",)))
    result = RUNNER.invoke(app, ["doctor", "--quiet"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: GPU: ")
    monkeypatch.setattr(module, "build_info", machine)
    quiet = RUNNER.invoke(app, ["doctor", "-q"])
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_square_brackets_survive_the_markup(monkeypatch):
    module = importlib.import_module("fastwsi.cli.doctor")
    monkeypatch.setattr(module, "build_info", lambda: machine(packages=without("cupy")))
    monkeypatch.setattr(module, "look_around", lambda: PLAIN)
    assert "pip install 'fastwsi[cuda]'" in RUNNER.invoke(app, ["doctor"]).stdout


def test_help_and_version():
    assert RUNNER.invoke(app, ["--version"]).stdout == f"fastwsi {fastwsi.__version__}\n"
    for arguments in (["--help"], ["-h"], ["doctor", "--help"]):
        result = RUNNER.invoke(app, arguments)
        assert result.exit_code == 0
        assert "Usage" in result.stdout
    assert RUNNER.invoke(app, ["no-such-command"]).exit_code == 2
