"""What is asked of the driver, against a made-up management library; and which GPUs CUDA would show."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastwsi._gpu import visible_gpus

UUIDS = ["GPU-a0", "GPU-b0", "GPU-b1"]


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2,0", [2, 0]),
        (" 1 , 2", [1, 2]),
        ("0,-1,1", [0]),
        ("0,9,1", [0]),
        ("1,1", [1]),
        ("GPU-a", [0]),
        ("GPU-b1,0", [2, 0]),
        ("GPU-b", []),  # two would match
        ("MIG-1234", [0]),
        ("MIG-GPU-b0/1/0,0", [1]),
    ],
)
def test_visible_gpus_reads_the_variable_as_cuda_does(environment, shown):
    assert visible_gpus(UUIDS, environment) == shown


@pytest.fixture(scope="module")
def fake_library(tmp_path_factory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    target = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", target, source], check=True)
    return folder


def on_machine(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    return subprocess.run(
        [sys.executable, *code.split("\n", 1)] if code.startswith("-m") else [sys.executable, "-c", code],
        env={**clean, "LD_LIBRARY_PATH": f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def probe(folder: Path, **environment: str) -> list:
    code = (
        "import json, fastwsi; from fastwsi import _gpu; p = _gpu.probe();"
        "print(json.dumps([[g.name for g in p.gpus], p.driver_cuda, p.hidden, fastwsi.cuda_available()]))"
    )
    result = on_machine(folder, code, **environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_probing_does_not_touch_the_cuda_driver(fake_library):
    """A driver library that aborts the process when it is loaded stands in CUDA's place."""
    source = fake_library / "libcuda.c"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) void loaded(void) { abort(); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", fake_library / "libcuda.so.1", source], check=True)
    bait = "import ctypes; ctypes.CDLL('libcuda.so.1')"
    assert on_machine(fake_library, bait).returncode != 0, "the trap must be armed"
    code = "import fastwsi; fastwsi.cuda_available(); fastwsi.build_info(); import fastwsi.kernels"
    assert on_machine(fake_library, code, FAKE_GPUS="1", FAKE_DRIVER="13000").returncode == 0
    (fake_library / "libcuda.so.1").unlink()


def test_probe_reports_what_the_driver_says(fake_library):
    from fastwsi import _core

    built = bool(_core.cuda_runtime_version)
    found = probe(fake_library, FAKE_GPUS="2", FAKE_DRIVER="13010")
    assert found == [["Fake 0", "Fake 1"], 13010, 0, built]
    hidden = probe(fake_library, FAKE_GPUS="2", FAKE_DRIVER="13010", CUDA_VISIBLE_DEVICES="1")
    assert hidden == [["Fake 1"], 13010, 1, built]
    none = probe(fake_library, FAKE_GPUS="2", FAKE_DRIVER="13010", CUDA_VISIBLE_DEVICES="")
    assert none == [[], 13010, 2, False]
    assert probe(fake_library, FAKE_GPUS="1", FAKE_DRIVER="11080")[3] is False
    assert probe(fake_library, FAKE_GPUS="1", FAKE_INIT_FAILS="1") == [[], 0, 0, False]


def test_doctor_says_when_the_driver_is_too_old(fake_library):
    from fastwsi import _core

    result = on_machine(fake_library, "-m\nfastwsi", FAKE_GPUS="1", FAKE_DRIVER="11040", COLUMNS="300")
    assert result.returncode != 0  # no command given: shows the help
    code = "import sys; sys.argv = ['fastwsi', 'doctor']; from fastwsi.cli import main; main()"
    result = on_machine(fake_library, code, FAKE_GPUS="1", FAKE_DRIVER="11040", COLUMNS="300")
    if _core.cuda_runtime_version:
        assert result.returncode == 1
        assert "older than the CUDA runtime inside fastwsi: it serves CUDA 11.4" in result.stdout
    else:
        assert "a GPU is here, but fastwsi was built without CUDA" in result.stdout
