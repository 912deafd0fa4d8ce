"""augment_patches and warp under torch.compile and torch.export: opaque operators; eager calls are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fastwsi import kernels
from fastwsi.kernels import PatchParams, augment_torch_ops
from kernels.arrays import tissue

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SEED = 2**64 - 1  # fits no int64
DTYPES = ["float32", "float16", "bfloat16", "uint8"]
MATRIX = [[0.9, 0.2, 3.0], [-0.2, 1.1, 5.0]]
TURNS = np.random.default_rng(5).uniform(-4, 4, (3, 5, 2))


def pictures(seed, *shape):
    return torch.from_numpy(tissue(np.random.default_rng(seed), shape))


def everything(rng, images=None):
    """Every parameter, drawn anew: one for all, or one for each of some images."""

    def draw(low, high, *shape):
        return rng.uniform(low, high, (*(() if images is None else (images,)), *shape))

    return PatchParams(
        origin=draw(0, 4, 2).astype(int),
        orientation=draw(0, 8).astype(int),
        brightness_mul=draw(0.8, 1.2),
        brightness_add=draw(-0.1, 0.1),
        saturation_mul=draw(0.5, 1.5),
        saturation_add=draw(-20, 20),
        hue=draw(-0.5, 0.5),
        contrast=draw(0.5, 1.5),
        contrast_mean=draw(0, 1, 3),
        lch_mul=draw(0.9, 1.1, 3),
        noise_fraction=draw(0, 0.1),
        noise_sigma=draw(0, 0.1),
        noise_seed=SEED - rng.integers(0, 2**62, images).astype(object),
    )


def compiled(function):
    """The function as one graph each time, and a counter of the graphs that it took."""
    counter = CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend=counter), counter


def same(found, expected):
    assert found.dtype == expected.dtype
    assert found.stride() == expected.stride()
    assert torch.equal(found, expected)


def augment(images, params, size=(24, 20)):
    return kernels.augment_patches(images, params, size=size, mean=MEAN, std=STD)


def warp(source, matrix, displacement=None, **keywords):
    return kernels.warp(source, matrix, displacement, **keywords)


@pytest.mark.parametrize("images", [None, 3])
def test_other_parameters_make_no_other_graph(images):
    """Ten sets, the noise's 64-bit seeds among them, through the graph of the first."""
    rng = np.random.default_rng(0)
    batch = pictures(0, 3, 30, 30)
    run, counter = compiled(augment)
    results = [run(batch, params) for params in (everything(rng, images) for _ in range(10))]
    rng = np.random.default_rng(0)
    for found in results:
        same(found, augment(batch, everything(rng, images)))
    assert not torch.equal(results[0], results[1])
    assert counter.frame_count == 1


def test_other_steps_sizes_and_batches_take_few_graphs():
    """Each new kind of call may take one, up to torch's limit of 8; none takes another one later."""
    run, counter = compiled(augment)
    graphs = []
    for _ in range(3):
        for i, (count, fields) in enumerate(
            [
                (3, {"hue": 0.1}),
                (4, {"hue": 0.2}),
                (3, {"hue": [0.1, 0.2, 0.3], "contrast_first": True}),
                (2, {"contrast": 1.3, "noise_sigma": [0.1, 0.2]}),
                (4, {"orientation": [1, 2, 7, 0]}),
                (3, {}),
                (5, None),
            ]
        ):
            params = None if fields is None else PatchParams(**fields)
            batch = pictures(i, count, 30 + i, 33)
            for size in [(24, 20), (20, 24), (10 + i, 11)]:
                same(run(batch, params, size), augment(batch, params, size))
        graphs.append(counter.frame_count)
    assert graphs[0] <= 8
    assert graphs[2] == graphs[0]


def test_without_a_size_it_is_that_of_the_images_as_they_are_turned():
    run, counter = compiled(kernels.augment_patches)
    each = [*({"orientation": k} for k in range(8)), {"orientation": [1, 3, 7]}, {"hue": 0.2}, None]
    graphs = []
    for _ in range(2):
        for fields in each:
            params = None if fields is None else PatchParams(**fields)
            for shape in [(3, 12, 20), (3, 17, 9)]:
                batch = pictures(1, *shape)
                same(run(batch, params), kernels.augment_patches(batch, params))
        graphs.append(counter.frame_count)
    assert graphs[1] == graphs[0]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_lists_of_images_of_different_sizes(dtype, layout):
    keywords = {"size": (16, 18), "dtype": dtype, "layout": layout}
    if dtype != "uint8":
        keywords |= {"mean": [MEAN, STD, MEAN], "std": np.array(STD)}

    def patches(images, params):
        return kernels.augment_patches(images, params, **keywords)

    run, counter = compiled(patches)
    rng = np.random.default_rng(2)
    for shapes in [[(30, 40), (23, 24), (50, 33)], [(24, 31), (60, 27), (29, 29)]] * 2:
        images = [pictures(i, *shape) for i, shape in enumerate(shapes)]
        images[1] = images[1].transpose(0, 1)
        params = everything(rng, 3)
        same(run(images, params), patches(images, params))
    assert counter.frame_count <= 3


