"""What a tiled TIFF holds: its levels, who wrote it, what it says of itself. Only headers are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from fastwsi.slides import resolution
from fastwsi.slides.errors import SlideError, Unsuited
from fastwsi.slides.philips import philips_sizes, philips_spacing
from fastwsi.slides.tiff_tiles import (
    APERIO_RGB,
    APERIO_YCC,
    COMPRESSIONS,
    JPEG,
    JPEG2000,
    WEBP,
    Coding,
    Photometric,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fastwsi.slides.geometry import Pair
    from fastwsi.slides.resolution import Resolution

_REDUCED = 1  # NewSubfileType's bit
_MOST_PAGES = 1024  # a chain of directories may be endless
_LARGEST_TILE = 1 << 26  # pixels
_OWN_COLOURS = (JPEG, JPEG2000, WEBP, APERIO_YCC, APERIO_RGB)  # whose decoder knows the colours
# Formats in TIFF's clothes whose tiles overlap, or that hold several scans.
_SPECIAL = {
    "<iScan": "Ventana's tiles overlap",
    "http://www.leica-microsystems.com/scn": "Leica's file is a collection of scans",
    "MedScan": "Trestle's tiles overlap",
}
_NDPI = 65420
_UNITS = {"µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class TiledLevel:
    """One level: its size, how its tiles are stored, and where they lie in the file.

    ``offsets`` and ``counts`` go row by row; a count of 0 is a tile that was never written.
    """

    width: int
    height: int
    coding: Coding
    offsets: np.ndarray[Any, np.dtype[np.uint64]]
    counts: np.ndarray[Any, np.dtype[np.uint64]]

    @property
    def across(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.coding.width)

    @property
    def down(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.coding.height)


@dataclass(frozen=True)
class Structure:
    """A tiled TIFF.

    Attributes
    ----------
    vendor : str
        "aperio", "philips" or "generic-tiff", as openslide calls them.
    levels : tuple of TiledLevel
        The largest first.
    sizes : tuple of (width, height)
        Of the levels, without the padding that Philips counts in.
    properties : dict
        Named as openslide names them.
    resolutions : tuple of (source, (x, y) or None)
        What the file says of micrometres per pixel, the vendor's word first.
    """

    vendor: str
    levels: tuple[TiledLevel, ...]
    sizes: tuple[Pair, ...]
    properties: dict[str, str]
    resolutions: tuple[tuple[str, Resolution | None], ...]


def read_structure(path: Path) -> Structure:
    """Read a TIFF's headers; Unsuited says what this reader leaves to others, SlideError what is broken."""
    if path.is_dir():
        raise Unsuited("a folder")
    with path.open("rb") as head:
        if head.read(4) not in _MAGIC:
            raise Unsuited("no TIFF")
    try:
        with tifffile.TiffFile(path, _multifile=False) as file:
            return _structure(path, file)
    except (SlideError, Unsuited, PermissionError):
        raise
    except Exception as error:
        raise Unsuited(f"broken TIFF headers: {error or type(error).__name__}", broken=True) from error


def _structure(path: Path, file: tifffile.TiffFile) -> Structure:
    pages = _pages(path, file)
    first = pages[0]
    description = _text(first, "ImageDescription")
    vendor = _vendor(first, description)
    if not first.is_tiled:
        raise Unsuited("the TIFF is not tiled")
    channels = sum(_is_channel(page, first) for page in pages)
    if channels > 1:
        raise SlideError(
            path,
            f"a stack of {channels} images of one channel each, as of fluorescence: no coloured slide; "
            "backend='openslide' reads the first of them",
        )
    chosen = [page for i, page in enumerate(pages) if _is_level(page, i, vendor)]
    levels = [_level(path, page) for page in chosen]
    if vendor == "aperio" and any(_has_gaps(level) for level in levels):
        raise Unsuited("Aperio's missing tiles are made from other levels")
    if vendor == "philips":
        sizes = philips_sizes(description, tuple((level.width, level.height) for level in levels))
    else:
        levels.sort(key=lambda level: -level.width)
        sizes = tuple((level.width, level.height) for level in levels)
    if levels[0].width != first.imagewidth:
        raise Unsuited("its first directory is not its largest image")
    _check_pyramid(path, sizes, [level.coding for level in levels])
    return Structure(
        vendor,
        tuple(levels),
        sizes,
        _properties(first, vendor, description),
        _resolutions(first, vendor, description),
    )


