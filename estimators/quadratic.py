"""Statistics that are quadratic in both distributions: energy distance and MMD.

Both are S = ± (2 E k(X, Y) − E k(X, X') − E k(Y, Y')) for a function k of the distance; the sign
makes them non-negative.
"""

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Estimate, Labels, Pooled
from divmatch.kernels.pairwise import Profile, cross_sums, quadratic_forms, self_sums
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]


def estimate(profile: Profile, x: Samples, y: Samples, *, sign: float, unbiased: bool) -> Estimate:
    """U-statistic (no point with itself) or V-statistic, with every row's influence.

    Influence of xᵢ: ± 2 (E k(xᵢ, Y) − E k(xᵢ, X')). Source: Gretton et al. 2012 (JMLR 13),
    Székely & Rizzo 2013; weights as probabilities of the rows.
    """
    a, b = x.masses(), y.masses()
    between_x, between_y = cross_sums(profile, x.points, y.points, a, b)
    within_x, mean_x = _within(profile, x, unbiased)
    within_y, mean_y = _within(profile, y, unbiased)
    value = sign * (2.0 * float(a @ between_x) - mean_x - mean_y)
    notes: tuple[Note, ...] = ()
    if unbiased and value < 0:
        notes = (Note("W01", "the unbiased estimate is negative: no difference can be seen"),)
    return Estimate(
        value,
        terms_x=sign * 2.0 * (between_x - within_x),
        terms_y=sign * 2.0 * (between_y - within_y),
        notes=notes,
    )


def _within(profile: Profile, samples: Samples, unbiased: bool) -> tuple[Array, float]:
    """Mean of k from every row to the others of its sample, and the mean over pairs."""
    weights = samples.masses()
    sums = samples.once(profile, lambda: self_sums(profile, samples.points, weights))
    if not unbiased:
        return sums, float(weights @ sums)
    others = sums - weights * profile.at_zero
    pairs = 1.0 - float(weights @ weights)
    rest = 1.0 - weights
    if samples.n < 2 or not pairs > 0 or not (rest > 0).all():
        raise InconclusiveError(
            f"{samples.name}: one row with all the weight has no pairs; choose --method v"
        )
    return others / rest, float(weights @ others) / pairs


def plan(profile: Profile, pool: Samples, *, sign: float, unbiased: bool) -> Pooled:
    """One streamed product of the pooled kernel matrix with all labels: O(N² (d + B) / 2)."""
    weights = pool.masses() * pool.n
    total = 0.0

    def statistic(labels: Labels) -> Array:
        nonlocal total
        v = labels * weights[:, None]
        within_x, cross, total = quadratic_forms(profile, pool.points, v, weights)
        mass_x = v.sum(0)
        mass_y, within_y = weights.sum() - mass_x, total - 2 * cross + within_x
        between = (cross - within_x) / (mass_x * mass_y)
        if not unbiased:
            return sign * (2 * between - within_x / mass_x**2 - within_y / mass_y**2)
        own_x = (weights**2) @ labels
        own_y = float(weights @ weights) - own_x
        mean_x = (within_x - own_x * profile.at_zero) / (mass_x**2 - own_x)
        mean_y = (within_y - own_y * profile.at_zero) / (mass_y**2 - own_y)
        return sign * (2 * between - mean_x - mean_y)

    def rounding() -> float:
        return 64 * float(np.finfo(float).eps) * pool.n**0.5 * abs(total) / pool.n**2

    return Pooled(statistic, rounding)
