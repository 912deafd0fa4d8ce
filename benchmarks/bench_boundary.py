"""What one call costs before any pixel is touched, beside the framework's own smallest call."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchmarks.measure import Entry, time_call
from fastwsi import _core
from fastwsi.kernels import scale_shift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

SHAPE = (1, 3, 4, 4)
SCALE, SHIFT = [0.5, 2.0, 3.0], [0.25, -1.0, 4.0]
ROUNDS, ITERATIONS = 60, 2000

EXCHANGE_FLOOR = 5.0  # microseconds above torch's own call
CAPSULE_FLOOR = 15.0


@contextmanager
def without_exchange_api() -> Iterator[None]:
    """Hand tensors over as DLPack capsules, as with a torch that has no exchange table."""
    _core.use_exchange_api(False)
    try:
        yield
    finally:
        _core.use_exchange_api(True)


def needs_exchange_api() -> None:
    if not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        pytest.skip("this torch has no __dlpack_c_exchange_api__")


def pixels() -> np.ndarray:
    return np.random.default_rng(0).random(SHAPE, np.float32)


def per_channel(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 3, 1, 1)


def measure(
    benchmark: BenchmarkFixture, function: Callable[[], torch.Tensor | np.ndarray], entry: Entry
) -> None:
    """Check the answer, then time many calls a round: one alone is too short for the clock."""
    result = function()
    found = result.detach().numpy() if isinstance(result, torch.Tensor) else result
    wanted = pixels().astype(np.float64) * per_channel(SCALE) + per_channel(SHIFT)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    time_call(benchmark, function, entry, rounds=ROUNDS, iterations=ITERATIONS)


def addcmul(x: torch.Tensor) -> Callable[[], torch.Tensor]:
    scale, shift = (torch.from_numpy(per_channel(v)) for v in (SCALE, SHIFT))
    return partial(torch.addcmul, shift, x, scale)


TENSOR = f"call on a torch tensor of shape {SHAPE}"


def test_tensor_addcmul(benchmark: BenchmarkFixture) -> None:
    function = addcmul(torch.from_numpy(pixels()))
    measure(benchmark, function, Entry(TENSOR, "torch.addcmul", "peer"))


def test_tensor_exchange_api(benchmark: BenchmarkFixture) -> None:
    needs_exchange_api()
    function = partial(scale_shift, torch.from_numpy(pixels()), SCALE, SHIFT)
    measure(
        benchmark,
        function,
        Entry(TENSOR, "fastwsi, exchange API", "ours", floor=EXCHANGE_FLOOR),
    )


def test_tensor_capsules(benchmark: BenchmarkFixture) -> None:
    function = partial(scale_shift, torch.from_numpy(pixels()), SCALE, SHIFT)
    with without_exchange_api():
        measure(
            benchmark,
            function,
            Entry(TENSOR, "fastwsi, DLPack capsules", "ours", floor=CAPSULE_FLOOR),
        )


def test_tensor_registered_op(benchmark: BenchmarkFixture) -> None:
    import fastwsi.kernels.torch_ops  # noqa: F401  (registers the operator)

    function = partial(torch.ops.fastwsi.scale_shift, torch.from_numpy(pixels()), SCALE, SHIFT)
    note = "the operator that compiled graphs hold; eager calls go around it"
    measure(benchmark, function, Entry(TENSOR, "torch.ops.fastwsi", "ours", note=note))


AUTOGRAD = f"call on a tensor that requires grad, {SHAPE}, forward only"


def test_autograd_addcmul(benchmark: BenchmarkFixture) -> None:
    function = addcmul(torch.from_numpy(pixels()).requires_grad_())
    measure(benchmark, function, Entry(AUTOGRAD, "torch.addcmul", "peer"))


def test_autograd_scale_shift(benchmark: BenchmarkFixture) -> None:
    function = partial(scale_shift, torch.from_numpy(pixels()).requires_grad_(), SCALE, SHIFT)
    measure(benchmark, function, Entry(AUTOGRAD, "fastwsi", "ours"))


ARRAY = f"call on a numpy array of shape {SHAPE}"


def test_array_expression(benchmark: BenchmarkFixture) -> None:
    x, scale, shift = pixels(), per_channel(SCALE), per_channel(SHIFT)
    measure(benchmark, lambda: x * scale + shift, Entry(ARRAY, "x * scale + shift", "peer"))


def test_array_scale_shift(benchmark: BenchmarkFixture) -> None:
    function = partial(scale_shift, pixels(), SCALE, SHIFT)
    measure(benchmark, function, Entry(ARRAY, "fastwsi", "ours"))
