"""warp against the float64 reference, whole, in bands, and from rectangles of its source."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from fastwsi.kernels import PatchParams
from kernels.arrays import BACKENDS, LAYOUTS, lay_out, tissue, to_backend, to_numpy
from reference import augment as colours
from reference import warp as reference

LEVELS = _core.simd_usable()
# Half a unit in the last place, of the value itself; float32's is far below the arithmetic's 1e-5.
ROUNDING = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8}
SIDES = st.one_of(st.sampled_from([1, 2, 8, 16, 32]), st.integers(1, 40))


def picture(seed, height, width, channels):
    """Tissue, noise, or labels 1 to 4 in blocks of a few pixels."""
    rng = np.random.default_rng(seed)
    if channels == 1:
        blocks = rng.integers(1, 5, (height // 3 + 1, width // 3 + 1), np.uint8)
        return np.ascontiguousarray(blocks.repeat(3, 0).repeat(3, 1)[:height, :width])
    if seed % 2:
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    return tissue(rng, (height, width))


@st.composite
def matrices(draw, source, size):
    """Rotation, scale and shear about the middles, and a shift that may leave the source aside."""
    angle = draw(st.one_of(st.sampled_from([0, np.pi / 2, np.pi]), st.floats(-np.pi, np.pi)))
    scale = [draw(st.floats(0.5, 2)) * draw(st.sampled_from([1, -1])) for _ in range(2)]
    shear = draw(st.floats(-0.3, 0.3))
    cosine, sine = np.cos(angle), np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]]) @ np.array([[scale[0], shear], [0, scale[1]]])
    reach = draw(st.sampled_from([0, 0.3, 0.3, 1.5]))
    shift = [draw(st.floats(-reach, reach)) * side for side in source]
    middle = [(side - 1) / 2 + moved for side, moved in zip(source, shift, strict=True)]
    offset = np.array(middle) - linear @ ((np.array(size) - 1) / 2)
    return np.column_stack([linear, offset])


@st.composite
def displacements(draw):
    """float32 numbers, as float32 or float64, so that neither loses any."""
    shape = (draw(st.integers(2, 7)), draw(st.integers(2, 9)), 2)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    field = rng.uniform(-1, 1, shape) * draw(st.sampled_from([0.1, 3.0, 10.0]))
    return field.astype(np.float32).astype(draw(st.sampled_from(["float32", "float64"])))


@st.composite
def cases(draw, channels=(1, 3, 3), orders=(0, 1, 1)):
    """A source and the arguments that say which pixels go where."""
    channels = draw(st.sampled_from(channels))
    width, height, size = draw(SIDES), draw(SIDES), (draw(SIDES), draw(SIDES))
    level = st.integers(0, 255)
    return picture(draw(st.integers(0, 2**32 - 1)), height, width, channels), {
        "matrix": draw(matrices((width, height), size)),
        "displacement": draw(st.one_of(st.none(), displacements())),
        "size": size,
        "fill": draw(level if channels == 1 else st.one_of(level, st.tuples(level, level, level))),
        "order": draw(st.sampled_from(orders)),
        "upsampling": draw(st.sampled_from(["cubic", "linear"])),
    }


SETUPS = st.fixed_dictionaries(
    {
        "backend": st.sampled_from(BACKENDS),
        "source": st.sampled_from(LAYOUTS),
        "level": st.sampled_from(LEVELS),
        "threads": st.integers(1, 3),
    }
)


def call(source, arguments, setup, **keywords):
    fastwsi.set_num_threads(setup["threads"])
    if source.ndim == 2:  # a mask's memory is a channel's of an image in that layout
        source = lay_out(np.repeat(source[..., None], 3, axis=-1), setup["source"])[..., 0]
    else:
        source = lay_out(source, setup["source"])
    source = to_backend(source, setup["backend"])
    displacement = arguments["displacement"]
    if displacement is not None:
        arguments = {**arguments, "displacement": to_backend(displacement, setup["backend"])}
    with kernels.simd_level(setup["level"]):
        found = kernels.warp(source, **arguments, **keywords)
    assert type(found) is type(source)
    return found


def off_ties(arguments):
    """Where the nearest pixel is not a matter of the last bit; everywhere if it is not asked for."""
    if arguments["order"] == 1:
        return np.True_
    x, y = reference.output_grid(arguments["size"], None, None)
    where = (arguments["matrix"], arguments["displacement"], arguments["size"], x, y, arguments["upsampling"])
    moved = np.stack(reference.positions(*where)) + 0.5
    return (np.abs(moved - np.rint(moved)) > 1e-9).all(axis=0)


def assert_bytes_agree(found, exact, sure=np.True_):
    """Equal once rounded; one level off is for values within 1e-3 of a rounding edge."""
    sure = sure[..., None] if sure.ndim < exact.ndim and sure.ndim else sure
    at_edge = np.abs(exact - np.floor(exact) - 0.5) <= 1e-3
    difference = np.abs(found.astype(np.float64) - np.rint(exact))
    assert (difference <= at_edge)[np.broadcast_to(sure, exact.shape)].all()


@given(case=cases(), setup=SETUPS)
def test_bytes_equal_the_reference(case, setup):
    source, arguments = case
    found = call(source, arguments, setup)
    exact = reference.warp(source, **arguments)
    assert tuple(found.shape) == exact.shape
    assert str(found.dtype).removeprefix("torch.") == "uint8"
    assert_bytes_agree(to_numpy(found), exact, off_ties(arguments))


CHANNELS = st.tuples(*[st.floats(0, 1)] * 3)
SPREADS = st.tuples(*[st.floats(0.2, 2)] * 3)


@given(
    case=cases(channels=[3]),
    setup=SETUPS,
    dtype=st.sampled_from(sorted(ROUNDING)),
    mean=CHANNELS,
    std=SPREADS,
    layout=st.sampled_from(["HWC", "CHW"]),
)
def test_floats_equal_the_reference(case, setup, dtype, mean, std, layout):
    setup = {**setup, "backend": "torch"} if dtype == "bfloat16" else setup
    source, arguments = case
    found = call(source, arguments, setup, dtype=dtype, mean=mean, std=std, layout=layout)
    assert str(found.dtype).removeprefix("torch.") == dtype
    values = to_numpy(found).astype(np.float64)
    expected = (reference.warp(source, **arguments) / 255 - mean) / std
    values = np.moveaxis(values, 0, -1) if layout == "CHW" else values
    assert values.shape == expected.shape
    slack = 1e-5 / np.array(std)
    allowed = slack + ROUNDING[dtype] * (np.abs(expected) + slack)
    sure = np.broadcast_to(np.atleast_3d(off_ties(arguments)), expected.shape)
    assert (np.abs(values - expected) <= allowed)[sure].all()


COLOUR = st.fixed_dictionaries(
    {},
    optional={
        "brightness_mul": st.floats(0.3, 2),
        "brightness_add": st.floats(-0.5, 0.5),
        "saturation_mul": st.floats(0, 3),
        "saturation_add": st.floats(-64, 64),
        "hue": st.floats(-1, 1),
        "contrast": st.floats(0, 3),
        "noise_fraction": st.floats(0, 1),
        "noise_sigma": st.floats(0, 0.3),
        "contrast_first": st.booleans(),
    },
)


@given(
    case=cases(channels=[3], orders=[1]),
    setup=SETUPS,
    colour=COLOUR,
    mean=CHANNELS,
    seed=st.integers(0, 2**64 - 1),
)
def test_colour_acts_on_values_before_they_are_rounded(case, setup, colour, mean, seed):
    source, arguments = case
    width, height = arguments["size"]
    colour = {**colour, "contrast_mean": mean, "noise_seed": seed}
    warped = reference.warp(source, **arguments) / 255
    exact = colours.colour_steps(warped, colours.numbers((0, height), (0, width), width), **colour)
    # An additive saturation shows the hue of what is nearly grey, and interpolation rounds it.
    sure = np.ones((height, width), bool)
    if colour.get("saturation_add", 0) > 0:
        first = colour.get("contrast_first") and "contrast" in colour
        start = colours.change_contrast(warped, colour["contrast"], mean) if first else warped
        sure = np.ptp(start, axis=-1) >= 1e-2
    floats = to_numpy(call(source, arguments, setup, colour=PatchParams(**colour), dtype="float32"))
    assert np.abs(floats - exact)[sure].max(initial=0) <= 1e-5
    found = to_numpy(call(source, arguments, setup, colour=PatchParams(**colour)))
    assert found.dtype == np.uint8
    at_edge = np.abs(exact * 255 - np.floor(exact * 255) - 0.5) <= 255e-5
    assert (np.abs(found - np.rint(exact * 255)) <= at_edge)[sure].all()


@st.composite
def parts(draw, length):
    first = draw(st.integers(0, length - 1))
    return first, draw(st.integers(first + 1, length))


NOISY = {"hue": 0.1, "contrast": 1.2, "contrast_mean": (0.5,) * 3, "noise_sigma": 0.1, "noise_seed": 5}


@given(case=cases(), setup=SETUPS, data=st.data(), dtype=st.sampled_from(["uint8", "float32"]))
def test_a_part_of_the_output_equals_the_same_part_of_the_whole(case, setup, data, dtype):
    """Bit for bit, with noise too: it goes by the pixel's place in the whole output."""
    source, arguments = case
    keywords = {} if source.ndim == 2 else {"dtype": dtype, "colour": PatchParams(**NOISY)}
    width, height = arguments["size"]
    rows, columns = data.draw(parts(height)), data.draw(parts(width))
    whole = to_numpy(call(source, arguments, setup, **keywords))
    band = to_numpy(call(source, arguments, setup, rows=rows, **keywords))
    np.testing.assert_array_equal(band, whole[slice(*rows)])
    part = to_numpy(call(source, arguments, setup, rows=rows, columns=columns, **keywords))
    np.testing.assert_array_equal(part, whole[slice(*rows), slice(*columns)])