def _pages(path: Path, file: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Return the chain of directories, and the reduced images that hang on the first one."""
    found: list[tifffile.TiffPage] = []
    for page in file.pages:
        if len(found) == _MOST_PAGES:
            raise SlideError(path, f"more than {_MOST_PAGES} TIFF directories")
        if not isinstance(page, tifffile.TiffPage):
            raise Unsuited("a TIFF of frames")
        found.append(page)
    if not found:
        raise SlideError(path, "no image in the TIFF")
    if found[0].pages is not None:
        found.extend(page for page in found[0].pages if isinstance(page, tifffile.TiffPage))
    return found


def _vendor(page: tifffile.TiffPage, description: str) -> str:
    told = "\n".join([description, _text(page, "Software"), _text(page, "XMP")])
    for mark, reason in _SPECIAL.items():
        if mark in told:
            raise Unsuited(reason)
    if _NDPI in page.tags:
        raise Unsuited("Hamamatsu's files are no plain TIFF")
    if description.startswith("Aperio"):
        return "aperio"
    if "DPUfsImport" in description or _text(page, "Software").startswith("Philips"):
        return "philips"
    return "generic-tiff"


def _is_level(page: tifffile.TiffPage, index: int, vendor: str) -> bool:
    """Whether a directory is a level, by openslide's rules; others are labels, macros, thumbnails."""
    if index == 0:
        return True
    if not page.is_tiled:
        return False
    if vendor == "generic-tiff":
        return bool(page.subfiletype & _REDUCED)
    return vendor == "aperio" or not _text(page, "ImageDescription").startswith(("Label", "Macro"))


def _is_channel(page: tifffile.TiffPage, first: tifffile.TiffPage) -> bool:
    """Whether a directory is as large as the first, both of one sample per pixel."""
    sizes = {(each.imagewidth, each.imagelength, each.samplesperpixel) for each in (page, first)}
    return len(sizes) == 1 and first.samplesperpixel == 1 and not page.subfiletype & _REDUCED


def _level(path: Path, page: tifffile.TiffPage) -> TiledLevel:
    width, height = int(page.imagewidth), int(page.imagelength)
    coding = _coding(page)
    if min(width, height, coding.width, coding.height) <= 0:
        raise SlideError(path, f"a level of {width} x {height} in tiles of {coding.width} x {coding.height}")
    if coding.width * coding.height > _LARGEST_TILE:
        raise SlideError(path, f"tiles of {coding.width} x {coding.height}, more than 64 megapixels each")
    level = TiledLevel(
        width, height, coding,
        np.asarray(page.dataoffsets, np.uint64), np.asarray(page.databytecounts, np.uint64),
    )  # fmt: skip
    wanted = level.across * level.down
    if level.offsets.size != wanted or level.counts.size != wanted:
        raise SlideError(
            path,
            f"a level of {width} x {height} in tiles of {coding.width} x {coding.height} has "
            f"{level.offsets.size} places of tiles and {level.counts.size} lengths, expected {wanted}",
        )
    return level


def _coding(page: tifffile.TiffPage) -> Coding:
    compression, photometric = int(page.compression), int(page.photometric)
    samples = int(page.samplesperpixel)
    known, of_codestream = compression in COMPRESSIONS, compression in (APERIO_YCC, APERIO_RGB, JPEG2000)
    for wrong, reason in (
        (not known, f"compression {compression}"),
        (page.bitspersample != 8 or page.sampleformat != 1, f"{page.bitspersample} bits per sample"),
        (page.imagedepth != 1 or page.tiledepth not in (0, 1), "a stack of planes"),
        (page.planarconfig != 1 and samples > 1, "planes of colours apart"),
        (samples not in (1, 3, 4), f"{samples} samples per pixel"),
        (photometric not in tuple(Photometric) and not of_codestream, f"photometric {photometric}"),
        (photometric == Photometric.YCC and compression not in _OWN_COLOURS, "YCbCr that is not JPEG"),
        (samples == 4 and compression == JPEG, "JPEG of four colours"),
        (page.predictor not in (1, 2) or page.fillorder != 1, "an unusual predictor or order of bits"),
    ):
        if wrong:
            raise Unsuited(reason)
    if of_codestream:  # what such a file says of its colours is wrong as often as not
        photometric = int(Photometric.RGB)
    return Coding(
        int(page.tilewidth), int(page.tilelength), samples, compression, photometric,
        1 if compression in _OWN_COLOURS else int(page.predictor), page.jpegtables,
    )  # fmt: skip


def _check_pyramid(path: Path, sizes: Sequence[Pair], codings: Sequence[Coding]) -> None:
    """Levels of one image get smaller, and keep its shape but for rounding and tiles' padding."""
    for (wide, high), (width, height) in pairwise(sizes):
        if width >= wide or height > high:
            raise Unsuited(f"levels of {wide} x {high} and {width} x {height} are no pyramid")
    wide, high = sizes[0]
    for (width, height), coding in zip(sizes, codings, strict=True):
        across, down = wide / width, high / height
        padding = 2 + max(coding.width, coding.height)
        if abs(down - across) * min(width, height) > padding * max(down, across):
            raise SlideError(path, f"levels of {wide} x {high} and {width} x {height} differ in shape")


def _has_gaps(level: TiledLevel) -> bool:
    return level.coding.compression in (APERIO_YCC, APERIO_RGB) and bool((level.counts == 0).any())


def _properties(page: tifffile.TiffPage, vendor: str, description: str) -> dict[str, str]:
    found = {"openslide.vendor": vendor}
    for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "Copyright"):
        text = _text(page, name)
        if text:
            found[f"tiff.{name}"] = text
    if vendor == "aperio":
        found.update(_aperio(description))
        if "aperio.AppMag" in found:
            found["openslide.objective-power"] = found["aperio.AppMag"]
    return found


