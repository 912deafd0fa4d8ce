"""The CUDA twin of area_resize against the CPU's: the same whole numbers, so the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from fastwsi import kernels
from gpu_arrays import assert_only_queues_work, to_host

RNG = np.random.default_rng(0)
CASES = [  # shape, size, origin, scale
    ((1, 1, 1), (1, 1), (0, 0), (1, 1)),
    ((5, 7, 3), (5, 7), (0, 0), (1, 1)),
    ((64, 48, 3), (32, 24), (0, 0), (2, 2)),
    ((65, 50, 3), (20, 17), (0.5, 1.25), (2.9, 3.1)),
    ((300, 400, 4), (97, 120), (1 / 3, 0), (10 / 3, 3.05)),
    ((40, 30, 3), (100, 90), (0.2, 0), (0.33, 0.4)),
    ((1500, 10, 2), (1, 3), (0, 0), (3.3, 1500)),
    ((2, 3, 60, 50, 3), (30, 31), (0, 0), (1.6, 2)),
    ((0, 4, 4, 3), (2, 2), (0, 0), (2, 2)),
    ((2000, 3000, 3), (700, 999), (0.7, 0.1), (3.001, 2.85)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} to {case[1]}")
def test_equals_the_cpus(to_gpu, case):
    shape, size, origin, scale = case
    image = RNG.integers(0, 256, shape, np.uint8)
    found = kernels.area_resize(to_gpu(image), size, origin=origin, scale=scale)
    np.testing.assert_array_equal(
        to_host(found), kernels.area_resize(image, size, origin=origin, scale=scale)
    )


def test_rows_apart(to_gpu):
    image = RNG.integers(0, 256, (50, 60, 3), np.uint8)
    found = kernels.area_resize(to_gpu(image)[3:41], (10, 20))
    np.testing.assert_array_equal(to_host(found), kernels.area_resize(image[3:41], (10, 20)))


def test_only_queues_work():
    torch = pytest.importorskip("torch")
    image = torch.zeros((512, 512, 3), dtype=torch.uint8, device="cuda")
    assert_only_queues_work(lambda: kernels.area_resize(image, (200, 200)))
