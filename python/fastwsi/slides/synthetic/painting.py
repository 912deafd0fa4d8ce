"""A synthetic slide's pixels, any rectangle of them at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fastwsi.slides.synthetic import nuclei, textures
from fastwsi.slides.synthetic.anatomy import STEP, Anatomy
from fastwsi.slides.synthetic.chance import Floats, uniform
from fastwsi.slides.synthetic.tissues import MAKES, Tissue

if TYPE_CHECKING:
    from fastwsi.slides.backend import Pixels
    from fastwsi.slides.geometry import Pair
    from fastwsi.slides.synthetic.artefacts import Artefacts
    from fastwsi.slides.synthetic.staining import Staining

_CHUNK = 1024  # columns that are painted at a time: what is worked on stays in the cache
_LATTICES = (("spindle", 15.0), ("tumour", 12.6), ("large", 10.5), ("small", 6.6))  # µm between nuclei
_DUST = (70.0, 62.0, 55.0)


@dataclass(frozen=True)
class Palette:
    """Drawings of nuclei and patterns at one resolution: made once, used by many slides."""

    small: list[Floats]
    large: list[Floats]
    spindle: list[Floats]
    tumour: list[Floats]
    fibres: Floats
    grain: Floats
    fat: Floats
    noise: Floats


def palette(mpp: float, seed: int = 0) -> Palette:
    """Draw the nuclei and patterns."""
    rng = np.random.default_rng([seed, 8191])
    return Palette(
        nuclei.stamps(nuclei.LYMPHOCYTE, mpp, rng),
        nuclei.stamps(nuclei.CENTROBLAST, mpp, rng),
        nuclei.stamps(nuclei.SPINDLE, mpp, rng),
        nuclei.stamps(nuclei.TUMOUR, mpp, rng),
        textures.fibres(mpp, rng),
        textures.grain(mpp, rng),
        textures.fat(mpp, rng),
        textures.scanner_noise(rng),
    )


class SyntheticSlide:
    """A slide that is painted where it is looked at: a source of rows, of any size in little memory.

    Attributes
    ----------
    width, height : int
        In pixels.
    mpp : float
    anatomy : Anatomy
    """

    def __init__(
        self,
        size: Pair,
        mpp: float,
        anatomy: Anatomy,
        stained: Staining,
        wrong: Artefacts,
        drawn: Palette,
        seed: int,
    ) -> None:
        self.width, self.height = size
        self.mpp, self.anatomy = mpp, anatomy
        self._stained, self._wrong, self._drawn, self._seed = stained, wrong, drawn, seed
        self._margin = nuclei.reach(mpp) + int(np.ceil(6 / mpp))
        self._tables = _tables()
        rng = np.random.default_rng([seed, 3])
        # No deposit gives itself away by its colour: each has nuclei and cytoplasm of its own strength, about
        # those of the tissue around it.
        self._lesion_depth = rng.uniform(0.65, 1.5, 256).astype(np.float32)
        self._lesion_eosin = rng.uniform(0.5, 1.4, 256).astype(np.float32)
        self._lesion_depth[0] = self._lesion_eosin[0] = 1

    def rows(self, top: int, bottom: int) -> Pixels:
        """Return rows [top, bottom): uint8, (bottom - top, width, 3)."""
        out = np.empty((bottom - top, self.width, 3), np.uint8)
        for left in range(0, self.width, _CHUNK):
            right = min(left + _CHUNK, self.width)
            out[:, left:right] = self.read(left, top, right - left, bottom - top)
        return out

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Return a rectangle of pixels."""
        margin = self._margin
        left, top = x - margin, y - margin
        wide, high = width + 2 * margin, height + 2 * margin
        there = self._coarse(self.anatomy.classes, left, top, wide, high, nearest=True)
        if there.any():
            haematoxylin, eosin = self._dyes(there, left, top, wide, high)
            found = self._scanned(haematoxylin, eosin)
        else:
            found = np.empty((high, wide, 3), np.float32)
            found[:] = self._stained.glass
        found = self._out_of_focus(found, left, top)
        inner = found[margin : margin + height, margin : margin + width]
        self._laid_over(inner, x, y)
        noise = textures.window(self._drawn.noise, x + 37, y + 11, width, height)
        inner += (self._stained.noise * noise)[..., None]
        return np.asarray(np.clip(inner + 0.5, 0, 255), np.uint8)

    def _dyes(self, there: Any, left: int, top: int, wide: int, high: int) -> tuple[Floats, Floats]:
        """Return how much of both dyes lies at each pixel."""
        classes, drawn = self.anatomy.classes, self._drawn
        haematoxylin = self._smooth(self._tables["haematoxylin"][classes], left, top, wide, high)
        eosin = self._smooth(
            self._tables["eosin"][classes] * self._lesion_eosin[self.anatomy.lesion_of], left, top, wide, high
        )
        fibres = self._smooth(self._tables["fibres"][classes], left, top, wide, high)
        grain = self._smooth(self._tables["grain"][classes], left, top, wide, high)
        if fibres.any():
            upright = self._smooth(self.anatomy.upright, left, top, wide, high)
            along = textures.window(drawn.fibres, left, top, wide, high)
            down = textures.window(drawn.fibres, top, left, high, wide).T
            eosin *= 1 + fibres * (along + upright * (down - along))
        eosin *= 1 + grain * textures.window(drawn.grain, left, top, wide, high)
        if (there == Tissue.FAT).any():
            fat = self._smooth((classes == Tissue.FAT).astype(np.float32), left, top, wide, high)
            eosin += 0.4 * fat * textures.window(drawn.fat, left, top, wide, high)
        self._nuclei(haematoxylin, left, top)
        if self._wrong.fold is not None:
            fold = self._smooth(self._wrong.fold, left, top, wide, high)
            haematoxylin *= fold
            eosin *= fold
        return haematoxylin, eosin

    def _nuclei(self, out: Floats, left: int, top: int) -> None:
        """Set nuclei down; where two meet, the denser one shows."""
        for purpose, (kind, spacing) in enumerate(_LATTICES, 1):
            self._lattice(out, left, top, purpose, spacing / self.mpp, kind)

    def _lattice(self, out: Floats, left: int, top: int, purpose: int, spacing: float, kind: str) -> None:
        high, wide = out.shape
        reach = nuclei.reach(self.mpp)
        columns = np.arange(int(np.floor((left - reach) / spacing)), int((left + wide + reach) / spacing) + 1)
        rows = np.arange(int(np.floor((top - reach) / spacing)), int((top + high + reach) / spacing) + 1)
        column, row = (each.ravel() for each in np.meshgrid(columns, rows))
        chance = [uniform(self._seed, 16 * purpose + i, column, row) for i in range(5)]
        x = (column + 0.5 * (row % 2) + 0.15 + 0.7 * chance[0]) * spacing
        y = (row + 0.15 + 0.7 * chance[1]) * spacing
        cells = (
            np.clip((y * self.mpp / STEP).astype(int), 0, self.anatomy.classes.shape[0] - 1),
            np.clip((x * self.mpp / STEP).astype(int), 0, self.anatomy.classes.shape[1] - 1),
        )
        tissue = self.anatomy.classes[cells]
        pale = self.anatomy.pale[cells]
        kept = chance[2] < self._tables[kind][tissue] * np.clip(0.55 + 0.45 * pale, 0, 1)
        # Tumour's nuclei differ among themselves: some are nearly black, some nearly empty.
        spread = 0.95 if kind == "tumour" else 0.4
        strength = (1 + spread * (chance[3] - 0.5)) * pale * self._lesion_depth[self.anatomy.lesion_of[cells]]
        drawings: list[Floats] = getattr(self._drawn, kind)
        for i in np.flatnonzero(kept):
            drawing = drawings[int(chance[4][i] * len(drawings))]
            _stamp(out, drawing, x[i] - left, y[i] - top, strength[i])

    def _scanned(self, haematoxylin: Floats, eosin: Floats) -> Floats:
        """Return light that comes through the dyes, by Beer's and Lambert's law, blurred by the optics."""
        stained = self._stained
        out = np.empty((*haematoxylin.shape, 3), np.float32)
        for channel in range(3):
            density = haematoxylin * np.float32(-stained.haematoxylin[channel])
            density -= eosin * np.float32(stained.eosin[channel])
            np.exp(density, out=density)
            out[..., channel] = density * np.float32(stained.glass[channel])
        sigma = stained.blur / self.mpp
        return np.asarray(cv2.GaussianBlur(out, (0, 0), sigma)) if sigma > 0.3 else out

    def _out_of_focus(self, found: Floats, left: int, top: int) -> Floats:
        if self._wrong.focus is None:
            return found
        high, wide, _ = found.shape
        share = self._smooth(self._wrong.focus.astype(np.float32), left, top, wide, high)
        if not share.any():
            return found
        share = share[..., None] * np.float32(1 / 255)
        soft = cv2.GaussianBlur(found, (0, 0), 2.0 / self.mpp)
        return np.asarray(found * (1 - share) + soft * share)

    def _laid_over(self, pixels: Floats, x: int, y: int) -> None:
        """Put pen, bubbles and dust over pixels."""
        high, wide, _ = pixels.shape
        wrong = self._wrong
        if wrong.light is not None:
            pixels *= self._smooth(wrong.light, x, y, wide, high)[..., None]
        for layer, colour in ((wrong.ink, wrong.ink_colour), (wrong.dust, _DUST)):
            if layer is None:
                continue
            share = self._coarse(layer, x, y, wide, high, nearest=True)
            if share.any():
                soft = self._smooth(layer.astype(np.float32), x, y, wide, high)[..., None] / 255
                pixels *= 1 - soft
                pixels += soft * np.array(colour, np.float32)

    def _smooth(self, plan: Any, left: int, top: int, wide: int, high: int) -> Floats:
        found: Floats = self._coarse(plan, left, top, wide, high, nearest=False)
        return found

    def _coarse(self, plan: Any, left: int, top: int, wide: int, high: int, *, nearest: bool) -> Any:
        """Return a part of a plan: as it is, or at the slide's resolution, interpolated linearly."""
        factor = STEP / self.mpp
        first, end = int(np.floor(top / factor)) - 1, int(np.ceil((top + high) / factor)) + 2
        start, stop = int(np.floor(left / factor)) - 1, int(np.ceil((left + wide) / factor)) + 2
        rows = np.clip(np.arange(first, end), 0, plan.shape[0] - 1)
        columns = np.clip(np.arange(start, stop), 0, plan.shape[1] - 1)
        part = plan[np.ix_(rows, columns)]
        if nearest:
            return part
        x, y = (left + 0.5) / factor - 0.5 - start, (top + 0.5) / factor - 0.5 - first
        matrix = np.array([[1 / factor, 0, x], [0, 1 / factor, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            np.ascontiguousarray(part, np.float32), matrix, (wide, high), flags=flags,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip


def _stamp(out: Floats, drawing: Floats, x: float, y: float, strength: float) -> None:
    side = drawing.shape[0]
    top, left = int(y) - side // 2, int(x) - side // 2
    first, start = max(top, 0), max(left, 0)
    end, stop = min(top + side, out.shape[0]), min(left + side, out.shape[1])
    if first < end and start < stop:
        place = out[first:end, start:stop]
        np.maximum(place, drawing[first - top : end - top, start - left : stop - left] * strength, out=place)


def _tables() -> dict[str, Floats]:
    """Return what each tissue is made of, by its number."""
    names = ("haematoxylin", "eosin", "fibres", "grain", "small", "large", "spindle", "tumour")
    return {name: np.array([getattr(MAKES[tissue], name) for tissue in Tissue], np.float32) for name in names}
