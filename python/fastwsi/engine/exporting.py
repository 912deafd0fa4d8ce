"""Results in the form that other programs read."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from fastwsi._files import write_atomically
from fastwsi.data import find_detections, find_results, read_detections, write_detections
from fastwsi.data.detections import SCORE_FILES, SCORES_FOLDER, read_scores
from fastwsi.data.slide_results import read_summary, ways_of
from fastwsi.slides import SlideError

_SCORES = Path(SCORES_FOLDER) / SCORE_FILES[0]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    slides : tuple of str
        The slides of which there is a file now.
    unfinished : tuple of str
        Slides that were left out: of them there are detections, but no summary that says that they are whole.
    scores : Path
        The table of the slides' scores.
    ways : int
        In how many ways the slides were scanned: more than one where models or settings differ.
    """

    slides: tuple[str, ...]
    unfinished: tuple[str, ...]
    scores: Path
    ways: int


def export_camelyon16(results: str | Path, out: str | Path) -> Exported:
    r"""Write results as Camelyon16 asked for them: ``<slide>.csv`` of probability, x and y, without a header.

    The challenge's script takes every CSV file in the folder for a slide, and nothing but whole numbers for
    places. So a place is the pixel it lies in, a slide without detections has an empty file, and the slides'
    scores are in a folder of their own, ``slides/slide_scores.csv``.

    Parameters
    ----------
    results : path
        A folder into which `SlideResult.save` wrote.
    out : path
        Made where it is not there; not among the results. What a former export wrote there and this one does
        not is taken away; other CSV files are refused, since the script would take them for slides.

    Returns
    -------
    Exported

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> result = fastwsi.engine.SlideResult.of(np.full((2, 3), 0.75, np.float32), name="test_001", scale=128,
    ...                                        slide_size=(300, 200), radius=9, threshold=0.5)
    >>> _ = result.save(folder / "results")
    >>> export_camelyon16(folder / "results", folder / "out").slides
    ('test_001',)
    >>> (folder / "out" / "test_001.csv").read_text()
    '0.75,64,64\n'
    """
    results, out = Path(results), Path(out)
    found = find_results(results)
    left = tuple(sorted(find_detections(results).keys() - found.keys()))
    if not found:
        lacking = f"no slide is done: {len(left)} have detections and no <slide>.json of ours"
        raise SlideError(results, lacking if left else "no results of slides")
    if out.resolve().is_relative_to(results.resolve()):
        raise ValueError(f"out: got {str(out)!r}, expected a folder that is not among the results")
    summaries = {slide: read_summary(paths.summary) for slide, paths in found.items()}
    points = {slide: read_detections(paths.detections) for slide, paths in found.items()}
    former = {f"{name}.csv".lower() for name in _exported(out)}
    present = {path.name.lower(): path for path in sorted(out.glob("*.csv"))}
    new = {f"{paths.summary.stem}.csv".lower() for paths in found.values()}
    strange = [path.name for name, path in present.items() if name not in former | new]
    if strange:
        raise ValueError(
            f"out: {out} holds {strange[0]}, which no export wrote, and which the challenge's script would "
            "take for a slide's; expected a folder of its own"
        )
    for name, path in present.items():
        if name not in new:
            path.unlink()
    (out / _SCORES).parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("slide", "score"))
    names = []
    for slide in sorted(found):
        name = found[slide].summary.stem
        write_detections(out / f"{name}.csv", points[slide], header=False, whole=True)
        table.writerow((name, _score(found[slide].summary, summaries[slide])))
        names.append(name)
    write_atomically(out / _SCORES, text.getvalue())
    return Exported(tuple(names), left, out / _SCORES, ways_of(summaries))


def _exported(out: Path) -> list[str]:
    """Return the slides of which a former export wrote files to a folder."""
    table = out / _SCORES
    return list(read_scores(table)) if table.is_file() else []


def _score(path: Path, summary: dict[str, object]) -> str:
    score = summary.get("score")
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        raise SlideError(path, f"is damaged: got the score {score!r}, expected a number")
    return repr(float(score))
