"""augment_patches against the float64 reference: every parameter, dtype, layout, backend, level, threads.

What the operation means, pixel by pixel and in its statistics: test_augment_patches_meaning.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from fastwsi.kernels import PatchParams
from kernels.arrays import LAYOUTS, lay_out, tissue, to_backend, to_numpy
from reference import augment as reference

LEVELS = _core.simd_usable()
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Half a unit in the last place, of the value itself; float32's is far below the arithmetic's 1e-5.
ROUNDING = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8}
KINDS = ("tissue", "noise", "constant", "grey", "saturated", "black", "white")
OUTS = (None, "packed", "every second", "rows", "reversed axes")
SIDES = st.one_of(st.sampled_from([1, 1, 2, 8, 16, 32]), st.integers(1, 40))

CHANNELS = st.tuples(*[st.floats(0, 1)] * 3)
COLOUR = {
    "brightness_mul": st.floats(0.3, 2),
    "brightness_add": st.floats(-0.5, 0.5),
    "saturation_mul": st.floats(0, 3),
    "saturation_add": st.floats(-64, 64),
    "hue": st.floats(-1, 1),
    "contrast": st.floats(0, 3),
    "contrast_mean": CHANNELS,
    "noise_fraction": st.floats(0, 1),
    "noise_sigma": st.floats(0, 0.3),
}
FIELDS = ("crop", "orientation", *COLOUR, "contrast_first", "mean", "std")
NEEDS = {  # fields that do nothing alone
    "contrast_mean": {"contrast"},
    "contrast_first": {"contrast"},
    "noise_fraction": {"noise_seed"},
    "noise_sigma": {"noise_seed"},
}


def picture(kind, rng, height, width):
    shape = (height, width, 3)
    if kind == "tissue":
        return tissue(rng, shape[:2])
    if kind == "constant":
        return np.full(shape, rng.integers(0, 256, 3), np.uint8)
    if kind == "grey":
        return np.repeat(rng.integers(0, 256, (height, width, 1), np.uint8), 3, axis=-1)
    if kind == "saturated":
        return 255 * rng.integers(0, 2, shape, np.uint8)
    low, high = {"noise": (0, 256), "black": (0, 4), "white": (252, 256)}[kind]
    return rng.integers(low, high, shape, np.uint8)


@dataclass
class Case:
    """Images (all of one shape unless ``as_list``), and the arguments of the kernel and the reference."""

    images: list[np.ndarray] = field(repr=False)
    as_list: bool
    size: tuple[int, int] | None
    shape: tuple[int, int]
    params: dict
    planes: dict
    each: list[dict]


def one_or_each(draw, values, count):
    """A value for all images, or one for each: as the kernel gets it, and as a list."""
    if draw(st.booleans()):
        value = draw(values)
        return value, [value] * count
    each = [draw(values) for _ in range(count)]
    return each, each


def draw_geometry(draw, fields, count):
    """Output size, orientations, and for each image its size and its room beside the crop, (x, y)."""
    width, height = draw(SIDES), draw(SIDES)
    orientation, turns = None, [0] * count
    if "orientation" in fields:
        orientation, turns = one_or_each(draw, st.integers(0, 7), count)
    if "crop" not in fields:
        if len({k % 2 for k in turns}) == 2:
            height = width  # or the turned ones would not fit beside the others
        return (width, height), orientation, turns, [(0, 0)] * count
    margins = st.tuples(st.integers(0, 5), st.integers(0, 5))
    return (width, height), orientation, turns, [draw(margins) for _ in range(count)]


def draw_origins(draw, rooms):
    """Crops reach to the images' edges in many of the cases."""

    def along(room):
        return draw(st.one_of(st.sampled_from([0, room]), st.integers(0, room)))

    if draw(st.booleans()):
        pair = tuple(along(min([room[axis] for room in rooms], default=0)) for axis in (0, 1))
        return pair, [pair] * len(rooms)
    each = [(along(x), along(y)) for x, y in rooms]
    return each, each


