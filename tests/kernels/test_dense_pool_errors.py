"""dense_pool refuses what it cannot do, by the argument's name; and everything that avg_pool2d refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi import kernels

X = np.zeros((2, 3, 32, 64), np.float32)
WRONG = [
    (ValueError, r"window: got \D*40(, | x )40\D* for an input of 32 x 64, expected at most the", (X, 40, 1)),
    (ValueError, r"window: got \D*33(, | x )1\D* for an input of 32 x 64, expected at most", (X, (33, 1), 1)),
    (ValueError, r"window: got \D*1(, | x )65\D* for an input of 32 x 64, expected at most", (X, (1, 65), 1)),
    (ValueError, r"window: got \D*1(, | x )1\D* for an input of 0 x 64", (X[:, :, :0], 1, 1)),
    (ValueError, r"window: got \D*1(, | x )1\D* for an input of 32 x 0", (X[..., :0], 1, 1)),
    (ValueError, "window: got 0, expected", (X, 0, 1)),
    (ValueError, "window: got -3, expected", (X, -3, 1)),
    (ValueError, r"window: got \(3, 0\), expected", (X, (3, 0), 1)),
    (ValueError, "stride: got 0, expected", (X, 3, 0)),
    (ValueError, r"stride: got \(1, -1\), expected", (X, 3, (1, -1))),
    (TypeError, r"window: got 3\.0, expected", (X, 3.0, 1)),
    (TypeError, "window: got True, expected", (X, True, 1)),
    (TypeError, "window: got '3', expected", (X, "3", 1)),
    (TypeError, "window: got None, expected", (X, None, 1)),
    (TypeError, r"window: got \(3, 3\.0\), expected", (X, (3, 3.0), 1)),
    ((TypeError, ValueError), r"window: got \(3,\), expected", (X, (3,), 1)),
    ((TypeError, ValueError), r"stride: got \(1, 1, 1\), expected", (X, 3, (1, 1, 1))),
    (TypeError, r"stride: got 1\.5, expected", (X, 3, 1.5)),
    (TypeError, "stride: got True, expected", (X, 3, True)),
    (TypeError, "stride: got None, expected", (X, 3, None)),
    (TypeError, "x: got dtype uint8, expected", (X.astype(np.uint8), 3, 1)),
    (TypeError, "x: got dtype int64, expected", (torch.zeros(4, 4, dtype=torch.int64), 3, 1)),
    (TypeError, "x: got dtype complex64, expected", (X.astype(np.complex64), 3, 1)),
    (TypeError, "x: got list, expected a numpy array", ([[1.0]], 1, 1)),
    (ValueError, r"x: got shape \(32,\), expected", (X[0, 0, :, 0], 1, 1)),
    (ValueError, r"x: got shape \(\), expected", (X[0, 0, 0, 0:1].reshape(()), 1, 1)),
    (ValueError, "x: got .*, expected .*8", (np.zeros((1,) * 9), 1, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "args"), WRONG, ids=[row[1] for row in WRONG])
def test_wrong_arguments_say_what_they_got_and_what_is_expected(error, message, args):
    with pytest.raises(error, match=f"^{message}"):
        kernels.dense_pool(*args)


def test_a_tensor_that_requires_grad_is_checked_alike():
    x = torch.zeros(2, 3, 8, 8, requires_grad=True)
    with pytest.raises(ValueError, match=r"window: got \D*9(, | x )9\D* for an input of 8 x 8"):
        kernels.dense_pool(x, 9, 1)
    with pytest.raises(ValueError, match="stride: got 0, expected"):
        kernels.dense_pool(x, 3, 0)


@pytest.mark.parametrize(
    ("shape", "window", "stride"),
    [
        ((1, 1, 4, 4), 5, 1),
        ((1, 1, 4, 4), (1, 5), 1),
        ((1, 1, 4, 4), 0, 1),
        ((1, 1, 4, 4), -1, 1),
        ((1, 1, 4, 4), 2, 0),
        ((1, 1, 4, 4), 2, -1),
        ((1, 1, 0, 4), 1, 1),
        ((4,), 1, 1),
    ],
    ids=str,
)
def test_what_avg_pool2d_refuses_is_refused(shape, window, stride):
    x = torch.zeros(shape)
    with pytest.raises((RuntimeError, IndexError)):
        torch.nn.functional.avg_pool2d(x, window, stride)
    with pytest.raises(ValueError, match=r"(x|window|stride): got "):
        kernels.dense_pool(x, window, stride)
