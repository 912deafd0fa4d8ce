"""Heatmaps put together from tiles that overlap and arrive in any order."""

from __future__ import annotations

import inspect
import math
import os
import shutil
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastwsi import _arrays, _devices, _files, _numbers
from fastwsi.kernels.graph_breaks import outside_graphs
from fastwsi.kernels.stitch_sums import accumulate, finish, heatmap_dtype, is_maximum

if TYPE_CHECKING:
    from collections.abc import Sequence

_accumulate = inspect.unwrap(accumulate)  # add has left the graph already
_MAX_SIDE = 2**31 - 1  # of what the kernels take


class Stitcher:
    """A heatmap from tiles: the mean, or the maximum, of all that cover a cell.

    A cell under one tile has exactly the tile's value. The result does not depend on the order in which tiles
    arrive, nor on batches or threads: sums lose nothing while the values of a cell lie within a factor of
    2^60 of each other, as predictions do (float64 tiles: of 2^30), no sum of some of them passes 1.8e308, and
    no more than 4096 tiles cover it. Beyond that, the last bits of a mean may depend on the order; a maximum
    never does.

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
        Their space is taken at once, OSError where the disk has not enough. They go when the Stitcher is
        closed or collected. None keeps them in memory.

    Notes
    -----
    A cell takes 4 bytes and 8 per channel, and means another 8 per channel: in memory, which is taken as
    tiles arrive, only where a sum has been rounded. Any thread may call any method; a forked process none of
    a Stitcher made before the fork. On a GPU, work is queued on the caller's stream, after what has been
    queued here before on whichever stream. Under torch.compile the methods break the graph.

    Examples
    --------
    >>> stitcher = fastwsi.kernels.Stitcher((3, 1))
    >>> stitcher.add(np.array([[1, 2]], np.float32), 0, 0)
    >>> stitcher.add(np.array([[4, 5]], np.float16), 1, 0)
    >>> stitcher.heatmap(), stitcher.count
    (array([[1., 3., 5.]], dtype=float32), array([[1, 2, 1]], dtype=int32))
    """

    @outside_graphs
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
        planes = () if channels is None else (_numbers.whole(channels, "channels", 1),)
        self._maximum = is_maximum(mode)
        self._dtype = heatmap_dtype(dtype)
        place = np.empty(0, np.float32) if like is None else like
        _devices.device_name(place, "like")
        # Only the framework and the device are kept, not the memory of `like`.
        self._like = _arrays.empty(place, (0,), "float32")
        self._shape = (*planes, height, width)
        # float64 for maxima too: those of float64 tiles are rounded to the heatmap's dtype only once.
        shape = self._shape if self._maximum else (2, *self._shape)
        needed = 8 * math.prod(shape) + 4 * width * height
        if max(width, height) > _MAX_SIDE or needed > sys.maxsize:
            raise ValueError(
                f"size: got {width} x {height} cells, which take {needed} bytes; expected sides of at most "
                f"{_MAX_SIDE} and {sys.maxsize} bytes"
            )
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._release: Any
        self._open = True
        if scratch is not None:
            if _arrays.framework_of(place, "like") != "numpy":
                raise ValueError(
                    f"scratch: got a folder for {_where(place)}, expected None: files are for numpy"
                )
            if not Path(scratch).is_dir():
                raise ValueError(f"scratch: got {str(scratch)!r}, expected an existing folder")
            folder = _reserved(
                Path(scratch), {"state": needed - 4 * width * height, "count": 4 * width * height}
            )
            self._release = weakref.finalize(self, _remove, folder, self._process)
            self._state: Any = np.memmap(folder / "state", np.float64, "r+", shape=shape)
            self._count: Any = np.memmap(folder / "count", np.int32, "r+", shape=(height, width))
            self._order = _devices.StreamOrder(self._count)
            return
        try:
            self._state = _devices.zeros(place, shape, "float64")
            self._count = _devices.zeros(place, (height, width), "int32")
        except MemoryError:
            raise MemoryError(
                f"size: got {width} x {height} cells, which take {needed} bytes; expected what memory holds"
            ) from None
        self._order = _devices.StreamOrder(self._count)
        self._release = weakref.finalize(self, _let_go, self._order, self._process)
        self._release.atexit = False  # then the driver may be gone

    @outside_graphs
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
        with self._alone(), self._turn():
            _accumulate(self._state, self._count, tiles, x, y, mode="max" if self._maximum else "mean")

    @property
    @outside_graphs
    def count(self) -> Any:
        """Tiles over each cell, now: a new int32 array of shape (height, width)."""
        with self._alone(), self._turn():
            return _devices.snapshot(self._count, self._like)

    @outside_graphs
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
        with self._alone(), self._turn():
            if out is None:
                out = _arrays.empty(self._like, self._shape, self._dtype)
            return finish(self._state, self._count, out, self._shape, empty, maximum=self._maximum)

    @outside_graphs
    def close(self) -> None:
        """Give the sums' memory back, and remove their files; in a forked process, do nothing.

        Heatmaps made before stay.

        Examples
        --------
        >>> stitcher = fastwsi.kernels.Stitcher((2, 1))
        >>> stitcher.close()
        """
        if os.getpid() != self._process:
            return
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

    def _alone(self) -> threading.Lock:
        """Return the lock; raise in a forked process, where nobody may be left who could open it."""
        if os.getpid() != self._process:
            raise RuntimeError(
                "Stitcher: got a call in a forked process, whose tiles the first would never see, or would "
                "find in its files; expected a Stitcher of its own, or tiles sent to the first"
            )
        return self._lock

    def _turn(self) -> _devices.StreamOrder:
        """Return the order of work on the sums; raise where they are gone."""
        if not self._open:
            raise ValueError("Stitcher: got a call after close(), expected none")
        return self._order


def _reserved(scratch: Path, sizes: dict[str, int]) -> Path:
    """Return a new folder with files of these sizes; leave nothing where the disk has no space for them."""
    folder = Path(tempfile.mkdtemp(prefix="fastwsi-stitch-", dir=scratch))
    try:
        for name, size in sizes.items():
            _files.reserve(folder / name, size)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        needed, free = sum(sizes.values()), shutil.disk_usage(scratch).free
        raise OSError(
            error.errno,
            f"scratch: got {str(scratch)!r} with {free} bytes free, expected {needed} for the sums "
            f"({error.strerror})",
        ) from error
    return folder


def _let_go(order: _devices.StreamOrder, process: int) -> None:
    if os.getpid() == process:  # a fork cannot use the first's GPU
        order.release()


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a fork must not take the files from its parent
        shutil.rmtree(folder, ignore_errors=True)


def _where(array: Any) -> str:
    return f"{_arrays.framework_of(array, 'like')}, {_devices.device_name(array, 'like')}"


def _pair(size: Any) -> tuple[int, int]:
    try:
        width, height = size
    except (TypeError, ValueError):
        raise TypeError(f"size: got {size!r}, expected (width, height)") from None
    return _numbers.whole(width, "size", 1), _numbers.whole(height, "size", 1)
