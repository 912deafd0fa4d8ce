"""What cannot be streamed is refused by name, with advice."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from fastwsi.streaming import Streamed, tracing

CONV = nn.Conv2d(3, 4, 3)


def trunk(module):
    return nn.Sequential(CONV, nn.Sequential(nn.ReLU(), module))


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        (nn.GroupNorm(2, 4), "statistics of the whole map.*split"),
        (nn.LayerNorm(8), "statistics.*split"),
        (nn.InstanceNorm2d(4), "statistics of the whole map.*split"),
        (nn.BatchNorm2d(4, track_running_stats=False), "running statistics"),
        (nn.AdaptiveAvgPool2d(1), "image's size.*split"),
        (nn.AdaptiveMaxPool2d(2), "image's size.*split"),
        (nn.Flatten(), "rows and columns.*split"),
        (nn.Linear(8, 2), "rows and columns.*convolution"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "reflect.*zeros"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "circular.*zeros"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="replicate"), "replicate.*zeros"),
        (nn.ReflectionPad2d(1), "not known"),
        (nn.MaxPool2d(2, return_indices=True), "return_indices"),
        (nn.MaxPool2d(16), "255"),
        (nn.Upsample(scale_factor=2, mode="bilinear"), "nearest"),
        (nn.Upsample(scale_factor=1.5), "whole scale_factor"),
        (nn.Upsample(size=(8, 8)), "scale_factor"),
        (nn.PixelShuffle(2), "not known"),
        (nn.Softmax2d(), "not known"),
        (nn.LocalResponseNorm(2), "not known|trace"),
        (nn.Fold((4, 4), 2), "not known"),
    ],
)
def test_modules(module, advice):
    with pytest.raises(tracing.Unstreamable, match=rf"(?s)^1\.1[.: ].*({advice})"):
        Streamed(trunk(module))


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.function = function

    def forward(self, x):
        return self.function(self.conv(x))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean((2, 3)),
        lambda x: x.mean(),
        lambda x: x - x.amax(),
        lambda x: x.flatten(1),
        lambda x: x.transpose(2, 3),
        lambda x: x[:, :2],
        lambda x: torch.cat([x, x], 2),
        lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: F.interpolate(x, size=(9, 9)),
        lambda x: F.softmax(x, 1),
        F.normalize,
        lambda x: x.view(1, -1),
        lambda x: F.interpolate(x, size=x.shape[2:]),
        lambda x: x + torch.arange(8.0),
        lambda x: torch.add(x, x, alpha=2),
        lambda x: x.sum(1, keepdim=True),
        lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
        lambda x: F.layer_norm(x, (4, 8, 8)),
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x[..., : x.shape[3] // 2],
        lambda x: x.flip(2),
        lambda x: torch.roll(x, 1, 2),
        lambda x: x.cumsum(2),
    ],
)
def test_functions(function):
    with pytest.raises(tracing.Unstreamable) as caught:
        Streamed(Function(function))
    assert "()" in str(caught.value) or "trunk:" in str(caught.value)


def test_constants_that_differ_by_position():
    class Position(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.zeros(1, 3, 8, 8))

        def forward(self, x):
            return x + self.table

    with pytest.raises(tracing.Unstreamable, match=r"\(C, 1, 1\)"):
        Streamed(Position())


def test_two_inputs():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(tracing.Unstreamable, match="one input"):
        Streamed(Two())


def test_hooks():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    model[0].register_forward_hook(lambda *_: None)
    with pytest.raises(tracing.Unstreamable, match=r"^0: it has hooks"):
        Streamed(model)
    old = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(old[0])
    with pytest.raises(tracing.Unstreamable, match="parametrizations"):
        Streamed(old)


def test_maps_that_do_not_meet():
    class Short(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, x):
            return x + self.conv(x)

    with pytest.raises(ValueError, match="height 18 and 20"):
        Streamed(Short())(torch.zeros(1, 3, 20, 16))


def test_no_map_at_all():
    class Nothing(nn.Module):
        def forward(self, x):
            return 1

    with pytest.raises(tracing.Unstreamable, match="returns no map"):
        Streamed(Nothing())


def test_the_trunk_keeps_its_mode():
    model = trunk(nn.BatchNorm2d(4)).train()
    model[1].eval()
    Streamed(model)
    assert model.training
    assert not model[1].training


def test_arguments():
    model = nn.Conv2d(3, 4, 3)
    with pytest.raises(ValueError, match="rows: got 0"):
        Streamed(model, rows=0)
    with pytest.raises(ValueError, match="mean, std"):
        Streamed(model, mean=(0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="mean, std"):
        Streamed(model, mean=(0.5, 0.5, 0.5), std=(1, 0, 1))
    with pytest.raises(TypeError, match="uint8 without mean and std"):
        Streamed(model)(torch.zeros(20, 20, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"expected \(N, C, H, W\)"):
        Streamed(model)(torch.zeros(3, 20, 20))
    with pytest.raises(TypeError, match="image: got str"):
        Streamed(model)("slide.svs")