def draw_images(draw, shapes, as_list):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = [picture(draw(st.sampled_from(KINDS)), rng, *shape) for shape in shapes]
    return images if as_list else np.stack(images)


def draw_colour(draw, fields, count):
    """Every parameter that moves no pixel, as name, the kernel's argument, and a list of the images'."""
    drawn = [(name, *one_or_each(draw, COLOUR[name], count)) for name in fields if name in COLOUR]
    if "noise_seed" in fields:
        drawn.append(("noise_seed", *one_or_each(draw, st.integers(0, 2**64 - 1), count)))
    if "contrast_first" in fields:
        first = draw(st.sampled_from([True, True, False]))
        drawn.append(("contrast_first", first, [first] * count))
    return drawn


def draw_planes(draw, fields, count):
    spread = st.tuples(*[st.floats(0.2, 2)] * 3)
    values = {"mean": CHANNELS, "std": spread}
    return [(name, *one_or_each(draw, values[name], count)) for name in fields if name in values]


@st.composite
def cases(draw, fields):
    count = draw(st.sampled_from([0, 1, 1, 2, 3]))
    as_list = count > 0 and draw(st.booleans())
    fields = sorted(fields)  # sets of strings come in another order in every process
    size, orientation, turns, rooms = draw_geometry(draw, fields, count)
    crops = [size[:: -1 if k % 2 else 1] for k in turns]
    shapes = [(h + y, w + x) for (w, h), (x, y) in zip(crops, rooms, strict=True)]
    if count == 0:
        size = (max(size),) * 2  # whichever way the images of this batch would have been turned
        images = np.zeros((0, *size, 3), np.uint8)
    else:
        if not as_list:
            shapes = [tuple(np.max(shapes, axis=0).tolist())] * count
        images = draw_images(draw, shapes, as_list)
    moves = [] if orientation is None else [("orientation", orientation, turns)]
    if "crop" in fields and draw(st.booleans()):
        rooms = [(w - cw, h - ch) for (h, w), (cw, ch) in zip(shapes, crops, strict=True)]
        moves.append(("origin", *draw_origins(draw, rooms)))
    colour, planes = draw_colour(draw, fields, count), draw_planes(draw, fields, count)
    each = [{name: values[i] for name, _, values in (*moves, *colour, *planes)} for i in range(count)]
    for one in each:
        one["size"] = size
    return Case(
        images,
        as_list,
        size if "crop" in fields or draw(st.booleans()) else None,
        size[::-1],
        {name: value for name, value, _ in (*moves, *colour)},
        {name: value for name, value, _ in planes},
        each,
    )


SETUPS = st.fixed_dictionaries(
    {
        "target": st.sampled_from(
            [("numpy", "float32"), ("numpy", "float16")]
            + [("torch", dtype) for dtype in ("float32", "float16", "bfloat16")]
        ),
        "source": st.sampled_from(LAYOUTS),
        "layout": st.sampled_from(["NCHW", "NHWC"]),
        "out": st.sampled_from(OUTS),
        "level": st.sampled_from(LEVELS),
        "threads": st.integers(1, 3),
    }
)


def blank(shape, kind, backend, dtype):
    """An array of sevens and the view of it to write into."""
    wide = list(shape)
    if kind == "every second":
        wide[-1] *= 2
    elif kind == "rows":
        wide[-2] += 3
    elif kind == "reversed axes":
        wide = wide[::-1]
    whole = torch.full(wide, 7.0, dtype=getattr(torch, dtype))
    view = {
        "packed": lambda: whole,
        "every second": lambda: whole[..., ::2],
        "rows": lambda: whole[..., 1:-2, :],
        "reversed axes": lambda: whole.permute(3, 2, 1, 0),
    }[kind]()
    return whole, view.numpy() if backend == "numpy" else view


