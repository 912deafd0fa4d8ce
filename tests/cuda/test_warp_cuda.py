"""The CUDA twin of warp against the CPU's, which is tested against the reference."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fastwsi import kernels
from fastwsi.kernels import PatchParams
from gpu_arrays import to_host

RNG = np.random.default_rng(0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ROUNDING = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8}
# Of numbers so crooked that no pixel lies half way between two others.
TURN = ((np.cos(0.4), np.sin(0.4), -(np.pi**2)), (-0.9 * np.sin(0.4), 1.1 * np.cos(0.4), np.e**3))
NOISY = PatchParams(
    brightness_mul=1.1,
    brightness_add=-0.05,
    saturation_mul=1.4,
    hue=0.1,
    contrast=0.8,
    contrast_mean=(0.6, 0.5, 0.7),
    noise_sigma=0.05,
    noise_fraction=0.1,
    noise_seed=2**64 - 1,
)


def picture(height, width, channels=3):
    """Blocks of a few pixels, so that the nearest pixel is seldom a matter of the last bit."""
    blocks = RNG.integers(0, 256, (height // 3 + 1, width // 3 + 1, 3), np.uint8)
    image = blocks.repeat(3, 0).repeat(3, 1)[:height, :width]
    return np.ascontiguousarray(image if channels == 3 else image[..., 0])


def field(rows=4, columns=7, reach=6.0):
    return RNG.uniform(-reach, reach, (rows, columns, 2))


def both(to_gpu, source, *arguments, **keywords):
    """What the GPU makes of it, and the CPU."""
    found = kernels.warp(to_gpu(source), *arguments, **keywords)
    return to_host(found), kernels.warp(source, *arguments, **keywords)


def assert_bytes_agree(found, expected):
    assert found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected)
    assert difference.max(initial=0) <= 1
    assert (difference > 0).sum() <= max(2, 1e-3 * difference.size)
    assert np.ptp(expected) > 50, "the image is not blank"


# Around the sides of the tiles, and more tiles than blocks.
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (31, 9), (32, 8), (33, 65), (1200, 1100)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("bent", [None, "cubic", "linear"])
def test_bytes(to_gpu, bent, order, channels, size):
    nodes = None if bent is None else field()
    how = {"size": size, "order": order, "upsampling": bent or "cubic", "fill": 77}
    found, expected = both(to_gpu, picture(70, 90, channels), TURN, nodes, **how)
    if order == 0:
        np.testing.assert_array_equal(found, expected)
    elif size != (1, 1):
        assert_bytes_agree(found, expected)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("channels", [1, 3])
def test_floats(to_gpu, channels, dtype, layout):
    source, nodes = picture(70, 90, channels), field()
    on_gpu = to_gpu(source)
    if dtype == "bfloat16" and not hasattr(on_gpu, "detach"):
        pytest.skip("cupy has no bfloat16")
    scaling = {"mean": MEAN, "std": STD} if channels == 3 else {}
    how = {"size": (101, 83), "layout": layout, "fill": 9, **scaling}
    expected = kernels.warp(source, TURN, nodes, dtype="float32", **how)
    found = to_host(kernels.warp(on_gpu, TURN, nodes, dtype=dtype, **how))
    assert found.shape == expected.shape
    slack = 1e-5 / min(STD)
    assert (np.abs(found - expected) <= slack + ROUNDING[dtype] * (np.abs(expected) + slack)).all()
    assert expected.std() > 0.1, "the image is not blank"


def test_exact_maps_are_exact(to_gpu):
    """Whole pixels, half pixels whose mean is half a level, and a mirror."""
    source = picture(40, 50)
    for matrix in (
        ((1, 0, 0), (0, 1, 0)),
        ((1, 0, 0.5), (0, 1, 0)),
        ((1, 0, -3.5), (0, 1, 7.25)),
        ((-1, 0, 49), (0, 1, 0)),
        ((0, -1, 49), (1, 0, 0)),
    ):
        for order in (0, 1):
            for given in (source, source[..., 1]):
                found, expected = both(to_gpu, given, matrix, order=order)
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("fill", [0, (255, 7, 128)], ids=str)
def test_beside_the_source_is_fill(to_gpu, fill):
    source = picture(20, 30)
    for far in (-25.5, 29.5, 2.0**31, -(2.0**33), 1e18, -1e300):
        for matrix in (((1, 0, far), (0, 1, 0)), ((1, 0, 0), (0, 1, far)), ((far, 0, 0), (0, far, 1))):
            found, expected = both(to_gpu, source, matrix, fill=fill)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("bent", [False, True])
def test_bands_and_rectangles_are_the_whole_bit_for_bit(to_gpu, bent, dtype):
    """With noise, which goes by the pixel's place in the whole output."""
    source, nodes = picture(90, 110), field() if bent else None
    on_gpu, colour = to_gpu(source), PatchParams(noise_sigma=0.1, noise_seed=5, hue=0.2)
    how = {"size": (140, 75), "order": 1}
    shown = {"colour": colour, "dtype": dtype, **how}
    whole = to_host(kernels.warp(on_gpu, TURN, nodes, **shown))
    for rows in ((0, 1), (3, 40), (40, 75)):
        band = kernels.warp(on_gpu, TURN, nodes, rows=rows, **shown)
        np.testing.assert_array_equal(to_host(band), whole[slice(*rows)])
        boxes = kernels.warp_source_boxes(
            TURN, nodes, full_size=(110, 90), rows=rows, columns_per_box=37, **how
        )
        for box in boxes:
            (x, y), (w, h) = box.origin, box.size
            where = {"rows": rows, "columns": box.columns, "origin": box.origin, "full_size": (110, 90)}
            part = kernels.warp(on_gpu[y : y + h, x : x + w], TURN, nodes, **where, **shown)
            np.testing.assert_array_equal(to_host(part), whole[slice(*rows), slice(*box.columns)])


