"""A slide's results in a folder: what the files are called, and the summary that says that they are whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi.data.detections import find_detections
from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT, VERSION = "fastwsi slide result", 1
_DETECTIONS = "_detections.csv"
_LARGEST = 1 << 26  # bytes
_READ = 1 << 20


@dataclass(frozen=True)
class ResultPaths:
    """Where the four files of a slide's results are.

    Attributes
    ----------
    likelihood_map : Path
        ``<slide>_likelihood_map.tif``, the name by which ASAP finds it beside the slide.
    detections, geojson : Path
        ``<slide>_detections.csv`` and ``<slide>_detections.geojson``.
    summary : Path
        ``<slide>.json``. It is written last: where it is, the others are.

    Examples
    --------
    >>> ResultPaths.of("results", "tumor_001").likelihood_map.name
    'tumor_001_likelihood_map.tif'
    """

    likelihood_map: Path
    detections: Path
    geojson: Path
    summary: Path

    @classmethod
    def of(cls, folder: str | Path, name: str) -> ResultPaths:
        """Return the paths for a slide's name."""
        endings = ("_likelihood_map.tif", _DETECTIONS, "_detections.geojson", ".json")
        return cls(*(Path(folder) / f"{name}{ending}" for ending in endings))


def read_summary(path: str | Path) -> dict[str, Any]:
    """Read a slide's ``<slide>.json``; SlideError says why a file is none of ours."""
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise SlideError(path, f"more than {_LARGEST >> 20} MiB: no summary of a slide's results")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SlideError(path, error.strerror or str(error)) from None
    except (ValueError, RecursionError) as error:
        raise SlideError(path, f"broken JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SlideError(path, f"no summary of a slide's results: it does not say {FORMAT!r}")
    if content.get("version") != VERSION:
        raise SlideError(path, f"got version {content.get('version')!r} of the format, expected {VERSION}")
    return content


def finished(files: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Return the summaries beside files of detections, by the slides' names.

    Slides without one have none: another program's, or of a scan that was killed before it was done.

    Parameters
    ----------
    files : mapping
        As `find_detections` returns them.
    """
    found = {}
    for slide, path in files.items():
        if not path.name.endswith(_DETECTIONS):
            continue
        summary = path.with_name(path.name.removesuffix(_DETECTIONS) + ".json")
        if summary.is_file():
            try:
                found[slide] = read_summary(summary)
            except SlideError:  # another program's file of that name
                continue
    return found


def find_results(folder: str | Path) -> dict[str, ResultPaths]:
    """Return the results of slides that are done, anywhere in a folder, by the slides' names.

    Examples
    --------
    >>> import tempfile
    >>> find_results(tempfile.mkdtemp())
    {}
    """
    files = find_detections(folder)
    done = finished(files)
    return {
        slide: ResultPaths.of(path.parent, path.name.removesuffix(_DETECTIONS))
        for slide, path in files.items()
        if slide in done
    }


def remarks_of(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return what summaries remark on scans, of those slides of which there is anything to say.

    Examples
    --------
    >>> remarks_of({"a": {"remarks": ["no tissue"]}, "b": {"remarks": []}})
    {'a': 'no tissue'}
    """
    found = {slide: "; ".join(map(str, each.get("remarks", ()))) for slide, each in summaries.items()}
    return {slide: text for slide, text in found.items() if text}


def ways_of(summaries: Mapping[str, Mapping[str, Any]]) -> int:
    """Return in how many ways slides were scanned: with how many models and settings.

    Examples
    --------
    >>> ways_of({"a": {"settings": {"scan": 1, "slide": 2}}, "b": {"settings": {"scan": 1, "slide": 3}}})
    1
    """
    settings = [{**(each.get("settings") or {}), "slide": None} for each in summaries.values()]
    return len({json.dumps(each, sort_keys=True) for each in settings})


def summary_scores(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the scores that summaries give their slides."""
    scores = {slide: summary.get("score") for slide, summary in summaries.items()}
    return {slide: float(score) for slide, score in scores.items() if isinstance(score, int | float)}


def digest(path: Path) -> str:
    """Return a file's SHA-256.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "empty"
    >>> path.touch()
    >>> digest(path)[:8]
    'e3b0c442'
    """
    made = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ):
            made.update(block)
    return made.hexdigest()
