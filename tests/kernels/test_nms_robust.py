"""nms where it is easily broken: maps that change under way, torch.export, maps without cells, thresholds."""

from __future__ import annotations

import math
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from fastwsi import _core, kernels
from kernels.arrays import BACKENDS
from kernels.maps import as_input, as_threshold

RACE = """
import sys, threading, time
import numpy as np
from fastwsi import kernels

level, dtype = sys.argv[1:]
done = False

def write(m):
    while not done:
        m[...] = np.nan
        m[...] = 1

for radius in (3, 0, 40):
    for side in (1500, 331):  # tiles read where they lie, and copied
        m = np.ones((side, side), dtype)
        done = False
        writer = threading.Thread(target=write, args=(m,))
        writer.start()
        end = time.monotonic() + 0.25
        while time.monotonic() < end:
            with kernels.simd_level(level):
                found = kernels.nms(m, radius, 0.2)
            assert len(found) <= kernels.nms_capacity(side, side, radius)
            for name in ("x", "y"):
                assert ((found[name] >= 0) & (found[name] < side)).all()
        done = True
        writer.join()
print("fine")
"""


@pytest.mark.parametrize("level", _core.simd_usable())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_map_that_another_thread_writes_to_harms_nothing_else(level, dtype):
    """What is found is anybody's guess then; memory and the end of the call are not."""
    command = [sys.executable, "-c", RACE, level, dtype]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, "fine\n"), ran.stderr


class Peaks(torch.nn.Module):
    def forward(self, heatmap):
        found = kernels.nms(heatmap + 0.5, 2, 0.1)
        return found.x + 1, found.score * 2


@pytest.mark.parametrize("strict", [False, True])
def test_torch_export_is_refused_by_name(strict):
    error = Exception if strict else RuntimeError  # what the strict tracer makes of it is its own affair
    with pytest.raises(error, match=r"nms: not supported under torch\.export"):
        torch.export.export(Peaks(), (torch.rand(9, 9),), strict=strict)


def test_a_compiled_function_goes_on_after_it():
    heatmap = torch.rand(9, 12)
    torch.compiler.reset()
    for found, wanted in zip(torch.compile(Peaks(), backend="eager")(heatmap), Peaks()(heatmap), strict=True):
        assert torch.equal(found, wanted)


def test_maps_without_cells_take_no_memory_however_many_they_are():
    maps = np.zeros((10**8, 0, 4), np.float32)
    start = time.perf_counter()
    found = kernels.nms(maps, 2, 0.5, padded=True)
    assert time.perf_counter() - start < 2
    assert [part.shape for part in found] == [(10**8, 0)] * 3 + [(10**8,)]
    assert not found.count[:: 10**6].any()
    assert _core.nms(np.zeros((10**9, 0, 4), np.float32), 2, 0.5, "disc", 0).counts == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_maps_without_cells_give_what_others_give(backend):
    for shape in ((3, 0, 4), (3, 4, 0), (0, 4)):
        empty, _ = as_input(np.zeros(shape), "float16", backend, "packed")
        other, _ = as_input(np.zeros((*shape[:-2], 2, 2)), "float16", backend, "packed")
        for padded in (False, True):
            found = kernels.nms(empty, 0, 1, padded=padded)
            wanted = kernels.nms(other, 0, 1, padded=padded)
            assert type(found) is type(wanted)
            if isinstance(found, list):
                assert len(found) == len(wanted) == 3
                found, wanted = found[2], wanted[2]
            if not isinstance(found, tuple):  # a structured array
                assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
                continue
            assert [part.dtype for part in found] == [part.dtype for part in wanted]
            assert [part.shape[:1] for part in found] == [
                part.shape[:1] if len(shape) == 3 or part.ndim == 0 else (0,) for part in wanted
            ]
            if padded:
                assert (found.count == 0).all()


def test_a_threshold_is_rounded_once():
    """By way of float32 it would lose what tells on which side of a tie it lies."""
    for near, dtype, cell in (
        (1 + 2**-8 + 2**-40, "bfloat16", 1 + 2**-7),
        (1 + 2**-11 + 2**-40, "float16", 1 + 2**-10),
    ):
        heatmap, _ = as_input(np.full((1, 1), cell), dtype, "torch", "packed")
        assert len(kernels.nms(heatmap, 1, near).x) == 0
        assert len(kernels.nms(heatmap, 1, near - 2**-39).x) == 1
        assert _core.rounded_threshold(near, dtype) == cell
        assert as_threshold(near, dtype) in (near, cell)


@given(st.floats(allow_nan=False) | st.floats(-1, 1) | st.floats(-1e-37, 1e-37))
@example(math.inf)
@example(-0.0)
@example(65519.999)
@example(65520.0)
@example(2.0**128 - 2.0**119)
@example(2.0**128 - 2.0**120)
@example(1.7976931348623157e308)
@example(2.0**-134)
@example(-(2.0**-134) * 1.5)
@example(2.0**-25 * (1 + 2.0**-50))
def test_rounded_threshold(threshold):
    with np.errstate(over="ignore"):
        for dtype in ("float16", "float32", "float64"):
            assert _core.rounded_threshold(threshold, dtype) == float(np.dtype(dtype).type(threshold))
    assert _core.rounded_threshold(threshold, "bfloat16") == as_threshold(threshold, "bfloat16")


def test_rounded_threshold_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"^threshold: got nan, expected"):
        _core.rounded_threshold(math.nan, "float32")
    with pytest.raises(ValueError, match=r"^dtype_name: got 'uint8', expected"):
        _core.rounded_threshold(0.5, "uint8")
