"""Slides wherever they are: single files, folders of them, data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastwsi.data.checking import recognise
from fastwsi.data.records import SlideRecord
from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastwsi.data.records import SlideSet

_ENDINGS = {
    ".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".dcm",
    ".isyntax", ".zarr", ".png", ".jpg", ".jpeg",
}  # fmt: skip
_TABLES = {".csv"}
_BY_NAMES = {"Camelyon16", "Camelyon17"}  # data sets that are known by their slides' names
_PICTURES = {".png", ".jpg", ".jpeg"}
_RESULTS = ("_likelihood_map", "_overlay", "_mask")  # of files that this package and others lay beside slides


def slides_at(paths: str | Path | Iterable[str | Path], split: str | None = None) -> tuple[SlideRecord, ...]:
    """Return the slides of files, folders, data sets and CSV files.

    Parameters
    ----------
    paths : path, or several
        A folder is a data set where `recognise` knows it, else whatever files in it, not below, have a
        slide's ending. One of both kinds is refused.
    split : str, optional
        Of data sets: "train", "validation", "test" or "all". Default: the slides for testing where a data set
        has any, else all.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "case_1.svs").touch()
    >>> [record.name for record in slides_at(folder)]
    ['case_1']
    """
    several = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found = [record for path in several for record in _at(Path(path).expanduser(), split)]
    if not found:
        raise ValueError(f"slides: found none in {', '.join(map(str, several)) or 'nothing'}")
    return tuple(found)


def _slide_files(folder: Path) -> list[Path]:
    """Return a folder's slides: no results that lie beside them, and pictures only where all are."""
    found = sorted(
        each
        for each in folder.iterdir()
        if each.suffix.lower() in _ENDINGS and not each.stem.endswith(_RESULTS) and each.name[0] != "."
    )
    series = [each for each in found if each.suffix.lower() == ".dcm"]
    if len(series) > 1:  # any of them opens the whole series
        raise SlideError(
            folder, f"holds {len(series)} DICOM files, of which several may be one slide: name one of each"
        )
    return [each for each in found if each.suffix.lower() not in _PICTURES] or found


def _at(path: Path, split: str | None) -> tuple[SlideRecord, ...]:
    if not path.exists():
        raise SlideError(path, "there is no such file or folder")
    if path.suffix.lower() in _ENDINGS:  # a zarr folder, too
        return (SlideRecord(path.stem, path),)
    if path.is_file() and path.suffix.lower() not in _TABLES:
        raise SlideError(
            path, f"no slide by its ending, and no CSV file of slides ({', '.join(sorted(_ENDINGS))})"
        )
    try:
        known = recognise(path)
    except SlideError:
        if path.is_file():
            raise
        files = _slide_files(path)
        if not files:
            raise
        return tuple(SlideRecord(each.stem, each) for each in files)
    if path.is_dir() and known.name in _BY_NAMES:
        _check_others(path, known)
    if split not in (None, "train", "validation", "test", "all"):
        raise ValueError(f"split: got {split!r}, expected train, validation, test or all")
    wanted = split or ("test" if known.of("test").records else "all")
    records = known.records if wanted == "all" else known.of(wanted).records  # type: ignore[arg-type]
    if not records:
        raise SlideError(path, f"has no slides of the split {wanted!r}")
    return records


def _check_others(folder: Path, known: SlideSet) -> None:
    """Refuse slides beside a data set's: they would be passed over."""
    own = {record.path.resolve() for record in known.records}
    named = {name.lower() for name, _ in known.left_out}
    others = [
        each.name
        for each in _slide_files(folder)
        if each.resolve() not in own and each.stem.lower() not in named
    ]
    if others:
        raise SlideError(
            folder,
            f"is {known.name} by names of files, and also holds {', '.join(others[:5])}"
            f"{' …' if len(others) > 5 else ''}: name the files that are meant, or list them in a CSV file",
        )
