"""Detections of many slides, read and matched with lesions that are read or painted, one slide at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi.data import is_tumour, lesion_mask, read_detections, slide_size
from fastwsi.evaluation import SlideMatch, label_lesions, match_detections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fastwsi.data import LesionMask, SlideRecord

_LEVEL_5 = 32.0  # at which Camelyon16's script counts lesions
_FAR = 0.1  # of a resolution: Camelyon16's scanners are nearer to each other
_NAMED = 5


def told(names: Sequence[str], what: str) -> list[str]:
    """Return a note about slides, if there are any.

    Examples
    --------
    >>> told(["a", "b"], "left out"), told([], "left out")
    (['2 slides left out (a, b)'], [])
    """
    return [f"{len(names)} {'slide' if len(names) == 1 else 'slides'} {what} ({few(names)})"] if names else []


def few(names: Sequence[str]) -> str:
    """Return the first few of many names.

    Examples
    --------
    >>> few(["a", "b"]), few(list("abcdefg"))
    ('a, b', 'a, b, c, d, e …')
    """
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")


class Matching:
    """Matches slide after slide, and remembers what there is to tell.

    Parameters
    ----------
    mode : "clean" or "official"
        The challenge's script works at level 5, and counts what lies outside a slide without tumour.
    mpp : float, "own" or None
        Micrometres per level-0 pixel of all slides, or each slide's own.
    """

    def __init__(self, mode: str, mpp: float | Literal["own"] | None) -> None:
        self._official = mode == "official"
        self._mpp = None if mpp == "own" else mpp
        self.matches: list[SlideMatch] = []
        self._inexhaustive: list[str] = []
        self._nowhere: list[str] = []
        self._unlabelled: list[str] = []
        self._painted: list[str] = []
        self._other_mpp: list[str] = []
        self._outside: list[str] = []

    def match(
        self,
        records: Sequence[SlideRecord],
        files: Mapping[str, Path],
        progress: Callable[[str, int, int], None] | None = None,
    ) -> dict[str, float]:
        """Match the detections of slides; return each slide's best score."""
        best = {}
        for done, record in enumerate(records, 1):
            name = record.name.lower()
            points = read_detections(files[name]) if name in files else np.zeros((0, 3))
            best[name] = float(points[:, 0].max(initial=0.0))
            match = self._one(record, points)
            if match is not None:
                self.matches.append(match)
                self._outside += [record.name] if match.outside else []
            if progress is not None:
                progress(record.name, done, len(records))
        return best

    @property
    def notes(self) -> list[str]:
        """What a reader must know of slides."""
        return [
            *told(self._inexhaustive, "not annotated everywhere: no part of FROC"),
            *told(self._nowhere, "with tumour and neither mask nor annotation: no part of FROC"),
            *told(self._unlabelled, "without label, mask and annotation: no part of FROC"),
            *told(self._outside, "with detections outside: those are left out"),
            *told(
                self._other_mpp,
                f"with another resolution in the file than the {self._mpp} µm per pixel that was taken",
            ),
            *told(
                self._painted,
                "whose lesions are painted from an annotation: the challenge's script reads masks, and may "
                "differ by pixels",
            ),
        ]

    def _one(self, record: SlideRecord, points: Any) -> SlideMatch | None:
        """Return a slide's match; None where it has no part in FROC."""
        tumour = is_tumour(record)
        if tumour and not record.exhaustive:
            self._inexhaustive.append(record.name)
            return None
        mask = None if tumour is False else self._mask(record)
        if mask is not None:
            lesions = label_lesions(mask.pixels, mpp=mask.mpp, downsample=mask.downsample)
            return match_detections(points, lesions, name=record.name, tumour=tumour, whole=mask.whole)
        if tumour is not False:
            (self._nowhere if tumour else self._unlabelled).append(record.name)
            return None
        size = None if self._official or not len(points) else slide_size(record)
        return match_detections(points, None, name=record.name, size=size)

    def _mask(self, record: SlideRecord) -> LesionMask | None:
        mask = lesion_mask(record, mpp=self._mpp, downsample=_LEVEL_5 if self._official else None)
        if mask is None:
            return None
        if self._official and record.mask is None:
            self._painted.append(record.name)
        if self._mpp is not None and mask.own_mpp is not None and abs(mask.own_mpp / self._mpp - 1) > _FAR:
            self._other_mpp.append(record.name)
        return mask
