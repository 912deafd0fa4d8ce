"""What is done to each image of a batch: the parameters of ``augment_patches`` and of a warp's colours."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastwsi.kernels.patch_numbers import flatten, unflatten

_INFINITY = float("inf")
# Field: smallest and largest value that makes sense, and in words.
_RANGES = {
    "brightness_mul": (0.0, _INFINITY, "a finite number of at least 0"),
    "brightness_add": (-_INFINITY, _INFINITY, "a finite number"),
    "saturation_mul": (0.0, _INFINITY, "a finite number of at least 0"),
    "saturation_add": (-255.0, 255.0, "a number from -255 to 255"),
    "hue": (-_INFINITY, _INFINITY, "a finite number of turns"),
    "contrast": (0.0, _INFINITY, "a finite number of at least 0"),
    "noise_fraction": (0.0, 1.0, "a number from 0 to 1"),
    "noise_sigma": (0.0, _INFINITY, "a finite number of at least 0"),
}
_INTEGERS = {
    "orientation": (0, 7, "a whole number from 0 to 7"),
    "noise_seed": (0, 2**64 - 1, "a whole number from 0 to 2**64 - 1"),
}
_VECTORS: dict[str, tuple[int, float, float, str]] = {
    "origin": (2, -(2.0**53), 2.0**53, "whole numbers"),
    "lch_mul": (3, 0.0, _INFINITY, "finite numbers of at least 0"),
    "contrast_mean": (3, -_INFINITY, _INFINITY, "finite numbers"),
}

# Steps as the kernels number them, in csrc/kernels/augment/colour.h.
_SATURATION, _HUE, _CONTRAST, _CONTRAST_FIRST, _MEAN_GIVEN, _GAUSSIAN, _REPLACE, _LCH_STEP = (
    1 << i for i in range(8)
)
# Columns as the bindings read them, in csrc/bindings/augment_table.h.
_ORIENTATION, _STEPS, _BRIGHTNESS, _SATURATIONS, _HUES, _CONTRASTS, _MEANS = 2, 3, 4, 6, 8, 9, 10
_SIGMAS, _THRESHOLDS, _KEYS, _SCALES, _SHIFTS, _LCH, _COLUMNS = 13, 14, 15, 17, 20, 23, 26


@dataclass(frozen=True)
class PatchParams:
    """How each image of a batch is varied.

    Every field is None, which leaves the step out; or one value for all images; or one for each. Values are
    on [0, 1] and pass through the steps in this order: LCh, brightness, saturation, hue, contrast, noise;
    only the end result is clipped.

    Attributes
    ----------
    origin : (x, y), or one pair per image
        Top-left pixel of the crop. None takes the centre.
    orientation : int
        0 to 7, as in ``orient``; applied to the crop.
    lch_mul : three floats, or three per image
        What lightness, chroma and hue angle (from 0 to 360 degrees) are multiplied with in CIE LCh, before
        all other steps.
    brightness_mul, brightness_add : float
        x * mul + add. TensorFlow's ``adjust_brightness`` is ``brightness_add``.
    saturation_mul, saturation_add : float
        The S of HSV becomes clip(S * mul + add / 255, 0, 1), with hue and value kept, as in TensorFlow's
        ``adjust_saturation``. The clip acts at factor 1 as well: a step of 1 is not nothing.
    hue : float
        Turns added to the hue, with the smallest and the largest value of the pixel kept.
    contrast : float
        (x - mean) * contrast + mean, about each channel's mean over the crop.
    contrast_mean : three floats, or three per image
        Instead of the crop's own means: for an image that is seen in parts.
    noise_fraction : float
        Share of the pixels that become random colours.
    noise_sigma : float
        Standard deviation of Gaussian noise added to every value, before pixels are replaced.
    noise_seed : int
        What the noise is drawn from, 0 to 2**64 - 1; 0 without it. The noise of a pixel depends on the seed
        and on its place in the output and on nothing else.
    contrast_first : bool
        Contrast before brightness instead of after hue; the mean is then that of the pixels as they come.

    Examples
    --------
    >>> params = fastwsi.kernels.PatchParams(orientation=[0, 5], brightness_add=0.1)
    >>> params.count, params[1].orientation
    (2, 5)
    """

    origin: Any = None
    orientation: Any = None
    lch_mul: Any = None
    brightness_mul: Any = None
    brightness_add: Any = None
    saturation_mul: Any = None
    saturation_add: Any = None
    hue: Any = None
    contrast: Any = None
    contrast_mean: Any = None
    noise_fraction: Any = None
    noise_sigma: Any = None
    noise_seed: Any = None
    contrast_first: bool = False

    # Of each object, and made with it: a compiled graph takes an array for an input, and any other field that
    # it looks at for a constant. Not fields of their own, since they say nothing new.
    _numbers: ClassVar[Any] = None
    _turned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Turn arrays into tuples and numbers into Python's, and check every one of them."""
        for name in (*_RANGES, *_INTEGERS, *_VECTORS):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _checked(name, value))
        if not isinstance(self.contrast_first, bool):
            raise TypeError(f"contrast_first: got {self.contrast_first!r}, expected True or False")
        lengths = {name: len(values) for name, values in self._per_image()}
        if len(set(lengths.values())) > 1:
            got = ", ".join(f"{length} of {name}" for name, length in lengths.items())
            raise ValueError(f"params: got {got}; expected as many values of each as there are images")
        object.__setattr__(self, "_numbers", np.array(flatten(self), np.float64))
        orientations = self.orientation if isinstance(self.orientation, tuple) else (self.orientation or 0,)
        object.__setattr__(self, "_turned", bool(orientations) and orientations[0] % 2 == 1)

    def _per_image(self) -> Iterable[tuple[str, tuple[Any, ...]]]:
        for name in (*_RANGES, *_INTEGERS, *_VECTORS):
            value = getattr(self, name)
            if isinstance(value, tuple) and (
                name not in _VECTORS or not value or isinstance(value[0], tuple)
            ):
                yield name, value

    @property
    def count(self) -> int | None:
        """Return the number of images that the values are for; None where they suit any number."""
        return next((len(values) for _, values in self._per_image()), None)

    def __iter__(self) -> Iterator[PatchParams]:
        """Go through the parameters image by image."""
        if self.count is None:
            raise TypeError("these parameters are for any number of images; nothing to go through")
        return (self[image] for image in range(self.count))

    def __getitem__(self, image: int) -> PatchParams:
        """Return the parameters of one image."""
        return dataclasses.replace(self, **{name: values[image] for name, values in self._per_image()})

    @classmethod
    def stack(cls, params: Sequence[PatchParams]) -> PatchParams:
        """Return the parameters of a batch from those of its images: what a collate function needs.

        Examples
        --------
        >>> PatchParams.stack([PatchParams(hue=0.1), PatchParams(hue=0.2)]).hue
        (0.1, 0.2)
        """
        if not params:
            return cls()
        fields: dict[str, Any] = {}
        for name in (*_RANGES, *_INTEGERS, *_VECTORS):
            values = [getattr(each, name) for each in params]
            missing = [i for i, value in enumerate(values) if value is None]
            if len(missing) == len(values):
                continue
            if missing:
                raise ValueError(
                    f"image {missing[0]}: {name}: got none, expected one, as other images have it"
                )
            fields[name] = tuple(values)
        first = {each.contrast_first for each in params}
        if len(first) > 1:
            raise ValueError("contrast_first: got both, expected the same for all images")
        return cls(**fields, contrast_first=first.pop())

    @property
    def numbers(self) -> Any:
        """Return all parameters as one float64 array; ``from_numbers`` makes them parameters again."""
        return self._numbers

    @property
    def turned(self) -> bool:
        """Tell whether the first image's orientation exchanges height and width."""
        return self._turned

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> PatchParams:
        """Return the parameters of which these are the ``numbers``.

        Examples
        --------
        >>> params = fastwsi.kernels.PatchParams(hue=[0.1, 0.2], noise_seed=2**64 - 1)
        >>> params.from_numbers(params.numbers.tolist()) == params
        True
        """
        return cls(**unflatten(numbers))

    def table(self, count: int, scale: Any, shift: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the rows that the kernels read, without crops: shape (count, columns) float64.

        ``scale`` and ``shift``: three numbers, or three per image.
        """
        for name, values in self._per_image():
            if len(values) != count:
                raise ValueError(f"{name}: got {len(values)} values, expected {count}, one per image")
        table = np.zeros((count, _COLUMNS))
        steps = 0
        for bit, taken in (
            (_SATURATION, self.saturation_mul is not None or self.saturation_add is not None),
            (_HUE, self.hue is not None),
            (_CONTRAST, self.contrast is not None),
            (_CONTRAST_FIRST, self.contrast_first),
            (_MEAN_GIVEN, self.contrast_mean is not None),
            (_GAUSSIAN, self.noise_sigma is not None),
            (_REPLACE, self.noise_fraction is not None),
            (_LCH_STEP, self.lch_mul is not None),
        ):
            steps |= bit if taken else 0
        table[:, _STEPS] = steps
        for column, value, default in (
            (_ORIENTATION, self.orientation, 0),
            (_BRIGHTNESS, self.brightness_mul, 1),
            (_BRIGHTNESS + 1, self.brightness_add, 0),
            (_SATURATIONS, self.saturation_mul, 1),
            (_CONTRASTS, self.contrast, 1),
            (_SIGMAS, self.noise_sigma, 0),
        ):
            table[:, column] = default if value is None else value
        table[:, _MEANS : _MEANS + 3] = np.reshape(self.contrast_mean or (0, 0, 0), (-1, 3))
        table[:, _LCH : _LCH + 3] = np.reshape(self.lch_mul or (1, 1, 1), (-1, 3))
        table[:, _SCALES : _SCALES + 3] = scale
        table[:, _SHIFTS : _SHIFTS + 3] = shift
        if self.saturation_add is not None:
            table[:, _SATURATIONS + 1] = np.divide(self.saturation_add, 255)
        if self.hue is not None:
            table[:, _HUES] = np.mod(self.hue, 1.0) * 6
        if self.noise_fraction is not None:
            table[:, _THRESHOLDS] = np.rint(np.multiply(self.noise_fraction, 1 << 24))
        if steps & (_GAUSSIAN | _REPLACE):
            seeds = self.noise_seed if isinstance(self.noise_seed, tuple) else (self.noise_seed or 0,)
            table[:, _KEYS : _KEYS + 2] = np.reshape([_noise_key(seed) for seed in seeds], (-1, 2))
        return table


def set_crops(table: np.ndarray[Any, np.dtype[np.float64]], origins: Sequence[tuple[int, int]]) -> None:
    """Write the crops' top-left pixels into a table."""
    table[:, :2] = np.reshape(origins, (-1, 2))


def _noise_key(seed: int) -> tuple[int, int]:
    """Spread a seed over two 32-bit words (one step of splitmix64)."""
    mask = 2**64 - 1
    z = (seed + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
    z ^= z >> 31
    return z & 0xFFFFFFFF, z >> 32


def _checked(name: str, value: Any) -> Any:
    """Return a field's value with plain numbers in tuples, or raise what is wrong with it."""
    if hasattr(value, "tolist"):  # numpy's, torch's and cupy's arrays and scalars
        value = value.tolist()
    if name in _VECTORS:
        return _checked_vectors(name, value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_number(name, each, f"image {i}: ") for i, each in enumerate(value))
    return _number(name, value, "")


def _checked_vectors(name: str, value: Any) -> tuple[Any, ...]:
    length = _VECTORS[name][0]
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name}: got {value!r}, expected {length} numbers, or {length} for each image")
    if len(value) == length and not any(hasattr(each, "__len__") for each in value):
        return _vector(name, value, "")
    return tuple(_vector(name, each, f"image {i}: ") for i, each in enumerate(value))


def _vector(name: str, value: Any, where: str) -> tuple[float, ...]:
    length, low, high, words = _VECTORS[name]
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, Sequence) or len(value) != length:
        raise ValueError(f"{where}{name}: got {value!r}, expected {length} numbers")
    return tuple(_in_range(name, each, where, (low, high, words), whole=name == "origin") for each in value)


def _number(name: str, value: Any, where: str) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if name in _INTEGERS:
        return _in_range(name, value, where, _INTEGERS[name], whole=True)
    return _in_range(name, value, where, _RANGES[name], whole=False)


def _in_range(name: str, value: Any, where: str, allowed: tuple[float, float, str], *, whole: bool) -> Any:
    low, high, words = allowed
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where}{name}: got {value!r}, expected {words}")
    if not math.isfinite(value) or not low <= value <= high or (whole and value != int(value)):
        raise ValueError(f"{where}{name}: got {value}, expected {words}")
    return int(value) if whole else float(value)
