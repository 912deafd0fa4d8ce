"""What one would write without fastwsi: the same formulas in torch and numpy, three ways each.

"By formula" reads like the paper: channels last, as images come, a logarithm of every value. "Planes and
table" knows the trade: a table of 256 logarithms (with torch by ``index_select``), channels as planes
from the start, no pass that a reader could leave out. "Hand-tuned" counts passes and works in bands that
fit the cache: what is left when one gives up readability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fastwsi.kernels import HsdMoments
from fastwsi.kernels.hsd_statistics import chroma_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT3 = math.sqrt(3)
BAND = 128  # rows whose planes stay in the cache
DENSITIES = -np.log((np.arange(256) + 1) / 257)


@dataclass(frozen=True)
class Plan:
    """The two colour distributions as plain numbers, worked out before the clock starts."""

    t: tuple[tuple[float, float], tuple[float, float]]
    source_chroma: tuple[float, float]
    target_chroma: tuple[float, float]
    source_density: float
    target_density: float
    gain: float

    @classmethod
    def between(cls, source: HsdMoments, target: HsdMoments) -> Plan:
        return cls(
            chroma_map(source.chroma_covariance, target.chroma_covariance),
            source.chroma_mean,
            target.chroma_mean,
            source.density_mean,
            target.density_mean,
            math.sqrt(target.density_variance / source.density_variance),
        )


def torch_by_formula(images: torch.Tensor, plan: Plan) -> torch.Tensor:
    """(..., 3) uint8 to new intensities (..., 3) in float32, as the paper writes it."""
    d = -torch.log((images.float() + 1) / 257)
    r, g, b = d.unbind(-1)
    density = d.mean(-1)
    c_x = r / density - 1 - plan.source_chroma[0]
    c_y = (g - b) / (ROOT3 * density) - plan.source_chroma[1]
    x = plan.t[0][0] * c_x + plan.t[0][1] * c_y + plan.target_chroma[0]
    y = plan.t[1][0] * c_x + plan.t[1][1] * c_y + plan.target_chroma[1]
    d = (density - plan.source_density) * plan.gain + plan.target_density
    new = torch.stack([d * (x + 1), d * (2 - x + ROOT3 * y) / 2, d * (2 - x - ROOT3 * y) / 2], dim=-1)
    return (torch.exp(-new) * 257 - 1).clamp(0, 255)


def torch_planes(images: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """(..., 3) uint8 to (3, ...) densities."""
    index = images.movedim(-1, 0).to(torch.int32, memory_format=torch.contiguous_format)
    return table.index_select(0, index.view(-1)).view(index.shape)


def torch_densities(images: torch.Tensor, plan: Plan, table: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """New densities of each channel, formula by formula."""
    r, g, b = torch_planes(images, table)
    density = (r + g + b) / 3
    c_x = r / density - 1 - plan.source_chroma[0]
    c_y = (g - b) / (ROOT3 * density) - plan.source_chroma[1]
    x = plan.t[0][0] * c_x + plan.t[0][1] * c_y + plan.target_chroma[0]
    y = plan.t[1][0] * c_x + plan.t[1][1] * c_y + plan.target_chroma[1]
    d = (density - plan.source_density) * plan.gain + plan.target_density
    return d * (x + 1), d * (2 - x + ROOT3 * y) / 2, d * (2 - x - ROOT3 * y) / 2


def torch_densities_in_place(
    images: torch.Tensor, plan: Plan, table: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """The same by someone who counts passes: constants folded, temporaries reused."""
    (t_xx, t_xy), (t_yx, t_yy) = plan.t
    shift_x = plan.target_chroma[0] - t_xx * plan.source_chroma[0] - t_xy * plan.source_chroma[1]
    shift_y = plan.target_chroma[1] - t_yx * plan.source_chroma[0] - t_yy * plan.source_chroma[1]
    r, g, b = torch_planes(images, table)
    density = (r + g).add_(b).mul_(1 / 3)
    c_x = r.div_(density).sub_(1)
    c_y = g.sub_(b).div_(density).mul_(1 / ROOT3)
    x = (c_x * t_xx).add_(c_y, alpha=t_xy).add_(shift_x)
    y = c_x.mul_(t_yx).add_(c_y, alpha=t_yy).add_(shift_y).mul_(ROOT3 / 2)
    d = density.mul_(plan.gain).add_(plan.target_density - plan.gain * plan.source_density)
    half = (x * -0.5).add_(1)
    return x.add_(1).mul_(d), (half + y).mul_(d), half.sub_(y).mul_(d)


def intensity(density: torch.Tensor) -> torch.Tensor:
    """Density to grey level, in place and not rounded."""
    return density.neg_().exp_().mul_(257).sub_(1).clamp_(0, 255)


def torch_bytes(densities: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Densities to images (..., height, width, 3)."""
    return torch.stack([intensity(d).round_().to(torch.uint8) for d in densities], dim=-1)


