"""What of a run over slides is done, what failed, and what another process is at: all in one folder."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi._files import write_atomically
from fastwsi.data import ResultPaths
from fastwsi.data.slide_results import read_summary
from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastwsi.data import SlideRecord

_ENDS = 1 << 16  # bytes of a file's beginning and end by which it is known


def about(record: SlideRecord) -> dict[str, Any]:
    """Return by what a slide is known again: two of one name are two."""
    found: dict[str, Any] = {"mpp": record.mpp}
    if record.path.is_file():
        found["bytes"] = record.path.stat().st_size
        with record.path.open("rb") as file:
            ends = file.read(_ENDS)
            file.seek(max(0, found["bytes"] - _ENDS))
            found["ends"] = hashlib.sha256(ends + file.read(_ENDS)).hexdigest()[:16]
    return found


class NotDoneError(ValueError):
    """There is a summary of a slide's, and it is broken, or of another slide of that name."""


def summary_if_done(record: SlideRecord, folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return a slide's summary if its results are there, all of them, made with these settings.

    ValueError where they were made with others; `NotDoneError` where it is the slide that is not as it was.
    """
    paths = ResultPaths.of(folder, record.name)
    if not paths.summary.exists():
        return None
    try:
        summary = read_summary(paths.summary)
    except SlideError as error:
        raise NotDoneError(f"{error}; --overwrite replaces it") from None
    changed = _changes(summary.get("settings"), {**settings, "slide": about(record)})
    if changed:
        what = ", ".join(f"{name} was {one}, and is to be {other}" for name, (one, other) in changed.items())
        other_slide = all(name.startswith("slide.") for name in changed)
        raise (NotDoneError if other_slide else ValueError)(
            f"{paths.summary}: was made otherwise: {what}; --overwrite replaces it, another --out keeps "
            f"both{_as_before(changed)}"
        )
    others = (paths.likelihood_map, paths.detections, paths.geojson)
    return summary if all(path.is_file() for path in others) else None


def forget(folder: Path, name: str) -> None:
    """Take away what says that a slide is done, its picture, and what killed runs left half written.

    Only for whoever has claimed the slide.
    """
    paths = ResultPaths.of(folder, name)
    picture = overlay_of(folder, name)
    paths.summary.unlink(missing_ok=True)
    picture.unlink(missing_ok=True)
    for path in (paths.likelihood_map, paths.detections, paths.geojson, paths.summary, picture):
        for left in folder.glob(f".{glob.escape(path.name)}.*"):
            left.unlink(missing_ok=True)


def overlay_of(folder: Path, name: str) -> Path:
    """Return where a slide's picture is.

    Examples
    --------
    >>> overlay_of(Path("results"), "tumor_001").name
    'tumor_001_overlay.png'
    """
    return folder / f"{name}_overlay.png"


def _changes(before: Any, now: Any) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, by names such as scan.stride, with both values."""
    one, other = dict(_flat(before)), dict(_flat(now))
    return {
        name: (one.get(name), other.get(name))
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    }


def _flat(values: Any, prefix: str = "settings") -> Iterator[tuple[str, Any]]:
    if isinstance(values, (dict, list)):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from _flat(value, str(key) if prefix == "settings" else f"{prefix}.{key}")
    else:
        yield prefix, values


def _as_before(changed: dict[str, tuple[Any, Any]]) -> str:
    """Return how to ask for the former settings of a scan, if nothing else changed: they may be a GPU's."""
    asked = []
    for name, (one, _) in changed.items():
        section, _, setting = name.partition(".")
        if section not in ("scan", "nms") or one is None:
            return ""
        text = one if isinstance(one, str) else json.dumps(one)
        asked.append(f"--set {'nms_' if section == 'nms' else ''}{setting}={text}")
    return f", {' '.join(asked)} goes on with it"


@contextmanager
def claimed(folder: Path, name: str) -> Iterator[bool]:
    """Keep others from a slide; give False where another is at it."""
    path = folder / f".{name}.lock"
    while True:
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                yield False
                return
            try:
                if not (path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino):
                    continue  # who had it before has just taken it away
                yield True
                return
            finally:
                if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                    path.unlink()


def keep_failure(folder: Path, name: str, reason: str | None) -> None:
    """Write why a slide failed to ``<slide>_failed.txt``; None takes it away."""
    path = folder / f"{name}_failed.txt"
    if reason is None:
        path.unlink(missing_ok=True)
    else:
        write_atomically(path, reason + "\n")