def source_arrays(case, layout, backend):
    if not case.as_list:
        return to_backend(lay_out(case.images, layout), backend)
    turned = LAYOUTS.index(layout)  # the images of one list lie in memory in different ways
    layouts = [LAYOUTS[(turned + i) % len(LAYOUTS)] for i in range(len(case.images))]
    return [to_backend(lay_out(*pair), backend) for pair in zip(case.images, layouts, strict=True)]


def check(case, setup):
    backend, dtype = setup["target"]
    fastwsi.set_num_threads(setup["threads"])
    shape = (len(case.images), *case.shape, 3)
    if setup["layout"] == "NCHW":
        shape = (shape[0], 3, *case.shape)
    whole, out = None, None
    if setup["out"] is not None:
        whole, out = blank(shape, setup["out"], backend, dtype)
    keywords = {"size": case.size, "dtype": dtype, "layout": setup["layout"], **case.planes}
    given_images = source_arrays(case, setup["source"], backend)
    with kernels.simd_level(setup["level"]):
        found = kernels.augment_patches(given_images, PatchParams(**case.params), out, **keywords)
    assert out is None or found is out
    assert isinstance(found, np.ndarray if backend == "numpy" else torch.Tensor)
    assert str(found.dtype).removeprefix("torch.") == dtype
    assert tuple(found.shape) == shape
    values = np.array(to_numpy(found), np.float64)
    if whole is not None:
        out[...] = 7
        assert bool((whole == 7).all()), "wrote beside out"
    assert_equals_reference(np.moveaxis(values, 1, -1) if setup["layout"] == "NCHW" else values, case, dtype)


def assert_equals_reference(found, case, dtype):
    for image, arguments, result in zip(case.images, case.each, found, strict=True):
        expected = reference.augment_patch(image, **arguments)
        slack = 1e-5 / np.asarray(arguments.get("std", 1.0))
        allowed = slack + ROUNDING[dtype] * (np.abs(expected) + slack)
        error = np.where(hue_is_known(image, arguments), np.abs(result - expected) - allowed, 0)
        assert error.max() <= 0, f"off by {np.abs(result - expected).max()} with {arguments}"


def hue_is_known(image, arguments):
    """Where an additive saturation finds a hue that rounding has not made up.

    Differences between the channels of bytes are exact, but not once contrast has moved each channel
    about its own mean.
    """
    if not arguments.get("contrast_first") or arguments.get("saturation_add", 0) <= 0:
        return True
    patch_of = {name: arguments[name] for name in ("size", "origin", "orientation") if name in arguments}
    x = reference.augment_patch(image, **patch_of)
    x = reference.change_contrast(x, arguments["contrast"], arguments.get("contrast_mean"))
    return np.ptp(x, axis=-1)[..., None] >= 1e-3


@pytest.mark.parametrize("name", FIELDS)
@given(data=st.data())
def test_each_parameter_alone_equals_the_reference(name, data):
    case = data.draw(cases({name} | NEEDS.get(name, set())))
    check(case, data.draw(SETUPS))


@given(
    case=st.sets(st.sampled_from(FIELDS), min_size=2)
    .map(lambda fields: fields.union(*(NEEDS.get(name, set()) for name in fields)))
    .flatmap(cases),
    setup=SETUPS,
)
def test_some_parameters_together_equal_the_reference(case, setup):
    check(case, setup)


@given(case=cases({*FIELDS, "noise_seed"}), setup=SETUPS)
def test_all_parameters_together_equal_the_reference(case, setup):
    check(case, setup)


