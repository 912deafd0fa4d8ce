"""What a scan of one slide comes to: heatmap, detections and score, in memory and in files."""

from __future__ import annotations

import functools
import json
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers
from fastwsi._files import write_atomically
from fastwsi._png import write_png
from fastwsi._version import __version__
from fastwsi.data import ResultPaths, read_detections, write_detections
from fastwsi.data.slide_results import FORMAT, VERSION, digest, read_summary
from fastwsi.engine.cells import CellGrid, Exact, Floats, Pair, numbers, two
from fastwsi.engine.likelihood_map import Heatmap, checked, read_likelihood_map, write_likelihood_map
from fastwsi.engine.overlay import draw_overlay
from fastwsi.engine.qupath import write_detections_geojson
from fastwsi.kernels import nms
from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FILES = ("likelihood_map", "detections", "geojson")
_PACKAGES = ("numpy", "torch")


@dataclass(frozen=True, eq=False, repr=False)
class SlideResult:
    """A slide's heatmap, detections and score; `SlideResult.of` makes it from a heatmap.

    Attributes
    ----------
    name : str
        The slide's, which its files are called by.
    heatmap : float32 array, shape (rows, columns)
        Scores of cells, at least 0; NaN where nothing was scanned. Read-only.
    scale : (float, float)
        Level-0 pixels that a cell spans, along x and y; exact, not rounded.
    slide_size : (int, int)
        Width and height at level 0.
    detections : float64 array, shape (n, 3)
        Score, x and y at level 0, best first; in the middle of their cells, or of what of them lies on the
        slide. Read-only.
    score : float
        The slide's.
    offset : (float, float)
        The level-0 place of the corner of cell (0, 0): the patch of cell (row, column) has its centre at
        ``offset + ((column, row) + 0.5) * scale``.
    mpp : (float, float) or None
        Micrometres per level-0 pixel along x and y, where they are known. One number stands for both.
    bounds : (int, int)
        Where the scanned part of level 0 begins, which is where QuPath begins to count (MRXS has it).
    remarks : tuple of str
        What there is to say of the scan that the score does not tell, such as that no tissue was found.
    settings, versions : dict
        How the scan was done, as JSON has it; and with what.

    Examples
    --------
    >>> import tempfile
    >>> heatmap = np.zeros((5, 8), np.float32)
    >>> heatmap[1, 6], heatmap[4, 7] = 0.75, np.nan
    >>> result = SlideResult.of(heatmap, name="tumor_001", scale=128, slide_size=(1000, 600), radius=2,
    ...                         threshold=0.5, mpp=0.25)
    >>> result, result.detections.tolist()
    (<SlideResult tumor_001: 8 x 5 cells, score 0.7500, 1 detection>, [[0.75, 832.0, 192.0]])
    >>> folder = Path(tempfile.mkdtemp())
    >>> result.save(folder).summary.name
    'tumor_001.json'
    >>> SlideResult.load(folder, "tumor_001") == result
    True
    """

    name: str
    heatmap: Heatmap
    scale: Exact
    slide_size: Pair
    detections: Floats
    score: float
    offset: Exact = (0.0, 0.0)
    mpp: Exact | None = None
    bounds: Pair = (0, 0)
    remarks: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cells = checked(self.heatmap)
        grid = CellGrid(_both(self.scale), self.offset, self.slide_size)
        grid.check((cells.shape[1], cells.shape[0]))
        mpp = None if self.mpp is None else numbers(_both(self.mpp), "mpp")
        if mpp is not None and min(mpp) <= 0:
            raise ValueError(f"mpp: got {min(mpp)}, expected micrometres per pixel, more than 0")
        x, y = (_numbers.whole(value, "bounds") for value in two(self.bounds, "bounds"))
        values = {
            "name": checked_name(self.name),
            "heatmap": _read_only(cells),
            "scale": grid.scale,
            "offset": grid.offset,
            "slide_size": grid.slide_size,
            "detections": _read_only(_points(self.detections)),
            "score": _numbers.finite(self.score, "score", 0),
            "mpp": mpp,
            "bounds": (x, y),
            "remarks": tuple(map(str, self.remarks)),
            "settings": _as_json(self.settings, "settings"),
            "versions": _as_json(self.versions, "versions"),
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @classmethod
    def of(
        cls,
        heatmap: Any,
        *,
        name: str,
        scale: float | Exact,
        slide_size: Pair,
        radius: float,
        threshold: float,
        offset: Exact = (0.0, 0.0),
        mpp: float | Exact | None = None,
        bounds: Pair = (0, 0),
        remarks: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> SlideResult:
        """Return the result of a heatmap: its peaks are the detections, its maximum the slide's score.

        Parameters
        ----------
        heatmap : float32 array, shape (rows, columns)
            NaN where nothing was scanned. A slide of which nothing was has the score 0.
        name, scale, slide_size, offset, mpp, bounds, remarks
            As the attributes.
        radius : float
            How far a peak suppresses others, in cells.
        threshold : float
            Peaks strictly above it are detections.
        settings : mapping, optional
            What JSON has. The peaks' radius and threshold are put beside it, as ``nms``.
        versions : mapping, optional
            Default: of this package, Python, numpy and torch.
        """
        cells = checked(heatmap)
        peaks = nms(cells, radius, threshold)
        grid = CellGrid(_both(scale), offset, slide_size)
        points = np.column_stack([peaks["score"].astype(np.float64), grid.places(peaks["x"], peaks["y"])])
        how = {"nms": {"radius": float(radius), "threshold": float(threshold)}}
        return cls(
            name=name,
            heatmap=cells,
            scale=grid.scale,
            slide_size=grid.slide_size,
            detections=points,
            score=float(np.nanmax(cells)) if not np.isnan(cells).all() else 0.0,
            offset=grid.offset,
            mpp=None if mpp is None else numbers(_both(mpp), "mpp"),
            bounds=bounds,
            remarks=tuple(remarks),
            settings={**(settings or {}), **how},
            versions=dict(_versions() if versions is None else versions),
        )

    @property
    def grid(self) -> CellGrid:
        """Where the cells lie."""
        return CellGrid(self.scale, self.offset, self.slide_size)

    @property
    def scanned(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which cells were scanned, shape (rows, columns)."""
        return ~np.isnan(self.heatmap)

    def save(self, folder: str | Path) -> ResultPaths:
        """Write the slide's four files, and return where they are; the same result gives the same bytes.

        Each is whole or not there, and ``<slide>.json`` comes last: where it is, the slide is done. A former
        one goes first, so that a run that is killed never leaves it beside files of another scan.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = ResultPaths.of(folder, self.name)
        paths.summary.unlink(missing_ok=True)
        write_likelihood_map(paths.likelihood_map, self.heatmap, self.grid, name=self.name, mpp=self.mpp)
        write_detections(paths.detections, self.detections)
        write_detections_geojson(paths.geojson, self.detections, name=self.name, bounds=self.bounds)
        files = {kind: getattr(paths, kind) for kind in _FILES}
        told = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "score": self.score,
            "n_detections": len(self.detections),
            "n_scanned": int(self.scanned.sum()),
            "cells": self.heatmap.shape[::-1],
            "scale": self.scale,
            "offset": self.offset,
            "slide_size": self.slide_size,
            "mpp": self.mpp,
            "bounds": self.bounds,
            "remarks": self.remarks,
            "settings": self.settings,
            "versions": self.versions,
            "files": {kind: {"name": path.name, "sha256": digest(path)} for kind, path in files.items()},
        }
        write_atomically(paths.summary, json.dumps(told, indent=2, sort_keys=True, allow_nan=False) + "\n")
        return paths

    @classmethod
    def load(cls, folder: str | Path, name: str) -> SlideResult:
        """Return the result that `save` wrote to a folder; SlideError names the file that is not right."""
        paths = ResultPaths.of(folder, checked_name(name))
        told = read_summary(paths.summary)
        try:
            for kind in ("likelihood_map", "detections"):
                path = getattr(paths, kind)
                if not path.is_file():
                    raise SlideError(path, f"is missing beside {paths.summary.name}")
                if digest(path) != told["files"][kind]["sha256"]:
                    raise SlideError(path, f"is not, or no longer, what {paths.summary.name} was written for")
            found = read_likelihood_map(paths.likelihood_map)
            result = cls(
                name=told["name"],
                heatmap=found.heatmap,
                scale=told["scale"],
                slide_size=told["slide_size"],
                detections=read_detections(paths.detections),
                score=told["score"],
                offset=told["offset"],
                mpp=told["mpp"],
                bounds=told["bounds"],
                remarks=tuple(told.get("remarks", ())),  # results of before there were any have none
                settings=told["settings"],
                versions=told["versions"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SlideError(paths.summary, f"is damaged: {error}") from None
        if (result.name, result.grid) != (name, found.grid):
            raise SlideError(paths.summary, f"is of {result.name!r}, or of another scan than the map")
        return result

    def overlay(self, slide: Any = None, **options: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return a picture of the slide with its heatmap and detections, uint8 RGB; see `draw_overlay`."""
        title = f"{self.name}   score {self.score:.3f}"
        if options.get("threshold"):
            title += f"   detections above {options['threshold']:g}"
        return draw_overlay(self.heatmap, self.grid, self.detections, slide, **{"title": title, **options})

    def save_overlay(self, path: str | Path, slide: Any = None, **options: Any) -> None:
        """Write `overlay` as a PNG file."""
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise ValueError(f"path: got {path.name!r}, expected a name that ends in .png")
        write_png(path, self.overlay(slide, **options))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SlideResult):
            return NotImplemented
        arrays = ("heatmap", "detections")
        others = [key for key in self.__dataclass_fields__ if key not in arrays]
        return all(getattr(self, key) == getattr(other, key) for key in others) and all(
            np.array_equal(getattr(self, key), getattr(other, key), equal_nan=True) for key in arrays
        )

    __hash__ = None  # type: ignore[assignment]  # equal by its arrays, as arrays are

    def __repr__(self) -> str:
        rows, columns = self.heatmap.shape
        count = len(self.detections)
        return (
            f"<SlideResult {self.name}: {columns} x {rows} cells, score {self.score:.4f}, "
            f"{count} detection{'' if count == 1 else 's'}>"
        )


def checked_name(name: Any) -> str:
    """Return a slide's name; ValueError unless files can be called by it.

    Examples
    --------
    >>> checked_name("tumor_001")
    'tumor_001'
    """
    text = name if isinstance(name, str) else ""
    if not text.strip() or text.startswith(".") or set("/\\") & set(text) or not text.isprintable():
        raise ValueError(f"name: got {name!r}, expected a slide's name that files can have, without a folder")
    return text


def _both(value: Any) -> Any:
    """Return two of one number; what is two already stays."""
    return value if isinstance(value, (tuple, list)) else (value, value)


def _points(detections: Any) -> Floats:
    found = np.asarray(detections, np.float64)
    if found.size == 0:
        found = found.reshape(0, 3)
    if found.ndim != 2 or found.shape[1] != 3:
        raise ValueError(f"detections: got shape {found.shape}, expected (n, 3): score, x and y")
    if not np.isfinite(found).all() or (found[:, 0] < 0).any():
        raise ValueError("detections: got what is not finite or a score below 0, expected scores and places")
    return found


def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    view: np.ndarray[Any, Any] = array.view()
    view.flags.writeable = False
    return view


def _as_json(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a dictionary as it comes back from a file."""
    try:
        found = json.loads(json.dumps(dict(values), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name}: got {values!r}, expected what JSON has: {error}") from None
    return dict(found)


@functools.cache
def _versions() -> dict[str, str]:
    found = {"fastwsi": __version__, "python": sys.version.split()[0]}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
