"""Which operations can be streamed, and as what; the others are refused, with advice."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from fastwsi.kernels.pooling import dense_pool
from fastwsi.kernels.pooling import pair as positive_pair
from fastwsi.nn.dense_pool import DensePool2d
from fastwsi.streaming import windows
from fastwsi.streaming.convolution import Convolution
from fastwsi.streaming.drafts import Drafts
from fastwsi.streaming.max_pooling import MaxPooling
from fastwsi.streaming.operations import Norm
from fastwsi.streaming.pointwise import (
    ACTIVATIONS,
    arithmetic,
    concatenation,
    normalisation,
    pointwise,
    prelu,
)
from fastwsi.streaming.reach import Sliding
from fastwsi.streaming.tracing import Call, Const, Map, Trace, Unstreamable

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastwsi.streaming.graph import Graph

_HEAD = "move it to the head: fastwsi.nn.split(model, at) cuts a model behind the module named"
_STATISTICS = f"normalises by statistics of the whole map; {_HEAD}, or use frozen batch norm"
_REFUSED: dict[type, str] = {
    nn.GroupNorm: _STATISTICS,
    nn.LayerNorm: _STATISTICS,
    nn.InstanceNorm2d: _STATISTICS,
    nn.AdaptiveAvgPool2d: f"has windows that depend on the image's size; {_HEAD}",
    nn.AdaptiveMaxPool2d: f"has windows that depend on the image's size; {_HEAD}",
    nn.Flatten: f"leaves no rows and columns; {_HEAD}",
    nn.Linear: f"works on no rows and columns; {_HEAD}, or write it as a 1 x 1 convolution",
}
_ADD = (operator.add, operator.iadd, torch.add, "add", "add_")
_CAT = (torch.cat, torch.concat, torch.concatenate)
_ARITHMETIC: dict[Any, str] = {
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, torch.multiply, "mul", "mul_"), "mul"),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub", "sub_"), "sub"),
    **dict.fromkeys((operator.truediv, operator.itruediv, torch.div, "div", "div_"), "div"),
    **dict.fromkeys(_ADD, "add"),
}


def graph_of(trace: Trace, root: nn.Module) -> Graph:
    """Return the stages of a network's trace.

    Raises
    ------
    Unstreamable
        Where an operation is not known to give the same on bands as on the whole image.
    """
    drafts = Drafts(trace.reads())
    drafts.image(Map(0))
    for call in trace.calls:
        _translate(call, drafts, root)
    returned: list[Map] = []
    _collect(trace.returned, returned)
    return drafts.graph(returned)


def _collect(value: Any, found: list[Map]) -> None:
    if isinstance(value, Map):
        found.append(value)
    elif isinstance(value, (tuple, list)):
        for each in value:
            _collect(each, found)
    elif isinstance(value, dict):
        for each in value.values():
            _collect(each, found)


def _translate(call: Call, drafts: Drafts, root: nn.Module) -> None:
    target = call.target
    if isinstance(target, nn.Module):
        for kind, translate in _MODULES.items():
            if isinstance(target, kind):
                translate(call, target, drafts)
                return
        _refuse(call)
    if not call.maps:
        raise Unstreamable(f"{call.path}: it works on constants alone; compute them once, as a buffer")
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    if target in _ADD and len(call.maps) == 2 and _plain(call):
        drafts.join(call.output, call.args[0], call.args[1], call.path)
    elif target in _ARITHMETIC:
        _arithmetic(call, _ARITHMETIC[target], drafts, root)
    elif name == "conv2d" and _of_torch(target):
        _convolution_function(call, drafts, root)
    elif target in _CAT:
        _concatenate(call, drafts)
    elif name.rstrip("_") in _FUNCTIONS and (isinstance(target, str) or _of_torch(target)):
        _FUNCTIONS[name.rstrip("_")](call, drafts)
    else:
        _refuse(call)


def _refuse(call: Call) -> None:
    what = type(call.target).__name__ if isinstance(call.target, nn.Module) else "it"
    for kind, advice in _REFUSED.items():
        if isinstance(call.target, kind):
            raise Unstreamable(f"{call.path}: {what} {advice}")
    raise Unstreamable(
        f"{call.path}: {what} is not known to give the same on bands of rows as on the whole image; {_HEAD}"
    )


def _of_torch(target: Any) -> bool:
    return (getattr(target, "__module__", None) or "torch").startswith("torch") or target is dense_pool


def _plain(call: Call) -> bool:
    return len(call.args) == 2 and not call.kwargs


def _arguments(call: Call, *names: str, **defaults: Any) -> dict[str, Any]:
    """Return a call's arguments by name, those left out by their defaults."""
    order = [*names, *defaults]
    if len(call.args) > len(order) or set(call.kwargs) - set(order):
        raise Unstreamable(f"{call.path}: got arguments that are not known here, expected {', '.join(order)}")
    return {**defaults, **dict(zip(order, call.args, strict=False)), **call.kwargs}


