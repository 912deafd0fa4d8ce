"""Random draws that depend on what is drawn for, never on who draws or when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Range = tuple[float, float]


def generator(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of one image: the same for the same seed and key, and unlike any other's.

    Parameters
    ----------
    seed : int
        Of the whole run, at least 0.
    key : int
        What tells the image from all others of the run, at least 0: its epoch and its index, say.

    Examples
    --------
    >>> draws = [fastwsi.augment.generator(7, 0, 41).random() for _ in range(2)]  # epoch 0, image 41
    >>> draws[0] == draws[1]
    True
    """
    for value in (seed, *key):
        if not hasattr(value, "__index__") or value < 0:
            raise ValueError(f"seed and key: got {(seed, *key)!r}, expected whole numbers of at least 0")
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=tuple(int(k) for k in key)))


def per_image(generators: Any, count: int) -> list[np.random.Generator]:
    """Return one generator for each image: those given, or the same one for all in turn.

    Examples
    --------
    >>> len(per_image(generator(0), 3))
    3
    """
    if isinstance(generators, np.random.Generator):
        return [generators] * count
    listed = isinstance(generators, Sequence)
    if not listed or not all(isinstance(each, np.random.Generator) for each in generators):
        raise TypeError(
            f"generators: got {type(generators).__name__}, expected a numpy.random.Generator, or a sequence "
            "of one per image; see fastwsi.augment.generator"
        )
    if len(generators) != count:
        raise ValueError(f"generators: got {len(generators)}, expected {count}, one per image")
    return list(generators)


def uniform(source: np.random.Generator, values: Range) -> float:
    """Draw a number from a range, both ends included as good as never.

    Examples
    --------
    >>> 1 <= uniform(generator(0), (1, 2)) <= 2
    True
    """
    return float(source.uniform(*values))


def check_ranges(
    policy: Any, *names: str, least: float = -np.inf, most: float = np.inf, optional: bool = False
) -> None:
    """Raise ValueError unless each of a policy's ranges is (low, high) within bounds; None where optional."""
    for name in names:
        value = getattr(policy, name)
        if value is None and optional:
            continue
        try:
            low, high = (float(v) for v in value)
        except (TypeError, ValueError):
            raise ValueError(f"{name}: got {value!r}, expected (low, high)") from None
        if not (-np.inf < low <= high < np.inf):
            raise ValueError(f"{name}: got {value!r}, expected (low, high), finite and in this order")
        if low < least or high > most:
            raise ValueError(f"{name}: got {value!r}, expected numbers from {least:g} to {most:g}")
        object.__setattr__(policy, name, tuple(value))  # a list would have no hash


def check_at_least(policy: Any, least: float, *names: str, most: float = np.inf) -> None:
    """Raise ValueError unless each of a policy's numbers is finite and from ``least`` to ``most``."""
    for name in names:
        value = getattr(policy, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < np.inf:
            raise ValueError(f"{name}: got {value!r}, expected a finite number of at least {least:g}")
        if value > most:
            raise ValueError(f"{name}: got {value!r}, expected at most {most:g}")


def check_whole(policy: Any, least: int, *names: str) -> None:
    """Raise ValueError unless each of a policy's numbers is a whole one of at least ``least``."""
    for name in names:
        value = getattr(policy, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}: got {value!r}, expected a whole number of at least {least}")
