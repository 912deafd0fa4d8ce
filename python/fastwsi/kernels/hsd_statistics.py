"""Stain statistics in HSD space, and the colour transform between two of them.

Hue-saturation-density: with D_c = -ln((I_c + 1) / 257) for c in R, G, B, the density is their mean D
and the chromatic coordinates are c_x = D_R / D - 1 and c_y = (D_G - D_B) / (sqrt(3) D).
"""

from __future__ import annotations

import json
import math
import statistics
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Pair = tuple[float, float]
Matrix = tuple[Pair, Pair]

# Below these variances 8-bit pixels cannot tell a distribution from a constant: at mid-density one
# grey level is 0.008 in D and 0.01 in c, and the variance of rounding a twelfth of their squares.
MIN_CHROMA_VARIANCE = 1e-6
MIN_DENSITY_VARIANCE = 1e-6

_LN2 = math.log(2.0)


@dataclass(frozen=True)
class HsdMoments:
    """Count, means and variances of pixels in HSD space; add them to pool their pixels.

    Variances are those of the pixels themselves (divided by the count, not by one less).

    Attributes
    ----------
    count : int
        Pixels measured.
    chroma_mean : (float, float)
        Mean of (c_x, c_y), without unit.
    chroma_covariance : ((float, float), (float, float))
        Covariance matrix of (c_x, c_y).
    density_mean, density_variance : float
        Of D, the optical density in nats.

    Examples
    --------
    >>> white = fastwsi.kernels.hsd_moments(np.full((4, 4, 3), 255, np.uint8))
    >>> black = fastwsi.kernels.hsd_moments(np.zeros((2, 2, 3), np.uint8))
    >>> both = white + black
    >>> both.count, round(both.density_mean, 3)
    (20, 1.113)
    """

    count: int
    chroma_mean: Pair
    chroma_covariance: Matrix
    density_mean: float
    density_variance: float

    def __post_init__(self) -> None:
        numbers = [
            *self.chroma_mean,
            *self.chroma_covariance[0],
            *self.chroma_covariance[1],
            self.density_mean,
            self.density_variance,
        ]
        if self.count < 0 or not all(math.isfinite(x) for x in numbers):
            raise ValueError(f"HsdMoments: got {self!r}, expected a count of 0 or more and finite numbers")
        if min(self.density_variance, self.chroma_covariance[0][0], self.chroma_covariance[1][1]) < 0:
            raise ValueError(f"HsdMoments: got {self!r}, expected variances of 0 or more")
        if self.chroma_covariance[0][1] != self.chroma_covariance[1][0]:
            raise ValueError(f"chroma_covariance: got {self.chroma_covariance}, expected a symmetric matrix")

    @classmethod
    def empty(cls) -> HsdMoments:
        """Return the moments of no pixels: what a sum starts from.

        Examples
        --------
        >>> HsdMoments.empty().count
        0
        """
        return cls(0, (0.0, 0.0), ((0.0, 0.0), (0.0, 0.0)), 0.0, 0.0)

    @classmethod
    def from_central(cls, central: tuple[float, ...]) -> HsdMoments:
        """Build from what the kernel returns: count, 3 means, 4 sums of squares; D in bits."""
        count, mean_x, mean_y, mean_d, xx, xy, yy, dd = central
        if not count:
            return cls.empty()
        return cls(
            int(count),
            (mean_x, mean_y),
            ((xx / count, xy / count), (xy / count, yy / count)),
            mean_d * _LN2,
            dd / count * _LN2**2,
        )

    def numbers(self) -> tuple[float, ...]:
        """Return what a normalisation needs as 7 plain numbers; ``from_numbers`` reads them."""
        (xx, xy), (_, yy) = self.chroma_covariance
        return (*self.chroma_mean, xx, xy, yy, self.density_mean, self.density_variance)

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> HsdMoments:
        """Build from ``numbers``, with a count of 1.

        Examples
        --------
        >>> HsdMoments.from_numbers(HsdMoments.empty().numbers()).chroma_mean
        (0.0, 0.0)
        """
        mean_x, mean_y, xx, xy, yy, density, variance = numbers
        return cls(1, (mean_x, mean_y), ((xx, xy), (xy, yy)), density, variance)

    def __add__(self, other: HsdMoments) -> HsdMoments:
        if not isinstance(other, HsdMoments):
            return NotImplemented
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        share = other.count / count
        spread = share * (1 - share)  # of the two means about the common one
        dx = other.chroma_mean[0] - self.chroma_mean[0]
        dy = other.chroma_mean[1] - self.chroma_mean[1]
        dd = other.density_mean - self.density_mean

        def pool(a: float, b: float, between: float) -> float:
            return a + share * (b - a) + spread * between

        (a_xx, a_xy), (_, a_yy) = self.chroma_covariance
        (b_xx, b_xy), (_, b_yy) = other.chroma_covariance
        xy = pool(a_xy, b_xy, dx * dy)
        return HsdMoments(
            count,
            (self.chroma_mean[0] + share * dx, self.chroma_mean[1] + share * dy),
            ((pool(a_xx, b_xx, dx * dx), xy), (xy, pool(a_yy, b_yy, dy * dy))),
            self.density_mean + share * dd,
            pool(self.density_variance, other.density_variance, dd * dd),
        )

    def __radd__(self, other: object) -> HsdMoments:
        if other == 0:  # what the built-in sum starts from
            return self
        return NotImplemented

    def to_json(self) -> str:
        """Return a JSON object; ``from_json`` gives back the same numbers, bit for bit."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> HsdMoments:
        """Read what ``to_json`` wrote.

        Examples
        --------
        >>> HsdMoments.from_json(HsdMoments.empty().to_json()) == HsdMoments.empty()
        True
        """
        try:
            fields = json.loads(text)
            (xx, xy), (yx, yy) = fields["chroma_covariance"]
            mean_x, mean_y = fields["chroma_mean"]
            if not isinstance(fields["count"], int):
                raise TypeError(f"count: got {fields['count']!r}, expected a whole number")
            return cls(
                int(fields["count"]),
                (float(mean_x), float(mean_y)),
                ((float(xx), float(xy)), (float(yx), float(yy))),
                float(fields["density_mean"]),
                float(fields["density_variance"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the JSON of HsdMoments: {error}") from error


def median_moments(moments: Iterable[HsdMoments]) -> HsdMoments:
    """Return the component-wise medians: the reference of several slides, each weighing the same.

    The count is the sum of the counts.

    Examples
    --------
    >>> one, two, far = (HsdMoments(1, (m, 0.0), ((1.0, 0.0), (0.0, 1.0)), m, 1.0) for m in (1.0, 2.0, 9.0))
    >>> median_moments([one, two, far]).density_mean
    2.0
    """
    rows = [m for m in moments if m.count]
    if not rows:
        raise ValueError("moments: got no slide with pixels, expected at least one")
    xy = statistics.median(m.chroma_covariance[0][1] for m in rows)
    return HsdMoments(
        sum(m.count for m in rows),
        (
            statistics.median(m.chroma_mean[0] for m in rows),
            statistics.median(m.chroma_mean[1] for m in rows),
        ),
        (
            (statistics.median(m.chroma_covariance[0][0] for m in rows), xy),
            (xy, statistics.median(m.chroma_covariance[1][1] for m in rows)),
        ),
        statistics.median(m.density_mean for m in rows),
        statistics.median(m.density_variance for m in rows),
    )


def _multiply(a: Matrix, b: Matrix) -> Matrix:
    return (
        (a[0][0] * b[0][0] + a[0][1] * b[1][0], a[0][0] * b[0][1] + a[0][1] * b[1][1]),
        (a[1][0] * b[0][0] + a[1][1] * b[1][0], a[1][0] * b[0][1] + a[1][1] * b[1][1]),
    )


def _determinant(m: Matrix) -> float:
    return m[0][0] * m[1][1] - m[0][1] * m[1][0]


def _smallest_eigenvalue(m: Matrix) -> float:
    half_trace = (m[0][0] + m[1][1]) / 2
    return half_trace - math.hypot((m[0][0] - m[1][1]) / 2, m[0][1])


def _raise_to(m: Matrix, floor: float) -> Matrix:
    """Add to the diagonal what the smallest eigenvalue lacks to ``floor``."""
    lacking = max(0.0, floor - _smallest_eigenvalue(m))
    return ((m[0][0] + lacking, m[0][1]), (m[1][0], m[1][1] + lacking))


def _square_root(m: Matrix) -> Matrix:
    """Square root of a positive semi-definite matrix, by Cayley-Hamilton."""
    root_det = math.sqrt(max(0.0, _determinant(m)))
    scale = math.sqrt(max(0.0, m[0][0] + m[1][1] + 2 * root_det))
    if scale == 0.0:
        return ((0.0, 0.0), (0.0, 0.0))
    return (
        ((m[0][0] + root_det) / scale, m[0][1] / scale),
        (m[1][0] / scale, (m[1][1] + root_det) / scale),
    )


def _inverse(m: Matrix) -> Matrix:
    det = _determinant(m)
    return ((m[1][1] / det, -m[0][1] / det), (-m[1][0] / det, m[0][0] / det))


def chroma_map(source: Matrix, target: Matrix) -> Matrix:
    """Return the Monge-Kantorovich map T between two Gaussians' covariances: T S T' = S_target.

    T = S^-1/2 (S^1/2 S_target S^1/2)^1/2 S^-1/2, symmetric: of all linear maps that fit, the one that
    moves colours least.

    Examples
    --------
    >>> chroma_map(((1.0, 0.0), (0.0, 4.0)), ((4.0, 0.0), (0.0, 4.0)))
    ((2.0, 0.0), (0.0, 1.0))
    """
    root = _square_root(source)
    inverse = _inverse(root)
    middle = _square_root(_multiply(_multiply(root, target), root))
    return _multiply(_multiply(inverse, middle), inverse)


def colour_transform(source: HsdMoments, target: HsdMoments) -> tuple[float, ...]:
    """Fold the whole normalisation into the kernel's 11 numbers: a 3 x 3 matrix, a gain, an offset.

    Multiplied by D, the chromatic coordinates are linear in the densities d = (D_R, D_G, D_B):
    u = D c = A d and D = s d. The new ones are c' = T (c - mean) + mean', so
    u' = D c' = (T A + (mean' - T mean) s) d is linear too, and so is the inverse of HSD; what is left
    is the new density, D' / D = gain + offset / D. Hence d' = (gain + offset / D) W d.
    """
    for name, moments in (("source", source), ("target", target)):
        if not moments.count:
            raise ValueError(f"{name}: got moments of no pixels, expected at least one")
    cov = source.chroma_covariance
    variance = source.density_variance
    if _smallest_eigenvalue(cov) < MIN_CHROMA_VARIANCE or variance < MIN_DENSITY_VARIANCE:
        # The text never varies, so Python's default filter shows it once for each caller.
        warnings.warn(
            "the source's stain statistics are singular (its pixels have nearly one density, or colours on "
            f"a point or a line): variances below {MIN_CHROMA_VARIANCE:g} are raised to it",
            RuntimeWarning,
            stacklevel=3,  # the caller of hsd_normalize
        )
    t = chroma_map(_raise_to(cov, MIN_CHROMA_VARIANCE), _raise_to(target.chroma_covariance, 0.0))
    gain = math.sqrt(max(0.0, target.density_variance) / max(variance, MIN_DENSITY_VARIANCE))
    offset = target.density_mean - gain * source.density_mean

    third, root3 = 1 / 3, math.sqrt(3.0)
    a_x, a_y = (2 * third, -third, -third), (0.0, 1 / root3, -1 / root3)
    (mx, my), (rx, ry) = source.chroma_mean, target.chroma_mean
    shift_x = rx - (t[0][0] * mx + t[0][1] * my)
    shift_y = ry - (t[1][0] * mx + t[1][1] * my)
    u_x = [t[0][0] * x + t[0][1] * y + shift_x * third for x, y in zip(a_x, a_y, strict=True)]
    u_y = [t[1][0] * x + t[1][1] * y + shift_y * third for x, y in zip(a_x, a_y, strict=True)]
    red = [x + third for x in u_x]
    green = [(2 * third - x + root3 * y) / 2 for x, y in zip(u_x, u_y, strict=True)]
    blue = [(2 * third - x - root3 * y) / 2 for x, y in zip(u_x, u_y, strict=True)]
    return (*red, *green, *blue, gain, offset / _LN2)
