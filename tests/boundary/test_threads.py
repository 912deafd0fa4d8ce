"""The thread pool: how many, from where, across fork and from many Python threads at once."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import fastwsi
from fastwsi import _core, kernels
from kernels.arrays import tissue

IMAGE = tissue(np.random.default_rng(0), (512, 512))
EXPECTED = kernels.hsd_moments(IMAGE)


def in_new_process(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def moments_with(threads: int):
    fastwsi.set_num_threads(threads)
    return kernels.hsd_moments(IMAGE)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_default_is_what_the_process_may_use():
    code = "import fastwsi; print(fastwsi.get_num_threads())"
    clean = {"OMP_NUM_THREADS": ""}
    assert 1 <= int(in_new_process(code, **clean)) <= len(os.sched_getaffinity(0))
    assert in_new_process("import os; os.sched_setaffinity(0, {0});" + code, **clean) == "1"


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "400000 100000"}, 4.0),
        ("0::/\n", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/a\n", {"a/cpu.max": "max 100000"}, float("inf")),
        ("3:cpu,cpuacct:/x\n2:memory:/y\n", {"cpu/x/cpu.cfs_quota_us": "50000"}, 0.5),
        ("3:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1"}, float("inf")),
        ("4:cpuset:/x\n", {"cpu/x/cpu.cfs_quota_us": "50000"}, float("inf")),
        ("nonsense\n", {}, float("inf")),
    ],
)
def test_the_cgroups_quota_is_read(tmp_path, groups, files, quota):
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
        if name.endswith("quota_us"):
            path.with_name("cpu.cfs_period_us").write_text("100000\n")
    assert _core.cgroup_quota(str(tmp_path / "groups"), str(tmp_path / "fs")) == quota


@pytest.mark.parametrize(("value", "threads"), [("3", "3"), ("5,2", "5")])
def test_omp_num_threads_is_honoured(value, threads):
    code = "import fastwsi; print(fastwsi.get_num_threads())"
    assert in_new_process(code, OMP_NUM_THREADS=value) == threads


def test_set_and_reset():
    fastwsi.set_num_threads(7)
    assert fastwsi.get_num_threads() == 7
    fastwsi.set_num_threads(None)
    assert fastwsi.get_num_threads() == _core.default_threads()
    for wrong in (0, -1, 5000):
        with pytest.raises(ValueError, match=f"n: got {wrong}, expected 1 to 4096"):
            fastwsi.set_num_threads(wrong)
    for wrong in ("2", 2.0, True):
        with pytest.raises(TypeError, match="n: got"):
            fastwsi.set_num_threads(wrong)


def test_many_python_threads_at_once():
    fastwsi.set_num_threads(3)
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda _: kernels.hsd_moments(IMAGE), range(64)))
    assert results == [EXPECTED] * 64


def test_the_gil_is_free_while_a_kernel_runs():
    """A thread that counts must get on while another sits in one long call."""
    big = np.broadcast_to(IMAGE, (200, *IMAGE.shape))
    counted, stop = 0, threading.Event()

    def count():
        nonlocal counted
        while not stop.is_set():
            counted += 1
            time.sleep(0.0001)

    fastwsi.set_num_threads(1)
    counter = threading.Thread(target=count)
    counter.start()
    try:
        before = counted
        start = time.perf_counter()
        kernels.hsd_moments(big)
        elapsed = time.perf_counter() - start
        during = counted - before
    finally:
        stop.set()
        counter.join()
    assert during > 5, f"the counter moved {during} times in {elapsed:.3f} s"


def _child(connection):
    connection.send((moments_with(3), kernels.hsd_normalize(IMAGE, EXPECTED, EXPECTED)))


def run_child(context):
    here, there = context.Pipe()
    child = context.Process(target=_child, args=(there,))
    child.start()
    assert here.poll(60), "the child hangs"
    result = here.recv()
    child.join(60)
    assert child.exitcode == 0
    return result


# Python warns of any fork in a process with threads; that this one survives it is what is tested.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_child_processes_compute_the_same(method):
    assert moments_with(3) == EXPECTED  # the parent's pool has threads that a forked child lacks
    moments, image = run_child(multiprocessing.get_context(method))
    assert moments == EXPECTED
    np.testing.assert_array_equal(image, IMAGE)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forking_while_another_thread_runs_kernels():
    fastwsi.set_num_threads(3)
    stop = threading.Event()
    wrong = []

    def work():
        while not stop.is_set():
            if kernels.hsd_moments(IMAGE) != EXPECTED:
                wrong.append(True)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(20):
            moments, _image = run_child(multiprocessing.get_context("fork"))
            assert moments == EXPECTED
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert not wrong


class _Threads(Dataset):
    def __init__(self, chosen: int = 0) -> None:
        self.chosen = chosen

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int):
        if self.chosen:
            fastwsi.set_num_threads(self.chosen)
        moments = kernels.hsd_moments(IMAGE)
        return fastwsi.get_num_threads(), float(moments == EXPECTED)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_dataloader_worker_uses_one_thread(context):
    fastwsi.set_num_threads(3)  # the parent's choice is not the worker's
    loader = DataLoader(_Threads(), batch_size=2, num_workers=2, multiprocessing_context=context)
    for threads, same in loader:
        assert threads.tolist() == [1, 1]
        assert same.tolist() == [1.0, 1.0]
    assert fastwsi.get_num_threads() == 3


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_dataloader_worker_may_ask_for_more():
    loader = DataLoader(_Threads(2), batch_size=4, num_workers=1, multiprocessing_context="fork")
    assert [threads.tolist() for threads, _ in loader] == [[2, 2, 2, 2]]


def test_without_workers_the_loader_runs_here():
    fastwsi.set_num_threads(2)
    assert [threads.tolist() for threads, _ in DataLoader(_Threads(), batch_size=4)] == [[2, 2, 2, 2]]


def test_more_threads_than_processors_and_tiny_work():
    fastwsi.set_num_threads(64)
    assert kernels.hsd_moments(IMAGE) == EXPECTED
    assert kernels.hsd_moments(IMAGE[:1, :1]).count == 1
    assert torch.equal(kernels.scale_shift(torch.ones(1, 1, 1), [2.0], [1.0]), torch.full((1, 1, 1), 3.0))