@pytest.mark.parametrize("contrast_first", [False, True])
def test_colour(to_gpu, contrast_first):
    source = picture(70, 90)
    fields = {name: value for name, value in vars(NOISY).items() if not name.startswith("_")}
    colour = PatchParams(**{**fields, "contrast_first": contrast_first})
    for size in ((95, 81), (500, 400)):
        how = {"size": size, "colour": colour}
        found, expected = both(to_gpu, source, TURN, dtype="float32", **how)
        assert np.abs(found - expected).max() <= 2e-5
        assert expected.std() > 0.1
        found, expected = both(to_gpu, source, TURN, **how)
        assert_bytes_agree(found, expected)


def test_views_and_into_a_view(to_gpu):
    source = picture(60, 60)
    nodes = field()
    for view in (
        lambda a: a[1:-2, 3:-1],
        lambda a: a.swapaxes(0, 1),
        lambda a: a.reshape(3, 60, 60).swapaxes(0, 1).swapaxes(1, 2),
        lambda a: a[::2, 1::3, 1],
    ):
        expected = kernels.warp(view(source), TURN, nodes, size=(50, 40))
        found = kernels.warp(view(to_gpu(source)), TURN, nodes, size=(50, 40))
        assert_bytes_agree(to_host(found), expected)
    whole = to_gpu(np.full((90, 110, 7), 7, np.uint8))
    out = whole[3:83:2, 5:105:2, 1:7:2]
    assert kernels.warp(to_gpu(source), TURN, nodes, out, size=(50, 40)) is out
    assert_bytes_agree(to_host(out), kernels.warp(source, TURN, nodes, size=(50, 40)))
    beside = to_host(whole).copy()
    beside[3:83:2, 5:105:2, 1:7:2] = 7
    assert (beside == 7).all(), "wrote beside out"


def test_nothing_to_compute(to_gpu):
    source = to_gpu(picture(9, 9))
    assert tuple(kernels.warp(source, TURN, rows=(3, 3)).shape) == (0, 9, 3)
    assert tuple(kernels.warp(source, TURN, columns=(3, 3), layout="CHW").shape) == (3, 9, 0)
    empty = kernels.warp(source[:0, :0], TURN, full_size=(500, 500), size=(4, 4), rows=(0, 1), columns=(0, 0))
    assert tuple(empty.shape) == (1, 0, 3)


def test_on_a_side_stream():
    """Pixels written late on a side stream must be seen by a call on that stream."""
    import torch

    stream, nodes = torch.cuda.Stream(), field()
    source = torch.zeros(500, 600, 3, dtype=torch.uint8, device="cuda")
    late = torch.from_numpy(picture(500, 600)).cuda()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        source.copy_(late)
        found = kernels.warp(source, TURN, nodes)
    stream.synchronize()
    assert_bytes_agree(to_host(found), kernels.warp(late.cpu(), TURN, nodes).numpy())


def test_calls_return_before_the_work_is_done():
    import torch

    source = torch.randint(0, 256, (2000, 2000, 3), dtype=torch.uint8, device="cuda")
    nodes = field(50, 60)

    def all_of_it():
        kernels.warp(source, TURN, colour=NOISY)
        kernels.warp(source, TURN, nodes, dtype="float16", layout="CHW")

    all_of_it()
    torch.cuda.synchronize()
    done = torch.cuda.Event()
    torch.cuda._sleep(2_000_000_000)  # about a second
    start = time.perf_counter()
    all_of_it()
    elapsed = time.perf_counter() - start
    done.record()
    assert not done.query()
    assert elapsed < 0.2
    torch.cuda.synchronize()


def test_compilation():
    import torch

    def run(source, matrix, nodes):
        return kernels.warp(source, matrix, nodes, colour=NOISY, dtype="float32") * 2

    source = torch.from_numpy(picture(60, 60)).cuda()
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        matrix, nodes = np.array(TURN) + RNG.uniform(-0.1, 0.1, (2, 3)), field()
        assert torch.equal(compiled(source, matrix, nodes), run(source, matrix, nodes))


def test_a_displacement_on_the_gpu_is_refused():
    import torch

    nodes = torch.zeros(2, 2, 2, device="cuda")
    with pytest.raises(TypeError, match="displacement: got Tensor, expected numbers on the host"):
        kernels.warp(torch.zeros(9, 9, 3, dtype=torch.uint8, device="cuda"), TURN, nodes)


def test_a_source_behind_four_gibibytes():
    """Offsets past 2^32 bytes, inside one array."""
    import torch

    if torch.cuda.mem_get_info()[0] < 12 << 30:
        pytest.skip("needs 12 GiB of GPU memory")
    big = torch.zeros(38_000, 38_000, 3, dtype=torch.uint8, device="cuda")
    corner = picture(64, 64)
    big[-64:, -64:] = torch.from_numpy(corner).cuda()
    shift = 38_000 - 64
    far = ((0.5, 0.25, shift), (-0.25, 0.5, shift + 16))
    near = ((0.5, 0.25, 0), (-0.25, 0.5, 16))
    found = kernels.warp(big, far, size=(60, 60))
    assert_bytes_agree(to_host(found), kernels.warp(corner, near, size=(60, 60)))
