"""HSD normalisation as Liu et al. 2017 used it: one reference for a project, one source per slide."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi import _arrays
from fastwsi._files import write_atomically
from fastwsi.kernels import HsdMoments, hsd_moments, hsd_normalize
from fastwsi.kernels.hsd_statistics import median_moments

if TYPE_CHECKING:
    import os

    from fastwsi._arrays import Array
    from fastwsi.stain.module import HsdNormalize

log = logging.getLogger(__name__)

_FORMAT = "fastwsi.HsdNormalizer"
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class HsdNormalizer:
    """Gives tiles the colour distribution of a reference.

    ``fit`` makes the reference from training tiles; ``for_slide`` then gives each slide a normaliser
    that knows the slide's own colours, and that one is called on tiles. It is small and can be
    pickled: put it in a Dataset as it is.

    Attributes
    ----------
    reference : HsdMoments
        What tiles are to look like.
    source : HsdMoments or None
        What the tiles of one slide look like; None until ``for_slide`` or a call names it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> training = [rng.integers(60 + 20 * k, 255, (2, 64, 64, 3), np.uint8) for k in range(3)]
    >>> normalizer = fastwsi.stain.HsdNormalizer.fit(training)     # one entry, one slide's tiles
    >>> tiles = rng.integers(100, 200, (4, 64, 64, 3), np.uint8)   # of a slide never seen before
    >>> normalizer.for_slide(tiles)(tiles[0]).shape
    (64, 64, 3)
    """

    reference: HsdMoments
    source: HsdMoments | None = None

    @classmethod
    def fit(cls, data: Iterable[Any]) -> HsdNormalizer:
        """Measure the reference: the component-wise medians over slides.

        Parameters
        ----------
        data : iterable of uint8 arrays, or iterable of iterables of uint8 arrays
            Tiles of shape (height, width, 3) all belong to one slide. Anything else is one entry per
            slide: an iterable of its tiles, or a batch (tiles, height, width, 3). Iterables are read
            once and one tile at a time, so generators over whole slides are fine. Slides without any
            pixel are left out with a log message.

        Returns
        -------
        HsdNormalizer
            With the reference and no source.

        Examples
        --------
        >>> tile = np.random.default_rng(0).integers(90, 255, (32, 32, 3), np.uint8)
        >>> one_slide = fastwsi.stain.HsdNormalizer.fit([tile, tile])
        >>> three_slides = fastwsi.stain.HsdNormalizer.fit([[tile, tile], [tile], [tile]])
        >>> three_slides.reference.density_mean == one_slide.reference.density_mean
        True
        """
        loose = HsdMoments.empty()
        slides: list[HsdMoments] = []
        for number, entry in enumerate(data):
            if _is_tile(entry):
                loose = loose + hsd_moments(entry)
            else:
                moments = _measure(entry, f"data[{number}]")
                if moments.count:
                    slides.append(moments)
                else:
                    log.warning("data[%d]: no pixels, left out of the reference", number)
            if loose.count and slides:
                raise ValueError(
                    f"data[{number}]: got single tiles and slides mixed, expected tiles of one slide "
                    "or one iterable of tiles per slide"
                )
        if loose.count:
            slides.append(loose)
        if not slides:
            raise ValueError("data: got no pixels, expected uint8 tiles or one iterable of them per slide")
        return cls(median_moments(slides))

    def for_slide(self, tiles: HsdMoments | Iterable[Any]) -> HsdNormalizer:
        """Return a normaliser for one slide.

        Parameters
        ----------
        tiles : iterable of uint8 arrays, or HsdMoments
            Tiles (..., height, width, 3) that represent the slide's tissue, or their moments.

        Examples
        --------
        >>> tile = np.random.default_rng(0).integers(90, 255, (32, 32, 3), np.uint8)
        >>> per_slide = fastwsi.stain.HsdNormalizer.fit([tile]).for_slide([tile])
        >>> bool((per_slide(tile) == tile).all())
        True
        """
        moments = tiles if isinstance(tiles, HsdMoments) else _measure(tiles, "tiles")
        if not moments.count:
            raise ValueError("tiles: got no pixels, expected at least one tile")
        return replace(self, source=moments)

    def __call__(
        self,
        images: Array,
        source: HsdMoments | Sequence[HsdMoments] | None = None,
        out: Array | None = None,
        *,
        dtype: Any = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> Array:
        """Normalise images; arguments as in ``fastwsi.kernels.hsd_normalize``.

        Parameters
        ----------
        images : uint8 array, shape (..., height, width, 3)
            Tiles of one slide, or a batch from several with one source each.
        source : HsdMoments or sequence of HsdMoments, optional
            Instead of this normaliser's own.
        """
        chosen = self.source if source is None else source
        if chosen is None:
            raise ValueError(
                "source: this normaliser does not know the slide's own colours; call "
                "for_slide(tiles) first, or pass source=kernels.hsd_moments(...)"
            )
        return hsd_normalize(images, chosen, self.reference, out, dtype=dtype, mean=mean, std=std)

    def module(
        self,
        dtype: Any = "float32",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> HsdNormalize:
        """Return this normaliser as an ``nn.Module``: uint8 NHWC batches in, network input out.

        Examples
        --------
        >>> import torch
        >>> tile = torch.randint(90, 255, (1, 32, 32, 3), dtype=torch.uint8)
        >>> layer = fastwsi.stain.HsdNormalizer.fit([tile]).for_slide([tile]).module()
        >>> layer(tile).shape
        torch.Size([1, 3, 32, 32])
        """
        from fastwsi.stain.module import HsdNormalize  # noqa: PLC0415

        return HsdNormalize(self, dtype, mean, std)

    def to_json(self) -> str:
        """Return a JSON object; ``from_json`` gives back the same numbers, bit for bit."""
        document = {
            "format": _FORMAT,
            "version": _FORMAT_VERSION,
            "reference": json.loads(self.reference.to_json()),
            "source": json.loads(self.source.to_json()) if self.source else None,
        }
        return json.dumps(document, indent=2)

    @classmethod
    def from_json(cls, text: str) -> HsdNormalizer:
        """Read what ``to_json`` wrote.

        Examples
        --------
        >>> normalizer = HsdNormalizer.fit([np.full((4, 4, 3), 200, np.uint8)])
        >>> HsdNormalizer.from_json(normalizer.to_json()) == normalizer
        True
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ValueError(f"not the JSON of an HsdNormalizer: {error}") from error
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise ValueError("not the JSON of an HsdNormalizer: no such format mark")
        if document.get("version") != _FORMAT_VERSION:
            raise ValueError(
                f"HsdNormalizer: got file version {document.get('version')}, expected {_FORMAT_VERSION}; "
                "it comes from another version of fastwsi"
            )
        source = document.get("source")
        return cls(
            HsdMoments.from_json(json.dumps(document.get("reference"))),
            HsdMoments.from_json(json.dumps(source)) if source else None,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file, atomically."""
        write_atomically(Path(path), self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> HsdNormalizer:
        """Read a file that ``save`` wrote; ValueError names the file where it is something else."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _is_tile(entry: Any) -> bool:
    return hasattr(entry, "shape") and len(entry.shape) == 3


def _measure(tiles: Any, name: str) -> HsdMoments:
    """Pool the moments of a batch or of an iterable of tiles."""
    if hasattr(tiles, "shape"):
        return hsd_moments(tiles)
    if not isinstance(tiles, Iterable) or isinstance(tiles, str | bytes):
        raise TypeError(f"{name}: got {type(tiles).__name__}, expected uint8 tiles")
    total = HsdMoments.empty()
    for tile in tiles:
        _arrays.framework_of(tile, f"a tile of {name}")
        total = total + hsd_moments(tile)
    return total
