"""``augment_patches`` and ``warp`` as torch's compiler sees them: opaque operators.

Imported only while torch compiles or exports. Everything that varies from call to call travels as a tensor
of float64 on the host: torch makes constants of Python's floats, and a graph for each of them. Arguments are
checked inside the operators, as those of an eager call are; what decides on the graph, before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from fastwsi.kernels.augment import augment_patches_forward, patches_shape
from fastwsi.kernels.patch_numbers import flatten
from fastwsi.kernels.patch_params import PatchParams
from fastwsi.kernels.warping import shape_of, warp_forward

if TYPE_CHECKING:
    from torch import Tensor


def augment_patches_in_graph(
    given: Any, params: PatchParams | None, size: Any, dtype: str, mean: Any, std: Any, layout: str
) -> Tensor:
    """Put an ``augment_patches`` with its kind of output checked into the graph."""
    listed = isinstance(given, list)
    return augment_patches_op(  # type: ignore[no-any-return]
        given if listed else [given],
        listed,
        _parameters(params),
        # Not looked at where nothing depends on it: torch would make a graph for each of the two.
        size is None and params is not None and params.turned,
        _whole(size),
        dtype,
        _floats(mean, "mean"),
        _floats(std, "std"),
        layout,
    )


@torch.library.custom_op("fastwsi::augment_patches", mutates_args=())
def augment_patches_op(
    images: list[torch.Tensor],
    listed: bool,
    params: torch.Tensor | None,
    turned: bool,
    size: list[int] | None,
    dtype: str,
    mean: torch.Tensor | None,
    std: torch.Tensor | None,
    layout: str,
) -> torch.Tensor:
    """Run ``augment_patches`` as an operator that torch does not look into.

    ``listed``: images of one shape each, not one batch of them. ``params``: the numbers of the PatchParams,
    and in ``turned`` what the shape of the result needs of them.
    """
    return augment_patches_forward(  # type: ignore[no-any-return]
        images if listed else images[0],
        _parameters_from(params),
        None,
        None if size is None else (size[0], size[1]),
        dtype,
        _values(mean),
        _values(std),
        layout,
    )


@augment_patches_op.register_fake
def _(
    images: list[torch.Tensor],
    listed: bool,
    params: torch.Tensor | None,
    turned: bool,
    size: list[int] | None,
    dtype: str,
    mean: torch.Tensor | None,
    std: torch.Tensor | None,
    layout: str,
) -> torch.Tensor:
    first = images[0]
    height, width = first.shape[-3], first.shape[-2]
    if size is not None:
        width, height = size
    elif turned:
        width, height = height, width
    shape = patches_shape(len(images) if listed else first.shape[0], height, width, layout)
    return first.new_empty(shape, dtype=getattr(torch, dtype))


def warp_in_graph(
    source: Any,
    matrix: Any,
    displacement: Any,
    size: Any,
    rows: Any,
    columns: Any,
    origin: Any,
    full_size: Any,
    fill: Any,
    order: int,
    upsampling: str,
    colour: PatchParams | None,
    dtype: str,
    mean: Any,
    std: Any,
    layout: str,
) -> Tensor:
    """Put a ``warp`` with its kind of output checked into the graph."""
    return warp_op(  # type: ignore[no-any-return]
        source,
        _floats(matrix, "matrix"),
        _floats(displacement, "displacement"),
        _whole(size),
        _whole(rows),
        _whole(columns),
        _whole(origin),
        _whole(full_size),
        _whole(fill) if isinstance(fill, Sequence) else [fill],
        order,
        upsampling,
        _parameters(colour),
        dtype,
        _floats(mean, "mean"),
        _floats(std, "std"),
        layout,
    )


@torch.library.custom_op("fastwsi::warp", mutates_args=())
def warp_op(
    source: torch.Tensor,
    matrix: torch.Tensor,
    displacement: torch.Tensor | None,
    size: list[int] | None,
    rows: list[int] | None,
    columns: list[int] | None,
    origin: list[int],
    full_size: list[int] | None,
    fill: list[int],
    order: int,
    upsampling: str,
    colour: torch.Tensor | None,
    dtype: str,
    mean: torch.Tensor | None,
    std: torch.Tensor | None,
    layout: str,
) -> torch.Tensor:
    """Run ``warp`` as an operator that torch does not look into; ``colour``: the PatchParams' numbers."""
    return warp_forward(  # type: ignore[no-any-return]
        source,
        matrix,
        displacement,
        None,
        size,
        rows,
        columns,
        origin,
        full_size,
        fill[0] if len(fill) == 1 else fill,
        order,
        upsampling,
        _parameters_from(colour),
        dtype,
        _values(mean),
        _values(std),
        layout,
    )


@warp_op.register_fake
def _(
    source: torch.Tensor,
    matrix: torch.Tensor,
    displacement: torch.Tensor | None,
    size: list[int] | None,
    rows: list[int] | None,
    columns: list[int] | None,
    origin: list[int],
    full_size: list[int] | None,
    fill: list[int],
    order: int,
    upsampling: str,
    colour: torch.Tensor | None,
    dtype: str,
    mean: torch.Tensor | None,
    std: torch.Tensor | None,
    layout: str,
) -> torch.Tensor:
    width, height = size or full_size or (source.shape[1], source.shape[0])
    if rows is not None:
        height = rows[1] - rows[0]
    if columns is not None:
        width = columns[1] - columns[0]
    shape = shape_of(3 if source.dim() == 3 else 1, (height, width), layout)
    return source.new_empty(shape, dtype=getattr(torch, dtype))


def _whole(values: Any) -> list[int] | None:
    return None if values is None else list(values)


def _floats(values: Any, name: str) -> Tensor | None:
    """Return numbers of any kind as a tensor of float64, without going through Python's own."""
    if values is None:
        return None
    if isinstance(values, str):
        raise TypeError(f"{name}: got {values!r}, expected numbers")
    return torch.as_tensor(values, dtype=torch.float64).detach()


def _values(numbers: Tensor | None) -> Any:
    return None if numbers is None else numbers.tolist()


def _parameters(params: PatchParams | None) -> Tensor | None:
    if params is None:
        return None
    if torch.compiler.is_exporting():  # an exported graph knows no inputs beside the call's: constants
        return torch.tensor(flatten(params), dtype=torch.float64)
    return torch.as_tensor(params.numbers)


def _parameters_from(numbers: Tensor | None) -> PatchParams | None:
    return None if numbers is None else PatchParams.from_numbers(numbers.tolist())
