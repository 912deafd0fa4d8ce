"""What is drawn on slides: read, written, painted."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from fastwsi.slides import (
    Annotation,
    Annotations,
    AnnotationWarning,
    SlideError,
    read_asap,
    read_geojson,
    write_asap,
    write_geojson,
)


def ring(*points):
    return np.array(points, np.float64)


SQUARE = ring((10, 10), (50, 10), (50, 50), (10, 50))
HOLE = ring((20, 20), (40, 20), (40, 40), (20, 40))

CAMELYON16 = """<?xml version="1.0"?>
<ASAP_Annotations>
  <Annotations>
    <Annotation Name="Annotation 0" Type="Polygon" PartOfGroup="_0" Color="#F4FA58">
      <Coordinates>
        <Coordinate Order="2" X="50,5" Y="50" />
        <Coordinate Order="0" X="10" Y="10" />
        <Coordinate Order="3" X="10" Y="50" />
        <Coordinate Order="1" X="50,5" Y="10" />
      </Coordinates>
    </Annotation>
    <Annotation Name="Annotation 1" Type="Polygon" PartOfGroup="_2" Color="#F4FA58">
      <Coordinates>
        <Coordinate Order="0" X="20" Y="20" /><Coordinate Order="1" X="40" Y="20" />
        <Coordinate Order="2" X="40" Y="40" /><Coordinate Order="3" X="20" Y="40" />
      </Coordinates>
    </Annotation>
    <Annotation Name="R" Type="Rectangle" PartOfGroup="Tumor" Color="#64FE2E">
      <Coordinates><Coordinate Order="0" X="60" Y="5" /><Coordinate Order="1" X="80" Y="9" /></Coordinates>
    </Annotation>
    <Annotation Name="D" Type="Dot" PartOfGroup="None" Color="#64FE2E">
      <Coordinates><Coordinate Order="0" X="1" Y="2" /></Coordinates>
    </Annotation>
    <Annotation Name="P" Type="PointSet" PartOfGroup="Exclusion" Color="#64FE2E">
      <Coordinates><Coordinate Order="0" X="1" Y="2" /><Coordinate Order="1" X="3" Y="4" /></Coordinates>
    </Annotation>
    <Annotation Name="S" Type="Spline" PartOfGroup="metastases" Color="#64FE2E">
      <Coordinates>
        <Coordinate Order="0" X="100" Y="70" /><Coordinate Order="1" X="130" Y="100" />
        <Coordinate Order="2" X="100" Y="130" /><Coordinate Order="3" X="70" Y="100" />
      </Coordinates>
    </Annotation>
  </Annotations>
  <AnnotationGroups>
    <Group Name="_0" PartOfGroup="None" Color="#00ff00"><Attributes /></Group>
    <Group Name="_2" PartOfGroup="None" Color="#ff0000"><Attributes /></Group>
  </AnnotationGroups>
