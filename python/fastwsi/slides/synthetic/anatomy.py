"""The plan of a synthetic slide: what lies where, 4 µm at a time, and the tumour's outlines exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from fastwsi.slides.annotations.rasterising import inside
from fastwsi.slides.synthetic.chance import Floats, smooth_noise
from fastwsi.slides.synthetic.tissues import Tissue

Classes = np.ndarray[Any, np.dtype[np.uint8]]
Points = np.ndarray[Any, np.dtype[np.float64]]
LesionSize = Literal["macro", "micro", "itc"]

STEP = 4.0  # µm
_LONGEST: dict[str, tuple[float, float]] = {  # µm, of lesions' longer side
    "macro": (2100.0, 3000.0), "micro": (260.0, 900.0), "itc": (45.0, 150.0),
}  # fmt: skip
_VERTICES = {"macro": 160, "micro": 90, "itc": 32}
_ATTEMPTS = 40


@dataclass(frozen=True)
class Lesion:
    """A deposit of tumour.

    Attributes
    ----------
    size : str
        "macro" (over 2 mm), "micro", "itc" (under 0.2 mm).
    outline : float64 array, shape (n, 2)
        (x, y) in µm.
    """

    size: LesionSize
    outline: Points


@dataclass(frozen=True)
class Anatomy:
    """What lies where on a slide.

    Attributes
    ----------
    classes : uint8 array, shape (rows, columns)
        A `Tissue` for each 4 µm.
    lesions : tuple of Lesion
    pale : float32 array
        How much of the usual density each place has, around 1.
    upright : float32 array
        1 where fibres run up and down, 0 where from left to right: along the node's surface.
    lesion_of : uint8 array
        Which lesion a place belongs to, from 1 on; 0 for none.
    """

    classes: Classes
    lesions: tuple[Lesion, ...]
    pale: Floats
    upright: Floats
    lesion_of: Classes


def anatomy(size: tuple[float, float], lesions: tuple[LesionSize, ...], rng: np.random.Generator) -> Anatomy:
    """Plan a slide of a lymph node.

    Parameters
    ----------
    size : (width, height)
        In µm.
    lesions : tuple of str
        The deposits to place, "macro", "micro" or "itc". One for which there is no room is made smaller,
        down to its kind's least, and then left out.
    rng : numpy Generator
    """
    columns, rows = (max(8, int(np.ceil(side / STEP))) for side in size)
    depth = _depth(columns, rows, rng)
    classes = _node(depth, rng)
    _follicles(classes, depth, rng)
    _vessels(classes, depth, rng)
    _hilum(classes, depth, rng)
    pale = 1 + 0.1 * smooth_noise(rng, (columns, rows), 300 / STEP)
    pale += 0.05 * smooth_noise(rng, (columns, rows), 60 / STEP)
    placed: list[Lesion] = []
    lesion_of = np.zeros((rows, columns), np.uint8)
    order: dict[str, int] = {"macro": 0, "micro": 1, "itc": 2}
    for kind in sorted(lesions, key=order.__getitem__):
        lesion = _lesion(kind, depth, lesion_of, rng)
        if lesion is None:
            continue
        placed.append(lesion)
        mask = inside([lesion.outline / STEP], (columns, rows))
        lesion_of[mask] = len(placed)
        _fill(classes, mask, kind, rng)
    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(depth, 40 / STEP))
    steep = slope_x**2 / (slope_x**2 + slope_y**2 + 1e-6)
    upright = np.clip((steep - 0.5) * 3 + 0.5, 0, 1).astype(np.float32)
    return Anatomy(classes, tuple(placed), np.clip(pale, 0.55, 1.45).astype(np.float32), upright, lesion_of)


def _depth(columns: int, rows: int, rng: np.random.Generator) -> Floats:
    """Return how many µm inside the node each place lies; negative outside."""
    middle = np.array([columns, rows]) * rng.uniform(0.46, 0.54, 2)
    radii = np.array([columns, rows]) * rng.uniform(0.36, 0.44, 2)
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    turn = rng.uniform(-0.35, 0.35)
    dx, dy = x - middle[0], y - middle[1]
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    angle = np.arctan2(across / radii[1], along / radii[0])
    outline = np.ones_like(angle)
    for wave in range(2, 9):
        outline += 0.09 / wave * rng.normal() * np.cos(wave * angle + rng.uniform(0, 6.3))
    outline += 0.015 * smooth_noise(rng, (columns, rows), 120 / STEP)
    inside_node = np.hypot(along / radii[0], across / radii[1]) < outline
    within = ndimage.distance_transform_edt(inside_node) - ndimage.distance_transform_edt(~inside_node)
    return np.asarray(within * STEP, np.float32)


def _node(depth: Floats, rng: np.random.Generator) -> Classes:
    rows, columns = depth.shape
    size = columns, rows
    most = float(depth.max())
    capsule = 32 + 10 * smooth_noise(rng, size, 250 / STEP)
    sinus = capsule + 26 + 8 * smooth_noise(rng, size, 200 / STEP)
    classes = np.full(depth.shape, Tissue.GLASS, np.uint8)
    classes[depth > 0] = Tissue.CAPSULE
    classes[depth > capsule] = Tissue.SINUS
    classes[depth > sinus] = Tissue.CORTEX
    # Cords and sinuses wind through the middle of the node.
    winding = np.abs(smooth_noise(rng, size, 90 / STEP) + 0.4 * smooth_noise(rng, size, 40 / STEP))
    border = (0.42 + 0.1 * smooth_noise(rng, size, 400 / STEP)) * most
    medulla = depth > border
    classes[medulla] = Tissue.CORD
    classes[medulla & (winding < 0.16)] = Tissue.SINUS
    # Trabeculae: capsule that reaches in.
    beams = np.abs(smooth_noise(rng, size, 420 / STEP)) < 0.035
    classes[beams & (depth > sinus) & (depth < 0.5 * most)] = Tissue.CAPSULE
    return classes


def _follicles(classes: Classes, depth: Floats, rng: np.random.Generator) -> None:
    rows, columns = classes.shape
    candidates = np.flatnonzero((depth > 150) & (depth < 620) & (classes == Tissue.CORTEX))
    if not candidates.size:
        return
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    wobble = 14 * smooth_noise(rng, (columns, rows), 70 / STEP)
    area = np.count_nonzero(depth > 0) * STEP**2 / 1e6
    taken: list[tuple[float, float, float]] = []
    for _ in range(int(14 * area) + 4):
        row, column = divmod(int(candidates[rng.integers(candidates.size)]), columns)
        radius = rng.uniform(90, 240)
        if any(np.hypot(row - r, column - c) * STEP < radius + other for r, c, other in taken):
            continue
        taken.append((row, column, radius))
        away = np.hypot((x - column) / rng.uniform(0.9, 1.25), y - row) * STEP + wobble
        room = (classes == Tissue.CORTEX) | (classes == Tissue.CORD)
        classes[(away < radius) & room] = Tissue.MANTLE
        if rng.random() < 0.75:  # a secondary follicle
            classes[(away < radius * rng.uniform(0.55, 0.72)) & (classes == Tissue.MANTLE)] = Tissue.GERMINAL


def _vessels(classes: Classes, depth: Floats, rng: np.random.Generator) -> None:
    rows, columns = classes.shape
    places = np.flatnonzero(depth > 200)
    if not places.size:
        return
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    for _ in range(int(rng.integers(3, 9))):
        row, column = divmod(int(places[rng.integers(places.size)]), columns)
        radius, longer = rng.uniform(14, 45), rng.uniform(1, 2.4)
        away = np.hypot((x - column) / longer, y - row) * STEP
        classes[away < radius + 12] = Tissue.CAPSULE
        classes[away < radius] = Tissue.VESSEL


def _hilum(classes: Classes, depth: Floats, rng: np.random.Generator) -> None:
    """Fat that enters on one side and lies around part of the node."""
    rows, columns = classes.shape
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    bearing = np.arctan2(y - rows / 2, x - columns / 2)
    ragged = smooth_noise(rng, (columns, rows), 150 / STEP)
    towards = np.cos(bearing - angle) + 0.04 * ragged
    towards += 0.015 * smooth_noise(rng, (columns, rows), 40 / STEP)
    around = (depth <= 0) & (depth > -(160 + 90 * ragged) * np.clip((towards - 0.2) * 2, 0, 1) - 4)
    classes[around & (towards > 0.2) & (depth < -8)] = Tissue.FAT
    most = float(depth.max())
    core = (towards > 0.93) & (depth < 0.75 * most) & (depth > 0)
    # Finer noise on top: islands of the coarse alone have the straight sides of the grid it is made on.
    islands = sum(
        share * smooth_noise(rng, (columns, rows), period / STEP)
        for share, period in ((1, 180), (0.6, 75), (0.3, 32))
    )
    classes[core & (islands > -0.2)] = Tissue.FAT


def _lesion(kind: LesionSize, depth: Floats, taken: Classes, rng: np.random.Generator) -> Lesion | None:
    least, most = _LONGEST[kind]
    columns = depth.shape[1]
    long = rng.uniform(least, most)
    # Deposits begin where lymph comes in: under the capsule.
    favoured = np.flatnonzero((depth > 60) & (depth < 500)) if kind != "macro" else np.flatnonzero(depth > 60)
    if not favoured.size:
        return None
    for attempt in range(_ATTEMPTS):
        length = max(least, long * (1 - attempt / _ATTEMPTS))
        row, column = divmod(int(favoured[rng.integers(favoured.size)]), columns)
        outline = _outline(kind, length, rng) + np.array([column + 0.5, row + 0.5]) * STEP
        cells = np.floor(outline / STEP).astype(int)
        if (cells < 2).any() or (cells >= np.array([columns, depth.shape[0]]) - 2).any():
            continue
        mask = inside([outline / STEP], (columns, depth.shape[0]))
        beyond = 0.15 if kind == "macro" else 0.02
        near = ndimage.binary_dilation(mask, iterations=int(120 / STEP))
        if (depth[mask] <= 20).mean() > beyond or taken[near].any():
            continue
        return Lesion(kind, outline)
    return None


def _outline(kind: LesionSize, length: float, rng: np.random.Generator) -> Points:
    """Return a rough, lobed shape of a given longer side about (0, 0)."""
    count = _VERTICES[kind]
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = np.ones(count)
    for wave in range(2, 12):
        radius += 0.24 / wave * rng.normal() * np.cos(wave * angle + rng.uniform(0, 6.3))
    radius = np.clip(radius, 0.35, None) * (1 + 0.03 * rng.normal(size=count))
    flat = rng.uniform(0.5, 0.95)
    points = np.stack([radius * np.cos(angle), flat * radius * np.sin(angle)], 1)
    turn = rng.uniform(0, np.pi)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)).max()
    return np.asarray(points * (length / apart))


def _fill(classes: Classes, mask: Any, kind: LesionSize, rng: np.random.Generator) -> None:
    """Grow nests and stroma in a deposit; some lymphoid tissue is left between nests of large ones."""
    rows, columns = classes.shape
    classes[mask] = Tissue.NEST
    if kind == "itc":
        return
    pattern = smooth_noise(rng, (columns, rows), rng.uniform(70, 130) / STEP)
    classes[mask & (np.abs(pattern) < rng.uniform(0.12, 0.28))] = Tissue.STROMA
    # Some tumours form glands, about a lumen.
    lumina = smooth_noise(rng, (columns, rows), rng.uniform(34, 60) / STEP)
    classes[mask & (lumina > rng.uniform(0.9, 2.3)) & (classes == Tissue.NEST)] = Tissue.LUMEN
