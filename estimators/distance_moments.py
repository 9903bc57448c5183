"""Distance covariance from sums over rows: the V- and the U-statistic, and every row's influence.

With a_ij = |xᵢ − xⱼ|, b_ij = |yᵢ − yⱼ| and weights w that sum to 1, the V-statistic is
Σ w w a b − 2 Σ w α β + A B with α = a w, β = b w, A = w·α, B = w·β. The U-statistic takes the same
three means over different rows only, each row with its weight.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.kernels.products import (
    Centred,
    centred_products,
    distance_sums,
    order_of,
    product_sums,
)

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Covariance:
    """dCov² and, for every row, Σⱼ wⱼ A_ij B_ij of the centred distances: half of its influence."""

    value: float
    rows: Array


@dataclass(frozen=True, eq=False)
class Distances:
    """One group of columns: its points, α = a w, A, and the order of a single column."""

    points: Array
    sums: Array
    mean: float
    order: NDArray[np.int64] | None

    @property
    def constant(self) -> bool:
        """Whether all rows that carry weight are equal."""
        return not self.mean > 0


def distances(points: Array, w: Array) -> Distances:
    """The sums of one group."""
    order = order_of(points)
    sums = distance_sums(points, w[:, None], order)[:, 0]
    return Distances(points, sums, float(w @ sums), order)


def covariance(x: Distances, y: Distances, w: Array, *, unbiased: bool) -> Covariance:
    """dCov² of two groups; of one group with itself, its distance variance."""
    alpha, beta = x.sums, y.sums
    equal = bool((w == w[0]).all())  # then sums with w² are those with w, times w
    vectors = np.column_stack([w, w**2]) if unbiased and not equal else w[:, None]
    if x is y:
        products = _square_sums(x.points, vectors)
        delta = epsilon = distance_sums(x.points, (w * alpha)[:, None], x.order)[:, 0]
    else:
        products = product_sums(x.points, y.points, vectors, x.order)
        delta = distance_sums(x.points, (w * beta)[:, None], x.order)[:, 0]
        epsilon = distance_sums(y.points, (w * alpha)[:, None], y.order)[:, 0]
    gamma, both = products[:, 0], float((w * alpha) @ beta)
    rows = gamma - alpha * beta - delta - epsilon + y.mean * alpha + x.mean * beta
    rows += both - x.mean * y.mean
    if not unbiased:
        return Covariance(float(w @ rows), rows)
    ones, threes, fours = distinct(w)
    squares = w**2
    pairs = float(w @ gamma)
    triples = both - float(squares @ gamma)
    quadruples = x.mean * y.mean - 4 * float((squares * alpha) @ beta)
    quadruples += 2 * float(squares @ (gamma * w[0] if equal else products[:, 1]))
    return Covariance(pairs / ones - 2 * triples / threes + quadruples / fours, rows)


def distinct(w: Array) -> tuple[float, float, float]:
    """Mass of the pairs, triples and quadruples of different rows."""
    if np.count_nonzero(w) < 4:
        raise InconclusiveError(
            "dcor: fewer than 4 rows carry weight, and the U-statistic needs 4; choose --method v"
        )
    if (w == w[0]).all():
        n = len(w)
        ones = (n - 1) / n
        return ones, ones * (n - 2) / n, ones * (n - 2) * (n - 3) / n**2
    p2, p3, p4 = (float(np.sum(w**k)) for k in (2, 3, 4))
    fours = 1 - 6 * p2 + 8 * p3 + 3 * p2 * p2 - 6 * p4
    if not fours > 1e-9:
        raise InconclusiveError(
            "dcor: a few rows carry all the weight, and the U-statistic needs 4; choose --method v"
        )
    return 1 - p2, 1 - 3 * p2 + 2 * p3, fours


def _square_sums(points: Array, v: Array) -> Array:
    """Σⱼ |xᵢ − xⱼ|² v_jb, from means."""
    centred = points - points.mean(axis=0)
    norms = np.einsum("ij,ij->i", centred, centred)
    sums: Array = norms[:, None] * v.sum(axis=0) + norms @ v - 2.0 * centred @ (centred.T @ v)
    return np.maximum(sums, 0.0)


# ------------------------------------------------------------------------------ several groups


def centred(x: Distances, n: int, *, unbiased: bool, scale: float = 1.0) -> Centred:
    """−a_ij with edges and total of the U- or the V-statistic."""
    if not unbiased:
        return Centred(x.points, x.sums, x.mean, scale)
    return Centred(x.points, x.sums * n / (n - 2), x.mean * n * n / ((n - 1) * (n - 2)), scale)


@dataclass(frozen=True, eq=False)
class Joint:
    """JdCov² of groups, and every row's influence."""

    value: float
    influence: Array


def joint_covariance(
    groups: Sequence[Distances],
    own: Sequence[Covariance] | None,
    w: Array,
    *,
    unbiased: bool,
    constant: float = 1.0,
) -> Joint:
    """JdCov² = E Π_g (U^g + c) − c^k; with the groups' own variances, that of the scaled groups.

    The influence is that of the V-statistic: with M^g the product without group g,
    2 Σⱼ wⱼ Π_ij + Σ_g (2 Σⱼ wⱼ m^g_j a_ij − 2 αᵢ w·m^g), m^g = M^g w.
    """
    n, k = len(w), len(groups)
    scales = [1.0] * k if own is None else [v.value**-0.5 for v in own]
    parts = [centred(g, n, unbiased=False, scale=s) for g, s in zip(groups, scales, strict=True)]
    sums = centred_products(parts, constant, w)
    value = float(w @ sums[:, 0]) - constant**k
    influence = 2.0 * sums[:, 0]
    for g, (group, scale) in enumerate(zip(groups, scales, strict=True)):
        rest = sums[:, 1 + g]
        mean = float(w @ rest)
        lean = distance_sums(group.points, (w * rest)[:, None], group.order)[:, 0]
        influence += 2.0 * scale * (lean - group.sums * mean)
        if own is not None:
            share = float(w @ sums[:, 0]) - constant * mean
            influence -= share * own[g].rows / own[g].value
    if unbiased:
        parts = [centred(g, n, unbiased=True, scale=s) for g, s in zip(groups, scales, strict=True)]
        value = joint_value(_others(parts, constant, np.ones(n)), n, k, constant)
    return Joint(value, influence)


def _others(parts: Sequence[Centred], constant: float, ones: Array) -> float:
    """The sum of the products over different rows."""
    every = centred_products(parts, constant, ones)[:, 0]
    return float(np.sum(every - own_products(parts, constant)))


def own_products(parts: Sequence[Centred], constant: float) -> Array:
    """The product of every row's centred distances to itself, which the U-statistic leaves out."""
    return np.prod([part.own() + constant for part in parts], axis=0)


def joint_value(total: float, n: int, k: int, constant: float) -> float:
    """The U-statistic from the sum of the products over different rows."""
    return total / (n * (n - 3)) - constant**k * (n - 1) / (n - 3)


def chi_square_tail(value: float) -> float:
    """P(χ²₁ > value)."""
    return 1.0 if value <= 0 else max(math.erfc(math.sqrt(value / 2)), 1e-300)
