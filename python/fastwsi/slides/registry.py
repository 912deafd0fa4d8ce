"""Which backend reads a file: a table, asked from the top, and who said no and why."""

from __future__ import annotations

import importlib
import importlib.util
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi.slides.errors import SlideError, Unsuited

if TYPE_CHECKING:
    from fastwsi.slides.backend import Backend, Options


@dataclass(frozen=True)
class Row:
    """A backend: its name, where its class is, and the package that it needs."""

    name: str
    module: str
    kind: str
    requires: str = "numpy"


ROWS = (
    Row("zarr", "fastwsi.slides.zarr_backend", "ZarrBackend", "zarr"),
    Row("tiff", "fastwsi.slides.tiff_backend", "TiffBackend", "imagecodecs"),
    Row("openslide", "fastwsi.slides.openslide_backend", "OpenSlideBackend", "openslide"),
    Row("image", "fastwsi.slides.image_backend", "ImageBackend", "PIL"),
    Row("fastslide", "fastwsi.slides.fastslide_backend", "FastSlideBackend", "fastslide"),
    Row("cucim", "fastwsi.slides.cucim_backend", "CucimBackend", "cucim"),
    Row("tiffslide", "fastwsi.slides.tiffslide_backend", "TiffSlideBackend", "tiffslide"),
    Row("wsidicom", "fastwsi.slides.wsidicom_backend", "WsiDicomBackend", "wsidicom"),
)


_PIP = {"openslide": "openslide-python openslide-bin", "PIL": "Pillow", "cucim": "cucim-cu13"}
_REMOTE = "tiffslide"
_SLIDE_SUFFIXES = frozenset({
    ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi", ".dcm", ".isyntax",
})  # fmt: skip
_FOLDER_MARKS = ("zarr.json", ".zgroup", ".zarray")  # of slides that are folders


def backends() -> tuple[str, ...]:
    """Return the names of the readers that there are, in the order in which they are asked.

    Examples
    --------
    >>> fastwsi.slides.backends()[:3]
    ('zarr', 'tiff', 'openslide')
    """
    return tuple(row.name for row in ROWS)


@dataclass(frozen=True)
class Choice:
    """An open backend, its name, and those asked before it with their reasons."""

    backend: Backend
    name: str
    passed_over: tuple[tuple[str, str], ...]


def choose(path: Path | str, wanted: str, options: Options) -> Choice:
    """Open a file with the backend that is wanted, or with the first that reads it."""
    if isinstance(path, str):  # a URL
        return _choose_remote(path, wanted, options)
    _check_file(path)
    if wanted != "auto":
        return _named(path, wanted, options)
    refused: list[tuple[str, Unsuited]] = []
    for row in ROWS:
        answer = _asked(row, path, options)
        if isinstance(answer, Unsuited):
            refused.append((row.name, answer))
        elif row.name == "image" and path.suffix.lower() in _SLIDE_SUFFIXES:
            answer.close()
            raise SlideError(path, f"is a {answer.detail} with a scanner's suffix; backend='image' opens it")
        else:
            return Choice(answer, row.name, tuple((name, str(reason)) for name, reason in refused))
    damage = next((str(reason) for _, reason in refused if reason.broken), None)
    told = "; ".join(f"{name}: {reason}" for name, reason in refused)
    raise SlideError(path, damage or f"no slide that can be read ({told})")


def _asked(row: Row, path: Path, options: Options) -> Backend | Unsuited:
    try:
        return _opened(row, path, options)
    except Unsuited as reason:
        return reason


def _choose_remote(url: str, wanted: str, options: Options) -> Choice:
    if wanted not in ("auto", _REMOTE):
        raise SlideError(url, f"backend {wanted!r} reads files; URLs are read by {_REMOTE!r}")
    return _named(url, _REMOTE, options)


def _named(path: Path | str, wanted: str, options: Options) -> Choice:
    row = next(row for row in ROWS if row.name == wanted)
    try:
        return Choice(_opened(row, path, options), row.name, ())
    except Unsuited as error:
        raise SlideError(path, f"backend {wanted!r} does not read it: {error}") from None


def _opened(row: Row, path: Path | str, options: Options) -> Backend:
    if importlib.util.find_spec(row.requires) is None:
        raise Unsuited(f"{row.requires} is not installed: pip install {_PIP.get(row.requires, row.requires)}")
    try:
        kind = getattr(importlib.import_module(row.module), row.kind)
        backend: Backend = kind(path, options)
    except ImportError as error:  # it is installed, and broken
        raise Unsuited(f"{row.requires} does not import: {error}") from None
    except OSError as error:
        raise SlideError(path, _os_reason(error)) from None
    return backend


def _check_file(path: Path) -> None:
    """Refuse what no backend should touch: a pipe would be waited for without end."""
    try:
        status = path.stat()
    except OSError as error:
        raise SlideError(path, _os_reason(error)) from None
    if stat.S_ISDIR(status.st_mode):
        dicom = next(path.glob("*.dcm"), None) is not None
        if not dicom and not any((path / name).exists() for name in _FOLDER_MARKS):
            raise SlideError(path, "is a directory, no slide")
        return
    if not stat.S_ISREG(status.st_mode):
        raise SlideError(path, "is no regular file")
    if status.st_size == 0:
        raise SlideError(path, "the file is empty")
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise SlideError(path, _os_reason(error)) from None


def _os_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "may not be read: permission denied"
    return error.strerror or str(error)


def located(source: Any) -> Any:
    """Return where a slide is: a path, or a URL or an array as it is."""
    if isinstance(source, str) and "://" in source:
        return source
    if isinstance(source, (str, os.PathLike)):
        return Path(source).expanduser()
    if source is None or isinstance(source, bytes):
        raise TypeError(f"source: got {type(source).__name__}, expected a path, a URL or an array")
    return source
