"""Heatmaps put together from tiles that overlap and arrive in any order."""

from __future__ import annotations

import operator
import os
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastwsi import _arrays, _devices
from fastwsi.kernels.stitch_sums import accumulate, finish, heatmap_dtype, is_maximum

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stitcher:
    """A heatmap from tiles: the mean, or the maximum, of all that cover a cell.

    The result does not depend on the order in which tiles arrive, nor on batches or threads: sums lose
    nothing (see `accumulate`). A cell under one tile has exactly the tile's value.

    Parameters
    ----------
    size : (int, int)
        Width and height of the heatmap in cells.
    channels : int, optional
        Of the heatmap and of the tiles; None for maps without that axis.
    mode : "mean" or "max"
        NaN gives NaN in both.
    dtype : "float32" or "float16"
        Of the heatmap.
    like : array, optional
        Whose framework answers, and on whose device the sums are; numpy by default.
    scratch : path, optional
        Folder in which to keep the sums as files, for heatmaps that do not fit into memory; numpy alone.
        They go when the Stitcher is closed or collected. None keeps them in memory.

    Notes
    -----
    A cell takes 12 bytes, 8 of them for each channel, and means another 8 per channel where a sum has been
    rounded; memory and disk are taken as tiles arrive. Any thread may call any method. On a GPU, work is
    queued on the caller's stream, after what has been queued here before on whichever stream.

    Examples
    --------
    >>> stitcher = fastwsi.kernels.Stitcher((3, 1))
    >>> stitcher.add(np.array([[1, 2]], np.float32), 0, 0)
    >>> stitcher.add(np.array([[4, 5]], np.float16), 1, 0)
    >>> stitcher.heatmap(), stitcher.count
    (array([[1., 3., 5.]], dtype=float32), array([[1, 2, 1]], dtype=int32))
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        channels: int | None = None,
        mode: str = "mean",
        dtype: str = "float32",
        like: Any = None,
        scratch: str | os.PathLike[str] | None = None,
    ) -> None:
        width, height = _pair(size)
        planes = () if channels is None else (_at_least_one(channels, "channels"),)
        self._maximum = is_maximum(mode)
        self._dtype = heatmap_dtype(dtype)
        place = np.empty(0, np.float32) if like is None else like
        _devices.device_name(place, "like")
        # Only the framework and the device are kept, not the memory of `like`.
        self._like = _arrays.empty(place, (0,), "float32")
        self._shape = (*planes, height, width)
        # float64 for maxima too: those of float64 tiles are rounded to the heatmap's dtype only once.
        shape = self._shape if self._maximum else (2, *self._shape)
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._on_disk = scratch is not None
        self._release: Any
        self._open = True
        if scratch is not None:
            if _arrays.framework_of(place, "like") != "numpy":
                raise ValueError(
                    f"scratch: got a folder for {_where(place)}, expected None: files are for numpy"
                )
            if not Path(scratch).is_dir():
                raise ValueError(f"scratch: got {str(scratch)!r}, expected an existing folder")
            folder = Path(tempfile.mkdtemp(prefix="fastwsi-stitch-", dir=scratch))
            self._release = weakref.finalize(self, _remove, folder, self._process)
            self._state: Any = np.memmap(folder / "state", np.float64, "w+", shape=shape)
            self._count: Any = np.memmap(folder / "count", np.int32, "w+", shape=(height, width))
            self._order = _devices.StreamOrder(self._count)
            return
        self._state = _devices.zeros(place, shape, "float64")
        self._count = _devices.zeros(place, (height, width), "int32")
        self._order = _devices.StreamOrder(self._count)
        self._release = weakref.finalize(self, self._order.release)
        self._release.atexit = False  # then the driver may be gone

    def add(self, tiles: Any, x: int | Sequence[int], y: int | Sequence[int]) -> None:
        """Lay one tile, or a batch of them, on the heatmap.

        Parameters
        ----------
        tiles : float32, float16, bfloat16 or float64 array, shape (h, w) or (batch, h, w)
            (channels, h, w) or (batch, channels, h, w) with channels. On the heatmap's device; what hangs
            over its borders is dropped.
        x, y : int, or one for each tile of a batch
            Column and row of the tile's top left cell. ValueError for a tile wholly outside, and then none
            of the batch is added.

        Examples
        --------
        >>> stitcher = fastwsi.kernels.Stitcher((4, 4), channels=2)
        >>> stitcher.add(np.ones((3, 2, 2, 2), np.float32), [0, 1, 2], [-1, 0, 3])
        >>> int(stitcher.count.sum())
        8
        """
        with self._lock, self._turn():
            accumulate(self._state, self._count, tiles, x, y, mode="max" if self._maximum else "mean")

    @property
    def count(self) -> Any:
        """Tiles over each cell, now: a new int32 array of shape (height, width)."""
        with self._lock, self._turn():
            return _devices.snapshot(self._count, self._like)

    def heatmap(self, out: Any = None, empty: float = 0.0) -> Any:
        """Return the mean or the maximum of the tiles that were added so far; more may be added later.

        Parameters
        ----------
        out : float32 or float16 array, shape (height, width) or (channels, height, width), optional
            Where to write, in any memory layout; a memory-mapped file, for one.
        empty : float
            The value of cells without a tile.

        Returns
        -------
        array
            ``out``, or a new array of the Stitcher's dtype. Computed in float64 and rounded once.

        Examples
        --------
        >>> stitcher = fastwsi.kernels.Stitcher((2, 1), mode="max", dtype="float16")
        >>> stitcher.add(np.array([[0.5]]), 0, 0)
        >>> stitcher.heatmap(empty=np.nan)
        array([[0.5, nan]], dtype=float16)
        """
        with self._lock, self._turn():
            if out is None:
                out = _arrays.empty(self._like, self._shape, self._dtype)
            return finish(self._state, self._count, out, self._shape, empty, maximum=self._maximum)

    def close(self) -> None:
        """Give the sums' memory back, and remove their files. Heatmaps made before stay.

        Examples
        --------
        >>> stitcher = fastwsi.kernels.Stitcher((2, 1))
        >>> stitcher.close()
        """
        with self._lock:
            self._open = False
            self._release()  # before the memory goes, which other streams may still be using
            self._state = self._count = None

    def __enter__(self) -> Stitcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        mode = "max" if self._maximum else "mean"
        return f"Stitcher({self._shape[-1]} x {self._shape[-2]}, {mode}, {self._dtype}, {_where(self._like)})"

    def __reduce_ex__(self, _: Any) -> NoReturn:
        raise TypeError(
            "Stitcher: cannot be pickled or copied, as its sums are no value; send heatmap() instead"
        )

    def _turn(self) -> _devices.StreamOrder:
        """Return the order of work on the sums; raise where they cannot be used."""
        if not self._open:
            raise ValueError("Stitcher: got a call after close(), expected none")
        if self._on_disk and os.getpid() != self._process:
            raise RuntimeError(
                "Stitcher: got a call in a forked process, whose writes would change the files of the first; "
                "expected a Stitcher of its own"
            )
        return self._order


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a fork must not take the files from its parent
        shutil.rmtree(folder, ignore_errors=True)


def _where(array: Any) -> str:
    return f"{_arrays.framework_of(array, 'like')}, {_devices.device_name(array, 'like')}"


def _at_least_one(value: Any, name: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: got {value!r}, expected an integer")
    if number < 1:
        raise ValueError(f"{name}: got {number}, expected at least 1")
    return number


def _pair(size: Any) -> tuple[int, int]:
    try:
        width, height = size
    except (TypeError, ValueError):
        raise TypeError(f"size: got {size!r}, expected (width, height)") from None
    return _at_least_one(width, "size"), _at_least_one(height, "size")
