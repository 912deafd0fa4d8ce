"""Stitcher at its limits: a full disk, sizes beyond memory, forks, and what it takes for numbers."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from fastwsi import _files, kernels

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are Unix's")


@pytest.mark.skipif(sys.platform == "win32", reason="no count of blocks there")
@pytest.mark.parametrize("with_call", [True, False])
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_scratch_has_its_space_from_the_start(tmp_path, monkeypatch, mode, with_call):
    if not with_call:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    with kernels.Stitcher((700, 300), channels=2, mode=mode, scratch=tmp_path) as stitcher:
        files = [path.stat() for path in tmp_path.rglob("*") if path.is_file()]
        needed = 700 * 300 * (4 + 2 * 8 * (2 if mode == "mean" else 1))
        assert sum(file.st_size for file in files) == needed
        assert sum(file.st_blocks * 512 for file in files) >= needed
        assert not stitcher.heatmap().any()
        assert not stitcher.count.any()


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("with_call", [True, False])
def test_a_full_disk_is_an_error_of_the_constructor(tmp_path, monkeypatch, with_call):
    if with_call:
        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    else:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
        usage = type("usage", (), {"free": 4096})
        monkeypatch.setattr(_files.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        OSError, match=rf"scratch: got .*{tmp_path.name}.* bytes free, expected 20000000 "
    ) as e:
        kernels.Stitcher((1000, 1000), scratch=tmp_path)
    assert e.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refused", [errno.EINVAL, errno.EOPNOTSUPP])
def test_file_systems_without_the_call_get_zeros_written(tmp_path, monkeypatch, refused):
    def unable(*_):
        raise OSError(refused, "no such call")

    monkeypatch.setattr(os, "posix_fallocate", unable, raising=False)
    with kernels.Stitcher((600, 400), scratch=tmp_path) as stitcher:
        assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) == 600 * 400 * 20
        assert not stitcher.heatmap().any()


def test_a_limit_on_file_sizes_is_an_error_too(tmp_path):
    pytest.importorskip("resource")
    code = f"""
import resource, numpy as np, fastwsi
resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
try:
    fastwsi.kernels.Stitcher((1000, 1000), scratch={str(tmp_path)!r}).add(np.ones((1000, 1000)), 0, 0)
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "scratch: got" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(10**9, 10**9), (10**30, 1), (1, 2**31)], ids=str)
@pytest.mark.parametrize("on_disk", [False, True])
def test_sizes_beyond_all_memory(size, on_disk, tmp_path):
    with pytest.raises(ValueError, match=r"^size: got .* expected"):
        kernels.Stitcher(size, scratch=tmp_path if on_disk else None)
    assert list(tmp_path.iterdir()) == []


def test_sizes_beyond_this_memory(monkeypatch):
    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(np, "zeros", no_memory)
    with pytest.raises(MemoryError, match=r"^size: got 50 x 40 cells"):
        kernels.Stitcher((50, 40))


def test_an_ambiguous_mode_is_an_error_like_others():
    for mode in (np.ones(2), None, ["mean"]):
        with pytest.raises(ValueError, match=r"^mode: got"):
            kernels.Stitcher((2, 2), mode=mode)


def test_empty_batches_of_any_sequence():
    stitcher = kernels.Stitcher((3, 3))
    for nothing in ([], (), np.array([]), np.zeros(0, np.int32), np.zeros(0, np.float32)):
        stitcher.add(np.ones((0, 2, 2), np.float32), nothing, nothing)
    assert not stitcher.count.any()
    with pytest.raises(TypeError, match=r"^x: got float64"):
        stitcher.add(np.ones((1, 2, 2)), np.array([0.0]), [0])


def in_fork(work):
    """The exit status of a forked process that did this, or None where it never came back."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(20)
    if child.exitcode is None:
        child.kill()
        child.join()
        return None
    return child.exitcode


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_forked_process_is_told_and_never_waits(tmp_path, on_disk, locked):
    stitcher = kernels.Stitcher((4, 3), scratch=tmp_path if on_disk else None)
    stitcher.add(np.ones((2, 2)), 0, 0)

    def work():
        for call in (
            lambda: stitcher.add(np.ones((2, 2)), 0, 0),
            lambda: stitcher.count,
            stitcher.heatmap,
        ):
            with pytest.raises(RuntimeError, match=r"^Stitcher: got a call in a forked process"):
                call()
        stitcher.close()

    if locked:
        held, done = threading.Event(), threading.Event()

        def hold():
            with stitcher._lock:
                held.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        status = in_fork(work)
        done.set()
        thread.join()
    else:
        status = in_fork(work)
    assert status == 0
    assert stitcher.count.sum() == 4  # and all is as it was
    assert stitcher.heatmap().sum() == 4
