"""Stitcher: any order, any thread, any batch; outputs on disk; scratch that goes away; what it refuses."""

from __future__ import annotations

import gc
import itertools
import math
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import kernels
from kernels.arrays import BACKENDS, to_numpy
from kernels.maps import DTYPES, as_input
from kernels.tiles import cases, expected, rounded, values
from reference import heatmap as reference

LIKE = {"numpy": np.zeros(1), "torch": torch.zeros(1, dtype=torch.float64)}


@given(
    case=cases(),
    dtype=st.sampled_from(DTYPES),
    backend=st.sampled_from(BACKENDS),
    mode=st.sampled_from(["mean", "max"]),
    out_dtype=st.sampled_from(["float32", "float16"]),
    batched=st.booleans(),
    empty=st.sampled_from([0.0, -1.0, math.nan]),
    threads=st.integers(1, 3),
)
def test_equals_the_exact_heatmap(case, dtype, backend, mode, out_dtype, batched, empty, threads):
    if dtype == "bfloat16":
        backend = "torch"
    tiles, same = as_input(case.tiles, dtype, backend, "packed")
    fastwsi.set_num_threads(threads)
    stitcher = kernels.Stitcher(
        case.size, channels=case.channels, mode=mode, dtype=out_dtype, like=LIKE[backend]
    )
    if batched:
        stitcher.add(tiles, case.x, case.y)
    else:
        for tile, x, y in zip(tiles, case.x, case.y, strict=True):
            stitcher.add(tile, x, y)
    heatmap, covered = expected(case, same, mode, empty)
    found, count = stitcher.heatmap(empty=empty), stitcher.count
    assert type(found) is type(count) is type(LIKE[backend])
    assert str(count.dtype).endswith("int32")
    assert str(found.dtype).endswith(out_dtype)
    np.testing.assert_array_equal(to_numpy(count), covered)
    np.testing.assert_array_equal(to_numpy(found), rounded(heatmap, out_dtype))


def test_size_is_width_and_height_and_numpy_float32_the_default():
    stitcher = kernels.Stitcher((5, 3))
    stitcher.add(np.ones((1, 2), np.float64), 4, 2)
    found = stitcher.heatmap()
    assert type(found) is np.ndarray
    assert found.dtype == np.float32
    assert found.tolist() == [[0] * 5, [0] * 5, [0, 0, 0, 0, 1]]
    assert kernels.Stitcher((5, 3), channels=2).heatmap().shape == (2, 3, 5)
    assert kernels.Stitcher((5, 3), channels=1).heatmap().shape == (1, 3, 5)
    assert kernels.Stitcher((5, 3), channels=2).count.shape == (3, 5)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_order_gives_the_same_bits(dtype):
    rng = np.random.default_rng(0)
    tiles = [values(rng, (7, 8), "wide").astype(np.float32) * 2.0 ** int(e) for e in (-16, 0, 16, -8, 4)]
    x, y = [-3, 0, 2, 4, 1], [1, -2, 0, 3, 2]
    exact, _ = reference.stitch((10, 9), tiles, x, y)
    for order in itertools.permutations(range(5)):
        stitcher = kernels.Stitcher((10, 9), dtype=dtype)
        for i in order:
            stitcher.add(tiles[i], x[i], y[i])
        assert stitcher.heatmap().tobytes() == rounded(exact, dtype).tobytes()