def _aperio(description: str) -> dict[str, str]:
    """Return what Aperio's description says, "key = value" between bars."""
    pairs = (part.partition("=") for part in description.split("|")[1:])
    return {f"aperio.{key.strip()}": value.strip() for key, equals, value in pairs if equals}


def _resolutions(
    page: tifffile.TiffPage, vendor: str, description: str
) -> tuple[tuple[str, Resolution | None], ...]:
    found: list[tuple[str, Resolution | None]] = []
    if vendor == "aperio":
        mpp = resolution.number_in(_aperio(description).get("aperio.MPP"))
        found.append(("aperio.MPP", None if mpp is None else (mpp, mpp)))
    if vendor == "philips":
        found.append(("philips.DICOM_PIXEL_SPACING", philips_spacing(description)))
    found.append(("OME", _ome(description)))
    found.append(("TIFF tags", _tagged(page)))
    return tuple(found)


def _ome(description: str) -> Resolution | None:
    """Return what OME's XML says: micrometres unless it names another unit."""
    found = []
    for axis in "XY":
        size = re.search(rf'PhysicalSize{axis}="([0-9.eE+-]+)"', description)
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]*)"', description)
        factor = _UNITS.get(unit[1] if unit else "µm")
        value = resolution.number_in(size[1]) if size else None
        if value is None or factor is None:
            return None
        found.append(value * factor)
    return found[0], found[1]


def _tagged(page: tifffile.TiffPage) -> Resolution | None:
    unit, x, y = (page.tags.valueof(name, None) for name in ("ResolutionUnit", "XResolution", "YResolution"))
    try:
        per_x, per_y = x[0] / x[1], y[0] / y[1]
        return resolution.from_tags(2 if unit is None else int(unit), per_x, per_y)
    except (TypeError, ZeroDivisionError, IndexError, ValueError):
        return None


def _text(page: tifffile.TiffPage, name: str) -> str:
    value = page.tags.valueof(name, "")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
