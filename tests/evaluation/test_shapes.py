"""Shapes of a heatmap's regions: figures of known size, slow references, turned and flipped maps."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastwsi.evaluation.shapes import lesion_shapes
from reference import shapes as reference

pytest.importorskip("skimage")

maps = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0.0, 0.25, 0.5, 0.9]),
)


def disc(radius, width=1):
    """1 inside, 0 outside; ``width`` stretches it along x."""
    y, x = np.ogrid[-radius : radius + 1, -radius * width : radius * width + 1]
    return ((x / width) ** 2 + y**2 <= radius**2).astype(np.float64)


class TestFigures:
    @pytest.mark.parametrize(("height", "width"), [(1, 7), (7, 1), (3, 4), (20, 30)])
    @pytest.mark.parametrize("mpp", [1, 0.5, 7.776])
    def test_rectangles(self, height, width, mpp):
        heatmap = np.zeros((40, 50), np.float32)
        heatmap[5 : 5 + height, 8 : 8 + width] = 0.5
        (found,) = lesion_shapes(heatmap, 0.5, mpp=mpp)
        long, short = max(height, width), min(height, width)
        assert found.cells == height * width
        assert found.area_um2 == pytest.approx(height * width * mpp**2)
        # Variance of 0 … n - 1 is (n² - 1) / 12; with a 1/12 for the cells' extent it would be n² / 12.
        assert found.major_axis_moment_um == pytest.approx(4 * math.sqrt((long**2 - 1) / 12) * mpp)
        assert found.major_axis_feret_um == pytest.approx(math.hypot(height, width) * mpp)
        assert found.eccentricity == pytest.approx(math.sqrt(1 - (short**2 - 1) / (long**2 - 1)))
        assert (found.solidity, found.extent) == (1, 1)
        # Along the middles of the cells at the border; a line of cells is its own border, once along.
        around = 2 * (height + width) - 4 if short > 1 else long - 2
        assert found.perimeter_um == pytest.approx(around * mpp)
        assert (found.left, found.top, found.right, found.bottom) == (8, 5, 8 + width, 5 + height)
        assert (found.x, found.y) == (8 + (width - 1) / 2, 5 + (height - 1) / 2)

    @pytest.mark.parametrize("connectivity", [4, 8])
    def test_single_cells(self, connectivity):
        found = lesion_shapes(np.array([[0.75]]), 0.5, mpp=100, connectivity=connectivity)[0]
        assert (found.cells, found.area_um2, found.major_axis_moment_um) == (1, 10_000, 0)
        assert found.major_axis_feret_um == pytest.approx(100 * math.sqrt(2))
        assert (found.perimeter_um, found.solidity, found.eccentricity, found.extent) == (0, 1, 0, 1)
        assert (found.mean, found.max, found.min, found.std) == (0.75, 0.75, 0.75, 0)
        assert (found.x, found.y, found.size_class) == (0, 0, "itc")

    def test_discs_and_ellipses(self):
        found = lesion_shapes(disc(100), 0.5, mpp=2)[0]
        assert found.area_um2 == pytest.approx(math.pi * 200**2, rel=0.002)
        assert found.major_axis_moment_um == pytest.approx(400, rel=0.003)  # 4 sqrt(r² / 4) is the diameter
        # The row of the middle is 201 cells of 2 µm long, and reaches half a cell up and down.
        assert found.major_axis_feret_um == pytest.approx(2 * math.hypot(201, 1), rel=0.003)
        assert found.perimeter_um == pytest.approx(2 * math.pi * 200, rel=0.06)
        assert found.eccentricity == pytest.approx(0, abs=1e-6)
        assert found.solidity > 0.98
        assert found.extent == pytest.approx(math.pi / 4, rel=0.01)
        ellipse = lesion_shapes(disc(50, 3), 0.5, mpp=1)[0]
        assert ellipse.major_axis_moment_um == pytest.approx(300, rel=0.01)
        assert ellipse.eccentricity == pytest.approx(math.sqrt(1 - 1 / 9), rel=0.003)

    def test_an_l(self):
        heatmap = np.zeros((12, 12))
        heatmap[1:11, 1:3] = heatmap[9:11, 1:11] = 1
        (found,) = lesion_shapes(heatmap, 1, mpp=1)
        assert found.cells == 36
        assert found.extent == 36 / 100
        # Both arms end at corners that lie 10 and 10 apart, and their ends are 2 wide.
        assert found.major_axis_feret_um == pytest.approx(math.hypot(10, 10))
        # The hull's long side runs from the end of one arm, cell (2, 1), to the other's, (10, 9): of the
        # 100 cells those of x > y + 1 are outside, 8 + 7 + … + 1.
        assert found.solidity == pytest.approx(36 / (100 - 36))

    def test_a_ring_is_one_region_with_two_borders(self):
        heatmap = np.zeros((20, 20))
        heatmap[2:18, 2:18] = 1
        heatmap[6:14, 6:14] = 0
        (found,) = lesion_shapes(heatmap, 0.5, mpp=1)
        assert found.cells == 16**2 - 8**2
        assert found.solidity == pytest.approx(1 - 64 / 256)
        assert found.perimeter_um > 4 * 16 - 4

    def test_intensities(self):
        heatmap = np.array([[0.5, 0.75, 1.0, 0.25], [0.0, 0.0, 0.0, 0.5]], np.float16)
        found = lesion_shapes(heatmap, 0.5, mpp=1)[0]
        assert (found.mean, found.max, found.min, found.cells) == (0.6875, 1.0, 0.5, 4)
        assert found.std == pytest.approx(math.sqrt((2 * 0.1875**2 + 0.0625**2 + 0.3125**2) / 4))

    @pytest.mark.parametrize(
        ("cells", "expected"), [(19, "itc"), (20, "micro"), (199, "micro"), (201, "macro")]
    )
    def test_size_classes(self, cells, expected):
        # A Feret axis along a line of cells of 10 µm is hardly longer than the line.
        found = lesion_shapes(np.ones((1, cells)), 0.5, mpp=10)[0]
        assert found.size_class == expected


class TestRegions:
    def test_connectivity(self):
        heatmap = np.eye(3)
        assert len(lesion_shapes(heatmap, 0.5, mpp=1)) == 1
        assert len(lesion_shapes(heatmap, 0.5, mpp=1, connectivity=4)) == 3

    def test_order(self):
        heatmap = np.zeros((9, 9))
        heatmap[0, 7] = heatmap[4, 2] = heatmap[8, 8] = 0.9
        heatmap[2, 4:6] = heatmap[6:8, 0] = 0.9
        heatmap[4:7, 4:6] = 0.6
        found = lesion_shapes(heatmap, 0.5, mpp=1)
        assert [(shape.cells, shape.left, shape.top) for shape in found] == [
            (6, 4, 4), (2, 4, 2), (2, 0, 6), (1, 7, 0), (1, 2, 4), (1, 8, 8),
        ]  # fmt: skip
        largest = lesion_shapes(heatmap, 0.5, mpp=1, most=2)
        assert largest.regions == found[:2]
        assert (largest.count, largest.cells, largest.area_um2) == (6, 13, 13)
        assert "6 regions >= 0.5: 2 itc of 2 measured" in str(largest)
        assert lesion_shapes(heatmap, 0.5, mpp=1, most=0).regions == ()

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
    def test_thresholds_are_rounded_as_the_heatmap_is(self, dtype):
        heatmap = np.array([[0.9, 0.1]]).astype(dtype)
        assert lesion_shapes(heatmap, 0.9, mpp=1).cells == 1
        assert lesion_shapes(heatmap, 0.1, mpp=1).cells == 2
        assert lesion_shapes(heatmap, 0.901, mpp=1).cells == 0

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
    def test_torch(self, dtype):
        import torch

        heatmap = torch.zeros(6, 8, dtype=getattr(torch, dtype))
        heatmap[1:4, 2:7] = 0.9
        heatmap[2, 3] = 1
        found = lesion_shapes(heatmap.clone().requires_grad_(), 0.9, mpp=3)
        expected = lesion_shapes(heatmap.double().numpy(), heatmap[1, 2].item(), mpp=3)
        assert found.regions == expected.regions
        assert found[0].cells == 15

    def test_nan_is_above_nothing(self):
        heatmap = np.full((5, 5), np.nan)
        assert len(lesion_shapes(heatmap, -1e9, mpp=1)) == 0
        heatmap[1, 1:4] = 0.5
        heatmap[3, 3] = -np.inf
        (found,) = lesion_shapes(heatmap, -1e9, mpp=1)
        assert (found.cells, found.mean, found.std) == (3, 0.5, 0)

    @pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (4, 4)])
    def test_nothing(self, shape):
        found = lesion_shapes(np.zeros(shape, np.float32), 0.5, mpp=1)
        assert (len(found), found.count, found.cells, found.rows()) == (0, 0, 0, [])
        assert repr(found) == "<Shapes no region >= 0.5>"
        assert found.to_csv().strip() == ""

    def test_saves(self, tmp_path):
        heatmap = np.zeros((30, 30))
        heatmap[2:25, 2:25] = 0.75
        heatmap[28, 28] = 0.75
        found = lesion_shapes(heatmap, 0.5, mpp=100)
        assert (
            repr(found)
            == "<Shapes 2 regions >= 0.5: 1 macro, 1 itc; 5.3 mm² together, the longest 3252.7 µm>"
        )
        assert repr(found[1]) == "<Shape itc, 0.01 mm², 141.4 µm long, mean 0.750, at (28.0, 28.0)>"
        found.save(tmp_path / "shapes.csv")
        header, first, second = (tmp_path / "shapes.csv").read_text().splitlines()
        assert header.startswith("cells,area_um2,major_axis_moment_um,major_axis_feret_um,perimeter_um")
        assert (first.split(",")[0], second.split(",")[0]) == ("529", "1")
        assert json.loads(found.to_json())["regions"][1]["x"] == 28

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"heatmap": np.zeros(4)}, ValueError, r"heatmap: got shape \(4,\), expected \(height, width\)"),
            ({"heatmap": np.zeros((4, 4), bool)}, TypeError, "heatmap: got dtype bool, expected floats"),
            ({"heatmap": np.zeros((4, 4), np.uint8)}, TypeError, "heatmap: got dtype uint8, expected floats"),
            ({"heatmap": [[0.0]]}, TypeError, "heatmap: got list"),
            ({"heatmap": np.full((2, 2), np.inf)}, ValueError, r"heatmap: got \+inf"),
            ({"threshold": float("nan")}, ValueError, "threshold: got nan"),
            ({"threshold": "0.5"}, TypeError, "threshold: got '0.5'"),
            ({"mpp": 0}, ValueError, "mpp: got 0, expected more than 0"),
            ({"mpp": None}, TypeError, "mpp: got None"),
            ({"connectivity": 6}, ValueError, "connectivity: got 6, expected 4 or 8"),
            ({"most": -1}, ValueError, "most: got -1"),
        ],
    )
    def test_errors(self, change, error, message):
        arguments = {"heatmap": np.ones((4, 4)), "threshold": 0.5, "mpp": 1.0} | change
        with pytest.raises(error, match=message):
            lesion_shapes(arguments.pop("heatmap"), arguments.pop("threshold"), **arguments)


class TestAgainstReferences:
    @settings(max_examples=60)
    @given(maps, st.sampled_from([0.25, 0.5]), st.sampled_from([4, 8]))
    def test_regions_and_axes(self, heatmap, threshold, connectivity):
        found = lesion_shapes(heatmap, threshold, mpp=2, connectivity=connectivity)
        expected = sorted(reference.regions(heatmap, threshold, connectivity), key=lambda cells: -len(cells))
        assert found.count == len(expected) == len(found)
        for shape, cells in zip(found, expected, strict=True):
            rows, columns = np.transpose(cells)
            values = heatmap[rows, columns].astype(np.float64)
            assert shape.cells == len(cells)
            assert (shape.top, shape.bottom) == (rows.min(), rows.max() + 1)
            assert (shape.left, shape.right) == (columns.min(), columns.max() + 1)
            assert (shape.max, shape.min) == (values.max(), values.min())
            larger, smaller = reference.variances(cells)
            eccentricity = math.sqrt(1 - smaller / larger) if larger else 0.0
            for name, number in {
                "x": columns.mean(),
                "y": rows.mean(),
                "mean": values.mean(),
                "std": values.std(),
                "major_axis_moment_um": 2 * reference.moment_axis(cells),
                "major_axis_feret_um": 2 * reference.feret_axis(cells),
                "eccentricity": eccentricity,
            }.items():
                assert getattr(shape, name) == pytest.approx(number, rel=1e-9, abs=1e-6), name

    @settings(max_examples=30)
    @given(maps, st.sampled_from([4, 8]))
    def test_as_scikit_image(self, heatmap, connectivity):
        """What it measures too, through the whole table; its major axis lacks the 1/12 as ours does."""
        from skimage.measure import label, regionprops

        found = lesion_shapes(heatmap, 0.5, mpp=1, connectivity=connectivity)
        labels = label(heatmap >= 0.5, connectivity=connectivity // 4)
        for shape, region in zip(
            found, sorted(regionprops(labels), key=lambda each: -each.area), strict=True
        ):
            assert shape.cells == region.area
            assert shape.major_axis_moment_um == pytest.approx(region.axis_major_length, abs=1e-6)
            assert shape.eccentricity == pytest.approx(region.eccentricity, abs=1e-6)
            assert (shape.solidity, shape.extent) == pytest.approx((region.solidity, region.extent))
            assert shape.perimeter_um == pytest.approx(region.perimeter)
            # Its Feret axis begins and ends at the middles of cells' sides.
            assert 0 < shape.major_axis_feret_um - region.feret_diameter_max < math.sqrt(2)

    @settings(max_examples=30)
    @given(maps, st.integers(0, 3), st.booleans())
    def test_turned_and_flipped(self, heatmap, quarters, flip):
        turned = np.rot90(heatmap, quarters)
        turned = turned[:, ::-1] if flip else turned
        names = (
            "cells",
            "major_axis_feret_um",
            "major_axis_moment_um",
            "perimeter_um",
            "extent",
            "mean",
            "std",
        )
        tables = [
            sorted(
                tuple(round(getattr(shape, name), 6) for name in names)
                for shape in lesion_shapes(each, 0.5, mpp=1)
            )
            for each in (heatmap, turned)
        ]
        assert tables[0] == tables[1]

    @given(maps, st.sampled_from([0.1, 0.25, 3.0]))
    @settings(max_examples=30)
    def test_lengths_and_areas_scale(self, heatmap, mpp):
        for one, other in zip(
            lesion_shapes(heatmap, 0.25, mpp=1), lesion_shapes(heatmap, 0.25, mpp=mpp), strict=True
        ):
            assert other.area_um2 == pytest.approx(one.area_um2 * mpp**2)
            for name in ("major_axis_moment_um", "major_axis_feret_um", "perimeter_um"):
                assert getattr(other, name) == pytest.approx(getattr(one, name) * mpp)
            for name in ("solidity", "eccentricity", "extent", "x", "y", "cells"):
                assert getattr(other, name) == getattr(one, name)