def needed(arguments, full_size, box):
    """The rectangle (x0, y0, x1, y1) that holds every pixel of weight that a box reads, or None."""
    x, y = reference.output_grid(arguments["size"], box.rows, box.columns)
    where = (arguments["matrix"], arguments["displacement"], arguments["size"], x, y, arguments["upsampling"])
    found = []
    for column, row, weight in reference.neighbours(*reference.positions(*where), arguments["order"]):
        inside = (column >= 0) & (column < full_size[0]) & (row >= 0) & (row < full_size[1])
        found.append(np.stack([column, row])[:, inside & (weight > 0)])
    found = np.concatenate(found, axis=1)
    return (*found.min(axis=1), *(found.max(axis=1) + 1)) if found.size else None


@given(case=cases(), setup=SETUPS, data=st.data(), columns_per_box=st.sampled_from([7, 16, 512]))
def test_rectangles_of_the_source_give_the_whole(case, setup, data, columns_per_box):
    source, arguments = case
    (width, height), full_size = arguments["size"], source.shape[1::-1]
    rows, columns = None, None
    if data.draw(st.booleans()):
        rows, columns = data.draw(parts(height)), data.draw(parts(width))
    how = {name: arguments[name] for name in ("displacement", "size", "order", "upsampling")}
    boxes = kernels.warp_source_boxes(
        arguments["matrix"],
        **how,
        full_size=full_size,
        rows=rows,
        columns=columns,
        columns_per_box=columns_per_box,
    )
    whole = to_numpy(call(source, arguments, setup))
    times = np.zeros((height, width), int)
    for box in boxes:
        (x, y), (w, h) = box.origin, box.size
        assert box.columns[1] - box.columns[0] <= columns_per_box
        assert 0 <= x <= x + w <= full_size[0]
        assert 0 <= y <= y + h <= full_size[1]
        x0, y0, x1, y1 = needed(arguments, full_size, box) or (x, y, x, y)
        assert x <= x0 < x1 <= x + w or x0 == x1
        assert y <= y0 < y1 <= y + h or y0 == y1
        crop = source[y : y + h, x : x + w]
        where = {"rows": box.rows, "columns": box.columns, "origin": box.origin, "full_size": full_size}
        part = slice(*box.rows), slice(*box.columns)
        np.testing.assert_array_equal(to_numpy(call(crop, arguments, setup, **where)), whole[part])
        times[part] += 1
    wanted = np.zeros_like(times)
    wanted[slice(*(rows or (None,))), slice(*(columns or (None,)))] = 1
    np.testing.assert_array_equal(times, wanted, err_msg="each output pixel in one box")