EVERYTHING = {
    "brightness_mul": [1.1, 0.7],
    "brightness_add": [-0.1, 0.2],
    "saturation_mul": [1.6, 0.4],
    "saturation_add": [-10.0, 25.0],
    "hue": [0.1, -0.3],
    "contrast": [1.5, 0.6],
    "noise_fraction": [0.1, 0.02],
    "noise_sigma": [0.05, 0.2],
    "noise_seed": [2**64 - 1, 7],
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("size", "orientation"),
    # Runs of pixels end inside a row and rows end inside a run; blocks of rows are cut off.
    [
        ((211, 173), [0, 5]),
        ((300, 200), [7, 2]),
        ((1111, 19), [4, 6]),
        ((1100, 3), [1, 3]),
        ((3, 1100), [1, 4]),
    ],
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_images_of_many_blocks_equal_the_reference(level, size, orientation, layout):
    rng = np.random.default_rng(sum(size))
    width, height = size
    shapes = [(width, height) if k % 2 else (height, width) for k in orientation]
    images = [tissue(rng, (h + 3, w + 2)) for h, w in shapes]
    params = {**EVERYTHING, "orientation": orientation, "origin": [(2, 3), (1, 0)]}
    each = [
        {"size": size, "mean": MEAN, "std": STD, **{name: values[i] for name, values in params.items()}}
        for i in range(2)
    ]
    case = Case(images, True, size, (height, width), params, {"mean": MEAN, "std": STD}, each)
    setup = {"target": ("numpy", "float32"), "source": "packed", "layout": layout}
    check(case, {**setup, "out": None, "level": level, "threads": 3})


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("contrast_first", [False, True])
def test_no_colour_is_special(level, contrast_first):
    """The corners and edges of the colour cube, where the sextants of the hue meet."""
    values = np.array([0, 1, 2, 127, 128, 254, 255], np.uint8)
    cube = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(1, -1, 3)
    for hue in (-1.0, -0.5, -1 / 3, -1 / 6, 0.0, 1 / 6, 1 / 3, 0.5, 1.0, 1e-8, -1e-8, None):
        for mul, add in ((None, None), (1.0, None), (0.0, None), (2.5, None), (None, 40.0), (0.5, -20.0)):
            fields = {
                "hue": hue,
                "saturation_mul": mul,
                "saturation_add": add,
                "contrast_mean": (0.5, 0.4, 0.3),
            }
            arguments = {name: value for name, value in fields.items() if value is not None}
            arguments |= {"contrast": 0.8, "contrast_first": contrast_first, "brightness_add": -0.05}
            with kernels.simd_level(level):
                found = kernels.augment_patches(cube[None], PatchParams(**arguments), layout="NHWC")
            case = Case([cube], False, None, cube.shape[:2], {}, {}, [arguments])
            assert_equals_reference(found.astype(np.float64), case, "float32")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_threads_do_not_change_a_bit(dtype, level):
    images = tissue(np.random.default_rng(2), (2, 301, 203))
    results = []
    with kernels.simd_level(level):
        for threads in (1, 2, 5):
            fastwsi.set_num_threads(threads)
            results.append(kernels.augment_patches(images, PatchParams(**EVERYTHING), dtype=dtype).tobytes())
    assert results.count(results[0]) == len(results)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_equals_its_images_one_by_one(level, threads):
    """Bit for bit, and the noise too: it hangs on the image's seed, not on its place in the batch."""
    fastwsi.set_num_threads(threads)
    images = tissue(np.random.default_rng(3), (2, 65, 47))
    with kernels.simd_level(level):
        together = kernels.augment_patches(images, PatchParams(**EVERYTHING), mean=MEAN, std=STD)
        listed = kernels.augment_patches(list(images), PatchParams(**EVERYTHING), mean=MEAN, std=STD)
        np.testing.assert_array_equal(listed, together)
        for i, image in enumerate(images):
            params = PatchParams(**{name: values[i] for name, values in EVERYTHING.items()})
            alone = kernels.augment_patches(image[None], params, mean=MEAN, std=STD)
            np.testing.assert_array_equal(alone[0], together[i])


def test_levels_agree():
    images = tissue(np.random.default_rng(4), (2, 200, 300))
    results = []
    for level in LEVELS:
        with kernels.simd_level(level):
            results.append(kernels.augment_patches(images, PatchParams(**EVERYTHING)))
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=0, atol=2e-6)
