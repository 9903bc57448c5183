"""Statistics that are quadratic in both distributions: energy distance and MMD.

Both are S = ± (2 E k(X, Y) − E k(X, X') − E k(Y, Y')) for a function k of the distance; the sign
makes them non-negative.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Estimate, Labels, Pooled
from divmatch.estimators import orbits
from divmatch.estimators.invariance import Group, group_of
from divmatch.kernels import forms, merging, pairwise
from divmatch.kernels.execution import in_order
from divmatch.kernels.pairwise import Profile
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]
LINE = Profile("distance", 1.0)


@dataclass(frozen=True, eq=False)
class Mean:
    """E k(A, B) of two samples, and the mean of k from every row of each to the other sample."""

    value: float
    rows: Array
    columns: Array


def estimate(
    profile: Profile,
    x: Samples,
    y: Samples,
    *,
    sign: float,
    unbiased: bool,
    invariant: str | None = None,
) -> Estimate:
    """U-statistic (no point with itself) or V-statistic, with every row's influence.

    Influence of xᵢ: ± 2 (E k(xᵢ, Y) − E k(xᵢ, X')). Source: Gretton et al. 2012 (JMLR 13),
    Székely & Rizzo 2013; weights as probabilities of the rows.
    """
    group = group_in(x, invariant)
    if group is None:
        _share(profile, x, y)
    across = between(profile, x, y, group)
    own_x, own_y = (within(profile, samples, unbiased, group) for samples in (x, y))
    brief = on_the_line(profile, x, y, unbiased=unbiased, invariant=invariant)
    value = sign * (2.0 * across.value - own_x.value - own_y.value)
    if brief is not None:
        value = brief.value  # the digits of the summary
    return Estimate(
        value,
        terms_x=sign * 2.0 * (across.rows - own_x.rows),
        terms_y=sign * 2.0 * (across.columns - own_y.rows),
        notes=negative(value) if unbiased else (),
    )


def on_the_line(
    profile: Profile, x: Samples, y: Samples, *, unbiased: bool, invariant: str | None
) -> Estimate | None:
    """Value and standard error for distances of single numbers of equal weight, from sorted samples.

    The influences of single rows would need their places, which cost more than all the rest. The
    value is twice the integral of (F − G)² or, unbiased, less the rows' distances to themselves.
    """
    weighted = x.weights is not None or y.weights is not None
    if x.d > 1 or profile != LINE or invariant is not None or weighted:
        return None
    if unbiased:
        for samples in (x, y):
            if samples.n < 2:
                pairs_of(samples)
    sorted_x, sorted_y = in_order(_sorted, (x, y), work=merging.WORK * (x.n + y.n))
    parts = merging.distance_moments(sorted_x, sorted_y, unbiased=unbiased)
    value = parts[0][0] + parts[1][0]
    se = None
    if min(x.n, y.n) > 1:
        sizes = zip(parts, (x.n, y.n), strict=True)
        se = 2.0 * sum(squares / (n * (n - 1.0)) for (_, squares), n in sizes) ** 0.5
    return Estimate(value, se=se, notes=negative(value) if unbiased else ())


def _sorted(samples: Samples) -> Array:
    return samples.once("sorted", lambda: merging.ordered(samples.points[:, 0]))


def group_in(samples: Samples, invariant: str | None) -> Group | None:
    """The group with its columns found, or none."""
    return None if invariant is None else group_of(samples, invariant)


def negative(value: float, what: str = "difference") -> tuple[Note, ...]:
    """What to say of an unbiased estimate below zero."""
    if value >= 0:
        return ()
    return (Note("W01", f"the unbiased estimate is negative: no {what} can be seen"),)


def between(profile: Profile, x: Samples, y: Samples, group: Group | None) -> Mean:
    """E k(X, Y)."""
    a, b = x.masses(), y.masses()

    def sums() -> Across:
        return x, orbits.cross_sums(profile, x.points, y.points, a, b, group)

    rows, columns = y.once((profile, group, id(x)), sums)[1]
    return Mean(float(a @ rows), rows, columns)


Across = tuple[Samples, tuple[Array, Array]]  # x is kept too, so that its address is its own


def _share(profile: Profile, x: Samples, y: Samples) -> None:
    """What every candidate so far was compared with a reference by, the next will be: in one pass."""
    if x.d == 1 or not profile.of_distance or y.knows((profile, None, id(x))):
        return
    asked: dict[Profile, int] = x.once("profiles", dict)
    candidates = max(asked.values(), default=0)
    others = [p for p, times in asked.items() if p != profile and times == candidates]
    wanted = [profile, *(p for p in others if not y.knows((p, None, id(x))))]
    for one in wanted:
        asked[one] = asked.get(one, 0) + 1
    if len(wanted) < 2:
        return
    a, b = x.masses(), y.masses()
    across = pairwise.all_cross_sums(wanted, x.points, y.points, a, b)
    own = pairwise.all_self_sums(wanted, y.points, b)
    for one, sums, among in zip(wanted, across, own, strict=True):
        y.once((one, None, id(x)), partial(tuple, (x, sums)))
        y.once((one, None), partial(np.asarray, among))


def within(profile: Profile, samples: Samples, unbiased: bool, group: Group | None) -> Mean:
    """E k(X, X'), over the pairs of different rows if unbiased."""
    weights = samples.masses()
    sums = samples.once(
        (profile, group), lambda: orbits.self_sums(profile, samples.points, weights, group)
    )
    if not unbiased:
        return Mean(float(weights @ sums), sums, sums)
    others = sums - weights * own_kernel(profile, samples, group)
    pairs, rest = pairs_of(samples)
    rows = others / rest
    return Mean(float(weights @ others) / pairs, rows, rows)


def own_kernel(profile: Profile, samples: Samples, group: Group | None) -> Array:
    """Every row's kernel with itself."""
    return samples.once(
        ("diagonal", profile, group), lambda: orbits.diagonal(profile, samples.points, group)
    )


def pairs_of(samples: Samples) -> tuple[float, Array]:
    """The mass of the pairs of different rows, and of the rows other than each."""
    weights = samples.masses()
    pairs, rest = 1.0 - float(weights @ weights), 1.0 - weights
    if samples.n < 2 or not pairs > 0 or not (rest > 0).all():
        raise InconclusiveError(
            f"{samples.name}: one row with all the weight has no pairs; only the method v needs none"
        )
    return pairs, rest


Splits = Callable[[Labels], tuple[Array, Array, Array, float]]


def split_means(
    profile: Profile, pool: Samples, *, unbiased: bool, invariant: str | None = None
) -> Splits:
    """E k(X, Y), E k(X, X'), E k(Y, Y') of every split, and the pool's mean of k.

    One streamed product of the pooled kernel matrix with all labels: O(N² (d + B) / 2).
    """
    weights = pool.masses() * pool.n
    group = group_in(pool, invariant)
    own = orbits.diagonal(profile, pool.points, group) if unbiased else None

    def parts(labels: Labels) -> tuple[Array, Array, float]:
        return orbits.quadratic_forms(profile, pool.points, labels, weights, group)

    return means_of_splits(parts, weights, own)


def means_of_splits(
    parts: Callable[[Labels], tuple[Array, Array, float]], weights: Array, own: Array | None
) -> Splits:
    """The means of every split from vᵀKv, wᵀKv and wᵀKw, w the ``weights`` and v those of one part.

    ``own`` is every row's kernel with itself, where it is to be left out.
    """
    selves = None if own is None else weights * own

    def means(labels: Labels) -> tuple[Array, Array, Array, float]:
        within_x, cross, total = parts(labels)
        mass_x = forms.along(weights, labels)
        mass_y, within_y = weights.sum() - mass_x, total - 2 * cross + within_x
        across, typical = (cross - within_x) / (mass_x * mass_y), total / len(weights) ** 2
        if selves is None:
            return across, within_x / mass_x**2, within_y / mass_y**2, typical
        squares_x = forms.along(weights**2, labels)
        squares_y = float(weights @ weights) - squares_x
        own_x = forms.along(selves * weights, labels)
        own_y = float(weights @ selves) - own_x
        mean_x = (within_x - own_x) / (mass_x**2 - squares_x)
        mean_y = (within_y - own_y) / (mass_y**2 - squares_y)
        return across, mean_x, mean_y, typical

    return means


def plan(
    profile: Profile,
    pool: Samples,
    *,
    sign: float,
    unbiased: bool,
    invariant: str | None = None,
) -> Pooled:
    """The statistic of every split, from one pass over the pool."""
    return plan_of(split_means(profile, pool, unbiased=unbiased, invariant=invariant), pool.n, sign)


def plan_of(means: Splits, rows: int, sign: float) -> Pooled:
    """The statistic of every split from its means."""
    typical = 0.0

    def statistic(labels: Labels) -> Array:
        nonlocal typical
        across, mean_x, mean_y, typical = means(labels)
        return sign * (2 * across - mean_x - mean_y)

    return Pooled(statistic, lambda: rounding(rows, typical))


def contrast(
    profile: Profile,
    pool: Samples,
    y: Samples,
    *,
    sign: float,
    unbiased: bool,
    invariant: str | None = None,
) -> Pooled:
    """D(rest, y) − D(part, y) of every split of the pool: y's own mean cancels.

    What the rows of the pool have with y is one mean a row, whatever the split: O(N m d) once.
    """
    means = split_means(profile, pool, unbiased=unbiased, invariant=invariant)
    across = between(profile, pool, y, group_in(pool, invariant))
    weights = pool.masses()
    typical = 0.0

    def statistic(labels: Labels) -> Array:
        nonlocal typical
        _, own_part, own_rest, typical = means(labels)
        part = weights @ labels
        cross = (weights * across.rows) @ labels
        to_part, to_rest = cross / part, (across.value - cross) / (1.0 - part)
        return sign * (2.0 * (to_rest - to_part) - (own_rest - own_part))

    return Pooled(statistic, lambda: rounding(pool.n, max(typical, abs(across.value), key=abs)))


def rounding(rows: int, scale: float) -> float:
    """The size of the rounding errors of a mean of k over pairs."""
    return forms.rounding(rows) * abs(scale)