@given(case=cases(), setup=SETUPS, data=st.data())
def test_a_rectangle_may_be_larger_than_it_need_be(case, setup, data):
    """What lies around a source is not looked at: a crop of a larger image equals the whole image."""
    source, arguments = case
    full_size = source.shape[1::-1]
    rows = data.draw(parts(arguments["size"][1]))
    how = {name: arguments[name] for name in ("displacement", "size", "order", "upsampling")}
    whole = to_numpy(call(source, arguments, setup))[slice(*rows)]
    for box in kernels.warp_source_boxes(arguments["matrix"], **how, full_size=full_size, rows=rows):
        x, y = (data.draw(st.integers(0, edge)) for edge in box.origin)
        crop = source[y : box.origin[1] + box.size[1], x : box.origin[0] + box.size[0]]
        where = {"rows": rows, "columns": box.columns, "origin": (x, y), "full_size": full_size}
        part = whole[:, slice(*box.columns)]
        np.testing.assert_array_equal(to_numpy(call(crop, arguments, setup, **where)), part)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("order", [0, 1])
def test_images_of_many_blocks(level, order):
    """Wider than one run of pixels, more rows than one block, and the same on any number of threads."""
    rng = np.random.default_rng(0)
    source = tissue(rng, (150, 1000))
    arguments = {
        "matrix": np.array([[0.85, 0.1, -3.3], [-0.05, 1.1, 40.7]]),
        "displacement": rng.uniform(-6, 6, (4, 9, 2)).astype(np.float32),
        "size": (1203, 131),
        "order": order,
        "upsampling": "cubic",
    }
    exact, found = reference.warp(source, **arguments), []
    with kernels.simd_level(level):
        for threads in (1, 2, 5):
            fastwsi.set_num_threads(threads)
            found.append(kernels.warp(source, **arguments))
        floats = kernels.warp(source, **arguments, dtype="float32")
    assert all(np.array_equal(other, found[0]) for other in found)
    assert_bytes_agree(found[0], exact, off_ties(arguments))
    assert np.abs(floats - exact / 255)[off_ties(arguments)].max() <= 1e-5


def test_levels_agree():
    rng = np.random.default_rng(1)
    source, field = tissue(rng, (90, 100)), rng.uniform(-5, 5, (5, 6, 2))
    results = []
    for level in LEVELS:
        with kernels.simd_level(level):
            results.append(
                kernels.warp(source, ((0.9, 0.2, 3), (-0.2, 1.1, 5)), field, size=(97, 83), dtype="float32")
            )
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16", "bfloat16"])
def test_out_is_filled_and_returned(dtype, layout):
    source = torch.from_numpy(tissue(np.random.default_rng(2), (20, 30)))
    how = {"size": (17, 23), "dtype": dtype, "layout": layout}
    matrix = ((0.9, 0.2, 3), (-0.2, 1.1, 5))
    expected = kernels.warp(source, matrix, **how)
    shape = tuple(expected.shape)
    assert shape == ((23, 17, 3) if layout == "HWC" else (3, 23, 17))
    whole = torch.full((shape[0], shape[1], 2 * shape[2]), 7.0).to(getattr(torch, dtype))
    out = whole[..., ::2]
    assert kernels.warp(source, matrix, None, out, **how) is out
    assert torch.equal(out, expected)
    assert bool((whole[..., 1::2] == 7).all())
