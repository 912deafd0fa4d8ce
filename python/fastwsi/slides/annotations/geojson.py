"""QuPath's GeoJSON: read in the forms of all its versions, written in today's and in that before 0.4."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fastwsi._files import write_atomically
from fastwsi.slides.annotations.repair import repaired
from fastwsi.slides.annotations.shapes import Annotation, Annotations, Points, check_points
from fastwsi.slides.errors import SlideError

Json = dict[str, Any]
_LARGEST = 1 << 30  # bytes
_SIMPLE: dict[str, tuple[str, int, int]] = {  # kind, least points, how deep its points are nested
    "Point": ("dot", 1, 0),
    "MultiPoint": ("points", 1, 1),
    "LineString": ("line", 2, 1),
    "MultiLineString": ("line", 2, 2),
}
_WRONG = (TypeError, ValueError, KeyError, AttributeError, IndexError, RecursionError, OverflowError)
_SPACE = uuid.UUID("6f1f6d0e-6c0b-5d5c-8a38-2b7a5d0a4f11")  # of the ids that are made of what they name


def read_geojson(path: str | Path) -> Annotations:
    """Read what QuPath exports: a FeatureCollection, a list of features, or a single one.

    Polygons keep their holes; of a MultiPolygon each part becomes a shape. The classification's name is the
    group. Coordinates are QuPath's: level-0 pixels of the image as QuPath shows it (see `Slide.bounds` for
    scanners whose files begin elsewhere).

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "slide.geojson"
    >>> square = Annotation("polygon", np.array([[0, 0], [9, 0], [9, 9]], float), "Tumor")
    >>> fastwsi.slides.write_geojson(path, Annotations((square,)))
    >>> fastwsi.slides.read_geojson(path).groups
    ('Tumor',)
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise SlideError(path, f"more than {_LARGEST >> 30} GiB of GeoJSON")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SlideError(path, error.strerror or str(error)) from None
    except (ValueError, RecursionError) as error:
        raise SlideError(path, f"broken JSON: {error}") from None
    shapes: list[Annotation] = []
    colours: dict[str, str] = {}
    number = 0
    try:
        for feature in _features(path, content):
            number += 1
            shapes += _shapes(feature, colours)
    except _WRONG as error:
        raise SlideError(path, f"feature {number}: {type(error).__name__}: {error}") from None
    return Annotations(repaired(shapes, path), colours)


def write_geojson(path: str | Path, annotations: Annotations, *, form: Literal["0.4", "0.3"] = "0.4") -> None:
    """Write GeoJSON that QuPath imports; the same shapes give the same bytes.

    Parameters
    ----------
    path : path
    annotations : Annotations
    form : "0.4" or "0.3"
        The version of QuPath whose form it is. Since 0.4 each object has a UUID and colours are lists;
        before, ids told what kind of object it is, and colours were Java's integers. QuPath 0.5 and later
        write 0.4's form and read both.
    """
    if form not in ("0.4", "0.3"):
        raise ValueError(f"form: got {form!r}, expected '0.4' or '0.3'")
    colours = annotations.colours
    features = [_feature(shape, i, colours, form) for i, shape in enumerate(annotations)]
    content: Any = features if form == "0.3" else {"type": "FeatureCollection", "features": features}
    write_atomically(Path(path), json.dumps(content, allow_nan=False))


def _features(path: Path, content: Any) -> list[Json]:
    if isinstance(content, dict):
        content = content["features"] if content.get("type") == "FeatureCollection" else [content]
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise SlideError(path, "no GeoJSON: expected a FeatureCollection, a list of features, or one feature")
    return content


def _shapes(feature: Json, colours: dict[str, str]) -> list[Annotation]:
    properties = feature.get("properties") or {}
    classification = properties.get("classification") or {}
    group = _name(classification) if isinstance(classification, dict) else str(classification)
    colour = _colour(classification if isinstance(classification, dict) else {})
    if group and colour:
        colours.setdefault(group, colour)
    name = str(properties.get("name") or "")
    geometry = feature.get("geometry", feature)
    if geometry is None:  # GeoJSON allows features that are nowhere
        return []
    return [Annotation(kind, points, group, name, holes, colour) for kind, points, holes in _parts(geometry)]


