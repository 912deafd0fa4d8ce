"""Files of a data set found by their names, in whatever folders and letters a release has them."""

from __future__ import annotations

import csv
import logging
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

_MOST_FILES = 2_000_000
_LONGEST_CELL = 1 << 16


def existing_folder(root: str | Path) -> Path:
    """Return a folder as a path; SlideError where it is none."""
    path = Path(root)
    if not path.is_dir():
        raise SlideError(path, "is no folder" if path.exists() else "there is no such folder")
    return path


def find(root: Path, pattern: str, others: list[tuple[str, str]] | None = None) -> dict[str, Path]:
    """Return files whose whole name matches, by what its group (1) is in lower case; the first found counts.

    Folders are walked in the order of their names, so that the same files come for the same tree. Links to
    folders are followed, each folder once.

    Parameters
    ----------
    root : Path
    pattern : str
    others : list, optional
        Where to put further files of a name that was found already: (name, what became of it). Default: into
        the log.
    """
    wanted = re.compile(pattern, re.IGNORECASE)
    found: dict[str, Path] = {}
    for path in _walk(root):
        match = wanted.fullmatch(path.name)
        if not match:
            continue
        name = match[1].lower()
        used = found.setdefault(name, path)
        if used is not path and not _same_file(used, path):
            told = f"{path} is another file of this name; {used} is used"
            if others is None:
                logger.warning("%s: %s", name, told)
            else:
                others.append((name, told))
    return found


def read_rows(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file, cells stripped, empty ones left out; with commas or semicolons."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.split("\n", 1)[0]
        csv.field_size_limit(_LONGEST_CELL)
        rows = csv.reader(text.splitlines(), delimiter=";" if ";" in first and "," not in first else ",")
        return [cells for row in rows if any(cells := [cell.strip() for cell in row])]
    except OSError as error:
        raise SlideError(path, error.strerror or str(error)) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SlideError(path, f"no CSV that can be read: {error}") from None


def read_table(path: Path, required: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header, as dictionaries with names in lower case."""
    rows = read_rows(path)
    if not rows:
        raise SlideError(path, "the file is empty")
    header = [cell.lower() for cell in rows[0]]
    missing = [name for name in required if name not in header]
    if missing:
        raise SlideError(path, f"got the columns {', '.join(header)}, expected also {', '.join(missing)}")
    for number, row in enumerate(rows[1:], 2):
        if len(row) > len(header):
            raise SlideError(path, f"row {number}: got {len(row)} cells, expected {len(header)}")
    return [dict(zip(header, row + [""] * (len(header) - len(row)), strict=True)) for row in rows[1:]]


def is_number(text: str) -> bool:
    """Tell whether a cell is a finite number.

    Examples
    --------
    >>> is_number("0.5"), is_number("nan"), is_number("pN1")
    (True, False, False)
    """
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def stem(name: str) -> str:
    """Return a name without folder and ending, in lower case: what files and tables agree on.

    Examples
    --------
    >>> stem("Test_001.TIF"), stem("patient_000.zip"), stem("images/tumor_009")
    ('test_001', 'patient_000', 'tumor_009')
    """
    base = name.replace("\\", "/").rsplit("/", 1)[-1].lower()
    return re.sub(r"\.(tiff?|svs|zip|xml|ndpi|mrxs|png|jpe?g)$", "", base)


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # a link to nowhere
        return False


def _unreadable(error: OSError) -> None:
    logger.warning("%s: the folder is left out: %s", error.filename, error.strerror)


def _walk(root: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    count = 0
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_unreadable):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in sorted(names):
            count += 1
            if count > _MOST_FILES:
                raise SlideError(root, f"more than {_MOST_FILES:,} files; give the data set's own folder")
            yield Path(folder) / name
