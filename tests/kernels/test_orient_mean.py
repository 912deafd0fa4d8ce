"""orient_mean against the reference: dtypes, layouts, backends, SIMD levels, threads; and under autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastwsi
from fastwsi import _core, kernels
from reference import orient as reference

LEVELS = _core.simd_usable()
# Of the largest of the eight: seven additions in float32 (or float64), and one rounding to the dtype.
TOLERANCE = {"float64": 1e-15, "float32": 5e-7, "float16": 2**-11 + 5e-7, "bfloat16": 2**-8 + 5e-7}
EIGHT = range(8)


def predictions_for(rng, shape, dtype, axes, layout):
    """Eight tensors of what a network may say: values of their own, each in the shape of its orientation."""
    rows, columns = axes if axes is not None else (-1, -1)
    made = []
    for k in EIGHT:
        mine = list(shape)
        if axes is not None and k % 2:
            mine[rows], mine[columns] = mine[columns], mine[rows]
        x = torch.from_numpy(rng.normal(0, 3, mine)).to(getattr(torch, dtype))
        if layout == "sliced" and x.ndim:
            x = torch.cat([x, x], dim=-1)[..., : x.shape[-1]]
        if layout == "transposed" and x.ndim > 1:
            x = x.transpose(0, -1).contiguous().transpose(0, -1)
        if layout == "mixed" and x.ndim > 1 and k % 3:
            x = x.transpose(0, -1).contiguous().transpose(0, -1)
        made.append(x)
    return made


def assert_close(found, predictions, axes, dtype):
    wide = [p.to(torch.float64).numpy() for p in predictions]
    expected = reference.orient_mean(wide, axes)
    size = max((np.abs(p).max(initial=0) for p in wide), default=0) + 1e-30
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) <= TOLERANCE[dtype] * size


@given(
    data=st.data(),
    dtype=st.sampled_from(sorted(TOLERANCE)),
    layout=st.sampled_from(["packed", "sliced", "transposed", "mixed"]),
    backend=st.sampled_from(["numpy", "torch"]),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_maps_equal_the_reference(data, dtype, layout, backend, level, threads, seed):
    sides = st.integers(0, 12) | st.sampled_from([31, 32, 33, 64, 65, 90])
    lead = data.draw(st.lists(st.integers(0, 3), max_size=2))
    height, width = data.draw(sides), data.draw(sides)
    trailing = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 5]), max_size=1))
    axes = (-2 - len(trailing), -1 - len(trailing))
    rng = np.random.default_rng(seed)
    made = predictions_for(rng, (*lead, height, width, *trailing), dtype, axes, layout)
    given_as = made
    if backend == "numpy" and dtype != "bfloat16":
        given_as = [p.numpy() for p in made]
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        found = kernels.orient_mean(given_as, axes=axes)
    assert type(found) is type(given_as[0])
    assert found.dtype == given_as[0].dtype
    assert_close(torch.as_tensor(found).to(torch.float64).numpy(), made, axes, dtype)


@given(
    shape=st.lists(st.integers(0, 9), max_size=4),
    dtype=st.sampled_from(sorted(TOLERANCE)),
    layout=st.sampled_from(["packed", "sliced", "transposed", "mixed"]),
    stacked=st.booleans(),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
)
def test_vectors_equal_the_reference(shape, dtype, layout, stacked, level, threads):
    made = predictions_for(np.random.default_rng(len(shape)), shape, dtype, None, layout)
    fastwsi.set_num_threads(threads)
    with kernels.simd_level(level):
        found = kernels.orient_mean(torch.stack(made) if stacked else made)
    assert_close(found.to(torch.float64).numpy(), made, None, dtype)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("channels", [1, 7, 512, 2048, 2049, 5000])
def test_many_values_at_a_position(channels, level):
    rng = np.random.default_rng(0)
    made = predictions_for(rng, (2, 5, 6, channels), "float32", (1, 2), "packed")
    with kernels.simd_level(level):
        found = kernels.orient_mean(made, axes=(1, 2))
    assert_close(found.numpy(), made, (1, 2), "float32")


@pytest.mark.parametrize("axes", [None, (-2, -1), (-3, -2), (0, 1), (0, 3)], ids=str)
def test_the_same_bits_for_any_number_of_threads(axes):
    rng = np.random.default_rng(0)
    made = predictions_for(rng, (150, 3, 130, 70), "float32", axes, "packed")
    results = []
    for threads in (1, 2, 3, 5):
        fastwsi.set_num_threads(threads)
        results.append(kernels.orient_mean(made, axes=axes).numpy().tobytes())
    assert results.count(results[0]) == 4
    in_order = made if axes is None else [
        torch.from_numpy(np.ascontiguousarray(reference.orient_back(p.numpy(), k, axes)))
        for k, p in enumerate(made)
    ]  # fmt: skip
    total = in_order[0]
    for p in in_order[1:]:
        total = total + p
    assert results[0] == (total * 0.125).numpy().tobytes()


@pytest.mark.parametrize("shape", [(33, 33), (20, 50)])
def test_what_turns_with_the_picture_comes_back_exactly(shape):
    """A network that commutes with the orientations: its answer is its answer to the picture."""
    picture = np.random.default_rng(0).integers(0, 64, shape).astype(np.float32)
    said = [kernels.orient(picture, k, axes=(0, 1)) * 3 for k in EIGHT]
    np.testing.assert_array_equal(kernels.orient_mean(said, axes=(-2, -1)), picture * 3)
    if shape[0] == shape[1]:
        np.testing.assert_array_equal(kernels.orient_mean(np.stack(said), axes=(-2, -1)), picture * 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_values_are_rounded_once(dtype):
    made = list(torch.randn(8, 10_001).to(dtype))
    total = made[0].float()
    for p in made[1:]:
        total = total + p.float()
    for level in LEVELS:
        with kernels.simd_level(level):
            assert torch.equal(kernels.orient_mean(made), (total / 8).to(dtype))


def test_special_values():
    x = torch.zeros(8, 5)
    x[3] = torch.tensor([float("inf"), float("nan"), -float("inf"), 1.0, 0.0])
    x[:, 4] = -0.0
    for level in LEVELS:
        with kernels.simd_level(level):
            found = kernels.orient_mean(x)
        assert found[0] == float("inf")
        assert torch.isnan(found[1])
        assert found[2] == -float("inf")
        assert found[3] == 0.125
        assert torch.signbit(found[4])


@pytest.mark.parametrize("axes", [None, (1, 2)], ids=str)
@pytest.mark.parametrize("stacked", [True, False])
def test_gradients_first_and_second(axes, stacked):
    shapes = [(2, 3, 4) if axes is None or k % 2 == 0 else (2, 4, 3) for k in EIGHT]
    if stacked:
        shapes = [(2, 3, 3)] * 8
    xs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def run(*values):
        return kernels.orient_mean(torch.stack(values) if stacked else values, axes=axes)

    assert torch.autograd.gradcheck(run, xs)
    assert torch.autograd.gradgradcheck(run, xs)


def test_the_gradient_is_an_eighth_in_each_orientation():
    xs = [torch.zeros(2, 3) if k % 2 == 0 else torch.zeros(3, 2) for k in EIGHT]
    for k in (0, 1, 6):
        xs[k].requires_grad_()
    g = torch.tensor([[8.0, 16.0, 24.0], [32.0, 40.0, 48.0]])
    kernels.orient_mean(xs, axes=(0, 1)).backward(g)
    for k in EIGHT:
        if k in (0, 1, 6):
            np.testing.assert_array_equal(xs[k].grad, reference.orient(g.numpy() / 8, k, (0, 1)))
        else:
            assert xs[k].grad is None


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own, at first use
@pytest.mark.parametrize("partly", [False, True])
def test_forward_mode_carries_the_tangents(partly):
    from torch.autograd import forward_ad

    tangents = torch.randn(8, 4, 4, dtype=torch.float64)
    with forward_ad.dual_level():
        duals = [
            torch.zeros(4, 4, dtype=torch.float64)
            if partly and k % 3
            else forward_ad.make_dual(torch.zeros(4, 4, dtype=torch.float64), tangents[k])
            for k in EIGHT
        ]
        found = forward_ad.unpack_dual(kernels.orient_mean(duals, axes=(0, 1))).tangent
    counted = [t * (0 if partly and k % 3 else 1) for k, t in enumerate(tangents.numpy())]
    np.testing.assert_allclose(found.numpy(), reference.orient_mean(counted, (0, 1)), atol=1e-15)


def test_grad_is_recorded_only_where_it_is_wanted():
    xs = [torch.randn(3) for _ in EIGHT]
    assert not kernels.orient_mean(xs).requires_grad
    xs[5].requires_grad_()
    assert kernels.orient_mean(xs).requires_grad
    with torch.no_grad():
        assert not kernels.orient_mean(xs).requires_grad


def eight(**changed):
    made = [np.zeros((4, 6) if k % 2 == 0 else (6, 4), np.float32) for k in EIGHT]
    for k, array in changed.items():
        made[int(k[1:])] = array
    return made


F = np.float32
SMALLER, FLAT, TURNED = np.zeros((4, 5), F), np.zeros(6, F), np.zeros((4, 6), F)
WRONG = [
    (ValueError, r"predictions: got shape \(7, 3\), expected \(8, ...\)", np.zeros((7, 3), F), None),
    (ValueError, r"predictions: got shape \(\), expected \(8, ...\)", np.zeros((), F), None),
    (ValueError, "predictions: got 9, expected 8", [np.zeros(3, F)] * 9, None),
    (ValueError, "predictions: got 0, expected 8", [], None),
    (TypeError, "predictions: got dict, expected a numpy array", {}, None),
    (TypeError, "predictions: got dtype int64, expected one of float32", np.zeros((8, 3), np.int64), None),
    (TypeError, r"predictions\[0\]: got float, expected a numpy array", [0.5] * 8, None),
    (TypeError, r"predictions\[2\]: got dtype float64, expected float32", eight(p2=np.zeros((4, 6))), (0, 1)),
    (TypeError, r"predictions\[2\]: got a torch array, expected", eight(p2=torch.zeros(4, 6)), (0, 1)),
    (ValueError, r"predictions\[1\]: got shape \(4, 6\), expected \(6, 4\)", eight(p1=TURNED), (0, 1)),
    (ValueError, r"predictions\[6\]: got shape \(4, 5\), expected \(4, 6\)", eight(p6=SMALLER), (0, 1)),
    (ValueError, r"predictions\[1\]: got shape \(6, 4\), expected \(4, 6\)", eight(), None),
    (ValueError, r"predictions\[1\]: got shape \(4, 6\), expected \(6, 4\)", np.zeros((8, 4, 6), F), (0, 1)),
    (ValueError, r"predictions\[3\]: got shape \(6,\), expected \(6, 4\)", eight(p3=FLAT), (0, 1)),
    (ValueError, r"axes: got \(0, 2\) for 2 dimensions", eight(), (0, 2)),
    (ValueError, r"axes: got \(-1, 1\) for 2 dimensions", eight(), (-1, 1)),
    (TypeError, "axes: got 0, expected two integers", eight(), 0),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "predictions", "axes"), WRONG, ids=[row[1] for row in WRONG])
def test_wrong_arguments_say_what_they_got_and_what_is_expected(error, message, predictions, axes):
    with pytest.raises(error, match=message):
        kernels.orient_mean(predictions, axes=axes)


def test_mixed_devices():
    xs = [torch.zeros(3) for _ in EIGHT]
    xs[4] = torch.zeros(3, device="meta")
    with pytest.raises(ValueError, match=r"predictions\[4\]: got an array on meta, expected cpu"):
        kernels.orient_mean(xs)


def test_the_extension_checks_for_itself():
    """The door behind the door: whatever Python lets through, memory is safe."""
    xs, out = eight(), np.zeros((4, 6), F)
    for arrays, mean, rows, columns, message in [
        (xs[:7], out, 0, 1, "got 7, expected 8"),
        (xs, out, 0, 0, "two different ones"),
        (xs, out, 0, 5, "two different ones"),
        (xs, out, -1, -1, r"predictions\[1\]: got shape \(6, 4\)"),
        (xs, np.zeros((4, 5), F), 0, 1, r"predictions\[0\]: got shape \(4, 6\)"),
        ([out, *xs[1:]], out[:], 0, 1, r"out: got the memory of predictions\[0\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.orient_mean(arrays, mean, rows, columns, 0)
