"""The binary itself: wide registers only where they were asked for, and nothing linked that must not be."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from fastwsi import _core

WIDE = re.compile(r"%[yz]mm\d")
HEADER = re.compile(r"^[0-9a-f]+ <(.+)>:$")


def run_tool(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} (binutils) is not installed")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wide_functions() -> set[str]:
    """Names of the functions that touch a register of 256 bits or more."""
    names, current = set(), "?"
    for line in run_tool("objdump", "-d", "-C", "--no-show-raw-insn", _core.__file__).splitlines():
        header = HEADER.match(line)
        if header:
            current = header.group(1)
        elif WIDE.search(line):
            names.add(current)
    return names


@pytest.mark.skipif("avx2" not in _core.simd_built(), reason="this build has no wide units")
def test_wide_registers_stay_in_the_units_built_for_them():
    names = wide_functions()
    assert any("fastwsi::avx2::" in name for name in names), "the wide units must be wide"
    assert sorted(name for name in names if "fastwsi::avx2::" not in name) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")
def test_only_system_libraries_are_linked():
    needed = re.findall(r"NEEDED.*\[(.+)\]", run_tool("readelf", "-d", _core.__file__))
    allowed = re.compile(r"^(lib(stdc\+\+|gcc_s|m|c|pthread|dl|rt)\.so|ld-linux|lib[at]san\.so|libubsan\.so)")
    assert [name for name in needed if not allowed.match(name)] == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")
def test_nothing_is_exported_but_the_module():
    symbols = run_tool("nm", "-D", "--defined-only", _core.__file__).splitlines()
    names = [line.split()[-1] for line in symbols if line.split()[-2] in "TBDR"]
    assert names == ["PyInit__core"]
