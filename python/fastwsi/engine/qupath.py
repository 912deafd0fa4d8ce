"""Detections as the objects that QuPath imports."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi._files import write_atomically

if TYPE_CHECKING:
    from fastwsi.engine.cells import Exact

_SPACE = uuid.UUID("0b9e6f0c-3a55-5d6b-9a43-5a5b8f0f2f0e")  # of the ids that are made of slide and number
_CLASS = {"name": "Tumor", "color": [200, 0, 0]}  # QuPath's own, with its colour


def write_detections_geojson(path: str | Path, points: Any, *, name: str, bounds: Exact = (0.0, 0.0)) -> None:
    """Write detections as GeoJSON that QuPath imports; the same detections give the same bytes.

    Each is an annotation of a single point, with its score as a measurement. Annotations are what QuPath
    lists: a double click goes to the place, and a pathologist can name, correct or delete it. QuPath's
    "detections" are for cells in their millions: they are in no list, and the next analysis may clear them. A
    point says what is known, a place; the cell around it is what was looked at, not what was found.

    Parameters
    ----------
    path : path
    points : array, shape (n, 3)
        Score, x and y at level 0, best first.
    name : str
        The slide's: ids are made of it and of a detection's number.
    bounds : (float, float)
        Where the part of level 0 begins that QuPath shows (``slide.bounds`` of MRXS): its coordinates
        begin there.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tumor_001_detections.geojson"
    >>> write_detections_geojson(path, [[0.9, 164, 292]], name="tumor_001", bounds=(100, 200))
    >>> fastwsi.slides.read_geojson(path).shapes[0].points.tolist()
    [[64.0, 92.0]]
    """
    table = np.asarray(points, np.float64).reshape(-1, 3)
    features = [_feature(name, i, row, bounds) for i, row in enumerate(table.tolist())]
    lines = ",\n".join(json.dumps(feature, sort_keys=True, allow_nan=False) for feature in features)
    write_atomically(Path(path), f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n')


def _feature(name: str, number: int, row: list[float], bounds: Exact) -> dict[str, Any]:
    score, x, y = row
    place = [_short(x - bounds[0]), _short(y - bounds[1])]
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_SPACE, json.dumps([name, number]))),
        "geometry": {"type": "Point", "coordinates": place},
        "properties": {
            "objectType": "annotation",
            "name": f"{number + 1}: {score:.3f}",
            "classification": _CLASS,
            "measurements": {"probability": score},
        },
    }


def _short(value: float) -> float:
    return int(value) if value == int(value) else value
