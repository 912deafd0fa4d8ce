"""Small networks of every kind that is streamed, with random weights and batch norms far from neutral."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import fastwsi


def randomised(model, seed=0, dtype=torch.float64):
    """The model with random statistics and affine: some gammas are 0, some tiny, some below 0."""
    generator = torch.Generator().manual_seed(seed)

    def draw(like, low, high):
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(draw(module.running_mean, -0.5, 0.5))
                module.running_var.copy_(draw(module.running_var, 0.3, 2.0))
                if module.weight is not None:
                    module.weight.copy_(draw(module.weight, 0.4, 1.6))
                    module.bias.copy_(draw(module.bias, -0.4, 0.6))
                    module.weight[::5] *= -1
                    module.weight[1::7] = 0
                    module.weight[2::7] = 1e-12
            elif isinstance(module, nn.PReLU):
                module.weight.copy_(draw(module.weight, -0.5, 1.2))
    return model.to(dtype).eval()


def image(height, width, batch=1, channels=3, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, channels, height, width), generator=generator, dtype=torch.float64).to(dtype)


def seeded(build):
    """A builder whose weights are the same in every process."""

    def call(dtype=torch.float64, seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return randomised(build(), seed, dtype)

    return call


def _layers3(model):
    return fastwsi.nn.split(model, "layer3")[0]


resnet18 = seeded(lambda: _layers3(fastwsi.nn.resnet18()))
resnet34 = seeded(lambda: _layers3(fastwsi.nn.resnet34()))
resnet50 = seeded(lambda: _layers3(fastwsi.nn.resnet50()))


def _narrow(model, divisor=16):
    """A ResNet with fewer channels: each convolution and batch norm made anew."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d):
                inputs = 3 if child.in_channels == 3 else child.in_channels // divisor
                new = nn.Conv2d(
                    inputs,
                    child.out_channels // divisor,
                    child.kernel_size,
                    child.stride,
                    child.padding,
                    bias=False,
                )
                setattr(module, name, new)
            elif isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.BatchNorm2d(child.num_features // divisor))
    return model


narrow18 = seeded(lambda: _layers3(_narrow(fastwsi.nn.resnet18())))
narrow34 = seeded(lambda: _layers3(_narrow(fastwsi.nn.resnet34())))
narrow50 = seeded(lambda: _layers3(_narrow(fastwsi.nn.resnet50())))


def _vgg(norm, bias=True, ceil=False):
    layers, inputs = [], 3
    for width, count in ((6, 2), (8, 2), (10, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(inputs, width, 3, bias=bias)]
            layers += [nn.BatchNorm2d(width)] if norm else []
            layers += [nn.ReLU(inplace=True)]
            inputs = width
        layers += [nn.MaxPool2d(2, 2, ceil_mode=ceil)]
    return nn.Sequential(*layers)


vgg = seeded(lambda: _vgg(norm=False))
vgg_norm = seeded(lambda: _vgg(norm=True, ceil=True))


class Inverted(nn.Module):
    """MobileNetV2's block."""

    def __init__(self, inputs, outputs, stride, expansion=3):
        super().__init__()
        wide = inputs * expansion
        self.same = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x):
        return x + self.conv(x) if self.same else self.conv(x)


mobilenet = seeded(
    lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU6(),
        Inverted(6, 6, 1, 1),
        Inverted(6, 8, 2),
        Inverted(8, 8, 1),
        Inverted(8, 8, 1),
        Inverted(8, 10, 2),
        Inverted(10, 10, 1),
    )
)


class Unit(nn.Sequential):
    def __init__(self, inputs, outputs, kernel, stride=1, padding=0):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3),
            nn.ReLU(inplace=True),
        )


class Mixed(nn.Module):
    """Inception's block: four branches side by side, asymmetric kernels and a pool among them."""

    def __init__(self, inputs, pool):
        super().__init__()
        self.one = Unit(inputs, 4, 1)
        self.five = nn.Sequential(Unit(inputs, 3, 1), Unit(3, 4, 5, 1, 2))
        self.seven = nn.Sequential(Unit(inputs, 3, (1, 7), 1, (0, 3)), Unit(3, 4, (7, 1), 1, (3, 0)))
        self.pool = Unit(inputs, 3, 1)
        self.average = pool == "average"

    def forward(self, x):
        smooth = F.avg_pool2d(x, 3, 1, 1) if self.average else F.max_pool2d(x, 3, 1, 1)
        return torch.cat([self.one(x), self.five(x), self.seven(x), self.pool(smooth)], 1)


class Reduction(nn.Module):
    """Inception's way down: strided branches and a pool."""

    def __init__(self, inputs):
        super().__init__()
        self.three = Unit(inputs, 5, 3, 2)
        self.twice = nn.Sequential(Unit(inputs, 4, 1), Unit(4, 4, 3, 1, 1), Unit(4, 5, 3, 2))
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, x):
        return torch.cat((self.three(x), self.twice(x), self.pool(x)), dim=1)


