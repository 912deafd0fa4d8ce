"""Polygons that cross themselves, made valid, and named."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import shapely

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fastwsi.slides.annotations.shapes import Annotation, Points


class AnnotationWarning(UserWarning):
    """A shape was not as it should be, and was put right or left out; says which."""


def repaired(shapes: Iterable[Annotation], path: Path | str) -> tuple[Annotation, ...]:
    """Return shapes whose polygons are all valid; a warning names those that were not.

    What crosses itself falls into several polygons, which keep its group and name. A polygon that encloses
    nothing (a line drawn forth and back) stays out.
    """
    found: list[Annotation] = []
    for number, shape in enumerate(shapes):
        if not shape.rings:
            found.append(shape)
            continue
        polygon = shapely.Polygon(shape.outline, shape.holes)
        if polygon.is_valid and not polygon.is_empty:
            found.append(shape)
            continue
        reason = shapely.is_valid_reason(polygon)
        parts = [part for part in _parts(shapely.make_valid(polygon, method="structure")) if part.area > 0]
        named = f"{path}: {shape.name or 'unnamed shape'} (number {number + 1})"
        outcome = f"repaired, {len(parts)} polygon{'s' if len(parts) != 1 else ''}" if parts else "left out"
        warnings.warn(f"{named}: {reason}: {outcome}", AnnotationWarning, stacklevel=3)
        found.extend(
            replace(
                shape,
                kind="polygon",
                points=_ring(part.exterior),
                holes=tuple(_ring(hole) for hole in part.interiors),
            )
            for part in parts
        )
    return tuple(found)


def _parts(shape: shapely.Geometry) -> list[shapely.Polygon]:
    if isinstance(shape, shapely.Polygon):
        return [shape]
    if isinstance(shape, (shapely.MultiPolygon, shapely.GeometryCollection)):
        return [part for each in shape.geoms for part in _parts(each)]
    return []


def _ring(ring: shapely.LinearRing) -> Points:
    found: Points = np.ascontiguousarray(shapely.get_coordinates(ring)[:-1])
    return found
