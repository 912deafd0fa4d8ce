"""The CUDA twin of nms, and components and smooth on a GPU, against the CPU's."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from fastwsi import kernels
from gpu_arrays import to_host

SHAPES = ("disc", "square", "square_halfopen")
KINDS = ("normal", "few", "plateau", "ramp", "falling", "checkerboard", "rings", "lesions", "odd", "zeros")
SIZES = [(1, 1), (1, 300), (300, 1), (31, 33), (65, 130), (257, 300)]


def heatmap(kind, shape, dtype="float32", seed=0):
    """Maps on which little or all of the work depends on other work."""
    rng = np.random.default_rng(seed)
    height, width = shape[-2:]
    row, column = np.indices((height, width))
    made = {
        "normal": lambda: rng.normal(size=shape),
        "few": lambda: rng.choice([-1, -0.5, 0.1, 0.25, 0.5, 0.75], shape),
        "plateau": lambda: np.full(shape, 0.5),
        "ramp": lambda: (row * width + column) / max(1, height * width),
        "falling": lambda: 1 - (row + column) / (height + width),
        "checkerboard": lambda: np.where((row + column) % 2, 0.25, 0.75),
        "rings": lambda: np.round(np.cos(np.hypot(row - height / 2, column - width / 2) / 3), 1),
        "odd": lambda: rng.choice([np.nan, np.inf, -np.inf, 0.5, 0.25, -0.5], shape),
        "zeros": lambda: rng.choice([0.0, -0.0, 0.5], shape),
        "lesions": lambda: lesions(rng, height, width),
    }[kind]()
    return np.ascontiguousarray(np.broadcast_to(made, shape)).astype(dtype)


def lesions(rng, height, width):
    row, column = np.indices((height, width))
    out = rng.random((height, width)) * 0.05
    for y, x, peak in zip(*rng.random((3, 12)), strict=True):
        out += peak * np.exp(-((row - y * height) ** 2 + (column - x * width) ** 2) / 200)
    return out


def bits(found):
    """x, y and score of one map's result as bytes, of any framework."""
    if isinstance(found, np.ndarray):
        parts = [found[name] for name in ("x", "y", "score")]
    else:
        parts = [to_host(getattr(found, name)) for name in ("x", "y", "score")]
    return [np.ascontiguousarray(part).tobytes() for part in parts]


def widened(structured):
    """float16 scores as `to_host` gives torch's."""
    if structured.dtype["score"] != np.float16:
        return structured
    return structured.astype([("x", "i8"), ("y", "i8"), ("score", "f4")])


def assert_same(found, expected):
    """The same lists in the same order; scores to the bit."""
    assert [len(found.x), len(found.y), len(found.score)] == [len(expected)] * 3
    wide = widened(expected) if to_host(found.score).dtype == np.float32 else expected
    assert bits(found) == bits(wide)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_nms(to_gpu, kind, shape):
    for size in SIZES:
        array = heatmap(kind, size)
        on_gpu = to_gpu(array)
        for radius in (0, 1, math.sqrt(5), 7.5, 40, 1e19):
            for threshold in (-math.inf, 0.1, 0.5):
                found = kernels.nms(on_gpu, radius, threshold, shape)
                assert_same(found, kernels.nms(array, radius, threshold, shape))
        np.testing.assert_array_equal(to_host(on_gpu), array)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_nms_of_other_dtypes(to_gpu, kind, dtype):
    array = heatmap(kind, (90, 110), dtype)
    on_gpu = to_gpu(array)
    for radius in (0, 2.5, 12):
        for threshold in (-1, 0.1, 1 / 3, math.inf):
            found = kernels.nms(on_gpu, radius, threshold)
            assert str(found.score.dtype).endswith(dtype)
            assert_same(found, kernels.nms(array, radius, threshold))


def test_nms_of_bfloat16():
    import torch

    for kind in KINDS:
        array = torch.from_numpy(heatmap(kind, (90, 110))).bfloat16()
        found, expected = kernels.nms(array.cuda(), 5, 0.1), kernels.nms(array, 5, 0.1)
        assert found.score.dtype == torch.bfloat16
        assert bits(found) == bits(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "batch", [(5, 60, 70), (1, 9, 9), (300, 7, 8), (0, 4, 4), (2, 0, 3), (2, 3, 0)], ids=str
)
def test_nms_of_batches(to_gpu, kind, batch):
    array = heatmap(kind, batch)
    on_gpu = to_gpu(array)
    for radius, most in ((3, None), (3, 2), (0, None)):
        found = kernels.nms(on_gpu, radius, 0.1, max_points=most)
        assert isinstance(found, list)
        assert len(found) == len(array)
        for one, expected in zip(found, kernels.nms(array, radius, 0.1, max_points=most), strict=True):
            assert_same(one, expected)