def _arithmetic(call: Call, what: str, drafts: Drafts, root: nn.Module) -> None:
    if not _plain(call) or len(call.args) != 2:
        raise Unstreamable(f"{call.path}: got more than two operands, expected two")
    operands = list(call.args)
    for operand in operands:
        if isinstance(operand, Const):
            shape = _constant(root, operand.name).shape
            if len(shape) > 4 or (len(shape) >= 1 and shape[-1] != 1) or (len(shape) >= 2 and shape[-2] != 1):
                raise Unstreamable(
                    f"{call.path}: got a constant of shape {tuple(shape)}, expected one number or (C, "
                    "1, 1): one that "
                    "is the same on every position"
                )
        elif not isinstance(operand, (Map, int, float)):
            raise Unstreamable(
                f"{call.path}: got {operand!r}, expected maps, numbers and tensors of the module"
            )
    drafts.add(call.output, arithmetic(what, operands), call.maps, call.path)


def _constant(root: nn.Module, name: str) -> torch.Tensor:
    owner, _, attribute = name.rpartition(".")
    found: torch.Tensor = getattr(root.get_submodule(owner), attribute)
    return found


def _concatenate(call: Call, drafts: Drafts) -> None:
    given = _arguments(call, "tensors", dim=0)
    if given["dim"] not in (1, -3):
        raise Unstreamable(
            f"{call.path}: got dim={given['dim']}, expected 1: maps can be put side by side in channels"
        )
    if not all(isinstance(each, Map) for each in given["tensors"]):
        raise Unstreamable(f"{call.path}: got constants among the maps, expected maps alone")
    drafts.add(call.output, concatenation(len(given["tensors"])), list(given["tensors"]), call.path)


def _convolution(call: Call, module: nn.Conv2d, drafts: Drafts) -> None:
    if module.padding_mode != "zeros":
        raise Unstreamable(
            f"{call.path}: got padding_mode={module.padding_mode!r}, expected 'zeros'; at a border of "
            "the image it "
            "would read rows that are not there yet. Pad the image itself, or set padding_mode to 'zeros'"
        )
    weight, bias = f"{call.path}.weight", None if module.bias is None else f"{call.path}.bias"
    settings = {name: getattr(module, name) for name in ("stride", "padding", "dilation", "groups")}
    _add_convolution(call, drafts, weight, bias, pair(module.kernel_size, "kernel_size"), settings)


def _convolution_function(call: Call, drafts: Drafts, root: nn.Module) -> None:
    given = _arguments(call, "input", "weight", bias=None, stride=1, padding=0, dilation=1, groups=1)
    weight, bias = given["weight"], given["bias"]
    if not isinstance(weight, Const) or not (bias is None or isinstance(bias, Const)):
        raise Unstreamable(f"{call.path}: got a computed weight or bias, expected parameters of the module")
    kernel = _constant(root, weight.name).shape[2:]
    name = None if bias is None else bias.name
    _add_convolution(call, drafts, weight.name, name, (int(kernel[0]), int(kernel[1])), given)


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
        sides = [(p, p) for p in _zero_or_more(given["padding"])]
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


def _transposed(call: Call, module: nn.ConvTranspose2d, drafts: Drafts) -> None:
    if len(call.args) + len(call.kwargs) != 1:
        raise Unstreamable(
            f"{call.path}: got an output_size, expected none; set output_padding on the module"
        )
    settings = windows.Transposed(
        pair(module.kernel_size, "kernel_size"),
        pair(module.stride, "stride"),
        _zero_or_more(module.padding),
        _zero_or_more(module.output_padding),
        pair(module.dilation, "dilation"),
        module.groups,
    )
    bias = None if module.bias is None else f"{call.path}.bias"
    drafts.add(
        call.output,
        windows.transposed_convolution(settings, f"{call.path}.weight", bias),
        call.maps,
        call.path,
    )


