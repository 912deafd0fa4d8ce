"""The CUDA twin of dense_pool against the CPU's, which is tested against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from fastwsi import kernels
from gpu_arrays import assert_only_queues_work, to_host

RNG = np.random.default_rng(0)
# Both are means in float64, rounded once; so they differ by a last bit, where at all.
LAST_BIT = {"float64": 1e-12, "float32": 2.0**-22, "float16": 2.0**-10}
# Around the sides of warps, blocks and tiles; windows of one cell, of all, and wider than a block.
CASES = [
    ((1, 1), (1, 1), (1, 1)),
    ((1, 300), (1, 7), (1, 3)),
    ((300, 1), (7, 1), (3, 1)),
    ((3, 33, 31), (2, 5), (1, 1)),
    ((2, 5, 40, 70), (32, 32), (1, 1)),
    ((2, 5, 40, 70), (32, 32), (8, 4)),
    ((2, 3, 64, 65), (3, 3), (7, 5)),
    ((2, 33, 40, 41), (8, 9), (2, 2)),
    ((1, 130, 70, 66), (40, 32), (1, 2)),
    ((2, 2, 2, 3, 20, 20), (4, 4), (4, 4)),
    ((1, 700, 700), (600, 600), (1, 1)),
    ((3, 20_000), (2, 512), (1, 1)),
    ((20_000, 3), (512, 2), (1, 1)),
    ((0, 3, 8, 8), (2, 2), (1, 1)),
    ((3000, 4, 4), (2, 2), (1, 1)),
]


def assert_agree(found, x, window, stride):
    """As the CPU has it: within a last bit of the window's mean size, and nearly always the very same."""
    expected = kernels.dense_pool(x, window, stride)
    size = kernels.dense_pool(np.abs(x).astype(np.float64), window, stride)
    found = to_host(found)
    assert found.shape == expected.shape
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    assert (difference <= LAST_BIT[str(x.dtype)] * size).all()
    if x.dtype != np.float64:
        assert (difference > 0).sum() <= max(2, 1e-3 * difference.size)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize(("shape", "window", "stride"), CASES, ids=str)
def test_dense_pool(to_gpu, shape, window, stride, dtype):
    x = RNG.normal(size=shape).astype(dtype)
    assert_agree(kernels.dense_pool(to_gpu(x), window, stride), x, window, stride)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_dense_pool_of_views(to_gpu, dtype):
    x = RNG.normal(size=(3, 50, 44, 47)).astype(dtype)
    on_gpu = to_gpu(x)
    for view in (
        lambda a: a[:, 1:-2, 3:-1, 1:40],
        lambda a: a.swapaxes(2, 3),
        lambda a: a.swapaxes(1, 3),
        lambda a: a.swapaxes(0, 2),
        lambda a: a[::2, ::3, 1::2, ::2],
    ):
        for window, stride in [((5, 3), (1, 1)), ((17, 19), (2, 3))]:
            if view(x).shape[-2] < window[0] or view(x).shape[-1] < window[1]:
                continue
            found = kernels.dense_pool(view(on_gpu), window, stride)
            assert_agree(found, view(x), window, stride)


def test_dense_pool_of_flipped_and_repeated_cells():
    cupy = pytest.importorskip("cupy")
    x = RNG.normal(size=(2, 40, 44)).astype(np.float32)
    assert_agree(kernels.dense_pool(cupy.asarray(x)[:, ::-1, ::-1], 9, 2), x[:, ::-1, ::-1], (9, 9), (2, 2))
    flat = np.broadcast_to(x[:, :1], x.shape)
    on_gpu = cupy.broadcast_to(cupy.asarray(x[:, :1]), x.shape)
    assert_agree(kernels.dense_pool(on_gpu, 9, 2), flat, (9, 9), (2, 2))