inception = seeded(
    lambda: nn.Sequential(
        Unit(3, 6, 3, 2), nn.MaxPool2d(3, 2), Mixed(6, "average"), Reduction(15), Mixed(25, "max")
    )
)


class Decoder(nn.Module):
    """A U-shaped network: down twice, up once by repetition and once by a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.first = Unit(3, 4, 3, 1, 1)
        self.second = Unit(4, 6, 3, 2, 1)
        self.third = Unit(6, 8, 3, 2, 1)
        self.up = nn.ConvTranspose2d(8, 6, 4, 2, 1)
        self.join = Unit(12, 6, 3, 1, 1)
        self.last = nn.Conv2d(10, 2, 1)

    def forward(self, x):
        first = self.first(x)
        second = self.second(first)
        third = F.relu(self.up(self.third(second)))
        second = self.join(torch.cat([second, third], 1))
        wide = F.interpolate(second, scale_factor=2, mode="nearest")
        return self.last(torch.cat([first, wide], 1))


decoder = seeded(Decoder)


class Pyramid(nn.Module):
    """A feature pyramid, whose levels are returned as a tuple, a list or a dict."""

    def __init__(self, kind=tuple):
        super().__init__()
        self.stem = Unit(3, 4, 3, 2, 1)
        self.down = nn.ModuleList([Unit(4, 5, 3, 2, 1), Unit(5, 6, 3, 2, 1)])
        self.side = nn.ModuleList([nn.Conv2d(c, 4, 1) for c in (4, 5, 6)])
        self.smooth = nn.Conv2d(4, 4, 3, padding=1)
        self.kind = kind

    def forward(self, x):
        levels = [self.stem(x)]
        for down in self.down:
            levels.append(down(levels[-1]))
        top = self.side[2](levels[2])
        middle = self.side[1](levels[1]) + F.interpolate(top, scale_factor=2.0)
        low = self.side[0](levels[0]) + F.interpolate(middle, scale_factor=2.0)
        found = [self.smooth(low), self.smooth(middle), top]
        if self.kind is dict:
            return {"low": found[0], "rest": {"middle": found[1], "top": found[2]}}
        return found if self.kind is list else tuple(found)


pyramid = seeded(Pyramid)
pyramid_dict = seeded(lambda: Pyramid(dict))


class Gated(nn.Module):
    """A map multiplied by its own gate of one channel."""

    def __init__(self, channels):
        super().__init__()
        self.gate = nn.Conv2d(channels, 1, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.gate(x))


smooth = seeded(
    lambda: nn.Sequential(
        nn.Conv2d(3, 6, 5, 2, 2),
        nn.SiLU(inplace=True),
        nn.Conv2d(6, 6, 3, 1, 1, bias=False),
        nn.BatchNorm2d(6),
        nn.GELU(),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.Conv2d(6, 8, 3, padding="same", dilation=2),
        nn.Hardswish(),
        Gated(8),
        nn.PReLU(8),
        nn.Conv2d(8, 4, 2, 2, groups=2),
        nn.PReLU(),
        nn.ELU(0.7),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4, 4, 3),
        nn.Tanh(),
    )
)


class PreActivated(nn.Module):
    """Batch norm and activation before each convolution, and constants of the module."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, 3, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(6), nn.BatchNorm2d(6, affine=False)])
        self.convs = nn.ModuleList(
            [nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=(2, 0), dilation=2)]
        )
        self.scale = nn.Parameter(torch.rand(6, 1, 1) + 0.5)
        self.register_buffer("shift", torch.rand(1, 6, 1, 1))

    def forward(self, x):
        x = self.stem(x)
        x = x + self.convs[0](F.relu(self.norms[0](x))) * self.scale
        y = self.convs[1](F.pad(torch.relu(self.norms[1](x)), (2, 2, 0, 0)))
        x = 1.5 - (x - self.shift) + y
        x = F.pad(x, (-1, 2, 3, -2), value=0.25)
        return x / (1 + torch.sigmoid(x))


preactivated = seeded(PreActivated)

dense = seeded(
    lambda: nn.Sequential(
        nn.Conv2d(3, 5, 3, 2), nn.ReLU(), fastwsi.nn.DensePool2d((7, 4), (4, 2), alpha=2), nn.Conv2d(5, 3, 1)
    )
)

SMALL = {
    "resnet18": narrow18,
    "resnet34": narrow34,
    "resnet50": narrow50,
    "vgg": vgg,
    "vgg_norm": vgg_norm,
    "mobilenet": mobilenet,
    "inception": inception,
    "decoder": decoder,
    "pyramid": pyramid,
    "pyramid_dict": pyramid_dict,
    "smooth": smooth,
    "preactivated": preactivated,
    "dense": dense,
}
STRIDE = {"decoder": 4, "pyramid": 8, "pyramid_dict": 8}
"""Of which the image's sides must be multiples, where maps of different depth meet."""


def size_for(name, height, width):
    """The nearest size that a network takes."""
    step = STRIDE.get(name, 1)
    return max(step, height // step * step), max(step, width // step * step)
