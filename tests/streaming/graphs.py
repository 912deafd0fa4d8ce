"""Random trunks: directed graphs of every operation that is streamed, built so that maps fit where they meet.

A `Program` is plain numbers, so that examples shrink and can be written down. `build` turns each step into a
layer on the maps that there are; a step that does not fit (a kernel larger than its map) is left out.
"""

from __future__ import annotations

import operator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple
from unittest import mock

import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import strategies as st
from torch import nn

import fastwsi
from fastwsi.streaming import schedule, streamed, units
from fastwsi.streaming.plans import plan_for
from streaming.trunks import Builder, RandomTrunk


class Step(NamedTuple):
    """One operation: what kind, which maps (counted from the last), and numbers that make its settings."""

    kind: str
    first: int = 0
    second: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    e: int = 0


@dataclass(frozen=True)
class Program:
    """A trunk, the image it is given and how it is streamed."""

    steps: tuple[Step, ...]
    height: int = 19
    width: int = 14
    batch: int = 1
    channels: int = 3
    rows: int = 4
    window: int | None = None
    numbers: int | None = None
    outputs: tuple[int, ...] = (0,)
    container: str = "tensor"
    frozen: int = 0
    seed: int = 0
    channels_last: bool = False


def _call(layer, *maps):
    return layer(*maps)


