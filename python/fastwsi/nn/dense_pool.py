"""Average pooling whose stride shrinks when the network scans instead of learning."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fastwsi import _numbers
from fastwsi.kernels.pooling import dense_pool, pair

torch.fx.wrap("dense_pool")  # symbolic tracing records the call instead of looking into it


class DensePool2d(torch.nn.Module):
    """Average pooling with one stride for training and a denser one for inference, as in PFA-ScanNet.

    A network is trained on patches, for each of which the pooling leaves one output (or a few). To scan a
    slide it takes large tiles, and must answer more often than once per patch: in eval mode the stride is
    ``train_stride / alpha``. Windows stay as they are, so every output is what the network would say of the
    patch around it. There are no weights: ``alpha`` may be changed on a trained model at any time.

    Parameters
    ----------
    window : int or (int, int)
        Height and width of a window in cells of the feature map.
    train_stride : int or (int, int)
        Cells between windows in training mode.
    alpha : int, optional
        How many times denser windows lie in eval mode; must divide the training stride. None: as in training.

    Raises
    ------
    ValueError
        Where ``alpha`` does not divide the training stride.

    Examples
    --------
    >>> import torch
    >>> pool = fastwsi.nn.DensePool2d(32, train_stride=32, alpha=16)
    >>> features = torch.randn(1, 2, 158, 158)
    >>> pool.train()(features).shape[-2:], pool.eval()(features).shape[-2:]
    (torch.Size([4, 4]), torch.Size([64, 64]))
    """

    def __init__(
        self, window: int | Sequence[int], train_stride: int | Sequence[int], alpha: int | None = None
    ) -> None:
        super().__init__()
        rows, columns = pair(window, "window")
        self._window = (rows, columns)
        rows, columns = pair(train_stride, "train_stride")
        self._train_stride = (rows, columns)
        self.alpha = alpha

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of a window in cells; fixed."""
        return self._window

    @property
    def train_stride(self) -> tuple[int, int]:
        """Cells between windows in training mode, (rows, columns); fixed, as ``alpha`` divides it."""
        return self._train_stride

    @property
    def alpha(self) -> int | None:
        """How many times denser windows lie in eval mode than in training; None: no denser."""
        return self._alpha

    @alpha.setter
    def alpha(self, alpha: int | None) -> None:
        self._alpha = None if alpha is None else self.checked(alpha)

    @property
    def stride(self) -> tuple[int, int]:
        """Cells between windows in the mode that the module is in, (rows, columns)."""
        rows, columns = self.train_stride
        divisor = 1 if self.training or self._alpha is None else self._alpha
        return rows // divisor, columns // divisor

    def checked(self, alpha: int) -> int:
        """Return alpha as an int; ValueError or TypeError unless it divides the training stride.

        Examples
        --------
        >>> fastwsi.nn.DensePool2d(32, train_stride=32).checked(16)
        16
        """
        value = _numbers.whole(alpha, "alpha")
        for stride in self.train_stride:
            if value < 1 or stride % value:
                raise ValueError(f"alpha: got {value}, expected a divisor of the training stride {stride}")
        return value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool (..., height, width) features with the stride of the current mode."""
        return dense_pool(x, self.window, self.stride)

    def extra_repr(self) -> str:
        """Return the parameters, for ``repr``."""

        def short(size: tuple[int, int]) -> str:
            return str(size[0]) if size[0] == size[1] else str(size)

        return f"window={short(self.window)}, train_stride={short(self.train_stride)}, alpha={self._alpha}"


def set_dense_alpha(model: torch.nn.Module, alpha: int | None) -> int:
    """Set how much denser a trained model scans: ``alpha`` of every ``DensePool2d`` in it.

    Parameters
    ----------
    model : torch.nn.Module
        Its weights are not touched.
    alpha : int, optional
        Must divide the training stride of each of them; None: as dense as in training.

    Returns
    -------
    int
        How many were set.

    Raises
    ------
    ValueError
        Where one of them refuses, named; none has changed then. Or where there is none.

    Examples
    --------
    >>> import torch
    >>> pools = [fastwsi.nn.DensePool2d(32, train_stride) for train_stride in (128, 64, 32)]
    >>> model = torch.nn.Sequential(*pools).eval()
    >>> fastwsi.nn.set_dense_alpha(model, 16), [pool.stride for pool in pools]
    (3, [(8, 8), (4, 4), (2, 2)])
    """
    pools = {name: module for name, module in model.named_modules() if isinstance(module, DensePool2d)}
    if not pools:
        raise ValueError("model: got one without a DensePool2d, expected one that scans densely")
    if alpha is not None:
        for name, pool in pools.items():
            _check_named(name or "model", pool, alpha)
    for pool in pools.values():
        pool.alpha = alpha
    return len(pools)


def _check_named(name: str, pool: DensePool2d, alpha: int) -> None:
    try:
        pool.checked(alpha)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