def test_nms_of_maps_without_cells(to_gpu):
    for size in ((0, 0), (0, 7), (7, 0)):
        found = kernels.nms(to_gpu(np.zeros(size, np.float32)), 2, 0)
        assert [len(part) for part in found] == [0, 0, 0]
        assert int(kernels.nms(to_gpu(np.zeros(size, np.float32)), 2, 0, padded=True).count) == 0


@pytest.mark.parametrize("most", [1, 2, 7, 100, 10_000_000])
def test_max_points(to_gpu, most):
    for kind in KINDS:
        array = heatmap(kind, (70, 60))
        expected = kernels.nms(array, 3, 0.1)[:most]
        assert_same(kernels.nms(to_gpu(array), 3, 0.1, max_points=most), expected)


def without_synchronising(run):
    """What run() gives, an error if torch itself waits for the GPU in it: it sees no others' waiting."""
    import torch

    torch.cuda.set_sync_debug_mode("error")
    try:
        return run()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(60, 70), (4, 60, 70), (3, 1, 130), (0, 4, 4), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("most", [None, 5])
def test_padded_is_the_list_and_padding_and_waits_for_nothing(to_gpu, kind, shape, most):
    array = heatmap(kind, shape)
    on_gpu = to_gpu(array)
    for radius in (0, 3, 40):
        found = without_synchronising(
            lambda radius=radius: kernels.nms(on_gpu, radius, 0.1, max_points=most, padded=True)
        )
        expected = kernels.nms(array, radius, 0.1, max_points=most, padded=True)
        for part, wanted in zip(found, expected, strict=True):
            host = to_host(part)
            assert host.shape == wanted.shape
            assert host.dtype == wanted.dtype
            assert np.ascontiguousarray(host).tobytes() == np.ascontiguousarray(wanted).tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_capacity_is_never_exceeded(to_gpu, shape):
    for k in range(1, 40):
        for exact in (k, k * math.sqrt(2)):
            for radius in (math.nextafter(exact, 0), exact, math.nextafter(exact, 99)):
                corners = np.zeros((k + 1, k + 1), np.float32)
                corners[0, 0], corners[0, -1], corners[-1, 0], corners[-1, -1] = 1, 3, 2, 4
                found = kernels.nms(to_gpu(corners), radius, 0.5, shape)
                assert_same(found, kernels.nms(corners, radius, 0.5, shape))


def test_nms_of_views(to_gpu):
    array = heatmap("few", (3, 80, 90))
    on_gpu = to_gpu(array)
    for view in (
        lambda a: a[1],
        lambda a: a[:, 3:-1, 5:77],
        lambda a: a.swapaxes(1, 2),
        lambda a: a.swapaxes(0, 2)[:20],
        lambda a: a[::2, ::3, 1::2],
    ):
        found, expected = kernels.nms(view(on_gpu), 4, 0.1), kernels.nms(view(array), 4, 0.1)
        if view(array).ndim == 2:
            found, expected = [found], [expected]
        for one, each in zip(found, expected, strict=True):
            assert_same(one, each)


@pytest.mark.parametrize("kind", ["normal", "few", "plateau", "ramp", "falling", "rings", "lesions"])
@pytest.mark.parametrize("radius", [6, 24.5])
def test_large_maps(to_gpu, kind, radius):
    array = heatmap(kind, (1500, 2100))
    assert_same(kernels.nms(to_gpu(array), radius, 0.1), kernels.nms(array, radius, 0.1))


def test_the_same_call_gives_the_same_bits_each_time(to_gpu):
    array = heatmap("few", (4, 400, 500))
    on_gpu = to_gpu(array)
    first = [bits(one) for one in kernels.nms(on_gpu, 5, 0.1)]
    for _ in range(20):
        assert [bits(one) for one in kernels.nms(on_gpu, 5, 0.1)] == first


def test_work_is_queued_on_torch_s_stream():
    import torch

    array = heatmap("lesions", (300, 400))
    pinned, on_gpu = torch.from_numpy(array).pin_memory(), torch.zeros(300, 400, device="cuda")
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        on_gpu.copy_(pinned, non_blocking=True)
        padded = kernels.nms(on_gpu, 9, 0.2, padded=True)
        listed = kernels.nms(on_gpu, 9, 0.2)
    stream.synchronize()
    expected = kernels.nms(array, 9, 0.2)
    assert len(expected) > 3
    assert_same(listed, expected)
    assert int(padded.count) == len(expected)
    np.testing.assert_array_equal(to_host(padded.x)[: len(expected)], expected["x"])


