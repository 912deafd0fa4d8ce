"""Images of every kind: bytes, floats, memory maps, sources of rows; and the image's own gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi.streaming import RowSource, Streamed
from streaming import networks
from streaming.compare import error

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
PIXELS = np.random.default_rng(0).integers(0, 256, (75, 58, 3), np.uint8)


def scaled(pixels=PIXELS, dtype=torch.float64):
    values = torch.from_numpy(np.atleast_3d(pixels)).to(torch.float64) / 255
    values = (values - torch.tensor(MEAN, dtype=torch.float64)) / torch.tensor(STD, dtype=torch.float64)
    values = values if values.dim() == 4 else values[None]
    return values.permute(0, 3, 1, 2).to(dtype)


class Rows:
    """Rows on demand, which are counted."""

    def __init__(self, pixels, change=None):
        self.pixels, self.change = pixels, change
        self.height, self.width = pixels.shape[:2]
        self.asked = []

    def rows(self, top, bottom):
        self.asked.append((top, bottom))
        found = self.pixels[top:bottom].copy()
        if self.change is not None and len(self.asked) > self.change:
            found[0, 0, 0] ^= 1
        return found


def stream_of(trunk, **more):
    return Streamed(trunk, rows=16, mean=MEAN, std=STD, **more)


@pytest.mark.parametrize(
    ("dtype", "layout"), [(torch.float32, torch.channels_last), (torch.float64, torch.contiguous_format)]
)
@pytest.mark.parametrize("kind", ["array", "tensor", "memmap", "rows", "float rows", "strided"])
def test_bytes_are_the_floats_that_they_stand_for(kind, dtype, layout, tmp_path):
    trunk = networks.narrow18(dtype=dtype).to(memory_format=layout)
    if kind == "memmap":
        np.save(tmp_path / "image.npy", PIXELS)
    image = {
        "array": lambda: PIXELS,
        "tensor": lambda: torch.from_numpy(PIXELS),
        "memmap": lambda: np.load(tmp_path / "image.npy", mmap_mode="r"),
        "rows": lambda: Rows(PIXELS),
        "float rows": lambda: Rows(scaled()[0].permute(1, 2, 0).numpy()),
        "strided": lambda: np.repeat(np.repeat(PIXELS, 2, 0), 2, 1)[::2, ::2],
    }[kind]()
    stream = stream_of(trunk)
    both = stream(image), stream(scaled(dtype=dtype))
    limit = 1e-11 if dtype == torch.float64 else 1e-5
    assert error(*both) <= limit
    parameters = list(trunk.parameters())
    first, second = (torch.autograd.grad(y.square().sum(), parameters) for y in both)
    assert max(error(a, b) for a, b in zip(first, second, strict=True)) <= 100 * limit


def test_batches_of_bytes():
    trunk = networks.narrow18()
    pixels = np.stack([PIXELS, PIXELS[::-1]])
    assert error(stream_of(trunk)(pixels), trunk(scaled(pixels))) <= 1e-11


def test_a_source_is_read_from_top_to_bottom_once_each_way():
    source = Rows(PIXELS)
    assert isinstance(source, RowSource)
    loss = stream_of(networks.narrow18())(source).sum()
    bands = [(top, min(top + 16, 75)) for top in range(0, 75, 16)]
    forward = [asked for asked in source.asked if asked != (0, 1)]
    assert forward == bands
    loss.backward()
    assert [asked for asked in source.asked if asked != (0, 1)] == 2 * bands


def test_a_source_that_changes_is_found_out():
    trunk = networks.narrow18()
    before = len(Rows(PIXELS).asked)
    counter = Rows(PIXELS)
    stream_of(trunk)(counter)
    for check in (True, False):
        loss = stream_of(trunk, check_source=check)(Rows(PIXELS, change=before + len(counter.asked))).sum()
        if check:
            with pytest.raises(RuntimeError, match="row 0 changed"):
                loss.backward()
        else:
            loss.backward()
    stream_of(trunk, check_source=True)(Rows(PIXELS)).sum().backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_checksums_of_16_bit_images(dtype):
    trunk = torch.nn.Conv2d(3, 2, 3).to(dtype)
    stream_of(trunk, check_source=True)(PIXELS).sum().backward()


def test_a_source_of_the_wrong_shape():
    class Wide(Rows):
        def rows(self, top, bottom):
            return super().rows(top, bottom)[:, :-1]

    with pytest.raises(ValueError, match=r"rows\(0, 1\) gave shape"):
        stream_of(networks.narrow18())(Wide(PIXELS))


@pytest.mark.parametrize("name", ["resnet18", "preactivated", "decoder"])
def test_the_images_gradient_leaves_band_by_band(name):
    trunk = networks.SMALL[name]().requires_grad_(False)
    height, width = networks.size_for(name, 75, 58)
    image = networks.image(height, width)
    leaf = image.clone().requires_grad_()
    (expected,) = torch.autograd.grad(trunk(leaf).square().sum(), leaf)
    found, tops = torch.zeros_like(image), []

    def sink(top, left, part):
        found[:, :, top : top + part.shape[2], left : left + part.shape[3]] += part
        tops.append(top)

    trunk.requires_grad_(True)
    Streamed(trunk, rows=16)(image, image_gradient=sink).square().sum().backward()
    assert error(found, expected) <= 1e-11
    assert tops == sorted(tops)
    assert len(tops) > 3


def test_an_error_under_way_leaves_nothing_behind():
    trunk = networks.narrow18()

    class Broken(Rows):
        def rows(self, top, bottom):
            if top > 30 and self.change:
                raise KeyboardInterrupt
            return super().rows(top, bottom)

    stream = stream_of(trunk)
    expected = stream(PIXELS)
    source = Broken(PIXELS, change=None)
    loss = stream(source).sum()
    source.change = 10**9
    with pytest.raises(KeyboardInterrupt):
        loss.backward()
    with pytest.raises(KeyboardInterrupt):
        stream(source)
    assert all(p.grad is None for p in trunk.parameters())
    assert torch.equal(stream(PIXELS), expected)