HARD = {
    "a mountain in a corner": lambda s: np.where(np.add(*np.indices(s)) == 0, 1e30, 1.0),
    "mountains everywhere": lambda s: np.where(np.add(*np.indices(s)) % 97 == 50, 1e30, 1.0),
    "alternating": lambda s: np.where(np.add(*np.indices(s)) % 2, 1.0, -1.0) + 1e-4,
    "alternating mountains": lambda s: np.where(np.add(*np.indices(s)) % 2, 1e8, -1e8) + 1,
    "ramp": lambda s: np.linspace(0, 1e8, s[0] * s[1]).reshape(s),
    "largest": lambda s: np.full(s, np.finfo(np.float32).max),
}


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize(
    ("shape", "window", "stride"),
    [((3, 20_000), (2, 512), (1, 1)), ((700, 700), (600, 600), (7, 9)), ((130, 140), (64, 64), (1, 1))],
    ids=str,
)
def test_hard_values_keep_the_bound(to_gpu, kind, shape, window, stride):
    x = HARD[kind](shape).astype(np.float32)
    found = to_host(kernels.dense_pool(to_gpu(x), window, stride))
    mean = kernels.dense_pool(x.astype(np.float64), window, stride)
    bound = 1e-6 * kernels.dense_pool(np.abs(x).astype(np.float64), window, stride)
    assert (np.abs(found - mean) <= bound).all()


def test_what_has_left_the_window_leaves_no_trace(to_gpu):
    x = np.ones((80, 300), np.float32)
    x[:, 0] = x[0, :] = 1e30
    assert (to_host(kernels.dense_pool(to_gpu(x), (5, 7), 1))[1:, 1:] == 1).all()


@pytest.mark.parametrize("channels_last", [False, True])
def test_nan_and_infinity_touch_exactly_their_windows(to_gpu, channels_last):
    x = RNG.normal(size=(2, 40, 70, 90)).astype(np.float32)
    clean = x.copy()
    places = RNG.integers(0, x.size, 60)
    x.reshape(-1)[places] = np.tile([np.nan, np.inf, -np.inf], 20)
    if channels_last:
        x, clean = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, clean))
    on_gpu, as_if = to_gpu(x), to_gpu(clean)
    if channels_last:
        on_gpu, as_if, x = on_gpu.swapaxes(1, 3), as_if.swapaxes(1, 3), x.swapaxes(1, 3)
    found, without = (to_host(kernels.dense_pool(a, (16, 12), (1, 2))) for a in (on_gpu, as_if))
    with np.errstate(invalid="ignore"):
        special = ~np.isfinite(kernels.dense_pool(x, (16, 12), (1, 2)))
    assert special.any()
    assert not special.all()
    np.testing.assert_array_equal(found[special], kernels.dense_pool(x, (16, 12), (1, 2))[special])
    np.testing.assert_array_equal(found[~special], without[~special])


def test_bits_do_not_depend_on_the_batch():
    import torch

    x = torch.randn(5, 40, 100, 90, device="cuda")
    for memory in (torch.contiguous_format, torch.channels_last):
        y = x.contiguous(memory_format=memory)
        found = kernels.dense_pool(y, 32, 1)
        assert torch.equal(kernels.dense_pool(y, 32, 1), found)
        for i in (0, 3):
            alone = y[i : i + 1].clone(memory_format=torch.preserve_format)
            assert torch.equal(kernels.dense_pool(alone, 32, 1), found[i : i + 1])