def _convolution(build, step, x):
    channels = build.maps[x].shape[1]
    kernel = 1 + step.a % 5, 1 + step.b % 5
    dilation = (1 + step.d % 2, 1 + step.d // 2 % 2)
    groups = channels if step.e % 3 == 0 else 1
    outputs = groups * (1 + step.e % 2) if groups > 1 else 1 + step.e % 5
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = step.c % (kernel[0] + 1), step.c // 2 % (kernel[1] + 1)
    if step.c % 7 == 6 and all(k % 2 for k in kernel):  # of even ones torch warns
        padding, stride = "same", 1
    else:
        stride = (1 + step.c % 3, 1 + step.c // 3 % 3)
    tied = padding != "same" and any(p >= span for p, span in zip(padding, spans, strict=True))
    layer = nn.Conv2d(channels, outputs, kernel, stride, padding, dilation, groups, bias=step.d % 3 > 0)
    build.add([x], _call, layer, tied=tied)


def _transposed(build, step, x):
    channels = build.maps[x].shape[1]
    kernel = 1 + step.a % 5, 1 + step.b % 5
    stride = 1 + step.c % 3, 1 + step.c // 3 % 3
    dilation = 1 + step.d % 2
    padding = tuple(step.d % k for k in kernel)
    extra = tuple(step.e % max(s, dilation) for s in stride)
    groups = channels if step.e % 2 else 1
    outputs = groups if groups > 1 else 1 + step.e % 4
    layer = nn.ConvTranspose2d(
        channels, outputs, kernel, stride, padding, extra, groups, bias=step.e % 3 > 0, dilation=dilation
    )
    build.add([x], _call, layer, tied=True)


def _max_pool(build, step, x):
    if x in build.tied:
        return
    kernel = 1 + step.a % 4, 1 + step.b % 4
    stride = 1 + step.c % 3, 1 + step.c // 3 % 3
    padding = tuple(step.d % (k // 2 + 1) for k in kernel)
    dilation, ceil = 1 + step.e % 2, bool(step.e // 2 % 2)
    if step.e % 5 == 4:
        build.add([x], lambda m: F.max_pool2d(m, kernel, stride, padding, dilation, ceil_mode=ceil))
    else:
        build.add([x], _call, nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil))


def _average(build, step, x):
    kernel = 1 + step.a % 4, 1 + step.b % 4
    stride = 1 + step.c % 3, 1 + step.c // 3 % 3
    padding = tuple(step.d % (k // 2 + 1) for k in kernel)
    ceil, count, divisor = bool(step.e % 2), bool(step.e // 2 % 2), (None, None, 3)[step.e % 3]
    if step.e % 5 == 4:
        build.add([x], lambda m: F.avg_pool2d(m, kernel, stride, padding, ceil, count, divisor))
    else:
        build.add([x], _call, nn.AvgPool2d(kernel, stride, padding, ceil, count, divisor))


def _dense(build, step, x):
    window, stride = (1 + step.a % 5, 1 + step.b % 5), (1 + step.c % 3, 1 + step.d % 3)
    build.add([x], _call, fastwsi.nn.DensePool2d(window, stride))


def _norm(build, step, x):
    layer = nn.BatchNorm2d(build.maps[x].shape[1], affine=step.a % 4 > 0)
    with torch.no_grad():
        layer.running_mean.uniform_(-1, 1)
        layer.running_var.uniform_(0.3, 2)
        if layer.affine:
            layer.weight.uniform_(-1.5, 1.5)
            layer.bias.uniform_(-1, 1)
            if step.b % 4 == 0:
                layer.weight[0] = 0 if step.b % 8 else 1e-12
    build.add([x], _call, layer, tied=layer.affine and step.b % 4 == 0)


def _activate(build, step, x):
    inplace = build.may_overwrite(x) and step.b % 2 == 1
    kind = step.a % 14
    channels = build.maps[x].shape[1]
    layers = [
        nn.ReLU(inplace),
        nn.ReLU6(inplace),
        nn.LeakyReLU(0.2, inplace),
        nn.LeakyReLU(-0.1),
        nn.SiLU(inplace),
        nn.GELU(),
        nn.Hardswish(inplace),
        nn.Sigmoid(),
        nn.Tanh(),
        nn.PReLU(),
        nn.PReLU(channels),
        nn.ELU(0.7, inplace),
        nn.Hardtanh(-0.5, 0.7),
        nn.Softplus(),
    ]
    functions = [
        lambda m: F.relu(m, inplace),
        lambda m: F.relu6(m, inplace=inplace),
        lambda m: F.leaky_relu(m, 0.2, inplace),
        lambda m: F.leaky_relu(m, -0.1),
        lambda m: F.silu(m, inplace=inplace),
        lambda m: F.gelu(m, approximate="tanh"),
        lambda m: F.hardswish(m, inplace),
        lambda m: m.sigmoid_() if inplace else m.sigmoid(),
        lambda m: torch.tanh_(m) if inplace else torch.tanh(m),
        lambda m: m.relu_() if inplace else m.relu(),
        lambda m: torch.relu_(m) if inplace else torch.relu(m),
        lambda m: F.leaky_relu_(m, 0.3) if inplace else F.leaky_relu(input=m, negative_slope=0.3),
        F.mish,
        F.hardsigmoid,
    ]
    if step.c % 3 == 2:
        writes = inplace and kind in {0, 1, 2, 4, 6, 7, 8, 9, 10, 11}
        build.add([x], functions[kind], overwrites=writes, saves=True)
    else:
        if kind in {9, 10}:
            nn.init.uniform_(layers[kind].weight, -0.5, 1.2)
        writes = inplace and getattr(layers[kind], "inplace", False)
        build.add([x], _call, layers[kind], overwrites=writes, saves=True)


def _fitted(build, x, like, step):
    """A map made as large as another: repeated, then cropped or padded."""
    wanted = build.maps[like].shape[2:]
    factors = tuple(max(1, w // h) for w, h in zip(wanted, build.maps[x].shape[2:], strict=True))
    if factors != (1, 1):
        x = build.add([x], lambda m: F.interpolate(m, scale_factor=factors), tied=True)
        if x is None:
            return None
    down, across = (w - h for w, h in zip(wanted, build.maps[x].shape[2:], strict=True))
    if (down, across) == (0, 0):
        return x
    top, left = (step.d * down) // 7, (step.e * across) // 7
    sides = (left, across - left, top, down - top)
    return build.add([x], lambda m: F.pad(m, sides, value=0.5), tied=max(sides) > 0)


def _as_many_channels(build, x, like):
    wanted, given = build.maps[like].shape[1], build.maps[x].shape[1]
    return x if wanted == given else build.add([x], _call, nn.Conv2d(given, wanted, 1))


def _join(build, step, x):
    y = build.number(step.second)
    if build.maps[y].numel() > build.maps[x].numel():
        x, y = y, x
    y = _fitted(build, y, x, step)
    y = None if y is None else _as_many_channels(build, y, x)
    if y is None:
        return
    kind = step.a % 6
    inplace = build.may_overwrite(x) and x != y and step.b % 3 == 0
    if kind == 0 and inplace:
        build.add([x, y], operator.iadd, overwrites=True)
    elif kind <= 2:
        build.add([x, y], [operator.add, torch.add, lambda m, n: m.add(n)][kind])
    elif kind == 3:
        build.add([x, y], operator.sub)
    elif kind == 4:
        build.add([x, y], operator.mul, saves=True)
    else:
        build.add([x, y], lambda m, n: m / (1.5 + torch.sigmoid(n)), saves=True)


def _concatenate(build, step, x):
    others = [build.number(step.second)] + ([build.number(step.a)] if step.b % 3 == 0 else [])
    others = [_fitted(build, y, x, step) for y in others]
    if None in others or sum(build.maps[y].shape[1] for y in [x, *others]) > 9:
        return
    maps = [x, *others] if step.c % 2 else [*others, x]
    build.add(maps, lambda *given: torch.cat(given, 1))


class Constant(nn.Module):
    """A map with a number or a tensor of the module; its own scale is trained."""

    def __init__(self, channels, kind):
        super().__init__()
        self.kind = kind
        self.scale = nn.Parameter(torch.rand(channels, 1, 1) + 0.5)
        self.register_buffer("shift", torch.rand(1, channels, 1, 1))

    def forward(self, x):
        if self.kind == 0:
            return 1 - x * self.scale
        if self.kind == 1:
            return self.shift + x
        if self.kind == 2:
            return (x - self.shift) / self.scale
        if self.kind == 3:
            return 0.5 * x + 2
        return self.scale - x


def _constant(build, step, x):
    build.add([x], _call, Constant(build.maps[x].shape[1], step.a % 5), saves=True)


def _pad(build, step, x):
    sides = tuple(number % 8 - 3 for number in (step.a, step.b, step.c, step.d))
    value = (0.0, 0.75)[step.e % 2]
    if step.e % 3 == 2:
        build.add([x], _call, nn.ConstantPad2d(sides, value), tied=max(sides) > 0)
    else:
        build.add([x], lambda m: F.pad(m, sides, "constant", value), tied=max(sides) > 0)


def _upsample(build, step, x):
    factors = (1 + step.a % 3, 1 + step.b % 3)
    if step.c % 2:
        build.add([x], _call, nn.Upsample(scale_factor=factors), tied=True)
    else:
        build.add([x], lambda m: F.interpolate(m, scale_factor=float(factors[0])), tied=True)


def _same(build, step, x):
    kind = step.a % 4
    if kind == 0:
        build.add([x], _call, nn.Identity(), saves=True)
    elif kind == 1:
        build.add([x], _call, nn.Dropout(0.5), saves=True)
    elif kind == 2:
        build.add([x], lambda m: m.clone())
    else:
        build.add([x], lambda m: F.dropout(m, 0.5, training=False), saves=True)


KINDS = {
    "conv": _convolution,
    "norm": _norm,
    "act": _activate,
    "join": _join,
    "cat": _concatenate,
    "max": _max_pool,
    "average": _average,
    "dense": _dense,
    "constant": _constant,
    "pad": _pad,
    "up": _upsample,
    "transposed": _transposed,
    "same": _same,
}


def build(program):
    """(trunk, image) of a program, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(program.seed)
        shape = program.batch, program.channels, program.height, program.width
        image = torch.randn(shape, dtype=torch.float64)
        builder = Builder(RandomTrunk(program.channels), [image])
        for step in program.steps:
            KINDS[step.kind](builder, step, builder.number(step.first))
    trunk = builder.trunk
    numbers = [builder.number(back) for back in program.outputs]
    trunk.outputs = tuple(numbers if program.container != "tensor" else numbers[:1])
    trunk.container = program.container
    for i, parameter in enumerate(trunk.parameters()):
        parameter.requires_grad_(not program.frozen >> (i % 8) & 1)
    if program.channels_last:
        trunk.to(memory_format=torch.channels_last)
        image = image.contiguous(memory_format=torch.channels_last)
    return trunk.eval(), image


@contextmanager
def fine(window, numbers=None):
    """While it lasts, images are cut into the smallest cells, and gone through so many of them at a time.

    ``numbers``: how many of them an action makes at most, where it may make one row.
    """

    def plan(graph, height, width, pace):
        found = plan_for(graph, height, width, replace(pace, numbers=numbers))
        return found if window is None else replace(found, window=window)

    with (
        mock.patch.object(units, "_COARSE", 1),
        mock.patch.object(streamed, "plan_for", plan),
        mock.patch.object(schedule, "_FEWEST", 1),
    ):
        yield


_small, _number = st.integers(0, 3), st.integers(0, 15)
_common = ["conv", "conv", "conv", "norm", "act", "act", "join", "join"]
_steps = st.builds(
    Step, st.sampled_from([*_common, *KINDS]), _small, _number, _number, _number, _number, _number, _number
)
programs = st.builds(
    Program,
    steps=st.lists(_steps, min_size=1, max_size=9).map(tuple),
    height=st.integers(1, 26),
    width=st.integers(1, 26),
    batch=st.integers(1, 2),
    channels=st.integers(1, 3),
    rows=st.sampled_from([1, 2, 3, 5, 9, 30]),
    window=st.sampled_from([None, None, 1, 2, 5]),
    numbers=st.sampled_from([None, 1, 40, 200]),
    outputs=st.lists(_number, min_size=1, max_size=3).map(lambda rest: (0, *rest[1:])),
    container=st.sampled_from(["tensor", "tensor", "tuple", "list", "dict"]),
    frozen=st.sampled_from([0, 0, 0, 255, 0b01010101, 0b10101010, 0b11101110]),
    seed=st.integers(0, 1000),
    channels_last=st.booleans(),
)