def test_inside_a_network_and_with_parameters_made_there():
    weight = torch.randn(4, 3, 3, 3)

    def features(images, params):
        turned = kernels.augment_patches(images, PatchParams(orientation=6, noise_seed=SEED), dtype="uint8")
        x = kernels.augment_patches(turned.permute(0, 2, 3, 1), params, mean=MEAN, std=STD)
        return torch.nn.functional.conv2d(x, weight).relu()

    run, _ = compiled(features)
    batch = pictures(3, 2, 20, 20)
    for brightness in (0.1, 0.2):
        params = PatchParams(brightness_add=brightness, noise_sigma=0.2)
        torch.testing.assert_close(run(batch, params), features(batch, params))


def test_other_maps_make_no_other_graph():
    rng = np.random.default_rng(4)
    source = pictures(4, 40, 50)

    def bent(source, matrix, displacement, colour):
        return warp(source, matrix, displacement, colour=colour, dtype="float32", mean=MEAN, layout="CHW")

    run, counter = compiled(bent)
    for _ in range(10):
        matrix = np.array(MATRIX) + rng.uniform(-0.1, 0.1, (2, 3))
        field = torch.from_numpy(rng.uniform(-4, 4, (4, 5, 2)).astype(np.float32))
        colour = PatchParams(hue=rng.uniform(), noise_sigma=0.1, noise_seed=SEED - int(rng.integers(99)))
        found = run(source, torch.from_numpy(matrix), field, colour)
        same(found, bent(source, matrix, field, colour))
        assert found.std() > 0.05, "the image is not blank"
    assert counter.frame_count == 1


@pytest.mark.parametrize("source", [pictures(5, 40, 50), pictures(5, 40, 50)[..., 1]], ids=["rgb", "labels"])
def test_bands_from_rectangles(source):
    """What varies from band to band are whole numbers, which torch keeps open after the second."""
    how = {"size": (60, 64), "order": source.ndim - 2, "upsampling": "linear"}
    whole = warp(source, MATRIX, TURNS, **how)
    run, counter = compiled(warp)
    for first in range(0, 64, 8):
        for box in kernels.warp_source_boxes(
            MATRIX, TURNS, full_size=(50, 40), rows=(first, first + 8), columns_per_box=20, **how
        ):
            (x, y), (w, h) = box.origin, box.size
            where = {"rows": box.rows, "columns": box.columns, "origin": box.origin, "full_size": (50, 40)}
            part = run(source[y : y + h, x : x + w], MATRIX, TURNS, **where, **how)
            same(part, whole[slice(*box.rows), slice(*box.columns)].contiguous())
    assert counter.frame_count <= 7


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_warps_of_every_kind(dtype, layout):
    def run(source, matrix):
        return (
            warp(source, MATRIX, dtype=dtype, layout=layout, fill=(1, 2, 3)),
            warp(source, matrix, TURNS, dtype=dtype, layout=layout, rows=(3, 9), size=(30, 20), order=0),
            warp(source[..., 0], [*MATRIX, [0, 0, 1]], dtype=dtype, fill=9),
        )

    source, matrix = pictures(6, 30, 20), torch.tensor(MATRIX, requires_grad=True)
    for found, expected in zip(compiled(run)[0](source, matrix), run(source, matrix), strict=True):
        assert not found.requires_grad
        same(found, expected)


class Varied(torch.nn.Module):
    def __init__(self, params, displacement):
        super().__init__()
        self.params, self.displacement = params, displacement

    def forward(self, images, source):
        colour = PatchParams(hue=0.2, noise_sigma=0.1, noise_seed=SEED)
        bent = kernels.warp(source, MATRIX, self.displacement, colour=colour, dtype="float32", mean=MEAN)
        return augment(images, self.params), bent, kernels.augment_patches([source, source], dtype="uint8")


@pytest.mark.parametrize("strict", [False, True])
def test_exports_with_constant_parameters(strict):
    model = Varied(everything(np.random.default_rng(7), 2), TURNS.tolist())
    inputs = pictures(8, 2, 30, 30), pictures(9, 40, 44)
    program = torch.export.export(model, inputs, strict=strict)
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {"fastwsi.augment_patches.default", "fastwsi.warp.default"} <= names
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    others = pictures(10, 2, 30, 30), pictures(11, 40, 44)
    for exported in (program.module(), torch.export.load(file).module()):
        for arguments in (inputs, others):
            for found, expected in zip(exported(*arguments), model(*arguments), strict=True):
                same(found, expected)


