"""Detections for QuPath: a schema of what it reads, and geometry by shapely."""

from __future__ import annotations

import json
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastwsi
from engine.results import result
from fastwsi import slides
from fastwsi.engine import SlideResult, write_detections_geojson

jsonschema = pytest.importorskip("jsonschema", reason="checks JSON against a schema")
shapely = pytest.importorskip("shapely")

NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}, "minProperties": 1}
COLOUR = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": 255},
    "minItems": 3,
    "maxItems": 3,
}
UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
# What QuPath since 0.4 makes objects of: ids that Java's UUID takes, camel-case types, classes as objects,
# measurements as an object of numbers (its parser makes of anything else an error, or nothing).
QUPATH = {
    "type": "object",
    "required": ["type", "features"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "id", "geometry", "properties"],
                "additionalProperties": False,
                "properties": {
                    "type": {"const": "Feature"},
                    "id": {"type": "string", "pattern": UUID},
                    "geometry": {
                        "type": "object",
                        "required": ["type", "coordinates"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "Point"},
                            "coordinates": {
                                "type": "array",
                                "items": {"type": "number"},
                                "minItems": 2,
                                "maxItems": 2,
                            },
                        },
                    },
                    "properties": {
                        "type": "object",
                        "required": ["objectType", "classification", "measurements"],
                        "additionalProperties": False,
                        "properties": {
                            "objectType": {"enum": ["annotation", "detection"]},
                            "name": {"type": "string"},
                            "classification": {
                                "type": "object",
                                "required": ["name", "color"],
                                "additionalProperties": False,
                                "properties": {"name": {"type": "string", "minLength": 1}, "color": COLOUR},
                            },
                            "measurements": NUMBERS,
                        },
                    },
                },
            },
        },
    },
}


def strict(text):
    """JSON without the numbers that Java does not read."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_the_schema_refuses_what_qupath_does(tmp_path):
    content = strict(result().save(tmp_path).geojson.read_text())
    jsonschema.validate(content, QUPATH)
    properties = content["features"][0]["properties"]
    for wrong in ([{"name": "probability", "value": 1}], {}, {"probability": "1"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(
                {
                    **content,
                    "features": [
                        {**content["features"][0], "properties": {**properties, "measurements": wrong}}
                    ],
                },
                QUPATH,
            )


@settings(max_examples=40)
@given(
    name=st.text(
        st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\."), min_size=1, max_size=20
    ),
    points=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 3e5), st.floats(0, 3e5)), max_size=20),
    bounds=st.tuples(st.integers(0, 100_000), st.integers(0, 100_000)),
)
def test_points(tmp_path_factory, name, points, bounds):
    path = tmp_path_factory.mktemp("qupath") / "a.geojson"
    write_detections_geojson(path, points, name=name, bounds=bounds)
    once = path.read_bytes()
    content = strict(once)
    jsonschema.validate(content, QUPATH)
    found = [shapely.geometry.shape(feature["geometry"]) for feature in content["features"]]
    assert [point.coords[0] for point in found] == [(x - bounds[0], y - bounds[1]) for _, x, y in points]
    measured = [feature["properties"]["measurements"]["probability"] for feature in content["features"]]
    assert measured == [score for score, _, _ in points]
    ids = {uuid.UUID(feature["id"]) for feature in content["features"]}
    assert len(ids) == len(points)
    assert all(each.version == 5 for each in ids)
    write_detections_geojson(path, points, name=name, bounds=bounds)
    assert path.read_bytes() == once


def test_ids_are_of_slide_and_number(tmp_path):
    def ids(name, points):
        write_detections_geojson(tmp_path / "a.geojson", points, name=name)
        return [feature["id"] for feature in json.loads((tmp_path / "a.geojson").read_text())["features"]]

    one, two = ids("a", [(0.5, 1, 2), (0.4, 3, 4)])
    assert ids("a", [(0.9, 7, 7)]) == [one]
    assert not {one, two} & set(ids("b", [(0.5, 1, 2), (0.4, 3, 4)]))


def test_the_place_is_the_cell_of_the_map_to_the_pixel(tmp_path):
    """On a slide of odd size whose scan does not begin at its corner, as of MRXS."""
    cells = np.zeros((23, 32), np.float32)
    cells[11, 30] = 0.75
    made = SlideResult.of(
        cells, name="a", scale=(31.3, 30.9), slide_size=(1001, 709), radius=2, threshold=0.5, bounds=(37, 41)
    )
    paths = made.save(tmp_path)
    (shape,) = slides.read_geojson(paths.geojson)
    x, y = shape.points[0] + (37, 41)
    assert (shape.kind, shape.group) == ("dot", "Tumor")
    assert shape.colour == "#c80000", "QuPath's own for tumour"
    assert (x, y) == pytest.approx((30.5 * 31.3, 11.5 * 30.9), abs=1e-9)
    whole = fastwsi.engine.read_likelihood_map(paths.likelihood_map)
    assert whole.heatmap[int(y / whole.grid.scale[1]), int(x / whole.grid.scale[0])] == 0.75