@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("scratch", [False, True])
def test_threads_may_add_at_once(mode, scratch, tmp_path):
    rng = np.random.default_rng(1)
    tiles = values(rng, (120, 2, 9, 11), "wide").astype(np.float32)
    x, y = rng.integers(-10, 40, 120), rng.integers(-8, 30, 120)
    stitcher = kernels.Stitcher((40, 30), channels=2, mode=mode, scratch=tmp_path if scratch else None)
    planes = [reference.stitch((40, 30), tiles[:, c], x, y, mode) for c in range(2)]
    covered = planes[0][1]
    failures = []

    def work(k):
        try:
            for i in range(k, 120, 8):
                stitcher.add(tiles[i], int(x[i]), int(y[i]))
                if i % 5 == 0:
                    assert (stitcher.count <= covered).all()
                    stitcher.heatmap()
            stitcher.add(tiles[:0], [], [])
        except Exception as error:  # noqa: BLE001  (shown by the main thread)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    np.testing.assert_array_equal(stitcher.count, covered)
    for c, (exact, _) in enumerate(planes):
        np.testing.assert_array_equal(stitcher.heatmap()[c], exact.astype(np.float32))


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_a_heatmap_in_between_changes_nothing(mode):
    stitcher = kernels.Stitcher((4, 1), mode=mode)
    assert stitcher.heatmap(empty=9).tolist() == [[9, 9, 9, 9]]
    stitcher.add(np.array([[1.0, 2.0]]), 0, 0)
    first, count = stitcher.heatmap(empty=-1), stitcher.count
    assert first.tolist() == [[1, 2, -1, -1]]
    stitcher.add(np.array([[4.0, 6.0]]), 1, 0)
    assert stitcher.heatmap().tolist() == [[1, 3 if mode == "mean" else 4, 6, 0]]
    assert first.tolist() == [[1, 2, -1, -1]]  # and is nobody's view
    assert count.tolist() == [[1, 1, 0, 0]]
    count[...] = 77
    assert stitcher.count.tolist() == [[1, 2, 1, 0]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_a_cell_under_one_tile_has_the_tile_s_value(mode, dtype):
    tile = np.random.default_rng(2).normal(size=(6, 50)).astype(dtype)
    tile[0, :4] = np.nan, np.inf, -np.inf, np.finfo(dtype).tiny
    for out in ("float32", "float16"):
        stitcher = kernels.Stitcher((50, 6), mode=mode, dtype=out)
        stitcher.add(tile, 0, 0)
        np.testing.assert_array_equal(stitcher.heatmap(), tile.astype(out))


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_float16_is_rounded_once(mode):
    """By way of float32 each of these would become a tie, and the ties even."""
    tile = np.array([[1 + 2.0**-11 + 2.0**-40, 1 + 3 * 2.0**-11 - 2.0**-40, 2.0**-25 + 2.0**-60]])
    stitcher = kernels.Stitcher((3, 1), mode=mode, dtype="float16")
    stitcher.add(tile, 0, 0)
    assert stitcher.heatmap().tolist() == [[1 + 2.0**-10, 1 + 2.0**-10, 2.0**-24]]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_out_may_be_a_file_or_a_view_of_either_dtype(tmp_path, mode, dtype):
    stitcher = kernels.Stitcher((7, 5), channels=2, mode=mode)
    tiles = np.random.default_rng(3).normal(size=(3, 2, 4, 4)).astype(np.float32)
    stitcher.add(tiles, [0, 2, 5], [0, 2, -1])
    planes = [reference.stitch((7, 5), tiles[:, c], [0, 2, 5], [0, 2, -1], mode, -2)[0] for c in range(2)]
    exact = np.stack(planes).astype(dtype)
    file = np.memmap(tmp_path / "heatmap", dtype, "w+", shape=(2, 5, 7))
    assert stitcher.heatmap(file, empty=-2) is file
    file.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "heatmap", dtype).reshape(2, 5, 7), exact)
    frame = np.full((5, 7, 3), 8, dtype)
    view = np.moveaxis(frame[..., :2], -1, 0)
    assert stitcher.heatmap(out=view, empty=-2) is view
    np.testing.assert_array_equal(view, exact)
    assert (frame[..., 2] == 8).all()


@pytest.mark.parametrize("end", ["collected", "closed", "left"])
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_scratch_files_hold_the_sums_and_go(tmp_path, end, mode):
    stitcher = kernels.Stitcher((300, 200), mode=mode, scratch=tmp_path)
    tile = np.random.default_rng(4).normal(size=(50, 60)).astype(np.float32)
    stitcher.add(tile, 250, 170)
    stitcher.add(tile, 251, 170)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) >= 300 * 200 * 12
    found = stitcher.heatmap()
    exact, covered = reference.stitch((300, 200), [tile, tile], [250, 251], [170, 170], mode)
    np.testing.assert_array_equal(found, exact.astype(np.float32))
    np.testing.assert_array_equal(stitcher.count, covered)
    if end == "closed":
        stitcher.close()
    elif end == "left":
        with stitcher:
            pass
    del stitcher
    gc.collect()
    assert list(tmp_path.iterdir()) == []  # the folder itself is the caller's
    np.testing.assert_array_equal(found, exact.astype(np.float32))


