"""What a Philips TIFF's XML says: its levels' true sizes and micrometres per pixel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from fastwsi.slides.geometry import Pair
    from fastwsi.slides.resolution import Resolution

_LONGEST = 1 << 26  # characters of XML


def philips_spacing(description: str) -> Resolution | None:
    """Return the first level's micrometres per pixel, (x, y)."""
    spacings = _spacings(description)
    return (spacings[0][1] * 1000, spacings[0][0] * 1000) if spacings else None


def philips_sizes(description: str, sizes: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """Return levels' sizes without their padding.

    The file counts the padding of its last tiles in. Each level's spacing in the XML tells how many times it
    is downsampled, and so its share of the first level, which openslide takes as well.
    """
    spacings = _spacings(description)
    if len(spacings) != len(sizes):
        return sizes
    down, across = spacings[0]
    width, height = sizes[0]
    found = [sizes[0]]
    for (rows, columns), size in zip(spacings[1:], sizes[1:], strict=True):
        factor = round((columns / across + rows / down) / 2)
        true = (width // factor, height // factor) if factor >= 1 else size
        found.append((min(true[0], size[0]), min(true[1], size[1])))
    return tuple(found)


def _spacings(description: str) -> list[tuple[float, float]]:
    """Return each level's spacing in millimetres, (row, column), the first level's first."""
    root = _parsed(description)
    if root is None:
        return []
    found = []
    for element in root.iter("DataObject"):
        if element.get("ObjectType") != "PixelDataRepresentation":
            continue
        for attribute in element.findall("Attribute"):
            if attribute.get("Name") == "DICOM_PIXEL_SPACING":
                numbers = [float(text) for text in re.findall(r'"([0-9.eE+-]+)"', attribute.text or "")]
                if len(numbers) == 2 and min(numbers) > 0:
                    found.append((numbers[0], numbers[1]))
    return found


def _parsed(description: str) -> Element | None:
    from defusedxml.ElementTree import fromstring  # noqa: PLC0415  (few files need it)

    if len(description) > _LONGEST or "<" not in description:
        return None
    try:
        root: Element = fromstring(description[description.index("<") :])
    except Exception:  # noqa: BLE001  (broken, or an attack: no word of it is believed)
        return None
    return root