</ASAP_Annotations>
"""


class TestAsap:
    @pytest.fixture
    def read(self, tmp_path):
        path = tmp_path / "tumor_001.xml"
        path.write_text(CAMELYON16)
        return read_asap(path)

    def test_every_kind(self, read):
        kinds = [shape.kind for shape in read]
        assert kinds == ["polygon", "polygon", "rectangle", "dot", "points", "spline"]
        assert read.groups == ("_0", "_2", "Tumor", "", "Exclusion", "metastases")
        assert read.colours == {"_0": "#00ff00", "_2": "#ff0000"}

    def test_order_and_decimal_commas(self, read):
        np.testing.assert_array_equal(read.shapes[0].points, ring((10, 10), (50.5, 10), (50.5, 50), (10, 50)))

    def test_a_rectangle_of_two_corners(self, read):
        assert read.shapes[2].area == 80

    def test_a_spline_passes_through_its_points(self, read):
        spline = read.shapes[5]
        outline = spline.outline
        assert len(outline) == 32
        for point in spline.points:
            assert np.abs(outline - point).sum(1).min() < 1e-9
        assert 1800 < spline.area < np.pi * 30**2  # more than the straight pieces', less than the circle's

    def test_exclusion_is_cut_out(self, read):
        painted = read.rasterise((0, 0), 64, values={"_0": 1, "_1": 1, "_2": 0})
        assert painted[15, 15] == 1
        assert painted[30, 30] == 0
        assert painted.sum() == 40 * 40 - 20 * 20  # the right edge runs through the centres of column 50

    def test_written_and_read_again(self, read, tmp_path):
        write_asap(tmp_path / "again.xml", read)
        again = read_asap(tmp_path / "again.xml")
        assert [s.kind for s in again] == [s.kind for s in read]
        assert [s.group for s in again] == [s.group for s in read]
        assert [s.name for s in again] == [s.name for s in read]
        for a, b in zip(again, read, strict=True):
            np.testing.assert_allclose(a.points, b.points, atol=1e-6)

    def test_holes_become_shapes_of_the_exclusion_group(self, tmp_path):
        write_asap(tmp_path / "a.xml", Annotations((Annotation("polygon", SQUARE, "_0", "x", (HOLE,)),)))
        again = read_asap(tmp_path / "a.xml")
        assert [shape.group for shape in again] == ["_0", "_2"]
        painted = again.rasterise((0, 0), 64, values={"_0": 1, "_2": 0})
        assert painted.sum() == 40 * 40 - 20 * 20

    def test_names_need_escaping(self, tmp_path):
        odd = Annotation("polygon", SQUARE, 'a<b & "c"', "<&>'")
        write_asap(tmp_path / "a.xml", Annotations((odd,)))
        (again,) = read_asap(tmp_path / "a.xml")
        assert (again.group, again.name) == (odd.group, odd.name)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "broken XML"),
            ("<a>", "broken XML"),
            ("<html></html>", "no annotations of ASAP: the XML begins with <html>"),
            (CAMELYON16.replace('X="10"', 'X="ten"', 1), "Annotation 0: got X='ten', expected a number"),
            (CAMELYON16.replace('X="10"', 'X="nan"', 1), "Annotation 0: got coordinates that are no numbers"),
            (CAMELYON16.replace('X="10" ', "", 1), "Annotation 0: a coordinate without X"),
            (CAMELYON16.replace('"Spline"', '"Cloud"'), "S: got the type 'Cloud'"),
            (CAMELYON16.replace('<Coordinate Order="1" X="80" Y="9" />', ""), "R: got 1 points, expected at"),
        ],
    )
    def test_broken_files(self, tmp_path, text, reason):
        path = tmp_path / "a.xml"
        path.write_text(text)
        with pytest.raises(SlideError, match=reason) as caught:
            read_asap(path)
        assert caught.value.path == path

    def test_absent(self, tmp_path):
        with pytest.raises(SlideError, match="No such file"):
            read_asap(tmp_path / "none.xml")

    @pytest.mark.parametrize(
        "attack",
        [
            '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>',
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
            '<!DOCTYPE a SYSTEM "http://a.example/a.dtd" [<!ENTITY % p SYSTEM "http://a.example/b"> %p;]>',
        ],
    )
    def test_entities_are_refused(self, tmp_path, attack):
        path = tmp_path / "a.xml"
        path.write_text(CAMELYON16.replace("<ASAP_Annotations>", attack + "<ASAP_Annotations>", 1))
        with pytest.raises(SlideError, match="refused: the XML holds"):
            read_asap(path)

    @settings(max_examples=150)
    @given(data=st.data())
    def test_any_damage_is_an_error_or_annotations(self, tmp_path_factory, data):
        content = bytearray(CAMELYON16.encode())
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            del content[data.draw(st.integers(0, len(content))) :]
        path = tmp_path_factory.getbasetemp() / "damaged.xml"
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AnnotationWarning)
            with suppress(SlideError):
                assert read_asap(path).rasterise((0, 0), 32).shape == (32, 32)


BYTES = [b"9", b"e999", b"null", b"[", b'"', b"\xff"]


class TestGeoJson:
    SHAPES = Annotations(
        (
            Annotation("polygon", SQUARE, "Tumor", "first", (HOLE,), "#ff0080"),
            Annotation("dot", ring((1.25, 2)), "Cell"),
            Annotation("points", ring((1, 2), (3, 4))),
            Annotation("line", ring((1, 2), (3, 4.5))),
        )
    )

    @pytest.mark.parametrize("form", ["0.4", "0.3"])
    def test_written_and_read_again(self, tmp_path, form):
        write_geojson(tmp_path / "a.geojson", self.SHAPES, form=form)
        again = read_geojson(tmp_path / "a.geojson")
        assert again.colours == {"Tumor": "#ff0080"}
        for a, b in zip(again, self.SHAPES, strict=True):
            assert (a.kind, a.group, a.name, a.colour) == (b.kind, b.group, b.name, b.colour)
            np.testing.assert_array_equal(a.points, b.points)
            assert len(a.holes) == len(b.holes)

    def test_the_forms_are_qupaths(self, tmp_path):
        write_geojson(tmp_path / "new.geojson", self.SHAPES)
        new = json.loads((tmp_path / "new.geojson").read_text())
        assert new["type"] == "FeatureCollection"
        feature = new["features"][0]
        assert feature["properties"]["objectType"] == "annotation"
        assert feature["properties"]["classification"] == {"name": "Tumor", "color": [255, 0, 128]}
        assert len(feature["id"]) == 36
        assert feature["geometry"]["coordinates"][0][0] == feature["geometry"]["coordinates"][0][-1]
        assert shapely.geometry.shape(feature["geometry"]).area == 40 * 40 - 20 * 20
        write_geojson(tmp_path / "old.geojson", self.SHAPES, form="0.3")
        old = json.loads((tmp_path / "old.geojson").read_text())
        assert old[0]["id"] == "PathAnnotationObject"
        assert old[0]["properties"]["classification"]["colorRGB"] == -65408  # 0xFFFF0080, signed

    def test_the_same_shapes_are_the_same_bytes(self, tmp_path):
        write_geojson(tmp_path / "a.geojson", self.SHAPES)
        write_geojson(tmp_path / "b.geojson", self.SHAPES)
        assert (tmp_path / "a.geojson").read_bytes() == (tmp_path / "b.geojson").read_bytes()
        ids = [f["id"] for f in json.loads((tmp_path / "a.geojson").read_text())["features"]]
        assert len(set(ids)) == len(ids)

    def test_multipolygons_and_single_features(self, tmp_path):
        geometry = {
            "type": "MultiPolygon",
            "coordinates": [[[[0, 0], [4, 0], [4, 4], [0, 0]]], [[[9, 9], [12, 9], [12, 12], [9, 9]]]],
        }
        feature = {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": "T"}}}
        (tmp_path / "a.geojson").write_text(json.dumps(feature))
        again = read_geojson(tmp_path / "a.geojson")
        assert [(shape.group, len(shape.points)) for shape in again] == [("T", 3), ("T", 3)]

    def test_derived_classes_marks_of_order_and_features_that_are_nowhere(self, tmp_path):
        feature = {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [1, 2]},
            "properties": {"classification": {"names": ["Tumor", "Positive"]}},
        }
        nowhere = {"type": "Feature", "geometry": None, "properties": {}}
        (tmp_path / "a.geojson").write_text("\ufeff" + json.dumps([feature, nowhere]), encoding="utf-8")
        assert read_geojson(tmp_path / "a.geojson").groups == ("Tumor: Positive",)

    @settings(max_examples=100)
    @given(data=st.data())
    def test_any_damage_is_an_error_or_annotations(self, tmp_path_factory, data):
        path = tmp_path_factory.getbasetemp() / "damaged.geojson"
        write_geojson(path, self.SHAPES)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 5))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place : place + 1] = data.draw(st.sampled_from(BYTES))
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AnnotationWarning)
            with suppress(SlideError):
                assert read_geojson(path).rasterise((0, 0), 32).shape == (32, 32)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("{", "broken JSON"),
            ("3", "no GeoJSON"),
            ("[" * 100_000, "broken JSON"),
            ('[{"type": "Feature", "geometry": {"type": "Blob", "coordinates": []}}]', "feature 1: .*'Blob'"),
            ('[{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[1, 2]]]}}]', "1 points"),
            ('[{"type": "Feature", "geometry": {"type": "Point", "coordinates": ["a", 2]}}]', "feature 1"),
            ('[{"type": "Feature", "geometry": {"type": "Polygon"}}]', "feature 1|no GeoJSON"),
        ],
    )
    def test_broken_files(self, tmp_path, content, reason):
        path = tmp_path / "a.geojson"
        path.write_text(content)
        with pytest.raises(SlideError, match=reason):
            if not len(read_geojson(path)):
                raise SlideError(path, "feature 1 is empty")


class TestRepair:
    BOW = ring((0, 0), (40, 40), (40, 0), (0, 40))

    def test_a_bow_tie_becomes_two(self, tmp_path):
        write_asap(tmp_path / "a.xml", Annotations((Annotation("polygon", self.BOW, "_0", "bow"),)))
        with pytest.warns(AnnotationWarning, match=r"a.xml: bow \(number 1\): Self-intersection.*2 polygons"):
            again = read_asap(tmp_path / "a.xml")
        assert [shape.group for shape in again] == ["_0", "_0"]
        assert sum(shape.area for shape in again) == pytest.approx(800)

    def test_a_line_forth_and_back_is_left_out(self, tmp_path):
        flat = ring((0, 0), (40, 0), (20, 0))
        write_asap(tmp_path / "a.xml", Annotations((Annotation("polygon", flat, "_0", "flat"),)))
        with pytest.warns(AnnotationWarning, match="flat .*left out"):
            assert len(read_asap(tmp_path / "a.xml")) == 0


@st.composite
def polygons(draw):
    count = draw(st.integers(3, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radii = rng.uniform(5, 60, count)
    middle = rng.uniform(0, 100, 2)
    return np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + middle


class TestRasterise:
    @given(polygons(), st.sampled_from([0.5, 1.0, 1.7, 4.0]), st.integers(-20, 60), st.integers(-20, 60))
    def test_pixels_whose_centre_is_inside(self, points, scale, left, top):
        shape = shapely.Polygon(points)
        painted = Annotations((Annotation("polygon", points),)).rasterise((left, top), (20, 30), scale=scale)
        x = left + (np.arange(20) + 0.5) * scale
        y = top + (np.arange(30) + 0.5) * scale
        centres = shapely.points(*np.meshgrid(x, y))
        inside = shapely.contains(shape, centres) if shape.is_valid else None
        if inside is not None:
            near = shapely.distance(shape.exterior, centres) < 1e-6  # on the edge either will do
            np.testing.assert_array_equal(painted[~near] == 1, inside[~near])

    @given(polygons(), st.integers(1, 50), st.integers(1, 50))
    def test_windows_are_parts_of_the_whole(self, points, left, top):
        drawn = Annotations((Annotation("polygon", points),))
        whole = drawn.rasterise((0, 0), 150)
        np.testing.assert_array_equal(
            drawn.rasterise((left, top), (40, 30)), whole[top : top + 30, left : left + 40]
        )

    @given(polygons(), st.integers(1, 9), st.sampled_from([1.0, 2.5, (1.5, 3.0)]))
    def test_small_windows_without_edges_are_parts_of_the_whole_too(self, points, side, scale):
        """Near edges and far from them, inside, outside and in holes; all windows of one painter."""
        middle = points.mean(0)
        hole = (points - middle) * 0.5 + middle
        shapes = (Annotation("polygon", points, "t", holes=(hole,)), Annotation("polygon", hole + 7, "u"))
        painter = Annotations(shapes).painter({"t": 1, "u": 2})
        across, down = scale if isinstance(scale, tuple) else (scale, scale)
        whole = painter.window((-90, -90), (int(300 / across), int(300 / down)), scale)
        for row in range(0, whole.shape[0] - side, 8):
            for column in range(0, whole.shape[1] - side, 14):
                corner = -90 + column * across, -90 + row * down
                if corner[0] % 1 == corner[1] % 1 == 0:
                    window = painter.window((int(corner[0]), int(corner[1])), side, scale)
                    np.testing.assert_array_equal(window, whole[row : row + side, column : column + side])

    def test_holes(self):
        painted = Annotations((Annotation("polygon", SQUARE, "t", holes=(HOLE,)),)).rasterise((0, 0), 64)
        assert painted.sum() == 40 * 40 - 20 * 20
        assert painted[30, 30] == 0

    def test_neighbours_share_no_pixel_and_leave_none(self):
        left = Annotation("polygon", ring((0, 0), (10.5, 0), (10.5, 20), (0, 20)), "a")
        right = Annotation("polygon", ring((10.5, 0), (20, 0), (20, 20), (10.5, 20)), "b")
        a, b = (Annotations((shape,)).rasterise((0, 0), 20) for shape in (left, right))
        assert (a + b == 1).all()

    def test_the_order_of_values_counts(self):
        drawn = Annotations((Annotation("polygon", SQUARE, "a"), Annotation("polygon", HOLE, "b")))
        assert drawn.rasterise((0, 0), 64, values={"a": 3, "b": 7})[30, 30] == 7
        assert drawn.rasterise((0, 0), 64, values=[("b", 7), ("a", 3)])[30, 30] == 3
        assert drawn.rasterise((0, 0), 64, values={"a": 3})[30, 30] == 3
        assert not drawn.rasterise((0, 0), 64, values={"c": 3}).any()

    def test_shapes_without_an_inside_paint_nothing(self):
        drawn = Annotations((Annotation("dot", ring((5, 5))), Annotation("line", SQUARE)))
        assert not drawn.rasterise((0, 0), 64).any()

    def test_a_window_of_a_gigantic_shape(self):
        rng = np.random.default_rng(0)
        angles = np.linspace(0, 2 * np.pi, 200_000, endpoint=False)
        points = np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(9e4, 1e5, (200_000, 1)) + 1e5
        drawn = Annotations((Annotation("polygon", points),))
        assert drawn.rasterise((100_000, 100_000), 512).all()
        assert drawn.rasterise((0, 0), 200, scale=1000).mean() == pytest.approx(np.pi / 4 * 0.9, abs=0.05)

    @pytest.mark.parametrize("scale", [0, -1, float("nan"), (1, 2, 3)])
    def test_scales_are_checked(self, scale):
        with pytest.raises(ValueError, match="scale: got"):
            Annotations().rasterise((0, 0), 4, scale=scale)


def test_moved():
    (shape,) = Annotations((Annotation("polygon", SQUARE, holes=(HOLE,)),)).moved((-5, 7))
    assert shape.bounds == (5, 17, 45, 57)
    assert shape.holes[0].min() == 15
