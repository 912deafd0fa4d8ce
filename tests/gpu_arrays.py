"""GPU arrays of either framework, back on the host. Not in `cuda/`: that name is a package of NVIDIA's."""

from __future__ import annotations


def to_host(array):
    """A GPU array of either framework as numpy, 16-bit floats widened."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        return (array.float() if array.dtype.itemsize == 2 else array).numpy()
    return array.get()


def assert_only_queues_work(run):
    """Fail where a call waits for the GPU: it must be back while work before it on the stream still runs."""
    import time

    import torch

    run()  # what is allocated and loaded at first use may wait
    torch.cuda.synchronize()
    done = torch.cuda.Event()
    torch.cuda._sleep(2_000_000_000)  # about a second
    start = time.perf_counter()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    elapsed = time.perf_counter() - start
    done.record()
    assert not done.query()
    assert elapsed < 0.2
    torch.cuda.synchronize()