def test_work_is_queued_on_cupy_s_stream():
    cupy = pytest.importorskip("cupy")
    array = heatmap("lesions", (300, 400))
    with cupy.cuda.Stream(non_blocking=True):
        on_gpu = cupy.zeros((300, 400), np.float32)
        for _ in range(200):  # some work before the values come
            on_gpu = cupy.sin(on_gpu)
        on_gpu += cupy.asarray(array)
        assert_same(kernels.nms(on_gpu, 9, 0.2), kernels.nms(array, 9, 0.2))


def torch_stream_of(array):
    """The framework's current stream, as torch knows it."""
    import torch

    if isinstance(array, torch.Tensor):
        return torch.cuda.current_stream()
    cupy = pytest.importorskip("cupy")
    return torch.cuda.ExternalStream(cupy.cuda.get_current_stream().ptr)


@pytest.mark.parametrize("shape", [(500, 600), (3, 90, 110), (2, 0, 7)], ids=str)
@pytest.mark.parametrize("radius", [9, 0])
def test_padded_returns_before_the_work_is_done(to_gpu, shape, radius):
    """Whoever might wait: torch, cupy or native code."""
    import torch

    array = heatmap("lesions" if 0 not in shape else "zeros", shape)
    on_gpu = to_gpu(array)
    stream = torch_stream_of(on_gpu)
    kernels.nms(on_gpu, radius, 0.2, max_points=50, padded=True)  # kernels are loaded, memory is at hand
    torch.cuda.synchronize()
    slept = torch.cuda.Event()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(2_000_000_000)  # about a second
        slept.record()
    start = time.perf_counter()
    found = kernels.nms(on_gpu, radius, 0.2, max_points=50, padded=True)
    elapsed = time.perf_counter() - start
    assert not slept.query()
    assert elapsed < 0.2
    torch.cuda.synchronize()
    expected = kernels.nms(array, radius, 0.2, max_points=50, padded=True)
    np.testing.assert_array_equal(to_host(found.count), expected.count)
    np.testing.assert_array_equal(to_host(found.x), expected.x)


@pytest.mark.parametrize("kind", ["normal", "few", "plateau", "checkerboard", "lesions", "odd", "zeros"])
@pytest.mark.parametrize("connectivity", [4, 8])
def test_components(to_gpu, kind, connectivity):
    pytest.importorskip("cupy")
    for shape in ((90, 110), (3, 40, 50), (1, 70), (0, 4), (0, 4, 4)):
        for dtype in ("float32", "float16", "float64"):
            array = heatmap(kind, shape, dtype)
            found = kernels.components(to_gpu(array), 0.2, connectivity=connectivity)
            expected = kernels.components(array, 0.2, connectivity=connectivity)
            if array.ndim == 2:
                found, expected = [found], [expected]
            for one, each in zip(found, expected, strict=True):
                for name in ("x", "y", "area", "score"):
                    np.testing.assert_array_equal(to_host(getattr(one, name)), each[name])
                for name in ("mean", "centre_x", "centre_y"):
                    host = to_host(getattr(one, name))
                    assert host.dtype == np.float64
                    np.testing.assert_allclose(host, each[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "reflect", "mirror", "constant", "wrap"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_smooth(to_gpu, mode, dtype):
    pytest.importorskip("cupy")
    tolerance = {"float32": 1e-6, "float16": 1e-3, "float64": 1e-12}[dtype]
    for shape in ((60, 70), (3, 33, 40), (1, 50), (0, 4, 4)):
        array = heatmap("normal", shape, dtype)
        for sigma in (0, 0.7, 3):
            found = kernels.smooth(to_gpu(array), sigma, mode=mode)
            assert str(found.dtype).endswith(dtype)
            expected = kernels.smooth(array, sigma, mode=mode).astype(np.float64)
            np.testing.assert_allclose(to_host(found), expected, rtol=tolerance, atol=tolerance)


def test_smooth_and_components_of_bfloat16_on_a_side_stream():
    pytest.importorskip("cupy")
    import torch

    array = torch.from_numpy(heatmap("lesions", (2, 60, 70))).bfloat16()
    stream = torch.cuda.Stream()
    on_gpu = torch.zeros(2, 60, 70, device="cuda", dtype=torch.bfloat16)
    pinned = array.pin_memory()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        on_gpu.copy_(pinned, non_blocking=True)
        smooth, found = kernels.smooth(on_gpu, 1.5), kernels.components(on_gpu, 0.25)
    stream.synchronize()
    torch.testing.assert_close(smooth.cpu(), kernels.smooth(array, 1.5), rtol=1e-2, atol=1e-3)
    for one, each in zip(found, kernels.components(array, 0.25), strict=True):
        assert torch.equal(one.area.cpu(), each.area)
        assert torch.equal(one.score.cpu(), each.score)
