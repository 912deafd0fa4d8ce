"""Which operations can be streamed, and as what; the others are refused, with advice."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from fastwsi.kernels.pooling import dense_pool
from fastwsi.nn.dense_pool import DensePool2d
from fastwsi.streaming import window_calls
from fastwsi.streaming.arguments import HEAD, arguments, constant
from fastwsi.streaming.drafts import Drafts
from fastwsi.streaming.operations import Norm
from fastwsi.streaming.pointwise import (
    ACTIVATIONS,
    arithmetic,
    concatenation,
    normalisation,
    pointwise,
    prelu,
)
from fastwsi.streaming.tracing import Call, Const, Map, Trace, Unstreamable

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastwsi.streaming.graph import Graph

_STATISTICS = f"normalises by statistics of the whole map; {HEAD}, or use frozen batch norm"
_REFUSED: dict[type, str] = {
    nn.GroupNorm: _STATISTICS,
    nn.LayerNorm: _STATISTICS,
    nn.InstanceNorm2d: _STATISTICS,
    nn.AdaptiveAvgPool2d: f"has windows that depend on the image's size; {HEAD}",
    nn.AdaptiveMaxPool2d: f"has windows that depend on the image's size; {HEAD}",
    nn.Flatten: f"leaves no rows and columns; {HEAD}",
    nn.Linear: f"works on no rows and columns; {HEAD}, or write it as a 1 x 1 convolution",
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
    elif name in _WEIGHTED and _of_torch(target):
        _WEIGHTED[name](call, drafts, root)
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
        f"{call.path}: {what} is not known to give the same on bands of rows as on the whole image; {HEAD}"
    )


def _of_torch(target: Any) -> bool:
    """Whether a function is torch's, or one of Python's operators, and not one of the same name."""
    return (getattr(target, "__module__", None) or "torch").startswith(
        ("torch", "_operator")
    ) or target is dense_pool


def _plain(call: Call) -> bool:
    return len(call.args) == 2 and not call.kwargs


def _arithmetic(call: Call, what: str, drafts: Drafts, root: nn.Module) -> None:
    if not _plain(call) or len(call.args) != 2:
        raise Unstreamable(f"{call.path}: got more than two operands, expected two")
    operands = list(call.args)
    for operand in operands:
        if isinstance(operand, Const):
            shape = constant(root, operand.name).shape
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


def _concatenate(call: Call, drafts: Drafts) -> None:
    given = arguments(call, "tensors", dim=0)
    if given["dim"] not in (1, -3):
        raise Unstreamable(
            f"{call.path}: got dim={given['dim']}, expected 1: maps can be put side by side in channels"
        )
    if not all(isinstance(each, Map) for each in given["tensors"]):
        raise Unstreamable(f"{call.path}: got constants among the maps, expected maps alone")
    drafts.add(call.output, concatenation(len(given["tensors"])), list(given["tensors"]), call.path)


def _batch_norm(call: Call, module: nn.BatchNorm2d, drafts: Drafts) -> None:
    if module.running_mean is None or module.running_var is None:
        raise Unstreamable(
            f"{call.path}: it has no running statistics, and normalises by those of the whole map; "
            f"{HEAD}, or use "
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


def _relu(call: Call, drafts: Drafts) -> None:
    arguments(call, "input", inplace=False)
    drafts.activate(call.output, call.maps[0], "relu", 0.0, call.path)


def _relu6(call: Call, drafts: Drafts) -> None:
    arguments(call, "input", inplace=False)
    drafts.activate(call.output, call.maps[0], "relu6", 0.0, call.path)


def _leaky(call: Call, drafts: Drafts) -> None:
    given = arguments(call, "input", negative_slope=0.01, inplace=False)
    _leaky_relu(call, drafts, given["negative_slope"])


def _leaky_relu(call: Call, drafts: Drafts, slope: float) -> None:
    if slope > 0:
        drafts.activate(call.output, call.maps[0], "leaky_relu", slope, call.path)
    else:  # the output does not tell the input's sign
        drafts.add(call.output, pointwise(lambda x: F.leaky_relu(x, slope)), call.maps, call.path)


def _smooth(name: str) -> Callable[[Call, Drafts], None]:
    def translate(call: Call, drafts: Drafts) -> None:
        function = ACTIVATIONS[name]
        rest = call.args[1:]
        settings = {key: value for key, value in call.kwargs.items() if key not in ("input", "inplace")}
        for value in (*rest, *settings.values()):
            if not (value is None or isinstance(value, (bool, int, float, str))):
                raise Unstreamable(f"{call.path}: got {value!r}, expected numbers beside the map")
        drafts.add(call.output, pointwise(lambda x: function(x, *rest, **settings)), call.maps, call.path)

    return translate


def _prelu(call: Call, drafts: Drafts) -> None:
    given = arguments(call, "input", "weight")
    drafts.add(call.output, prelu(_named(call, given["weight"])), call.maps, call.path)


def _batch_norm_function(call: Call, drafts: Drafts) -> None:
    given = arguments(
        call,
        "input",
        "running_mean",
        "running_var",
        weight=None,
        bias=None,
        training=False,
        momentum=0.1,
        eps=1e-5,
    )
    if given["training"] is not False:
        raise Unstreamable(
            f"{call.path}: got training=True, expected training=self.training, traced in eval mode"
        )
    weight, bias = (None if given[k] is None else _named(call, given[k]) for k in ("weight", "bias"))
    mean, variance = (_named(call, given[k]) for k in ("running_mean", "running_var"))
    norm = Norm(weight, bias, mean, variance, given["eps"])
    if not drafts.normalise(call.output, call.maps[0], norm):
        drafts.add(call.output, normalisation(norm), call.maps, call.path)


def _named(call: Call, given: Any) -> str:
    """Return the name of a parameter or buffer."""
    if not isinstance(given, Const):
        raise Unstreamable(f"{call.path}: got {given!r}, expected parameters and buffers of the module")
    return given.name


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
    nn.Conv2d: window_calls.convolution,
    nn.ConvTranspose2d: window_calls.transposed,
    nn.BatchNorm2d: _batch_norm,
    nn.SyncBatchNorm: _batch_norm,
    nn.MaxPool2d: window_calls.max_pool_module,
    nn.AvgPool2d: window_calls.average_module,
    DensePool2d: window_calls.dense,
    nn.ConstantPad2d: window_calls.pad_module,
    nn.Upsample: window_calls.upsample_module,
    nn.ReLU: lambda call, _, drafts: drafts.activate(call.output, call.maps[0], "relu", 0.0, call.path),
    nn.ReLU6: lambda call, _, drafts: drafts.activate(call.output, call.maps[0], "relu6", 0.0, call.path),
    nn.LeakyReLU: lambda call, module, drafts: _leaky_relu(call, drafts, module.negative_slope),
    nn.PReLU: lambda call, _, drafts: drafts.add(
        call.output, prelu(f"{call.path}.weight"), call.maps, call.path
    ),
    **dict.fromkeys(_SMOOTH_MODULES, _smooth_module),
}
_WEIGHTED: dict[str, Callable[[Call, Drafts, nn.Module], None]] = {
    "conv2d": window_calls.convolution_function,
    "conv_transpose2d": window_calls.transposed_function,
}
_FUNCTIONS: dict[str, Callable[[Call, Drafts], None]] = {
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky,
    "prelu": _prelu,
    "batch_norm": _batch_norm_function,
    "max_pool2d": window_calls.max_pool_function,
    "avg_pool2d": window_calls.average_function,
    "dense_pool": window_calls.dense_function,
    "pad": window_calls.pad_function,
    "interpolate": window_calls.upsample_function,
    **{name: _smooth(name) for name in ACTIVATIONS},
}
