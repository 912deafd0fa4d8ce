"""Calls of window operations as stages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fastwsi.streaming import windows
from fastwsi.streaming.arguments import HEAD, arguments, constant, pair, zero_or_more
from fastwsi.streaming.convolution import Convolution
from fastwsi.streaming.max_pooling import MaxPooling
from fastwsi.streaming.reach import Sliding
from fastwsi.streaming.tracing import Call, Const, Unstreamable

if TYPE_CHECKING:
    from torch import nn

    from fastwsi.nn.dense_pool import DensePool2d
    from fastwsi.streaming.drafts import Drafts


def convolution(call: Call, module: nn.Conv2d, drafts: Drafts) -> None:
    """Add a convolution module."""
    if module.padding_mode != "zeros":
        raise Unstreamable(
            f"{call.path}: got padding_mode={module.padding_mode!r}, expected 'zeros'; at a border of "
            "the image it "
            "would read rows that are not there yet. Pad the image itself, or set padding_mode to 'zeros'"
        )
    weight, bias = f"{call.path}.weight", None if module.bias is None else f"{call.path}.bias"
    settings = {name: getattr(module, name) for name in ("stride", "padding", "dilation", "groups")}
    _add_convolution(call, drafts, weight, bias, pair(module.kernel_size, "kernel_size"), settings)


def convolution_function(call: Call, drafts: Drafts, root: nn.Module) -> None:
    """Add ``conv2d`` with parameters of the module."""
    given = arguments(call, "input", "weight", bias=None, stride=1, padding=0, dilation=1, groups=1)
    weight, bias, kernel = _weights(call, given, root)
    _add_convolution(call, drafts, weight, bias, kernel, given)


def _weights(call: Call, given: dict[str, Any], root: nn.Module) -> tuple[str, str | None, tuple[int, int]]:
    """Return the names of weight and bias, and the kernel's rows and columns."""
    weight, bias = given["weight"], given["bias"]
    if not isinstance(weight, Const) or not (bias is None or isinstance(bias, Const)):
        raise Unstreamable(f"{call.path}: got a computed weight or bias, expected parameters of the module")
    rows, columns = constant(root, weight.name).shape[2:]
    return weight.name, None if bias is None else bias.name, (int(rows), int(columns))