def torch_network_input(
    mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype
) -> Callable[[tuple[torch.Tensor, ...]], torch.Tensor]:
    """Densities to a network's input (..., 3, height, width)."""

    def finish(densities: tuple[torch.Tensor, ...]) -> torch.Tensor:
        planes = [
            intensity(d).mul_(1 / (255 * s)).sub_(m / s).to(dtype)
            for d, m, s in zip(densities, mean, std, strict=True)
        ]
        return torch.stack(planes, dim=-3)

    return finish


def in_bands(
    function: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    out: torch.Tensor,
    row_dim: int,
) -> torch.Tensor:
    """Work through one image a few rows at a time, so that temporaries never leave the cache."""
    for rows, target in zip(image.split(BAND), out.split(BAND, row_dim), strict=True):
        target.copy_(function(rows))
    return out


def numpy_bytes(image: np.ndarray, plan: Plan, table: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 normalised, in the table's precision, formula by formula."""
    r, g, b = (np.take(table, image[..., c]) for c in range(3))
    density = (r + g + b) / 3
    c_x = r / density - 1 - plan.source_chroma[0]
    c_y = (g - b) / (ROOT3 * density) - plan.source_chroma[1]
    x = plan.t[0][0] * c_x + plan.t[0][1] * c_y + plan.target_chroma[0]
    y = plan.t[1][0] * c_x + plan.t[1][1] * c_y + plan.target_chroma[1]
    d = (density - plan.source_density) * plan.gain + plan.target_density
    out = np.empty_like(image)
    for c, new in enumerate((d * (x + 1), d * (2 - x + ROOT3 * y) / 2, d * (2 - x - ROOT3 * y) / 2)):
        out[..., c] = np.rint(np.clip(np.exp(-new) * 257 - 1, 0, 255))
    return out


def moments(mean: Sequence[float], scatter: Sequence[float], pixels: int) -> HsdMoments:
    """Means of (c_x, c_y, D) and sums of squares (xx, xy, yy, DD) as fastwsi writes them."""
    xx, xy, yy, dd = (float(s) / pixels for s in scatter)
    x, y, d = (float(m) for m in mean)
    return HsdMoments(pixels, (x, y), ((xx, xy), (xy, yy)), d, dd)


def numpy_moments_by_formula(image: np.ndarray) -> HsdMoments:
    """Measure (c_x, c_y, D) in float64, as the paper writes it."""
    d = -np.log((image.astype(np.float64) + 1) / 257)
    density = d.mean(axis=-1)
    c_x = d[..., 0] / density - 1
    c_y = (d[..., 1] - d[..., 2]) / (ROOT3 * density)
    (xx, xy), (_, yy) = np.cov(np.stack([c_x.ravel(), c_y.ravel()]), ddof=0)
    return HsdMoments(
        density.size,
        (float(c_x.mean()), float(c_y.mean())),
        ((float(xx), float(xy)), (float(xy), float(yy))),
        float(density.mean()),
        float(density.var()),
    )


def numpy_moments(image: np.ndarray) -> HsdMoments:
    """Measure (c_x, c_y, D) in float64, formula by formula."""
    r, g, b = (np.take(DENSITIES, image[..., c]).ravel() for c in range(3))
    density = (r + g + b) / 3
    values = (r / density - 1, (g - b) / (ROOT3 * density), density)
    mean = [v.mean() for v in values]
    x, y, d = (v - m for v, m in zip(values, mean, strict=True))
    # Products of vectors run in BLAS, which is faster here than products of matrices and np.cov.
    return moments(mean, [x @ x, x @ y, y @ y, d @ d], d.size)


def numpy_moments_in_bands(image: np.ndarray, rows: int = 32) -> HsdMoments:
    """The same in place and a few rows at a time, merged as they come."""
    count, mean, scatter = 0, np.zeros(3), np.zeros(4)
    for start in range(0, len(image), rows):
        x, y, b = (np.take(DENSITIES, image[start : start + rows, :, c]).ravel() for c in range(3))
        d = x + y
        d += b
        d /= 3
        x /= d
        x -= 1
        y -= b
        y /= d
        y /= ROOT3
        band_mean = np.array([x.mean(), y.mean(), d.mean()])
        x -= band_mean[0]
        y -= band_mean[1]
        d -= band_mean[2]
        step = band_mean - mean
        between = step[[0, 0, 1, 2]] * step[[0, 1, 1, 2]]
        scatter += [x @ x, x @ y, y @ y, d @ d]
        scatter += between * count * d.size / (count + d.size)
        count += d.size
        mean += step * d.size / count
    return moments(mean, scatter, count)


def torch_moments(images: torch.Tensor, table: torch.Tensor) -> HsdMoments:
    """Measure (c_x, c_y, D) in the table's precision, formula by formula."""
    r, g, b = torch_planes(images, table).view(3, -1)
    density = (r + g + b) / 3
    values = (r / density - 1, (g - b) / (ROOT3 * density), density)
    means = [v.mean() for v in values]
    x, y, d = (v - m for v, m in zip(values, means, strict=True))
    scatter = torch.stack([x.dot(x), x.dot(y), y.dot(y), d.dot(d)])
    return moments(torch.stack(means).tolist(), scatter.tolist(), d.numel())
