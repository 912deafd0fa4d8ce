"""What `import fastwsi` costs and promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import fastwsi


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout.strip()


def test_import_is_quick_and_pulls_in_nothing_heavy():
    code = (
        "import sys, time; t = time.perf_counter(); import fastwsi; t = time.perf_counter() - t;"
        "print(t, *sorted({'torch', 'openslide', 'lightning', 'bokeh', 'dask', 'typer', 'rich', 'cupy'}"
        " & set(sys.modules)))"
    )
    seconds, *heavy = run_python(code).split()
    assert float(seconds) < 0.2
    assert heavy == []


def test_kernels_on_numpy_need_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, fastwsi\n"
        "image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)\n"
        "m = fastwsi.kernels.hsd_moments(image)\n"
        "print(np.array_equal(fastwsi.stain.HsdNormalizer(m, m)(image), image))\n"
        "print(fastwsi.kernels.scale_shift(np.ones((1, 1, 1)), [2], [3]).item())"
    )
    assert run_python(code).split() == ["True", "5.0"]


def test_every_public_name_resolves():
    for name in fastwsi.__all__:
        getattr(fastwsi, name)
    assert set(fastwsi.__all__) <= set(dir(fastwsi))
    assert hasattr(fastwsi, "kernels")
    assert not hasattr(fastwsi, "no_such_name")


def test_one_version_everywhere():
    from importlib.metadata import version

    from fastwsi import _core

    assert fastwsi.__version__ == _core.version == version("fastwsi")
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", fastwsi.__version__)


def test_the_package_says_that_it_is_typed():
    folder = Path(fastwsi.__file__).parent
    assert (folder / "py.typed").is_file()
    assert (folder / "_core.pyi").is_file()


def test_stubs_name_what_the_extension_has():
    from fastwsi import _core

    text = (Path(fastwsi.__file__).parent / "_core.pyi").read_text()
    declared = set(re.findall(r"^(?:def |class )?(\w+)(?:\(|:)", text, re.MULTILINE))
    actual = {name for name in dir(_core) if not name.startswith("_")}
    assert declared == actual