def _add_convolution(
    call: Call, drafts: Drafts, weight: str, bias: str | None, kernel: tuple[int, int], given: dict[str, Any]
) -> None:
    stride, dilation = pair(given["stride"], "stride"), pair(given["dilation"], "dilation")
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if given["padding"] == "same":
        sides = [((span - 1) // 2, span - 1 - (span - 1) // 2) for span in spans]
    elif given["padding"] == "valid":
        sides = [(0, 0), (0, 0)]
    else:
        sides = [(p, p) for p in zero_or_more(given["padding"])]
    down, across = (Sliding(span, step, *side) for span, step, side in zip(spans, stride, sides, strict=True))
    operation = Convolution(
        ((down, across),),
        weight=weight,
        bias=bias,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        groups=given["groups"],
    )
    drafts.add(call.output, operation, call.maps, call.path)


def transposed(call: Call, module: nn.ConvTranspose2d, drafts: Drafts) -> None:
    """Add a transposed convolution module."""
    if len(call.args) + len(call.kwargs) != 1:
        raise Unstreamable(
            f"{call.path}: got an output_size, expected none; set output_padding on the module"
        )
    names = ("stride", "padding", "output_padding", "dilation", "groups")
    weight, bias = f"{call.path}.weight", None if module.bias is None else f"{call.path}.bias"
    kernel = pair(module.kernel_size, "kernel_size")
    _add_transposed(call, drafts, weight, bias, kernel, {name: getattr(module, name) for name in names})


def transposed_function(call: Call, drafts: Drafts, root: nn.Module) -> None:
    """Add ``conv_transpose2d`` with parameters of the module."""
    given = arguments(
        call, "input", "weight", bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
    )
    weight, bias, kernel = _weights(call, given, root)
    _add_transposed(call, drafts, weight, bias, kernel, given)


def _add_transposed(
    call: Call, drafts: Drafts, weight: str, bias: str | None, kernel: tuple[int, int], given: dict[str, Any]
) -> None:
    settings = windows.Transposed(
        kernel,
        pair(given["stride"], "stride"),
        zero_or_more(given["padding"]),
        zero_or_more(given["output_padding"]),
        pair(given["dilation"], "dilation"),
        given["groups"],
    )
    drafts.add(call.output, windows.transposed_convolution(settings, weight, bias), call.maps, call.path)


def _max_pool(
    call: Call, drafts: Drafts, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> None:
    size, steps, spread = (
        pair(kernel, "kernel_size"),
        pair(stride or kernel, "stride"),
        pair(dilation, "dilation"),
    )
    if size[0] * size[1] > 255:
        raise Unstreamable(
            f"{call.path}: got windows of {size[0]} x {size[1]} cells, expected at most 255 cells"
        )
    down, across = (
        Sliding((k - 1) * d + 1, s, p, p, ceil)
        for k, d, s, p in zip(size, spread, steps, zero_or_more(padding), strict=True)
    )
    drafts.pool(
        call.output,
        MaxPooling(((down, across),), kernel=size, stride=steps, dilation=spread),
        call.maps[0],
        call.path,
    )


def max_pool_module(call: Call, module: nn.MaxPool2d, drafts: Drafts) -> None:
    """Add a max pooling module."""
    if module.return_indices:
        raise Unstreamable(
            f"{call.path}: got return_indices=True, expected False; indices would count from the band"
        )
    _max_pool(
        call, drafts, module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode
    )


def max_pool_function(call: Call, drafts: Drafts) -> None:
    """Add ``max_pool2d``."""
    given = arguments(
        call,
        "input",
        "kernel_size",
        stride=None,
        padding=0,
        dilation=1,
        ceil_mode=False,
        return_indices=False,
    )
    if given["return_indices"]:
        raise Unstreamable(
            f"{call.path}: got return_indices=True, expected False; indices would count from the band"
        )
    _max_pool(
        call, drafts, *(given[k] for k in ("kernel_size", "stride", "padding", "dilation", "ceil_mode"))
    )


def _average(call: Call, drafts: Drafts, given: dict[str, Any]) -> None:
    kernel = pair(given["kernel_size"], "kernel_size")
    stride = kernel if given["stride"] in (None, (), []) else pair(given["stride"], "stride")
    settings = windows.Averages(
        kernel, stride, zero_or_more(given["padding"]), given["ceil_mode"], given["count_include_pad"],
        given["divisor_override"],
    )  # fmt: skip
    drafts.add(call.output, windows.average_pooling(settings), call.maps, call.path)


def average_module(call: Call, module: nn.AvgPool2d, drafts: Drafts) -> None:
    """Add an average pooling module."""
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    _average(call, drafts, {name: getattr(module, name) for name in names})


def average_function(call: Call, drafts: Drafts) -> None:
    """Add ``avg_pool2d``."""
    defaults: dict[str, Any] = {
        "stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True, "divisor_override": None
    }  # fmt: skip
    _average(call, drafts, arguments(call, "input", "kernel_size", **defaults))


def dense(call: Call, module: DensePool2d, drafts: Drafts) -> None:
    """Add a dense pooling module."""
    drafts.add(call.output, windows.dense_pooling(module.window, module.stride), call.maps, call.path)


def dense_function(call: Call, drafts: Drafts) -> None:
    """Add ``dense_pool``."""
    given = arguments(call, "x", "window", "stride")
    operation = windows.dense_pooling(pair(given["window"], "window"), pair(given["stride"], "stride"))
    drafts.add(call.output, operation, call.maps, call.path)


def _pad(call: Call, drafts: Drafts, sides: Any, mode: str, value: float | None) -> None:
    if mode != "constant":
        raise Unstreamable(
            f"{call.path}: got mode={mode!r}, expected 'constant'; pad the image itself instead"
        )
    if len(sides) not in (2, 4):
        raise Unstreamable(
            f"{call.path}: got {len(sides)} sides, expected padding of columns, or of columns and rows"
        )
    left, right, top, bottom = (*sides, 0, 0)[:4]
    drafts.add(call.output, windows.padding(left, right, top, bottom, value or 0.0), call.maps, call.path)


def pad_module(call: Call, module: nn.ConstantPad2d, drafts: Drafts) -> None:
    """Add a constant padding module."""
    _pad(call, drafts, module.padding, "constant", module.value)


def pad_function(call: Call, drafts: Drafts) -> None:
    """Add ``pad``."""
    given = arguments(call, "input", "pad", mode="constant", value=None)
    _pad(call, drafts, given["pad"], given["mode"], given["value"])


def _upsample(call: Call, drafts: Drafts, size: Any, factor: Any, mode: str) -> None:
    if mode != "nearest":
        raise Unstreamable(f"{call.path}: got mode={mode!r}, expected 'nearest'; {HEAD}")
    factors = (factor, factor) if isinstance(factor, (int, float)) else tuple(factor or ())
    if size is not None or len(factors) != 2 or not all(f >= 1 and f == math.floor(f) for f in factors):
        got = f"size={size}" if size is not None else f"scale_factor={factor}"
        raise Unstreamable(
            f"{call.path}: got {got}, expected a whole scale_factor, which suits images of any size"
        )
    drafts.add(call.output, windows.nearest(int(factors[0]), int(factors[1])), call.maps, call.path)


def upsample_module(call: Call, module: nn.Upsample, drafts: Drafts) -> None:
    """Add an up-sampling module."""
    _upsample(call, drafts, module.size, module.scale_factor, module.mode)


def upsample_function(call: Call, drafts: Drafts) -> None:
    """Add ``interpolate``."""
    given = arguments(
        call, "input", size=None, scale_factor=None, mode="nearest", align_corners=None,
        recompute_scale_factor=None, antialias=False,
    )  # fmt: skip
    _upsample(call, drafts, given["size"], given["scale_factor"], given["mode"])
