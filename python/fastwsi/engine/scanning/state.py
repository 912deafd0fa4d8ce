"""What of a run over slides is done, what failed, and what another process is at: all in one folder."""

from __future__ import annotations

import fcntl
import hashlib
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


def score_if_done(record: SlideRecord, folder: Path, settings: dict[str, Any]) -> float | None:
    """Return a slide's score if its results are there, all of them, made with these settings.

    ValueError where they were made with others, or of another slide of that name.
    """
    paths = ResultPaths.of(folder, record.name)
    if not paths.summary.exists():
        return None
    try:
        summary = read_summary(paths.summary)
    except SlideError as error:
        raise ValueError(f"{error}; --overwrite replaces it") from None
    changed = _changes(summary.get("settings"), {**settings, "slide": about(record)})
    if changed:
        raise ValueError(
            f"{paths.summary}: was made otherwise: {changed}; --overwrite replaces it, another --out keeps "
            "both"
        )
    others = (paths.likelihood_map, paths.detections, paths.geojson)
    return float(summary["score"]) if all(path.is_file() for path in others) else None


def _changes(before: Any, now: dict[str, Any], prefix: str = "") -> str:
    """Return what two settings differ in, in words; "" where they are the same."""
    if not isinstance(before, dict):
        return f"{prefix.rstrip('.')}: {before} instead of {now}" if before != now else ""
    parts = []
    for key in sorted({*before, *now}):
        one, other = before.get(key), now.get(key)
        if isinstance(other, dict):
            parts.append(_changes(one, other, f"{prefix}{key}."))
        elif one != other:
            parts.append(f"{prefix}{key} was {one}, and is to be {other}")
    return ", ".join(part for part in parts if part)


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
