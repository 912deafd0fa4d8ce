"""Whole slides with another slide's stain, as files: band by band, whatever their size."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi.data.balanced import stain_moments
from fastwsi.slides import SlideError, open_slide, write_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastwsi.data.records import SlideRecord
    from fastwsi.slides import Slide, SlideRows
    from fastwsi.stain import HsdNormalizer

logger = logging.getLogger(__name__)

_ENDINGS = (".tif", ".tiff")
_DONE = "fastwsi stain normalisation"


@dataclass(frozen=True)
class Normalized:
    """What became of slides.

    Attributes
    ----------
    done : dict
        From a slide's name to the file that was written.
    skipped : dict
        The same of those that were there.
    failed : dict
        From a slide's name to the reason.
    remarks : dict
        From a slide's name to what there is to say of it.
    """

    done: dict[str, Path]
    skipped: dict[str, Path]
    failed: dict[str, str]
    remarks: dict[str, str]


class _Rows:
    """A slide's rows, normalised as they are asked for."""

    def __init__(self, source: SlideRows, normalizer: HsdNormalizer) -> None:
        self._source, self._normalizer = source, normalizer
        self.height, self.width = source.height, source.width

    def rows(self, top: int, bottom: int) -> Any:
        pixels = self._source.rows(top, bottom)
        return self._normalizer(pixels, out=pixels)


def normalize_slide(
    slide: Slide,
    path: str | Path,
    normalizer: HsdNormalizer,
    *,
    quality: int = 90,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Write a slide with a reference's colours, a pyramidal TIFF of the same size and resolution.

    In memory are a few hundred rows at a time. All pixels change alike, glass too: the map is that of the
    tissue's colours.

    Parameters
    ----------
    slide : Slide
        With a known resolution.
    path : path
        A .tif, written beside its place and moved there when it is whole.
    normalizer : HsdNormalizer
        With the slide's own colours (`HsdNormalizer.for_slide`), or without: they are measured.
    quality : int
        JPEG's, 1 to 100.
    progress : callable, optional
        Called with rows done, and rows in all.

    Returns
    -------
    str
        What there is to say of it: that the slide has no tissue, and so keeps its colours. "" else.

    Examples
    --------
    >>> import tempfile
    >>> pale, dark = (fastwsi.slides.synthetic_slide(seed, size=(600, 500), mpp=2.0) for seed in (1, 2))
    >>> pale, dark = (fastwsi.open_slide(each.rows(0, 500), mpp=2.0) for each in (pale, dark))
    >>> reference = fastwsi.stain.HsdNormalizer(fastwsi.data.stain_moments(dark))
    >>> path = Path(tempfile.mkdtemp()) / "pale.tif"
    >>> fastwsi.data.normalize_slide(pale, path, reference)
    ''
    >>> fastwsi.open_slide(path).dimensions
    (600, 500)
    """
    source = stain_moments(slide) if normalizer.source is None else normalizer.source
    rows: Any = slide.rows(level=0)
    if source.count:
        rows = _Rows(rows, normalizer.for_slide(source))
    given = slide.mpp if slide.mpp_source == "given" else None
    description = json.dumps(
        {**_asked(slide.name, given, normalizer, quality), "source": [*source.numbers()]}
    )
    write_slide(path, rows, mpp=slide.mpp_xy, quality=quality, description=description, progress=progress)
    return "" if source.count else "no tissue: its colours are left as they are"


def normalize_slides(
    slides: Sequence[SlideRecord],
    out: str | Path,
    reference: HsdNormalizer,
    *,
    quality: int = 90,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Normalized:
    """Write slides with a reference's colours; what is there, of the same reference, is skipped.

    A slide that fails is told at the end, and stops no other.

    Parameters
    ----------
    slides : sequence of SlideRecord
    out : path
        A folder, made where it is not there, for ``<slide>.tif``; for one slide its file as well, a .tif.
    reference : HsdNormalizer
    quality : int
        JPEG's, 1 to 100.
    overwrite : bool
        Replace files that are there, whatever made them.
    progress : callable, optional
        Called with a slide's name, rows done, and rows in all.
    """
    reference = replace(reference, source=None)  # one slide's own colours are not another's
    targets = _targets(slides, Path(out))
    skipped = {} if overwrite else _there(slides, targets, reference, quality)
    done: dict[str, Path] = {}
    failed: dict[str, str] = {}
    remarks: dict[str, str] = {}
    for record in slides:
        name, target = record.name, targets[record.name]
        if name in skipped:
            continue

        def moved(rows: int, of: int, name: str = name) -> None:
            if progress is not None:
                progress(name, rows, of)

        try:
            with record.open() as slide:
                target.parent.mkdir(parents=True, exist_ok=True)
                remark = normalize_slide(slide, target, reference, quality=quality, progress=moved)
                if slide.corrupt:
                    remark = f"{len(slide.corrupt)} of its tiles cannot be read, and are blank"
        except Exception as error:
            failed[name] = str(error) or type(error).__name__
            logger.debug("%s", name, exc_info=True)
            continue
        done[name] = target
        if remark:
            remarks[name] = remark
    return Normalized(done, skipped, failed, remarks)


def _targets(slides: Sequence[SlideRecord], out: Path) -> dict[str, Path]:
    """Return where each slide goes; refuse what would overwrite a slide, or another's file."""
    single = out.suffix.lower() in _ENDINGS and not out.is_dir()
    if single and len(slides) != 1:
        raise ValueError(f"out: got the file {out} for {len(slides)} slides, expected a folder")
    found: dict[str, Path] = {}
    for record in slides:
        target = out if single else out / f"{record.name}.tif"
        if record.name in found:
            raise ValueError(f"slides: two have the name {record.name}, and both would be {target}")
        if target.exists() and record.path.exists() and target.samefile(record.path):
            raise ValueError(f"out: {target} is the slide itself, expected another folder")
        found[record.name] = target
    return found


def _there(
    slides: Sequence[SlideRecord], targets: dict[str, Path], reference: HsdNormalizer, quality: int
) -> dict[str, Path]:
    """Return files that are done; refuse what was made otherwise, rather than take the one for the other."""
    found = {}
    for record in slides:
        target = targets[record.name]
        if not target.exists():
            continue
        told = _told(target)
        if told != _asked(record.path.stem, record.mpp, reference, quality):
            how = "no normalised slide of ours" if told is None else "of other settings, or of another slide"
            raise ValueError(f"{target}: is there, and {how}; --overwrite replaces it")
        found[record.name] = target
    return found


def _asked(name: str, mpp: float | None, reference: HsdNormalizer, quality: int) -> dict[str, Any]:
    """Return what a file hangs on beside its slide's pixels; it goes into the file, for whoever meets it."""
    numbers = [*reference.reference.numbers()]
    return {"made": _DONE, "slide": name, "mpp": mpp, "quality": quality, "reference": numbers}


def _told(path: Path) -> dict[str, Any] | None:
    """Return what a file says of how it was made; None where it is none of ours."""
    try:
        with open_slide(path) as slide:
            told = json.loads(slide.properties.get("tiff.ImageDescription", ""))
    except (SlideError, ValueError):
        return None
    if not isinstance(told, dict) or told.get("made") != _DONE:
        return None
    told.pop("source", None)
    return told
