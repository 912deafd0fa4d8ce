"""build_info, cuda_available, and the errors of CUDA calls where there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import fastwsi
from boundary.dlpack_producer import CUDA, Producer
from fastwsi import _core, _gpu, _native


def has_gpu() -> bool:
    return bool(_gpu.probe().gpus)


def test_build_info_prints_for_people():
    info = fastwsi.build_info()
    text = str(info)
    assert f"fastwsi:          {fastwsi.__version__}" in text
    assert info.simd_chosen in info.simd_usable
    assert set(info.simd_usable) <= set(info.simd_built)
    assert info.threads == fastwsi.get_num_threads()
    assert dict(info.packages)["numpy"] == np.__version__
    assert "GCC" in text or "Clang" in text


def with_simd(level: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process whose environment asks for a SIMD level."""
    environment = {**os.environ, "FASTWSI_SIMD": level}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


SHOW_LEVEL = "import fastwsi; print(fastwsi.build_info().simd_chosen)"


def test_build_info_survives_a_wrong_simd_request():
    expected = "FASTWSI_SIMD: no code for SIMD level 'altivec' in this build; expected one of baseline"
    assert expected in with_simd("altivec", SHOW_LEVEL).stdout


def test_a_wrong_simd_request_stops_kernels_with_the_same_words():
    code = "import numpy as np, fastwsi; fastwsi.kernels.hsd_moments(np.zeros((2, 2, 3), np.uint8))"
    result = with_simd("altivec", code)
    assert result.returncode == 1
    assert "ValueError: FASTWSI_SIMD: no code for SIMD level 'altivec'" in result.stderr


def test_simd_request_of_the_environment_is_used():
    for level in _core.simd_usable():
        assert with_simd(level, SHOW_LEVEL).stdout.strip() == level


def test_simd_level_nests_and_refuses_what_is_not_there():
    outer = _core.simd_level()
    with fastwsi.kernels.simd_level("baseline"):
        assert _core.simd_level() == "baseline"
        with fastwsi.kernels.simd_level(_core.simd_usable()[-1]):
            assert _core.simd_level() == _core.simd_usable()[-1]
        assert _core.simd_level() == "baseline"
    assert _core.simd_level() == outer
    with pytest.raises(ValueError, match="no code for SIMD level 'avx512'"):
        fastwsi.kernels.simd_level("avx512").__enter__()
    with pytest.raises(ValueError, match="got 'sse9', expected one of"):
        fastwsi.kernels.simd_level("sse9").__enter__()


@pytest.mark.skipif(has_gpu(), reason="a GPU is here")
def test_cuda_is_not_available_without_a_gpu():
    assert fastwsi.cuda_available() is False


@pytest.mark.skipif(has_gpu(), reason="a GPU is here")
@pytest.mark.parametrize("call", ["hsd_normalize", "hsd_moments_device", "scale_shift"])
def test_the_error_of_a_cuda_call_without_a_gpu(call):
    """Arrays that claim to be on a GPU, since none can be: the memory behind them is never touched."""

    def on_gpu(shape, dtype):
        return Producer(np.zeros(shape, dtype), device=(CUDA, 0))

    images = on_gpu((4, 4, 3), np.uint8)
    calls = {
        "hsd_normalize": lambda: _core.hsd_normalize(
            images, on_gpu((4, 4, 3), np.uint8), [1.0] * 11, [1.0] * 3, [0.0] * 3, 1
        ),
        "hsd_moments_device": lambda: _core.hsd_moments_device(
            images, None, on_gpu((1 << 16,), np.float64), on_gpu((11,), np.float64), 1
        ),
        "scale_shift": lambda: _core.scale_shift(
            on_gpu((1, 1, 4), np.float32), on_gpu((1, 1, 4), np.float32), [1.0], [0.0], 1
        ),
    }
    expected = "fastwsi was built without CUDA"
    if _core.cuda_runtime_version:
        expected = "CUDA: CUDA driver version is insufficient for CUDA runtime version"
        if _gpu.probe().driver_cuda:  # the driver is there, and its GPUs are hidden
            expected = "CUDA: no CUDA-capable device is detected"
    with pytest.raises(RuntimeError) as error:
        calls[call]()
    assert str(error.value) == expected


@pytest.mark.parametrize(
    ("architectures", "capability", "covered"),
    [
        ("75-virtual, 90-real", (7, 5), True),
        ("75-virtual, 90-real", (12, 0), True),
        ("75-virtual, 90-real", (6, 1), False),
        ("80-real", (8, 6), True),
        ("86-real", (8, 0), False),
        ("90-real", (10, 0), False),
        ("90a-real", (9, 0), True),
        ("80", (9, 0), True),
        ("100-real, 120", (10, 3), True),
        ("all-major", (8, 9), True),
        ("all-major", (7, 0), False),
    ],
)
def test_which_cards_the_kernels_cover(architectures, capability, covered):
    assert _native.kernels_cover(architectures, capability) is covered


def test_cuda_version_of_the_build():
    info = fastwsi.build_info()
    if _core.cuda_runtime_version:
        assert info.cuda_compiled >= 11000
        assert info.cuda_architectures
    else:
        assert "built without CUDA" in str(info)


def test_a_driver_serves_runtimes_of_its_own_major_version_and_older_ones():
    assert _native.driver_serves(13000, 13000)
    assert _native.driver_serves(13020, 13000)
    assert _native.driver_serves(12080, 13000)
    assert not _native.driver_serves(13000, 12090)
    assert not _native.driver_serves(13000, 0)
    assert not _native.driver_serves(0, 13000)