def _name(classification: Json) -> str:
    """Return a class's name; derived ones come as a list, and read "Tumor: Positive" in QuPath."""
    names = classification.get("names")
    if names and not classification.get("name"):
        return ": ".join(str(name) for name in names)
    return str(classification.get("name") or "")


def _parts(geometry: Json) -> list[tuple[Any, Points, tuple[Points, ...]]]:
    """Return kind, points and holes of each part of a geometry."""
    kind: str = geometry["type"]
    places: Any = geometry.get("coordinates")
    if kind == "GeometryCollection":
        return [part for each in geometry["geometries"] for part in _parts(each)]
    if kind == "Polygon":
        return _polygon(places)
    if kind == "MultiPolygon":
        return [part for each in places for part in _polygon(each)]
    if kind not in _SIMPLE:
        raise ValueError(f"got the geometry {kind!r}, expected one of GeoJSON's")
    own, least, nesting = _SIMPLE[kind]
    pieces = [[places]] if nesting == 0 else [places] if nesting == 1 else places
    return [(own, check_points([place[:2] for place in piece], least), ()) for piece in pieces]


def _polygon(rings: Any) -> list[tuple[Any, Points, tuple[Points, ...]]]:
    if not rings:
        return []
    outer, *holes = (_ring(ring) for ring in rings)
    return [("polygon", outer, tuple(holes))]


def _ring(places: Any) -> Points:
    """Return a ring without the point that closes it."""
    points = check_points([place[:2] for place in places], 3)
    return points[:-1] if len(points) > 3 and (points[0] == points[-1]).all() else points


def _colour(classification: Json) -> str:
    """Return "#rrggbb" of a list of three, or of Java's signed 32 bits (before 0.4)."""
    given = classification.get("color", classification.get("colorRGB"))
    if isinstance(given, (list, tuple)) and len(given) >= 3:
        return "#" + "".join(f"{int(value) & 255:02x}" for value in given[:3])
    if isinstance(given, int):
        return f"#{given & 0xFFFFFF:06x}"
    return ""


def _feature(shape: Annotation, number: int, colours: dict[str, str], form: str) -> Json:
    geometry = _geometry(shape)
    text = shape.colour or colours.get(shape.group, "")
    rgb = _rgb(text)
    classification: Json = {"name": shape.group}
    if rgb is not None:
        signed = (255 << 24 | rgb[0] << 16 | rgb[1] << 8 | rgb[2]) - (1 << 32)
        classification.update({"color": list(rgb)} if form == "0.4" else {"colorRGB": signed})
    properties: Json = {"object_type" if form == "0.3" else "objectType": "annotation"}
    if shape.name:
        properties["name"] = shape.name
    if shape.group:
        properties["classification"] = classification
    properties["isLocked"] = False
    if form == "0.3":
        properties["measurements"] = []
        return {
            "type": "Feature", "id": "PathAnnotationObject", "geometry": geometry, "properties": properties,
        }  # fmt: skip
    # Made of the content and the place in the file: the same annotations are the same bytes.
    own = str(uuid.uuid5(_SPACE, json.dumps([number, shape.group, shape.name, geometry])))
    return {"type": "Feature", "id": own, "geometry": geometry, "properties": properties}


def _geometry(shape: Annotation) -> Json:
    if shape.rings:
        return {"type": "Polygon", "coordinates": [_places(np.vstack([r, r[:1]])) for r in shape.rings]}
    if shape.kind == "dot":
        return {"type": "Point", "coordinates": _places(shape.points)[0]}
    if shape.kind == "points":
        return {"type": "MultiPoint", "coordinates": _places(shape.points)}
    return {"type": "LineString", "coordinates": _places(shape.points)}


def _places(points: Points) -> list[list[float]]:
    return [[int(v) if v == int(v) else round(v, 4) for v in point] for point in points.tolist()]


def _rgb(text: str) -> tuple[int, int, int] | None:
    try:
        value = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        return None
    return (value[0], value[1], value[2]) if len(value) == 3 else None
