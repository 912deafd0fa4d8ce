"""What warp does where the answer is known without a reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi import _core, kernels
from fastwsi.kernels import PatchParams
from kernels.arrays import tissue

LEVELS = _core.simd_usable()
IDENTITY = ((1, 0, 0), (0, 1, 0))


def sources():
    rng = np.random.default_rng(0)
    return [tissue(rng, (23, 37)), rng.integers(0, 256, (23, 37), np.uint8), tissue(rng, (1, 1))]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("order", [0, 1])
def test_identity_gives_the_source(level, order):
    zero = np.zeros((3, 4, 2), np.float32)
    with kernels.simd_level(level):
        for source in sources():
            for displacement in (None, zero):
                found = kernels.warp(source, IDENTITY, displacement, order=order)
                np.testing.assert_array_equal(found, source)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("order", [0, 1])
def test_quarter_turns_and_mirrors_are_exact(level, order):
    with kernels.simd_level(level):
        for source in sources():
            height, width = source.shape[:2]
            right, bottom = width - 1, height - 1
            for matrix, expected in (
                (((0, -1, right), (1, 0, 0)), np.rot90(source)),
                (((-1, 0, right), (0, -1, bottom)), np.rot90(source, 2)),
                (((0, 1, 0), (-1, 0, bottom)), np.rot90(source, 3)),
                (((-1, 0, right), (0, 1, 0)), source[:, ::-1]),
                (((0, 1, 0), (1, 0, 0)), source.swapaxes(0, 1)),
            ):
                found = kernels.warp(source, matrix, size=expected.shape[1::-1], order=order)
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("fill", [7, (7, 8, 9)])
def test_whole_pixels_of_shift_are_exact_and_the_rest_is_fill(order, fill):
    source = tissue(np.random.default_rng(1), (9, 12))
    for x in (-12, -3, 0, 5, 11, 40):
        for y in (-2, 0, 4, 9):
            framed = np.full((9 + 2 * 50, 12 + 2 * 50, 3), fill, np.uint8)
            framed[50:59, 50:62] = source
            found = kernels.warp(source, ((1, 0, x), (0, 1, y)), fill=fill, order=order)
            np.testing.assert_array_equal(found, framed[50 + y : 59 + y, 50 + x : 62 + x])


def test_parts_of_pixels_by_hand():
    """Each neighbour outside counts as fill by itself: 100 and 255 mix at the border."""
    source = np.array([[0, 100]], np.uint8)

    def shifted(x, y=0.0, **keywords):
        return kernels.warp(source, ((1, 0, x), (0, 1, y)), **keywords).tolist()

    assert shifted(0.25) == [[25, 139]]
    assert shifted(-0.25) == [[64, 75]]
    assert shifted(0.25, fill=0) == [[25, 75]]
    assert shifted(0.0, 0.75, fill=40) == [[30, 55]]
    assert shifted(0.25, 0.75, fill=40) == [[36, 51]]
    assert shifted(-1.0) == [[255, 0]]
    assert shifted(0.49, order=0) == [[0, 100]]
    assert shifted(0.5, order=0) == [[100, 255]], "half way goes to the pixel after"
    assert shifted(-0.5, order=0) == [[0, 100]]
    assert shifted(-0.51, order=0) == [[255, 0]]


@pytest.mark.parametrize(
    ("upsampling", "moved"),
    # Nodes at output pixels 0, 2, 4 and 6 hold 0, 16, 0, 0. Half way Catmull-Rom weighs the four nodes
    # -1/16, 9/16, 9/16, -1/16; the one before the first is 2 * 0 - 16, the one after the last 0.
    [("cubic", [0, 10, 16, 9, 0, -1, 0]), ("linear", [0, 8, 16, 8, 0, 0, 0])],
)
def test_displacement_between_nodes_by_hand(upsampling, moved):
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None], 7, axis=0)
    along_x, along_y = np.zeros((2, 4, 2)), np.zeros((4, 2, 2))
    along_x[:, 1, 0] = along_y[1, :, 1] = 16
    found = kernels.warp(ramp, IDENTITY, along_x, size=(7, 5), upsampling=upsampling)
    assert found.tolist() == [[x + dx for x, dx in enumerate(moved)]] * 5
    ramp = np.ascontiguousarray(ramp.T)
    found = kernels.warp(ramp, IDENTITY, along_y, size=(5, 7), upsampling=upsampling)
    assert found.T.tolist() == [[y + dy for y, dy in enumerate(moved)]] * 5


@pytest.mark.parametrize("upsampling", ["cubic", "linear"])
@pytest.mark.parametrize("level", LEVELS)
def test_a_linear_field_is_an_affine_map(upsampling, level):
    """At the border too, since nodes beyond it are extrapolated along the line."""
    source = tissue(np.random.default_rng(2), (40, 50))
    size, slope, offset = (45, 38), np.array([[0.1, -0.2], [0.15, 0.05]]), np.array([3.0, -2.5])
    y, x = np.meshgrid(np.linspace(0, size[1] - 1, 4), np.linspace(0, size[0] - 1, 6), indexing="ij")
    field = np.stack([x, y], axis=-1) @ slope.T + offset
    matrix = np.column_stack([np.eye(2) + slope, offset])
    with kernels.simd_level(level):
        bent = kernels.warp(source, IDENTITY, field, size=size, upsampling=upsampling, dtype="float32")
        straight = kernels.warp(source, matrix, size=size, dtype="float32")
    np.testing.assert_allclose(bent, straight, rtol=0, atol=1e-5)


def test_displacement_comes_after_the_matrix():
    """It is in pixels of the source: a matrix that doubles does not double it."""
    ramp = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None], 3, axis=0)
    field = np.zeros((2, 2, 2))
    field[..., 0] = 5
    found = kernels.warp(ramp, ((2, 0, 1), (0, 1, 0)), field, size=(10, 3))
    assert found.tolist() == [[2 * (2 * x + 1 + 5) for x in range(10)]] * 3


def test_masks_gain_no_labels():
    rng = np.random.default_rng(3)
    mask = rng.choice(np.array([0, 3, 200], np.uint8), (60, 70))
    field = rng.uniform(-9, 9, (5, 5, 2))
    found = kernels.warp(mask, ((0.8, 0.5, -9), (-0.5, 0.8, 20)), field, size=(90, 80), order=0, fill=77)
    assert found.shape == (80, 90)
    assert set(np.unique(found)) == {0, 3, 77, 200}


def test_three_rows_of_a_matrix_are_as_good_as_two():
    source = tissue(np.random.default_rng(4), (20, 20))
    rows = [[0.9, 0.2, 1], [-0.2, 0.9, 3]]
    expected = kernels.warp(source, rows)
    np.testing.assert_array_equal(kernels.warp(source, [*rows, [0, 0, 1]]), expected)
    np.testing.assert_array_equal(
        kernels.warp(source, np.array(rows, np.float32).astype(float)),
        kernels.warp(source, np.array(rows, np.float32)),
    )


@pytest.mark.parametrize("order", [0, 1])
def test_singular_matrices_repeat_a_pixel_or_a_line(order):
    source = tissue(np.random.default_rng(5), (8, 9))
    found = kernels.warp(source, ((0, 0, 4), (0, 0, 2)), order=order)
    np.testing.assert_array_equal(found, np.broadcast_to(source[2, 4], source.shape))
    found = kernels.warp(source, ((1, 0, 0), (0, 0, 2)), order=order)
    np.testing.assert_array_equal(found, np.broadcast_to(source[2], source.shape))


def test_positions_far_away_are_fill():
    source = np.zeros((8, 9, 3), np.uint8)
    for far in (2.0**31, -(2.0**31), 2.0**33 + 1, 1e18, -1e300):
        for matrix in (((1, 0, far), (0, 1, 0)), ((1, 0, 0), (0, 1, far)), ((far, 0, far), (0, far, far))):
            assert (kernels.warp(source, matrix) == 255).all()
            boxes = kernels.warp_source_boxes(matrix, size=(9, 8), full_size=(9, 8))
            assert [tuple(box.size) for box in boxes] == [(0, 0)]


@pytest.mark.parametrize("amplitude", [0.0, 5.0])
def test_boxes_are_no_larger_than_what_lies_under_them(amplitude):
    """A turn by 30 degrees of a large image, whose columns of output see slanted stripes of it."""
    cosine, sine = np.cos(np.pi / 6), np.sin(np.pi / 6)
    matrix = np.array([[cosine, -sine, 2500], [sine, cosine, 300]])
    field = None
    if amplitude:
        field = np.random.default_rng(6).uniform(-amplitude, amplitude, (5, 5, 2))
    boxes = kernels.warp_source_boxes(
        matrix, field, size=(2000, 3000), full_size=(6000, 5000), rows=(1000, 1300), columns=(100, 1200)
    )
    assert [tuple(box.columns) for box in boxes] == [(100, 612), (612, 1124), (1124, 1200)]
    for box in boxes:
        assert tuple(box.rows) == (1000, 1300)
        corners = (
            np.array([(x, y, 1) for x in np.subtract(box.columns, (0, 1)) for y in (1000, 1299)]) @ matrix.T
        )
        # A cubic overshoots its nodes by up to a quarter each way.
        spare = 3 + 2 * 1.5625 * amplitude
        low, high = corners.min(axis=0), corners.max(axis=0)
        assert (np.array(box.origin) >= low - spare).all()
        assert (np.add(box.origin, box.size) <= high + spare).all()


def test_colour_is_that_of_augment_patches():
    """A warp that moves nothing, with colour, is augment_patches."""
    source = tissue(np.random.default_rng(7), (40, 50))
    params = PatchParams(
        brightness_mul=1.1,
        brightness_add=-0.05,
        saturation_mul=1.4,
        hue=0.1,
        contrast=0.8,
        contrast_mean=(0.6, 0.5, 0.7),
        noise_sigma=0.05,
        noise_fraction=0.1,
        noise_seed=11,
    )
    normal = {"dtype": "float32", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    expected = kernels.augment_patches(source[None], params, **normal)[0]
    found = kernels.warp(source, IDENTITY, colour=params, **normal, layout="CHW")
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    assert np.ptp(found) > 1, "the image is not blank"


def test_read_only_sources_and_fields():
    source, field = tissue(np.random.default_rng(8), (20, 30)), np.full((2, 2, 2), 1.5)
    expected = kernels.warp(source, IDENTITY, field)
    before = source.copy()
    source.flags.writeable = field.flags.writeable = False
    np.testing.assert_array_equal(kernels.warp(source, IDENTITY, field), expected)
    np.testing.assert_array_equal(source, before)


def test_splines_may_reach_beyond_their_nodes():
    """Between nodes of alternating sign a Catmull-Rom spline overshoots them, and the boxes must know."""
    field = np.zeros((2, 8, 2))
    field[:, :, 0] = 40.0 * np.array([-1, -1, -1, 1, 1, -1, -1, -1])
    how = {"size": (701, 3), "full_size": (701, 3)}
    source = np.arange(701 * 3, dtype=np.int64).reshape(3, 701) % 251
    source = np.repeat(source[..., None], 3, axis=-1).astype(np.uint8)
    matrix = ((0, 0, 350), (0, 1, 0))  # every pixel at column 350, but for the displacement
    whole = kernels.warp(source, matrix, field)
    beyond = 0
    for x in range(300, 400):
        (box,) = kernels.warp_source_boxes(matrix, field, **how, columns=(x, x + 1))
        left, right = box.origin[0], box.origin[0] + box.size[0]
        beyond += right > 392 or left < 309
        part = kernels.warp(
            np.ascontiguousarray(source[:, left:right]),
            matrix,
            field,
            size=how["size"],
            columns=(x, x + 1),
            origin=(left, 0),
            full_size=how["full_size"],
        )
        np.testing.assert_array_equal(part, whole[:, x : x + 1])
    assert beyond


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", [0, 1])
def test_sources_whose_offsets_pass_32_bits(channels, order, tmp_path):
    """A sparse file of some 8 GB, of which next to nothing is touched."""
    side = (90_000, 90_000) if channels == 1 else (52_000, 52_000, 3)
    source = np.memmap(tmp_path / "slide", np.uint8, "w+", shape=side)
    marks = np.random.default_rng(0).integers(1, 255, (40, 40, *side[2:]), np.uint8)
    corners = [(0, 0), (side[0] - 40, 0), (0, side[1] - 40), (side[0] - 40, side[1] - 40)]
    for row, column in corners:
        source[row : row + 40, column : column + 40] = marks
    for row, column in corners:
        found = kernels.warp(source, ((1, 0, column), (0, 1, row)), size=(40, 40), order=order, fill=0)
        np.testing.assert_array_equal(found, marks)


def test_memory_is_not_shared_with_the_source():
    source = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="out: lies in the same memory range as source"):
        kernels.warp(source, ((0, -1, 19), (1, 0, 0)), None, source)
    with pytest.raises(ValueError, match="out: lies in the same memory range as images"):
        batch = source[None]
        kernels.augment_patches(batch, kernels.PatchParams(orientation=1), batch, layout="NHWC")


def test_read_only_displacements_and_tensors_as_arguments():
    source = torch.zeros(20, 20, 3, dtype=torch.uint8)
    field = np.zeros((3, 3, 2))
    field.flags.writeable = False
    how = {"dtype": "float32", "mean": torch.ones(3, requires_grad=True), "std": np.ones(3)}
    assert float(kernels.warp(source, IDENTITY, field, **how).max()) == -1
    with pytest.raises(ValueError, match="std: got"):
        kernels.warp(source, IDENTITY, dtype="float32", std=[1e-40] * 3)


def test_parameters_are_gone_through_image_by_image():
    params = kernels.PatchParams(hue=[0.1, 0.2])
    assert [each.hue for each in params] == [0.1, 0.2]
    with pytest.raises(TypeError, match="any number of images"):
        iter(kernels.PatchParams(hue=0.1))
