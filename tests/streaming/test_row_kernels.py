"""Row kernels against torch's own operations, bit for bit where that is promised."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from fastwsi.streaming import row_kernels as rows
from streaming.bands import FORMATS, Band, dtypes, layouts, same_bits, shapes, values

LEVELS = _core.simd_usable()
SLOPE = 0.1
ACTS = {
    "none": lambda y: y,
    "relu": torch.relu,
    "relu6": F.relu6,
    "leaky_relu": lambda y: F.leaky_relu(y, SLOPE),
}
GATES = {
    "relu": lambda g, v: torch.ops.aten.threshold_backward(g, v, 0),
    "relu6": lambda g, v: torch.ops.aten.hardtanh_backward(g, v, 0, 6),
    "leaky_relu": lambda g, v: torch.ops.aten.leaky_relu_backward(g, v, SLOPE, True),
    "none": lambda g, v: g,
}
levels, seeds, threads = st.sampled_from(LEVELS), st.integers(0, 2**31), st.integers(1, 2)
acts = st.sampled_from(sorted(ACTS))
quick = settings(max_examples=60, deadline=None)


def statistics(channels, dtype, seed):
    """weight, bias, mean, var."""
    terms = values((4, channels), dtype, seed)
    return terms[0], terms[1], terms[2], terms[3].abs()


@quick
@given(
    shape=shapes,
    layout=layouts,
    dtype=dtypes,
    seed=seeds,
    residual=st.booleans(),
    act=acts,
    place=st.sampled_from(["new", "x", "slice", "residual"]),
    sliced=st.booleans(),
    odd=st.booleans(),
    level=levels,
    count=threads,
)
def test_affine_act_has_the_bits_of_torch(
    shape, layout, dtype, seed, residual, act, place, sliced, odd, level, count
):
    weight, bias, mean, var = statistics(shape[1], dtype, seed)
    dense = values(shape, dtype, seed + 1, odd).contiguous(memory_format=FORMATS[layout])
    other = values(shape, dtype, seed + 2, odd).contiguous(memory_format=FORMATS[layout])
    expected = F.batch_norm(dense, mean, var, weight, bias, eps=1e-5)
    expected = ACTS[act](expected + other if residual else expected)
    x, more, out = Band(dense, layout, sliced), Band(other, layout, sliced), Band(dense * 0, layout, True)
    target = {"new": None, "x": x.rows, "slice": out.rows, "residual": more.rows}[place]
    fastwsi.set_num_threads(count)
    terms = rows.batch_norm_terms(weight, bias, mean, var, 1e-5)
    with kernels.simd_level(level):
        found = rows.affine_act(x.rows, *terms, more.rows if residual else None, act, SLOPE, target)
    assert target is None or found is target
    assert same_bits(found, expected)
    for band in (x, more, out):
        band.check()
    if place != "x":
        assert same_bits(x.rows, dense)


@quick
@given(shape=shapes, layout=layouts, dtype=dtypes, seed=seeds, act=acts, level=levels)
def test_affine_act_without_terms(shape, layout, dtype, seed, act, level):
    x = values(shape, dtype, seed, odd=True).contiguous(memory_format=FORMATS[layout])
    residual = values(shape, dtype, seed + 1, odd=True).contiguous(memory_format=FORMATS[layout])
    with kernels.simd_level(level):
        assert same_bits(rows.affine_act(x, None, None, residual, act, SLOPE), ACTS[act](x + residual))
        assert same_bits(rows.affine_act(x, None, None, None, act, SLOPE), ACTS[act](x))


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2, 64, 33, 65), (1, 3, 1, 70001), (2, 301, 1, 1), (1, 1, 9, 9)])
def test_affine_act_on_more_than_one_task(layout, dtype, shape):
    weight, bias, mean, var = statistics(shape[1], dtype, 5)
    x = values(shape, dtype, 6).contiguous(memory_format=FORMATS[layout])
    for w, b in ((weight, bias), (None, None), (weight, None), (None, bias)):
        expected = F.batch_norm(x, mean, var, w, b, eps=1e-3)
        found = rows.affine_act(x, *rows.batch_norm_terms(w, b, mean, var, 1e-3))
        assert torch.equal(found, expected)
        assert found.stride() == expected.stride()


def test_terms_of_a_variance_without_a_root():
    mean, var = torch.tensor([1.0, 2.0]), torch.tensor([0.0, -1.0])
    scale, shift = rows.batch_norm_terms(None, None, mean, var, 0.0)
    assert scale[0] == torch.inf
    assert shift[0] == -torch.inf
    assert bool(scale[1].isnan() and shift[1].isnan())


@quick
@given(
    shape=shapes,
    layout=layouts,
    dtype=dtypes,
    seed=seeds,
    act=acts,
    sums=st.booleans(),
    place=st.sampled_from(["new", "grad", "slice"]),
    sliced=st.booleans(),
    level=levels,
)
def test_act_gate_has_the_bits_of_torch(shape, layout, dtype, seed, act, sums, place, sliced, level):
    dense, value = values(shape, dtype, seed), values(shape, dtype, seed + 1, odd=True)
    expected = GATES[act](dense, value)
    if act == "relu6":  # torch's vectors and their rests differ over NaN
        expected = expected.masked_fill(value.isnan(), 0)
    grad, seen, out = Band(dense, layout, sliced), Band(value, layout, sliced), Band(dense, layout, True)
    target = {"new": None, "grad": grad.rows, "slice": out.rows}[place]
    total = torch.arange(shape[1], dtype=torch.float64) if sums else None
    with kernels.simd_level(level):
        found = rows.act_gate(grad.rows, seen.rows, act, SLOPE, target, total)
    assert same_bits(found, expected)
    for band in (grad, seen, out):
        band.check()
    if total is not None:
        exact = expected.double().sum((0, 2, 3)) + torch.arange(shape[1])
        torch.testing.assert_close(total, exact, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("layout", FORMATS)
def test_sums_do_not_depend_on_threads_or_level(layout):
    grad = values((2, 24, 130, 71), torch.float32, 1).contiguous(memory_format=FORMATS[layout])
    found = []
    for count in (1, 2, 3):
        for level in LEVELS:
            fastwsi.set_num_threads(count)
            sums = torch.zeros(24, dtype=torch.float64)
            with kernels.simd_level(level):
                rows.act_gate(grad, grad, "leaky_relu", SLOPE, sums=sums)
            found.append(sums)
    assert all(torch.equal(found[0], sums) for sums in found)


@quick
@given(
    shape=shapes,
    layout=layouts,
    data=st.data(),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.uint8]),
)
def test_move_rows(shape, layout, data, dtype):
    height = shape[2]
    count = data.draw(st.integers(0, height))
    source, target = (data.draw(st.integers(0, height - count)) for _ in range(2))
    wide = values((*shape[:2], height, 2 * shape[3]), torch.float32, 3).to(dtype)
    for x in (wide, wide[..., : shape[3]]):
        buffer = x.clone(memory_format=torch.preserve_format).contiguous(memory_format=FORMATS[layout])
        if x is not wide:  # lines with gaps between them, and unlike cells beside them
            buffer = wide.contiguous(memory_format=FORMATS[layout])[..., : shape[3]]
        expected = buffer.clone()
        expected[:, :, target : target + count] = buffer[:, :, source : source + count].clone()
        rows.move_rows(buffer, source, target, count)
        assert torch.equal(buffer, expected)


def test_what_is_not_native_comes_from_torch():
    """16-bit floats, mixed formats, lines with gaps, memory that overlaps."""
    shape = (2, 5, 4, 6)
    for dtype in (torch.bfloat16, torch.float16):
        x, residual = values(shape, dtype, 1), values(shape, dtype, 2)
        weight, bias, mean, var = statistics(5, dtype, 3)
        terms = rows.batch_norm_terms(weight, bias, mean, var, 1e-5)
        assert terms[0].dtype == torch.float32
        expected = torch.relu(F.batch_norm(x, mean, var, weight, bias, eps=1e-5) + residual)
        found = rows.affine_act(x, *terms, residual, "relu")
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
        gate = rows.act_gate(x, residual, "leaky_relu", SLOPE)
        assert torch.equal(gate, GATES["leaky_relu"](x, residual))
    x, residual = values(shape, torch.float32, 1), values(shape, torch.float32, 2)
    mixed = residual.contiguous(memory_format=torch.channels_last)
    assert same_bits(rows.affine_act(x, None, None, mixed, "relu6"), F.relu6(x + residual))
    gaps = values((2, 5, 4, 12), torch.float32, 3)[..., ::2]
    assert same_bits(rows.affine_act(gaps, None, None, x), gaps + x)
    expected = torch.relu(x[:, :, 1:])
    assert same_bits(rows.affine_act(x[:, :, 1:], None, None, act="relu", out=x[:, :, :-1]), expected)


def test_memory_that_autograd_watches_is_marked():
    x = values((1, 2, 3, 4), torch.float32, 1)
    before = x._version
    rows.affine_act(x, None, None, act="relu", out=x)
    rows.act_gate(x, x, "relu", out=x)
    rows.move_rows(x, 0, 1, 1)
    assert x._version >= before + 3


def test_tensors_without_cells():
    for shape in ((0, 3, 4, 5), (1, 0, 4, 5), (1, 3, 0, 5), (1, 3, 4, 0)):
        x = torch.zeros(shape)
        sums = torch.zeros(shape[1], dtype=torch.float64)
        assert rows.affine_act(x, None, None, act="relu").shape == shape
        assert rows.act_gate(x, x, "relu", sums=sums).shape == shape
        assert sums.sum() == 0
        rows.move_rows(x, 0, 0, 0)


def test_wrong_arguments_say_what_they_got_and_what_is_expected():
    x, c = torch.zeros(1, 2, 3, 4), torch.zeros(2)
    with pytest.raises(ValueError, match=r"x: got shape \(2,\), expected \(N, C, H, W\)"):
        rows.affine_act(c, None, None)
    with pytest.raises(TypeError, match=r"x: got dtype torch.int64, expected a floating one"):
        rows.affine_act(x.long(), None, None)
    with pytest.raises(ValueError, match="scale and shift: got one of them, expected both or neither"):
        rows.affine_act(x, c, None)
    with pytest.raises(
        ValueError, match=r"shift: got torch.float64 \(2,\) on cpu, expected torch.float32 \(2,\)"
    ):
        rows.affine_act(x, c, c.double())
    with pytest.raises(ValueError, match=r"residual: got torch.float32 \(1, 2, 3, 5\) on cpu, expected"):
        rows.affine_act(x, c, c, torch.zeros(1, 2, 3, 5))
    with pytest.raises(ValueError, match="act: got 'gelu', expected one of none, relu"):
        rows.affine_act(x, c, c, act="gelu")
    with pytest.raises(ValueError, match=r"slope: got 0.0, expected a number above 0"):
        rows.act_gate(x, x, "leaky_relu")
    with pytest.raises(ValueError, match=r"sums: got torch.float32 \(2,\) on cpu, expected torch.float64"):
        rows.act_gate(x, x, "relu", sums=c)
    with pytest.raises(ValueError, match="source, target, count: got 0, 2, 2, expected rows within 3"):
        rows.move_rows(x, 0, 2, 2)