def pair(value: Any, name: str) -> tuple[int, int]:
    """Return (rows, columns) of what torch takes as one number or two, at least 1 each."""
    rows, columns = positive_pair(value, name)
    return rows, columns


def _zero_or_more(value: Any) -> tuple[int, int]:
    """Return (rows, columns) of what torch takes as one number or two."""
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _batch_norm(call: Call, module: nn.BatchNorm2d, drafts: Drafts) -> None:
    if module.running_mean is None or module.running_var is None:
        raise Unstreamable(
            f"{call.path}: it has no running statistics, and normalises by those of the whole map; "
            f"{_HEAD}, or use "
            "track_running_stats=True"
        )
    path = call.path
    norm = Norm(
        None if module.weight is None else f"{path}.weight",
        None if module.bias is None else f"{path}.bias",
        f"{path}.running_mean",
        f"{path}.running_var",
        module.eps,
    )
    if not drafts.normalise(call.output, call.maps[0], norm):
        drafts.add(call.output, normalisation(norm), call.maps, path)


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
        for k, d, s, p in zip(size, spread, steps, _zero_or_more(padding), strict=True)
    )
    drafts.pool(
        call.output,
        MaxPooling(((down, across),), kernel=size, stride=steps, dilation=spread),
        call.maps[0],
        call.path,
    )


def _max_pool_module(call: Call, module: nn.MaxPool2d, drafts: Drafts) -> None:
    if module.return_indices:
        raise Unstreamable(
            f"{call.path}: got return_indices=True, expected False; indices would count from the band"
        )
    _max_pool(
        call, drafts, module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode
    )


def _max_pool_function(call: Call, drafts: Drafts) -> None:
    given = _arguments(
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
        kernel, stride, _zero_or_more(given["padding"]), given["ceil_mode"], given["count_include_pad"],
        given["divisor_override"],
    )  # fmt: skip
    drafts.add(call.output, windows.average_pooling(settings), call.maps, call.path)


def _average_module(call: Call, module: nn.AvgPool2d, drafts: Drafts) -> None:
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    _average(call, drafts, {name: getattr(module, name) for name in names})


def _average_function(call: Call, drafts: Drafts) -> None:
    defaults: dict[str, Any] = {
        "stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True, "divisor_override": None
    }  # fmt: skip
    _average(call, drafts, _arguments(call, "input", "kernel_size", **defaults))


def _dense(call: Call, module: DensePool2d, drafts: Drafts) -> None:
    drafts.add(call.output, windows.dense_pooling(module.window, module.stride), call.maps, call.path)


def _dense_function(call: Call, drafts: Drafts) -> None:
    given = _arguments(call, "x", "window", "stride")
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


def _pad_module(call: Call, module: nn.ConstantPad2d, drafts: Drafts) -> None:
    _pad(call, drafts, module.padding, "constant", module.value)


def _pad_function(call: Call, drafts: Drafts) -> None:
    given = _arguments(call, "input", "pad", mode="constant", value=None)
    _pad(call, drafts, given["pad"], given["mode"], given["value"])


def _upsample(call: Call, drafts: Drafts, size: Any, factor: Any, mode: str) -> None:
    if mode != "nearest":
        raise Unstreamable(f"{call.path}: got mode={mode!r}, expected 'nearest'; {_HEAD}")
    factors = (factor, factor) if isinstance(factor, (int, float)) else tuple(factor or ())
    if size is not None or len(factors) != 2 or not all(f >= 1 and f == math.floor(f) for f in factors):
        got = f"size={size}" if size is not None else f"scale_factor={factor}"
        raise Unstreamable(
            f"{call.path}: got {got}, expected a whole scale_factor, which suits images of any size"
        )
    drafts.add(call.output, windows.nearest(int(factors[0]), int(factors[1])), call.maps, call.path)


def _upsample_module(call: Call, module: nn.Upsample, drafts: Drafts) -> None:
    _upsample(call, drafts, module.size, module.scale_factor, module.mode)