def test_opcheck():
    params = everything(np.random.default_rng(12), 2).numbers
    images = pictures(12, 2, 30, 30)
    mean = torch.tensor(MEAN, dtype=torch.float64)
    for given, listed, size, layout in [
        ([images], False, [20, 24], "NCHW"),
        ([images[:, 1:].transpose(1, 2)], False, [20, 24], "NHWC"),
        ([images[0], pictures(13, 35, 40)], True, [24, 20], "NCHW"),
    ]:
        for dtype in DTYPES:
            scaling = (None, None) if dtype == "uint8" else (mean, mean)
            arguments = (given, listed, torch.from_numpy(params), False, size, dtype, *scaling, layout)
            torch.library.opcheck(augment_torch_ops.augment_patches_op, arguments)
    torch.library.opcheck(
        augment_torch_ops.augment_patches_op,
        ([images[:, 4:]], False, None, False, None, "float32", None, None, "NCHW"),
    )
    matrix, field = torch.tensor(MATRIX, dtype=torch.float64), torch.from_numpy(TURNS)
    colour = torch.from_numpy(PatchParams(hue=0.1).numbers)
    for source, displacement, rows, fill, paint, layout in [
        (images[0], None, None, [255], None, "HWC"),
        (images[0], field, [3, 9], [1, 2, 3], colour, "CHW"),
        (images[0, ..., 0], field, [0, 30], [7], None, "HWC"),
    ]:
        for size, full in [(None, None), ([30, 30], [30, 30])]:
            geometry = (matrix, displacement, size, rows, None, [0, 0], full)
            arguments = (source, *geometry, fill, 1, "cubic", paint, "float16", None, None, layout)
            torch.library.opcheck(augment_torch_ops.warp_op, arguments)


BATCH, SOURCE = pictures(14, 2, 10, 12), pictures(14, 10, 12)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("out: not supported under", lambda x: kernels.augment_patches(x, None, torch.zeros(2, 3, 10, 12))),
        ("image 0: crop: got 13 x 5", lambda x: kernels.augment_patches(x, size=(13, 5))),
        ("size: got None with params.origin", lambda x: kernels.augment_patches(x, PatchParams((1, 1)))),
        ("got 3 values, expected 2", lambda x: kernels.augment_patches(x, PatchParams(hue=[0.1, 0.2, 0.3]))),
        ("mean and std: not for uint8", lambda x: kernels.augment_patches(x, dtype="uint8", mean=MEAN)),
        ("std: got", lambda x: kernels.augment_patches(x, std=(1.0, 0.0, 1.0))),
        ("std: got 'grey'", lambda x: kernels.augment_patches(x, std="grey")),
        ("layout: got 'HWC'", lambda x: kernels.augment_patches(x, layout="HWC")),
        ("dtype: got float64", lambda x: kernels.augment_patches(x, dtype="float64")),
        ("images: got dtype float32", lambda x: kernels.augment_patches(x.float())),
        ("image 1: got shape", lambda x: kernels.augment_patches([x[0], x[1, ..., :2]])),
        ("image 1: got 11 x 10 pixels", lambda x: kernels.augment_patches([x[0], x[1, :, 1:]])),
        ("params: got dict", lambda x: kernels.augment_patches(x, {"hue": 0.1})),
        ("hue: got inf", lambda x: kernels.augment_patches(x, PatchParams(hue=float("inf")))),
        ("out: not supported under", lambda x: kernels.warp(x[0], MATRIX, None, x[1])),
        ("matrix: got shape", lambda x: kernels.warp(x[0], [[1.0, 0.0], [0.0, 1.0]])),
        ("matrix: got NaN", lambda x: kernels.warp(x[0], [[1.0, 0.0, float("nan")], [0.0, 1.0, 0.0]])),
        ("rows: got", lambda x: kernels.warp(x[0], MATRIX, rows=(4, 12))),
        ("order: got 2", lambda x: kernels.warp(x[0], MATRIX, order=2)),
        ("fill: got", lambda x: kernels.warp(x[0], MATRIX, fill=(1, 2))),
        ("colour: got orientation", lambda x: kernels.warp(x[0], MATRIX, colour=PatchParams(orientation=1))),
        ("colour: got str", lambda x: kernels.warp(x[0], MATRIX, colour="red")),
        ("source: got dtype float32", lambda x: kernels.warp(x[0].float(), MATRIX)),
        ("layout: got 'NHWC'", lambda x: kernels.warp(x[0], MATRIX, layout="NHWC")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_arguments_still_raise(message, call):
    """With the eager call's message; what only the numbers show, when the graph runs."""
    if "under" not in message:
        with pytest.raises((TypeError, ValueError), match=message):
            call(BATCH)
    with pytest.raises(Exception, match=message):
        compiled(call)[0](BATCH)


def test_eager_calls_bypass_the_operators(monkeypatch):
    """An operator call costs several times the rest of a small call."""

    def forbidden(*args):
        raise AssertionError("the operator was called in eager mode")

    monkeypatch.setattr(augment_torch_ops, "augment_patches_op", forbidden)
    monkeypatch.setattr(augment_torch_ops, "warp_op", forbidden)
    assert kernels.augment_patches(BATCH).shape == (2, 3, 10, 12)
    assert torch.equal(kernels.warp(SOURCE, [[1, 0, 0], [0, 1, 0]]), SOURCE)
