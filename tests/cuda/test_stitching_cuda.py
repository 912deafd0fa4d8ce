"""The CUDA twins of accumulate and average, and Stitcher on a GPU, against the CPU's."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from fastwsi import kernels
from gpu_arrays import assert_only_queues_work, to_host

SIZE = (130, 90)  # width, height
ODD = (np.nan, np.inf, -np.inf, 1.0, -2.0, 0.0, -0.0)


def made(kind, n, shape, dtype="float32", seed=0):
    """(tiles, x, y), the tiles hanging over every border; sums need more than float64."""
    rng = np.random.default_rng(seed)
    plain = rng.uniform(1, 2, (n, *shape)) * rng.choice([-1, 1], (n, *shape))
    tiles = {
        "normal": lambda: rng.normal(size=plain.shape),
        "wide": lambda: plain * 2.0 ** rng.integers(-13, 14, plain.shape),
        "cancelling": lambda: np.where(
            rng.random(plain.shape) < 0.5, np.trunc(plain * 4) * 2048, plain / 256
        ),
        "odd": lambda: rng.choice(ODD, plain.shape),
    }[kind]()
    x = rng.integers(1 - shape[-1], SIZE[0], n).tolist()
    y = rng.integers(1 - shape[-2], SIZE[1], n).tolist()
    return tiles.astype(dtype), x, y


def fresh(channels=None, mode="mean", dtype="float64"):
    planes = () if channels is None else (channels,)
    lead = (2, *planes) if mode == "mean" else planes
    start = 0 if mode == "mean" else 1e30
    return np.full((*lead, *SIZE[::-1]), start, dtype), np.zeros(SIZE[::-1], np.int32)


@pytest.mark.parametrize("kind", ["normal", "wide", "cancelling", "odd"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize(("n", "channels"), [(1, None), (40, None), (40, 3), (300, None), (0, None)])
def test_accumulate_and_average(to_gpu, kind, dtype, n, channels):
    planes = () if channels is None else (channels,)
    for shape in ((17, 33), (1, 1), (200, 250), (5, 1)):
        tiles, x, y = made(kind, n, (*planes, *shape), dtype)
        state, count = fresh(channels)
        kernels.accumulate(state, count, tiles, x, y)
        gpu_state, gpu_count = (to_gpu(array) for array in fresh(channels))
        kernels.accumulate(gpu_state, gpu_count, to_gpu(tiles), x, y)
        np.testing.assert_array_equal(to_host(gpu_count), count)
        for out in ("float32", "float16"):
            found = kernels.average(gpu_state, gpu_count, dtype=out, empty=-3)
            assert str(found.dtype).endswith(out)
            np.testing.assert_array_equal(to_host(found), kernels.average(state, count, dtype=out, empty=-3))


@pytest.mark.parametrize("kind", ["normal", "odd"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("state_dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [None, 3])
def test_maxima(to_gpu, kind, dtype, state_dtype, channels):
    planes = () if channels is None else (channels,)
    tiles, x, y = made(kind, 60, (*planes, 17, 33), dtype)
    state, count = fresh(channels, "max", state_dtype)
    kernels.accumulate(state, count, tiles, x, y, mode="max")
    gpu_state, gpu_count = (to_gpu(array) for array in fresh(channels, "max", state_dtype))
    for part in (slice(0, 25), slice(25, None)):
        kernels.accumulate(gpu_state, gpu_count, to_gpu(tiles[part]), x[part], y[part], mode="max")
    np.testing.assert_array_equal(to_host(gpu_count), count)
    covered = np.broadcast_to(count > 0, state.shape)
    np.testing.assert_array_equal(to_host(gpu_state)[covered], state[covered])


def test_the_maximum_of_zeros_is_the_positive_one(to_gpu):
    for rows in ([-0.0, 0.0], [0.0, -0.0], [-0.0, -0.0, 0.0]):
        tiles = np.array(rows, np.float32)[:, None, None] * np.ones((1, 1, 40), np.float32)
        state, count = (to_gpu(array) for array in fresh(mode="max"))
        kernels.accumulate(state, count, to_gpu(tiles), [0] * len(rows), [0] * len(rows), mode="max")
        host = to_host(state)[0, :40]
        assert (host == 0).all()
        assert not np.signbit(host).any()


@pytest.mark.parametrize("kind", ["wide", "cancelling"])
def test_every_order_gives_the_same_bits(to_gpu, kind):
    tiles, x, y = made(kind, 5, (40, 50))
    x, y = [10, 12, 3, 30, 25], [0, 5, 20, 11, 2]
    state, count = fresh()
    kernels.accumulate(state, count, tiles, x, y)
    expected = kernels.average(state, count).tobytes()
    on_gpu = to_gpu(tiles)
    for order in map(list, itertools.permutations(range(5))):
        state, count = (to_gpu(array) for array in fresh())
        if order[0] % 2:
            kernels.accumulate(state, count, on_gpu[order], [x[i] for i in order], [y[i] for i in order])
        else:
            for i in order:
                kernels.accumulate(state, count, on_gpu[i], x[i], y[i])
        assert to_host(kernels.average(state, count)).tobytes() == expected


def test_bfloat16_tiles_and_views():
    import torch

    tiles, x, y = made("normal", 30, (2, 40, 33))
    for change in (
        lambda t: t.bfloat16(),
        lambda t: t.transpose(2, 3),
        lambda t: t[:, :, 3:-2, ::2],
        lambda t: t.contiguous(memory_format=torch.channels_last),
        lambda t: t[:, :1].expand(-1, 2, -1, -1),
    ):
        states = []
        for device in ("cpu", "cuda"):
            state, count = (torch.from_numpy(array).to(device) for array in fresh(2))
            wide = torch.from_numpy(tiles).to(device)
            lefts, tops = [max(-5, n) for n in x], [max(-5, n) for n in y]
            kernels.accumulate(state, count, change(wide), lefts, tops)
            states.append((kernels.average(state, count).cpu(), count.cpu()))
        assert torch.equal(states[0][0], states[1][0])
        assert torch.equal(states[0][1], states[1][1])


@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("channels", [None, 2])
def test_stitcher(to_gpu, mode, dtype, channels):
    planes = () if channels is None else (channels,)
    tiles, x, y = made("wide", 50, (*planes, 30, 40))
    on_cpu = kernels.Stitcher(SIZE, channels=channels, mode=mode, dtype=dtype)
    on_gpu = kernels.Stitcher(SIZE, channels=channels, mode=mode, dtype=dtype, like=to_gpu(np.zeros(1)))
    for part in (slice(0, 20), slice(20, 50)):
        on_cpu.add(tiles[part], x[part], y[part])
        on_gpu.add(to_gpu(tiles[part]), x[part], y[part])
        found = on_gpu.heatmap(empty=-1)
        assert type(found) is type(to_gpu(np.zeros(1)))
        assert str(found.dtype).endswith(dtype)
        np.testing.assert_array_equal(to_host(found), on_cpu.heatmap(empty=-1))
        np.testing.assert_array_equal(to_host(on_gpu.count), on_cpu.count)
    out = to_gpu(np.full((*planes, SIZE[1], 2 * SIZE[0]), 8, dtype))
    view = out[..., ::2]
    assert on_gpu.heatmap(view) is view
    np.testing.assert_array_equal(to_host(out)[..., ::2], on_cpu.heatmap())
    assert (to_host(out)[..., 1::2] == 8).all()


def test_a_stitcher_orders_the_work_of_several_streams():
    import torch

    tiles, x, y = made("wide", 60, (30, 40))
    on_cpu, on_gpu = kernels.Stitcher(SIZE), kernels.Stitcher(SIZE, like=torch.zeros(1, device="cuda"))
    on_cpu.add(tiles, x, y)
    batches = [torch.from_numpy(tiles[i::6]).cuda() for i in range(6)]
    streams = [torch.cuda.Stream() for _ in range(3)]
    torch.cuda.synchronize()
    for i, batch in enumerate(batches):
        with torch.cuda.stream(streams[i % 3]):
            if i < 3:
                torch.cuda._sleep(50_000_000 * (3 - i))
            on_gpu.add(batch, x[i::6], y[i::6])
    found = on_gpu.heatmap()  # on the default stream, after all of these
    np.testing.assert_array_equal(found.cpu().numpy(), on_cpu.heatmap())


def test_threads_may_add_at_once():
    import torch

    tiles, x, y = made("wide", 240, (9, 11))
    on_cpu, on_gpu = kernels.Stitcher(SIZE), kernels.Stitcher(SIZE, like=torch.zeros(1, device="cuda"))
    on_cpu.add(tiles, x, y)
    wide = torch.from_numpy(tiles).cuda()
    torch.cuda.synchronize()
    failures = []

    def work(k):
        try:
            with torch.cuda.stream(torch.cuda.Stream()):
                for i in range(k, 240, 8):
                    on_gpu.add(wide[i], x[i], y[i])
                torch.cuda.current_stream().synchronize()
        except Exception as error:  # noqa: BLE001  (shown by the main thread)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    np.testing.assert_array_equal(on_gpu.heatmap().cpu().numpy(), on_cpu.heatmap())
    np.testing.assert_array_equal(on_gpu.count.cpu().numpy(), on_cpu.count)


def test_calls_return_before_the_work_is_done():
    import torch

    tiles, x, y = made("wide", 30, (30, 40))
    on_gpu, wide = kernels.Stitcher(SIZE, like=torch.zeros(1, device="cuda")), torch.from_numpy(tiles).cuda()

    def both():
        on_gpu.add(wide, x, y)
        on_gpu.heatmap()

    assert_only_queues_work(both)


def test_tiles_of_another_device_are_refused():
    import torch

    on_gpu = kernels.Stitcher(SIZE, like=torch.zeros(1, device="cuda"))
    with pytest.raises((TypeError, ValueError), match=r"tiles: got .*, expected"):
        on_gpu.add(torch.ones(2, 2), 0, 0)
    with pytest.raises((TypeError, ValueError), match=r"tiles: got .*, expected"):
        kernels.Stitcher(SIZE).add(torch.ones(2, 2, device="cuda"), 0, 0)
    with pytest.raises((TypeError, ValueError), match=r"out: got .*, expected"):
        on_gpu.heatmap(torch.zeros(SIZE[1], SIZE[0]))
    with pytest.raises(ValueError, match="scratch: got"):
        kernels.Stitcher(SIZE, like=torch.zeros(1, device="cuda"), scratch=".")