def test_scratch_goes_when_the_process_ends(tmp_path):
    import subprocess
    import sys

    code = f"""
import numpy as np, fastwsi
stitcher = fastwsi.kernels.Stitcher((30, 20), scratch={str(tmp_path)!r})
stitcher.add(np.ones((2, 2)), 0, 0)
raise SystemExit(3)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")
    assert list(tmp_path.iterdir()) == []


def test_a_tile_wholly_outside_is_named_and_nothing_of_the_batch_added():
    stitcher = kernels.Stitcher((6, 5))
    tiles = np.ones((3, 2, 3), np.float32)
    for x, y in [
        ([0, 6, 1], [0, 0, 0]),
        ([0, -3, 1], [0, 0, 0]),
        ([0, 0, 1], [0, 5, 1]),
        ([0, 0, 1], [0, -2, 1]),
    ]:
        with pytest.raises(ValueError, match=r"1.*outside"):
            stitcher.add(tiles, x, y)
    with pytest.raises(ValueError, match=r"2.*outside"):
        stitcher.add(tiles, [0, 0, 60], [0, 0, 0])
    assert not stitcher.count.any()
    stitcher.add(tiles, [5, -2, 5], [4, -1, -1])  # a corner of each is inside
    assert stitcher.count.sum() == 3


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (ValueError, "size: got", lambda: kernels.Stitcher((0, 5))),
        (ValueError, "size: got", lambda: kernels.Stitcher((5, -1))),
        (TypeError, "size: got", lambda: kernels.Stitcher((5.0, 5))),
        (TypeError, "size: got", lambda: kernels.Stitcher((True, 5))),
        ((TypeError, ValueError), "size: got", lambda: kernels.Stitcher(5)),
        ((TypeError, ValueError), "size: got", lambda: kernels.Stitcher((5, 5, 5))),
        (ValueError, "channels: got 0", lambda: kernels.Stitcher((5, 5), channels=0)),
        (TypeError, r"channels: got 2\.0", lambda: kernels.Stitcher((5, 5), channels=2.0)),
        (TypeError, "channels: got True", lambda: kernels.Stitcher((5, 5), channels=True)),
        (ValueError, "mode: got 'sum', expected", lambda: kernels.Stitcher((5, 5), mode="sum")),
        (TypeError, "dtype: got float64, expected", lambda: kernels.Stitcher((5, 5), dtype="float64")),
        (TypeError, "dtype: got ", lambda: kernels.Stitcher((5, 5), dtype="fast")),
        (TypeError, "like: got list", lambda: kernels.Stitcher((5, 5), like=[1])),
    ],
)
def test_wrong_stitchers(error, message, make):
    with pytest.raises(error, match=f"^{message}"):
        make()


def test_scratch_is_numpy_s_and_must_exist(tmp_path):
    with pytest.raises(ValueError, match="scratch: got"):
        kernels.Stitcher((5, 5), like=torch.zeros(1), scratch=tmp_path)
    with pytest.raises(ValueError, match=r"scratch: got .*nowhere.*, expected an existing folder"):
        kernels.Stitcher((5, 5), scratch=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_wrong_tiles_and_outputs():
    stitcher, planes = kernels.Stitcher((5, 4)), kernels.Stitcher((5, 4), channels=2)
    tile = np.ones((2, 2), np.float32)
    for wrong in (tile[0], tile[None, None]):
        with pytest.raises(ValueError, match=r"^tiles: got shape"):
            stitcher.add(wrong, 0, 0)
    for wrong in (tile, tile[None], np.ones((3, 3, 2, 2), np.float32)):
        with pytest.raises(ValueError, match=r"^tiles: got shape"):
            planes.add(wrong, 0, 0)
    with pytest.raises(TypeError, match=r"^tiles: got dtype int64, expected"):
        stitcher.add(tile.astype(int), 0, 0)
    with pytest.raises(ValueError, match=r"^out: got shape \(5, 4\), expected \(4, 5\)"):
        stitcher.heatmap(np.zeros((5, 4), np.float32))
    with pytest.raises(TypeError, match=r"^out: got dtype float64, expected"):
        stitcher.heatmap(np.zeros((4, 5)))
    frozen = np.zeros((4, 5), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match=r"^out: got a read-only array"):
        stitcher.heatmap(frozen)
    assert not stitcher.count.any()
    assert not planes.count.any()
