"""Background: painted, skipped, known from a miniature; as the painted image, gradients and all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastwsi.streaming import Streamed
from fastwsi.streaming import function as streaming_function
from streaming import networks
from streaming.compare import EXACT, error, flat, probes

VALUE = (0.3, -0.2, 0.7)
# Networks whose maps keep a stride in common, with a total stride and a receptive field of their own.
NAMES = [name for name in networks.SMALL if name not in {"resnet50"}]


def painted(image, mask, step, value=VALUE):
    """The image with its background painted, the slow way."""
    height, width = image.shape[2:]
    cells = torch.from_numpy(np.asarray(mask))
    cells = cells.repeat_interleave(step, -2).repeat_interleave(step, -1)[..., :height, :width]
    cells = cells[None] if cells.dim() == 2 else cells
    return torch.where(cells[:, None], torch.tensor(value, dtype=image.dtype)[:, None, None], image)


def check(trunk, image, mask, step, rows=32, value=VALUE):
    """Streamed with its background is the whole painted image."""
    trunk.eval()
    stream = Streamed(trunk, rows)
    parameters = dict(trunk.named_parameters())
    expected = flat(trunk(painted(image, mask, step, value)))
    loss = sum((o * p).sum() for o, p in zip(expected, probes(expected), strict=True))
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    outputs = flat(stream(image, background=(value, mask, step)))
    loss = sum((o * p).sum() for o, p in zip(outputs, probes(outputs), strict=True))
    found = torch.autograd.grad(loss, list(parameters.values()))
    for output, right in zip(outputs, expected, strict=True):
        assert error(output, right) <= EXACT
    for name, gradient, right in zip(parameters, found, gradients, strict=True):
        assert error(gradient, right) <= EXACT, f"{name}: {error(gradient, right):.1e}"


@pytest.fixture
def pixels(monkeypatch):
    """How many pixels the passes went through, in all."""
    seen = [0]
    original = streaming_function.Run

    def counting(graph, work, rows, columns, *rest, **named):
        seen[0] += rows[0].length * columns[0].length
        return original(graph, work, rows, columns, *rest, **named)

    monkeypatch.setattr(streaming_function, "Run", counting)
    return seen


def island(height, width, step, box):
    mask = np.ones((-(-height // step), -(-width // step)), bool)
    mask[box[0] : box[1], box[2] : box[3]] = False
    return mask


@pytest.mark.parametrize("name", NAMES)
def test_an_island(name):
    height, width = networks.size_for(name, 430, 500)
    mask = island(height, width, 16, (12, 14, 9, 12))
    check(networks.SMALL[name](), networks.image(height, width), mask, 16)


@pytest.mark.parametrize(
    "box", [(0, 1, 0, 1), (0, 2, 40, 44), (74, 80, 0, 3), (79, 80, 87, 88), (30, 31, 40, 41)]
)
def test_islands_at_borders_and_corners(box, pixels):
    height, width = 640, 700
    check(networks.SMALL["resnet18"](), networks.image(height, width), island(height, width, 8, box), 8)
    assert pixels[0] < 2 * height * width * 0.95


def test_sparse_tissue_is_gone_through_in_pieces(pixels):
    height, width = 1200, 900
    mask = np.ones((75, 57), bool)
    mask[2:4, 3:5] = mask[70:73, 50:54] = mask[10, 55] = False
    check(networks.SMALL["resnet18"](), networks.image(height, width), mask, 16)
    assert pixels[0] < 2 * height * width * 0.5


def test_background_alone_and_none(pixels):
    height, width = 600, 700
    nothing = np.ones((38, 44), bool)
    check(networks.SMALL["resnet18"](), networks.image(height, width), nothing, 16)
    assert pixels[0] < 2 * height * width * 0.5
    pixels[0] = 0
    check(networks.SMALL["resnet18"](), networks.image(height, width), ~nothing, 16)
    assert pixels[0] == 2 * height * width


@settings(max_examples=15, deadline=None)
@given(
    st.integers(20, 420), st.integers(20, 420), st.sampled_from([1, 3, 8, 32]), st.integers(0, 2**32 - 1),
    st.floats(0, 1), st.sampled_from(["resnet18", "mobilenet", "inception"]),
)  # fmt: skip
def test_any_mask(height, width, step, seed, share, name):
    height, width = networks.size_for(name, height, width)
    rng = np.random.default_rng(seed)
    mask = rng.random((-(-height // step), -(-width // step))) < share
    mask[: mask.shape[0] // 2] |= rng.random() < 0.7
    check(networks.SMALL[name](), networks.image(height, width, seed=seed % 1000), mask, step, rows=64)


def test_batches_paint_each_and_skip_what_all_lack():
    height, width = 420, 300
    mask = np.stack([island(height, width, 10, (5, 9, 3, 6)), island(height, width, 10, (20, 22, 20, 25))])
    trunk = networks.SMALL["resnet18"]()
    check(trunk, networks.image(height, width, batch=2), mask, 10)
    check(trunk, networks.image(height, width, batch=2), mask[0], 10)


def test_bytes_are_painted_before_they_are_scaled():
    trunk = networks.SMALL["resnet18"]().float()
    image = np.random.default_rng(0).integers(0, 256, (400, 350, 3), np.uint8)
    mask = island(400, 350, 16, (3, 6, 3, 6))
    stream = Streamed(trunk, mean=(0.5, 0.6, 0.7), std=(0.2, 0.3, 0.4))
    whole = image.copy()
    whole[np.kron(mask, np.ones((16, 16), bool))[:400, :350]] = (241, 240, 238)
    found = flat(stream(image, background=((241, 240, 238), mask, 16)))
    for one, other in zip(found, flat(stream(whole)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_source_may_bring_its_background():
    class Slide:
        height, width = 300, 200
        pixels = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
        background = (255, island(300, 200, 10, (2, 4, 2, 4)), 10)

        def rows(self, top, bottom):
            return self.pixels[top:bottom]

    stream = Streamed(networks.SMALL["resnet18"]().float(), mean=(0.5,) * 3, std=(0.2,) * 3)
    expected = stream(Slide.pixels, background=Slide.background)
    assert all(torch.equal(a, b) for a, b in zip(flat(stream(Slide())), flat(expected), strict=True))


def test_with_a_sink_nothing_is_skipped_backward(pixels):
    height, width = 400, 350
    trunk = networks.SMALL["resnet18"]()
    image, mask = networks.image(height, width), island(height, width, 10, (5, 9, 3, 6))
    rows = []
    stream = Streamed(trunk, 64)
    (output,) = flat(
        stream(
            image, background=(VALUE, mask, 10), image_gradient=lambda top, _, part: rows.append((top, part))
        )
    )
    pixels[0] = 0
    output.sum().backward()
    assert pixels[0] == height * width
    whole = painted(image, mask, 10).requires_grad_()
    (right,) = torch.autograd.grad(flat(trunk(whole))[0].sum(), whole)
    assert [top for top, _ in rows] == list(np.cumsum([0, *(part.shape[2] for _, part in rows)])[:-1])
    assert error(torch.cat([part for _, part in rows], 2), right) <= EXACT


@pytest.mark.parametrize(
    ("background", "message"),
    [
        (3, r"^background: got int, expected \(value, mask, downsample\)"),
        ((0, np.ones((5, 5), bool)), r"^background: got tuple"),
        ((0, np.ones((5, 5)), 8), r"^background's mask: got dtype float64, expected bool"),
        ((0, np.ones((5, 6), bool), 8), r"^background's mask: got shape \(5, 6\), expected \(5, 5\)"),
        ((0, np.ones((5, 5), bool), 0), r"^background's downsample: got 0"),
        (((0, 0), np.ones((5, 5), bool), 8), r"^background's value: got 2 numbers, expected 1 or 3"),
        ((float("nan"), np.ones((5, 5), bool), 8), r"^background's value: got nan"),
        ((256, np.ones((5, 5), bool), 8), r"^background's value: got 256, expected whole numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors(background, message):
    stream = Streamed(torch.nn.Conv2d(3, 4, 3), mean=(0,) * 3, std=(1,) * 3)
    with pytest.raises((TypeError, ValueError), match=message):
        stream(np.zeros((40, 40, 3), np.uint8), background=background)