def test_is_avg_pool2d_and_keeps_channels_last():
    import torch

    x = torch.randn(2, 64, 60, 70, dtype=torch.float64, device="cuda")
    for memory in (torch.contiguous_format, torch.channels_last):
        y = x.contiguous(memory_format=memory)
        found = kernels.dense_pool(y, (32, 30), (2, 1))
        theirs = torch.nn.functional.avg_pool2d(y, (32, 30), (2, 1))
        torch.testing.assert_close(found, theirs, rtol=1e-12, atol=1e-12)
        assert found.is_contiguous(memory_format=memory)
        assert found.device == y.device


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients(dtype, channels_last):
    import torch

    kind = getattr(torch, dtype)
    for shape, window, stride in [((2, 33, 40, 45), (32, 30), (1, 1)), ((2, 3, 30, 31), (2, 3), (5, 4))]:
        x = torch.randn(shape).to(kind)
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        y = kernels.dense_pool(x, window, stride)
        for g in (torch.randn(y.shape).to(kind), torch.randn(1).to(kind).expand(y.shape)):
            gradients = []
            for device in ("cpu", "cuda"):
                leaf = x.to(device).detach().requires_grad_()
                kernels.dense_pool(leaf, window, stride).backward(g.to(device))
                gradients.append(leaf.grad.cpu().double())
            last_bit = {"bfloat16": 2.0**-7}.get(dtype) or LAST_BIT[dtype]
            torch.testing.assert_close(gradients[1], gradients[0], rtol=last_bit, atol=last_bit)


def test_bfloat16_second_derivatives_and_compilation():
    import torch

    x = torch.randn(2, 7, 40, 50, device="cuda").bfloat16()
    found, expected = kernels.dense_pool(x, (9, 8), 2).cpu(), kernels.dense_pool(x.cpu(), (9, 8), 2)
    torch.testing.assert_close(found, expected, rtol=2.0**-7, atol=1e-6)
    assert (found != expected).float().mean() < 1e-3
    small = torch.randn(2, 3, 6, 5, device="cuda", dtype=torch.float64, requires_grad=True)

    def run(values):
        return kernels.dense_pool(values, (3, 2), 1).sin()

    assert torch.autograd.gradcheck(run, small)
    assert torch.autograd.gradgradcheck(run, small)
    compiled = torch.compile(run, backend="aot_eager")
    torch.testing.assert_close(compiled(small.detach()), run(small.detach()))


def test_nan_in_a_gradient_touches_exactly_the_cells_under_its_window():
    import torch

    x = torch.zeros(2, 3, 50, 60, device="cuda", requires_grad=True)
    y = kernels.dense_pool(x, (9, 7), (2, 1))
    g = torch.ones_like(y)
    g[1, 2, 5, 20] = float("nan")
    y.backward(g)
    expected = torch.zeros(2, 3, 50, 60, dtype=torch.bool)
    expected[1, 2, 10:19, 20:27] = True
    assert torch.equal(x.grad.isnan().cpu(), expected)


def test_calls_return_before_the_work_is_done():
    import torch

    x = torch.randn(2, 64, 200, 200, device="cuda", requires_grad=True)

    def both():
        y = kernels.dense_pool(x, 32, 1)
        torch.autograd.grad(y, x, torch.ones_like(y))

    assert_only_queues_work(both)


def test_work_is_queued_on_the_caller_s_stream():
    import torch

    x = torch.randn(8, 100, 100)
    stream = torch.cuda.Stream()
    on_gpu = torch.zeros(8, 100, 100, device="cuda")
    ready = x.pin_memory()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        on_gpu.copy_(ready, non_blocking=True)
        found = kernels.dense_pool(on_gpu, 32, 1)
    stream.synchronize()
    np.testing.assert_allclose(found.cpu().numpy(), kernels.dense_pool(x, 32, 1).numpy(), atol=1e-6)


def test_planes_behind_four_gibibytes():
    import torch

    if torch.cuda.mem_get_info()[0] < 16 << 30:
        pytest.skip("needs 16 GiB of GPU memory")
    x = torch.zeros(40, 6000, 6000, device="cuda")
    corner = torch.randn(100, 90, device="cuda")
    x[-1, -100:, -90:] = corner
    found = kernels.dense_pool(x, (20, 10), 10)
    torch.testing.assert_close(found[-1, -9:, -9:], kernels.dense_pool(corner, (20, 10), 10))
    assert found[:-1].count_nonzero() == 0