def _upsample_function(call: Call, drafts: Drafts) -> None:
    given = _arguments(
        call, "input", size=None, scale_factor=None, mode="nearest", align_corners=None,
        recompute_scale_factor=None, antialias=False,
    )  # fmt: skip
    _upsample(call, drafts, given["size"], given["scale_factor"], given["mode"])


def _relu(call: Call, drafts: Drafts) -> None:
    _arguments(call, "input", inplace=False)
    drafts.activate(call.output, call.maps[0], "relu", 0.0, call.path)


def _relu6(call: Call, drafts: Drafts) -> None:
    _arguments(call, "input", inplace=False)
    drafts.activate(call.output, call.maps[0], "relu6", 0.0, call.path)


def _leaky(call: Call, drafts: Drafts) -> None:
    given = _arguments(call, "input", negative_slope=0.01, inplace=False)
    _leaky_relu(call, drafts, given["negative_slope"])


def _leaky_relu(call: Call, drafts: Drafts, slope: float) -> None:
    if slope > 0:
        drafts.activate(call.output, call.maps[0], "leaky_relu", slope, call.path)
    else:  # the output does not tell the input's sign
        drafts.add(call.output, pointwise(lambda x: F.leaky_relu(x, slope)), call.maps, call.path)


def _smooth(name: str) -> Callable[[Call, Drafts], None]:
    def translate(call: Call, drafts: Drafts) -> None:
        function = ACTIVATIONS[name]
        if len(call.args) > 1 or set(call.kwargs) - {"input", "inplace", "approximate"}:
            raise Unstreamable(f"{call.path}: got arguments that are not known here; use the module instead")
        extra = {key: value for key, value in call.kwargs.items() if key == "approximate"}
        drafts.add(call.output, pointwise(lambda x: function(x, **extra)), call.maps, call.path)

    return translate


def _smooth_module(call: Call, module: nn.Module, drafts: Drafts) -> None:
    function = next(function for kind, function in _SMOOTH_MODULES.items() if isinstance(module, kind))
    drafts.add(call.output, pointwise(lambda x: function(module, x)), call.maps, call.path)


_SMOOTH_MODULES: dict[type, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    nn.SiLU: lambda _, x: F.silu(x),
    nn.GELU: lambda module, x: F.gelu(x, approximate=module.approximate),
    nn.Hardswish: lambda _, x: F.hardswish(x),
    nn.Hardsigmoid: lambda _, x: F.hardsigmoid(x),
    nn.Sigmoid: lambda _, x: torch.sigmoid(x),
    nn.Tanh: lambda _, x: torch.tanh(x),
    nn.ELU: lambda module, x: F.elu(x, module.alpha),
    nn.Mish: lambda _, x: F.mish(x),
    nn.Softplus: lambda module, x: F.softplus(x, module.beta, module.threshold),
    nn.Hardtanh: lambda module, x: F.hardtanh(x, module.min_val, module.max_val),
}

_MODULES: dict[type, Callable[..., None]] = {
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _transposed,
    nn.BatchNorm2d: _batch_norm,
    nn.SyncBatchNorm: _batch_norm,
    nn.MaxPool2d: _max_pool_module,
    nn.AvgPool2d: _average_module,
    DensePool2d: _dense,
    nn.ConstantPad2d: _pad_module,
    nn.Upsample: _upsample_module,
    nn.ReLU: lambda call, _, drafts: drafts.activate(call.output, call.maps[0], "relu", 0.0, call.path),
    nn.ReLU6: lambda call, _, drafts: drafts.activate(call.output, call.maps[0], "relu6", 0.0, call.path),
    nn.LeakyReLU: lambda call, module, drafts: _leaky_relu(call, drafts, module.negative_slope),
    nn.PReLU: lambda call, _, drafts: drafts.add(
        call.output, prelu(f"{call.path}.weight"), call.maps, call.path
    ),
    **dict.fromkeys(_SMOOTH_MODULES, _smooth_module),
}
_FUNCTIONS: dict[str, Callable[[Call, Drafts], None]] = {
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky,
    "max_pool2d": _max_pool_function,
    "boolean_dispatch": _max_pool_function,
    "avg_pool2d": _average_function,
    "dense_pool": _dense_function,
    "pad": _pad_function,
    "interpolate": _upsample_function,
    **{name: _smooth(name) for name in ACTIVATIONS},
}
