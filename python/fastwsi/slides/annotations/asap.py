"""ASAP's XML, in which Camelyon's annotations come: in and out."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi._files import write_atomically
from fastwsi.slides.annotations.repair import repaired
from fastwsi.slides.annotations.shapes import Annotation, Annotations, Kind, Points, check_points
from fastwsi.slides.errors import SlideError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_KINDS: dict[str, tuple[Kind, int]] = {  # and how many points they take at least
    "polygon": ("polygon", 3),
    "rectangle": ("rectangle", 2),
    "spline": ("spline", 3),
    "dot": ("dot", 1),
    "pointset": ("points", 1),
    "polyline": ("line", 2),
    "none": ("polygon", 3),
}
_NAMES: dict[Kind, str] = {
    "polygon": "Polygon", "rectangle": "Rectangle", "spline": "Spline", "dot": "Dot", "points": "PointSet",
    "line": "PolyLine",
}  # fmt: skip
_LARGEST = 1 << 28  # bytes
_COLOURS = ("#F4FA58", "#64FE2E", "#2E64FE", "#FE2E2E", "#FE9A2E", "#9A2EFE")


def read_asap(path: str | Path) -> Annotations:
    """Read ASAP's XML.

    Coordinates may come in any order and with decimal commas. Polygons that cross themselves are repaired,
    with a warning that names them; entities and external references are refused.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tumor_001.xml"
    >>> square = Annotation("polygon", np.array([[0, 0], [9, 0], [9, 9]], float), "_0", "Annotation 0")
    >>> fastwsi.slides.write_asap(path, Annotations((square,)))
    >>> fastwsi.slides.read_asap(path).groups
    ('_0',)
    """
    path = Path(path)
    root = _root(path)
    shapes = [_shape(path, element, i) for i, element in enumerate(root.iter("Annotation"))]
    colours = {
        group.get("Name", ""): group.get("Color", "") for group in root.iter("Group") if group.get("Name")
    }
    return Annotations(repaired(shapes, path), colours)


def write_asap(path: str | Path, annotations: Annotations) -> None:
    """Write ASAP's XML, which ASAP opens beside the slide where the names agree. Holes become shapes.

    ASAP knows no holes: a hole is a shape of its own, of the group "Exclusion", which Camelyon16's data
    have for that under the name "_2".
    """
    lines = ['<?xml version="1.0"?>', "<ASAP_Annotations>", "\t<Annotations>"]
    groups = dict(annotations.colours)
    number = 0
    for shape in annotations:
        colour = shape.colour or groups.get(shape.group) or _colour(len(groups))
        groups.setdefault(shape.group, colour)
        lines += _element(shape.kind, shape.points, shape.name or f"Annotation {number}", shape.group, colour)
        number += 1
        for hole in shape.holes:
            group = _HOLES.get(shape.group, "Exclusion")
            groups.setdefault(group, _colour(len(groups)))
            lines += _element("polygon", hole, f"Annotation {number}", group, groups[group])
            number += 1
    lines += ["\t</Annotations>", "\t<AnnotationGroups>"]
    for group, colour in groups.items():
        if group:
            lines.append(
                f'\t\t<Group Name={_quoted(group)} PartOfGroup="None" Color={_quoted(colour)}>'
                "<Attributes /></Group>"
            )
    lines += ["\t</AnnotationGroups>", "</ASAP_Annotations>", ""]
    write_atomically(Path(path), "\n".join(lines))


_HOLES = {"_0": "_2", "_1": "_2", "Tumor": "_2"}  # what Camelyon16 calls what is cut out of which


def _element(kind: Kind, points: Points, name: str, group: str, colour: str) -> list[str]:
    places = [
        f'\t\t\t\t<Coordinate Order="{i}" X="{x:.10g}" Y="{y:.10g}" />' for i, (x, y) in enumerate(points)
    ]
    told = f'Name={_quoted(name)} Type="{_NAMES[kind]}"'
    told += f" PartOfGroup={_quoted(group or 'None')} Color={_quoted(colour)}"
    return [
        f"\t\t<Annotation {told}>",
        "\t\t\t<Coordinates>",
        *places,
        "\t\t\t</Coordinates>",
        "\t\t</Annotation>",
    ]


def _root(path: Path) -> Element:
    from defusedxml import DefusedXmlException  # noqa: PLC0415
    from defusedxml.ElementTree import ParseError, parse  # noqa: PLC0415

    try:
        if path.stat().st_size > _LARGEST:
            raise SlideError(path, f"more than {_LARGEST >> 20} MiB of XML")
        root: Element = parse(path, forbid_dtd=False).getroot()
    except DefusedXmlException as error:
        raise SlideError(path, f"refused: the XML holds {type(error).__name__}") from None
    except ParseError as error:
        raise SlideError(path, f"broken XML: {error}") from None
    except OSError as error:
        raise SlideError(path, error.strerror or str(error)) from None
    except (ValueError, LookupError) as error:  # an encoding that nobody knows
        raise SlideError(path, f"broken XML: {error}") from None
    if root.tag != "ASAP_Annotations":
        raise SlideError(path, f"no annotations of ASAP: the XML begins with <{root.tag[:50]}>")
    return root


def _shape(path: Path, element: Element, number: int) -> Annotation:
    name = element.get("Name") or f"Annotation {number}"
    kind, least = _KINDS.get((element.get("Type") or "").lower(), (None, 0))
    if kind is None:
        raise SlideError(path, f"{name}: got the type {element.get('Type')!r}, expected one of ASAP's")
    try:
        places = [_coordinate(each, i) for i, each in enumerate(element.iter("Coordinate"))]
        places.sort(key=lambda place: place[0])
        points = check_points([place[1:] for place in places] or np.empty((0, 2)), least)
    except (TypeError, ValueError) as error:
        raise SlideError(path, f"{name}: {error}") from None
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    group = element.get("PartOfGroup") or ""
    return Annotation(kind, points, "" if group == "None" else group, name, (), element.get("Color") or "")


def _coordinate(element: Element, position: int) -> tuple[float, float, float]:
    order: Any = element.get("Order")
    return (
        float(position) if order is None else _number(order, "Order"),
        _number(element.get("X"), "X"),
        _number(element.get("Y"), "Y"),
    )


def _number(text: str | None, name: str) -> float:
    if text is None:
        raise ValueError(f"a coordinate without {name}")
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise ValueError(f"got {name}={text[:40]!r}, expected a number") from None


def _quoted(text: str) -> str:
    """Return a text as the value of an attribute."""
    return f'"{escape(text, quote=True)}"'


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


__all__ = ["read_asap", "write_asap"]
