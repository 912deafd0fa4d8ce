"""Files of results: detections of each slide, and scores of slides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi._files import write_atomically
from fastwsi.data.files import existing_folder, find, is_number, read_rows, stem
from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = np.ndarray[Any, np.dtype[np.float64]]

SCORE_FILES = ("slide_scores.csv", "scores.csv")
SCORES_FOLDER = "slides"  # apart from detections, where every CSV file counts as a slide's
_SCORES = ("prob", "score", "probability", "confidence", "p")
_PLACES = (("x", "y"), ("x_coordinate", "y_coordinate"))
_NAMES = ("slide", "name", "file", "filename", "image", "image_id", "case")
_ENDINGS = ("_detections", "_candidates")


def read_detections(path: str | Path) -> Floats:
    r"""Read detections of one slide: score, x and y at level 0.

    A header is optional: without one the columns are score, x, y, as Camelyon16 asked for them; with one they
    are found by name, in any order, and others are ignored. An empty file is a slide without detections.

    Returns
    -------
    float64 array, shape (n, 3)

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "test_001.csv"
    >>> _ = path.write_text("0.9,100,200\n0.5,3,4\n")
    >>> fastwsi.data.read_detections(path).tolist()
    [[0.9, 100.0, 200.0], [0.5, 3.0, 4.0]]
    """
    path = Path(path)
    rows = read_rows(path)
    columns, first = [0, 1, 2], 1
    if rows and not is_number(rows[0][0]):
        columns, first = _columns(path, rows[0]), 2
        rows = rows[1:]
    try:
        found = np.array([[row[i] for i in columns] for row in rows], np.float64).reshape(-1, 3)
    except (ValueError, IndexError):
        found = np.full((1, 3), np.nan)
    if not np.isfinite(found).all() or (found[:, 0] < 0).any():
        number, row = next((n, row) for n, row in enumerate(rows, first) if not _is_detection(row, columns))
        raise SlideError(
            path, f"row {number}: got {','.join(row)!r}, expected a score of at least 0, x and y"
        )
    return found


def write_detections(path: str | Path, points: Any, *, header: bool = True, whole: bool = False) -> None:
    """Write detections of one slide, atomically; `read_detections` gives back the very same numbers.

    Parameters
    ----------
    path : path
    points : array, shape (n, 3)
        Score, x and y at level 0.
    header : bool
        Whether a row ``prob,x,y`` comes first.
    whole : bool
        Write the pixel in which a place lies: Camelyon16's script reads nothing but whole numbers.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "test_001_detections.csv"
    >>> fastwsi.data.write_detections(path, [[0.9, 64, 192.5]])
    >>> path.read_text().split()
    ['prob,x,y', '0.9,64,192.5']
    """
    table = np.asarray(points, np.float64).reshape(-1, 3)
    if whole:
        table = np.column_stack([table[:, 0], np.floor(table[:, 1:])])
    rows = [",".join(_text(value) for value in row) for row in table.tolist()]
    write_atomically(Path(path), "".join(f"{row}\n" for row in (["prob,x,y"] if header else []) + rows))


def read_scores(path: str | Path) -> dict[str, float]:
    r"""Read scores of slides: a CSV file of slide and score, a header being optional.

    Returns
    -------
    dict
        From each slide's name, without folder and ending and in lower case, to its score.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "slide_scores.csv"
    >>> _ = path.write_text("slide,score\ntest_001.tif,0.9\n")
    >>> fastwsi.data.read_scores(path)
    {'test_001': 0.9}
    """
    path = Path(path)
    rows, name, score, first = read_rows(path), 0, 1, 1
    if rows and not (len(rows[0]) > 1 and is_number(rows[0][1])):
        header = [cell.lower() for cell in rows[0]]
        names = [i for i, cell in enumerate(header) if cell in _NAMES]
        scores = [i for i, cell in enumerate(header) if cell in _SCORES]
        if not (names and scores):
            raise SlideError(path, f"got the columns {', '.join(header)}, expected slide and score")
        name, score, rows, first = names[0], scores[0], rows[1:], 2
    found: dict[str, float] = {}
    for number, row in enumerate(rows, first):
        if len(row) <= max(name, score) or not is_number(row[score]):
            raise SlideError(path, f"row {number}: got {','.join(row)!r}, expected a slide and its score")
        slide = stem(row[name])
        if slide in found:
            raise SlideError(path, f"row {number}: {slide} is listed twice")
        found[slide] = float(row[score])
    if not found:
        raise SlideError(path, "no scores: no row of a slide and its score")
    return found


def find_detections(folder: str | Path) -> dict[str, Path]:
    """Return files of detections by their slides: ``<slide>.csv`` or ``<slide>_detections.csv``, anywhere.

    Files of other names that hold no detections, such as `SCORE_FILES`, are for the caller to know.
    """
    found: dict[str, Path] = {}
    # What begins with a dot is a file that a killed program left half written, or a desktop's own.
    for name, path in find(existing_folder(folder), r"([^.].*)\.csv").items():
        if path.name.lower() in SCORE_FILES:
            continue
        slide = _slide_of(path, name)
        if slide in found:
            raise SlideError(path, f"is another file of detections of {slide} beside {found[slide].name}")
        found[slide] = path
    return found


def _slide_of(path: Path, name: str) -> str:
    ours = path.stem.removesuffix(_ENDINGS[0])
    if ours != path.stem and path.with_name(f"{ours}.json").is_file():
        return ours.lower()  # whatever that ends in: the slide's own name
    slide = stem(name)  # of "test_001.tif.csv", too
    for ending in _ENDINGS:
        slide = slide.removesuffix(ending)
    return slide


def find_scores(folder: str | Path) -> Path | None:
    """Return the file of slide scores in a folder, or in its ``slides``; None where there is none.

    Examples
    --------
    >>> import tempfile
    >>> find_scores(tempfile.mkdtemp()) is None
    True
    """
    places = [Path(folder), Path(folder) / SCORES_FOLDER]
    found = (place / name for place in places for name in SCORE_FILES)
    return next((path for path in found if path.is_file()), None)


def _text(value: float) -> str:
    """Return the shortest text that reads back as the same number, without a point where none is needed."""
    return str(int(value)) if value == int(value) and abs(value) < 1 << 53 else repr(value)


def _columns(path: Path, cells: Sequence[str]) -> list[int]:
    header = [cell.lower() for cell in cells]
    scores = [i for i, cell in enumerate(header) if cell in _SCORES]
    places = [[header.index(each) for each in pair] for pair in _PLACES if set(pair) <= set(header)]
    if not (scores and places):
        raise SlideError(path, f"got the columns {', '.join(header)}, expected prob, x, y")
    return [scores[0], *places[0]]


def _is_detection(row: Sequence[str], columns: Sequence[int]) -> bool:
    if len(row) <= max(columns) or not all(is_number(row[i]) for i in columns):
        return False
    return float(row[columns[0]]) >= 0
