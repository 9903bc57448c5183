"""The conditional form of the Cauchy-Schwarz divergence.

D = ln t₁ + ln t₂ − ln c₁₂ − ln c₂₁, with K on the columns x, L on the columns y, and j over P in
t₁ = mean_j[ A₁ⱼ / B₁ⱼ² ] and c₁₂ = mean_j[ A₁₂ⱼ / (B₁ⱼ B₁₂ⱼ) ]: B₁ⱼ = mean_{i in P} K(xⱼ, xᵢ), A₁ⱼ the same
of K·L, B₁₂ⱼ and A₁₂ⱼ over Q. Both kernels are gaussians of scaled columns, so K·L is one as well and
nothing is summed but kernels.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimate, Labels, Pooled
from divmatch.estimators.column_groups import named
from divmatch.kernels.pairwise import Profile, cross_sums, log_sums, product, self_sums
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]

GAUSSIAN = Profile("gaussian", 1.0)
TINY = 1e-250  # a sum of kernels below it is summed again by logarithms
GONE = 1e-300  # a sum of kernels below it counts as zero: the compiled exponential ends at e^-700
CANCELLED = 1e-8  # a difference this much smaller than its terms has too few digits
DOMINANT = 0.1  # share of a mean that one row may have before a warning


def split(samples: Samples, given: str) -> tuple[Samples, Samples]:
    """The given columns and the others, as samples of the same rows and weights."""
    where = f"--given {given}"
    labels = samples.columns or tuple(map(str, range(samples.d)))
    first = named(given, labels, where)
    rest = tuple(c for c in range(samples.d) if c not in first)
    if not rest:
        raise SettingError(f"{where}: names all {samples.d} columns, none is left to compare")

    def part(columns: tuple[int, ...]) -> Samples:
        points = np.ascontiguousarray(samples.points[:, columns])
        return Samples(points, samples.weights, samples.name)

    return samples.once(("given", given), lambda: (part(first), part(rest)))


@dataclass(frozen=True, eq=False)
class Blocks:
    """One sample's x, and x together with y, each divided by its bandwidth; its weights."""

    x: Array
    both: Array
    weights: Array


def _blocks(samples: Samples, given: str, scales: tuple[float, float]) -> Blocks:
    of_x, of_y = split(samples, given)
    x, y = of_x.points / scales[0], of_y.points / scales[1]
    return Blocks(x, np.column_stack([x, y]), samples.masses())


@dataclass(frozen=True, eq=False)
class Sums:
    """Means over the other rows of one sample, for every row: of K, and of K·L over it."""

    b: Array
    ratio: Array


def estimate(
    p: Samples, q: Samples, given: str, scales: tuple[float, float], unbiased: bool
) -> Estimate:
    """The divergence with every row's influence; unbiased leaves each row out of its own means."""
    first, second = (_blocks(samples, given, scales) for samples in (p, q))
    own = [_own_sums(part, samples, unbiased) for part, samples in ((first, p), (second, q))]
    other = _cross_sums(first, second), _cross_sums(second, first)
    alone = sum(_lost(part, sums) for part, sums in zip((first, second), own, strict=True))
    apart = [_lost(part, sums) for part, sums in zip((first, second), other, strict=True)]
    if alone or any(apart):
        return Estimate(math.inf, notes=(_unreached(p, q, alone, apart, given),))
    terms = [own[0].ratio / own[0].b, own[1].ratio / own[1].b]
    mixed = [other[0].ratio / own[0].b, other[1].ratio / own[1].b]
    t = [float(part.weights @ row) for part, row in zip((first, second), terms, strict=True)]
    c = [float(part.weights @ row) for part, row in zip((first, second), mixed, strict=True)]
    if not min(*t, *c) > GONE:
        message = (
            f"given {given}, the rows of P and Q have nothing near each other; widen --bandwidth"
        )
        return Estimate(math.inf, notes=(Note("W02", message),))
    value = math.log(t[0]) + math.log(t[1]) - math.log(c[0]) - math.log(c[1])
    influence = _influences((first, second), own, other, terms, mixed, t, c, unbiased)
    notes = _dominated((p, q), (first, second), terms, mixed, t, c)
    return Estimate(value, *influence, notes=notes)


def _own_sums(part: Blocks, samples: Samples, unbiased: bool) -> Sums:
    """Means over the sample that the rows are from."""
    a = part.weights
    b, both = (self_sums(GAUSSIAN, points, a) for points in (part.x, part.both))
    rows = np.arange(len(a))
    if not unbiased:
        return Sums(b, both / b)
    if samples.n < 2 or not (a < 1).all():
        raise InconclusiveError(
            f"{samples.name}: one row with all the weight has no other rows; choose --method v"
        )
    b, both = b - a, both - a
    few = (b < np.maximum(TINY, CANCELLED * a)) | (both < np.maximum(TINY, CANCELLED * a))
    return _mended(Sums(b, both), part, part, few, rows, 1.0 - a)


def _cross_sums(part: Blocks, among: Blocks) -> Sums:
    """Means over the other sample."""
    nothing = np.zeros(len(part.weights))
    b, both = (
        cross_sums(GAUSSIAN, left, right, nothing, among.weights)[0]
        for left, right in ((part.x, among.x), (part.both, among.both))
    )
    return _mended(Sums(b, both), part, among, (b < TINY) | (both < TINY), None, 1.0)


def _mended(
    sums: Sums,
    part: Blocks,
    among: Blocks,
    few: NDArray[np.bool_],
    own: NDArray[np.intp] | None,
    mass: Array | float,
) -> Sums:
    """The sums divided by the mass; those that underflow or cancel are summed by logarithms."""
    with np.errstate(divide="ignore", invalid="ignore"):
        b, ratio = sums.b / mass, sums.ratio / sums.b
        rows = np.flatnonzero(few & (part.weights > 0))
        if len(rows):
            masses, out = np.log(among.weights), None if own is None else own[rows]
            log_b = log_sums(part.x[rows], among.x, masses, out)
            log_both = log_sums(part.both[rows], among.both, masses, out)
            b[rows] = np.exp(log_b) / (mass if np.isscalar(mass) else np.asarray(mass)[rows])
            ratio[rows] = np.exp(log_both - log_b)
    return Sums(*(np.where(part.weights > 0, of, 1.0) for of in (b, ratio)))


def _lost(part: Blocks, sums: Sums) -> int:
    """How many rows have no x near them."""
    return int(np.count_nonzero((part.weights > 0) & ~(sums.b > GONE)))


def _unreached(p: Samples, q: Samples, alone: int, apart: list[int], given: str) -> Note:
    counts = [f"{apart[0]} rows of {p.name}", f"{apart[1]} of {q.name}"]
    what = f"{' and '.join(counts)} have no row of the other sample near them"
    if not any(apart):
        what = f"{alone} rows have no other row of their sample near them"
    return Note("W02", f"in the columns --given {given}, {what}; widen --bandwidth-given")


def _dominated(
    samples: tuple[Samples, Samples],
    parts: tuple[Blocks, Blocks],
    terms: list[Array],
    mixed: list[Array],
    t: list[float],
    c: list[float],
) -> tuple[Note, ...]:
    """A warning where one row is most of a mean: its x has hardly any neighbours."""
    notes: tuple[Note, ...] = ()
    for i in range(2):
        weights = parts[i].weights
        shares = (
            float((weights * terms[i]).max()) / t[i],
            float((weights * mixed[i]).max()) / c[i],
        )
        advice = "widen --bandwidth-given, or choose --method v"
        notes += dominance(samples[i], max(shares), advice)
    return notes


def dominance(samples: Samples, share: float, advice: str) -> tuple[Note, ...]:
    """A warning where one row is a large share of a mean of kernels."""
    if share <= max(DOMINANT, 3.0 * float(samples.masses().max())):
        return ()
    message = f"{samples.name}: one row is {share:.0%} of a mean of kernels; {advice}"
    return (Note("W08", message),)


def _influences(
    parts: tuple[Blocks, Blocks],
    own: list[Sums],
    other: tuple[Sums, Sums],
    terms: list[Array],
    mixed: list[Array],
    t: list[float],
    c: list[float],
    unbiased: bool,
) -> tuple[Array, Array]:
    """Derivatives of D with respect to every row's weight: as row j of a mean, and as row i within."""
    found, for_b, for_both = [], [], []
    for i, part in enumerate(parts):
        a, b, cross_b = part.weights, own[i].b, other[i].b
        inner = a / (1.0 - a) if unbiased else a
        on_b = inner * (mixed[i] / c[i] - 2.0 * terms[i] / t[i]) / b
        on_both = inner / (b * b * t[i])
        left_out = on_b + on_both if unbiased else 0.0
        within = self_sums(GAUSSIAN, part.x, on_b) + self_sums(GAUSSIAN, part.both, on_both)
        found.append(terms[i] / t[i] - mixed[i] / c[i] + within - left_out)
        for_b.append(a * mixed[i] / (cross_b * c[i]))
        for_both.append(-a / (b * cross_b * c[i]))
    by_x = cross_sums(GAUSSIAN, parts[0].x, parts[1].x, for_b[0], for_b[1])
    by_both = cross_sums(GAUSSIAN, parts[0].both, parts[1].both, for_both[0], for_both[1])
    return found[0] + by_x[0] + by_both[0], found[1] + by_x[1] + by_both[1]


# ------------------------------------------------------------------------------------- plan


def plan(pool: Samples, given: str, scales: tuple[float, float], unbiased: bool) -> Pooled:
    """Two streamed products of the pooled kernel matrices with all labels: O(N² (d + B))."""
    part = _blocks(pool, given, scales)
    weights = part.weights[:, None]

    def statistic(labels: Labels) -> Array:
        splits = labels.shape[1]
        columns = np.column_stack([weights * labels, weights * ~labels])
        b, both = (product(GAUSSIAN, x, x, columns) for x in (part.x, part.both))
        mass = columns.sum(0)
        sides = []
        doubtful = np.zeros(splits, dtype=bool)
        for mine, others, rows in (
            (slice(0, splits), slice(splits, None), labels),
            (slice(splits, None), slice(0, splits), ~labels),
        ):
            own_b, own_both, left = b[:, mine], both[:, mine], mass[mine]
            if unbiased:
                own_b, own_both, left = own_b - weights, own_both - weights, left - weights
            low = CANCELLED * weights if unbiased else TINY
            few = (own_b < low) | (own_both < low) | (b[:, others] < TINY)
            doubtful |= (few & rows & (weights > 0)).any(axis=0)
            share = columns[:, mine] / mass[mine]
            t = np.where(rows, share * own_both * left / own_b**2, 0.0).sum(0)
            c = np.where(rows, share * left * both[:, others] / (own_b * b[:, others]), 0.0).sum(0)
            sides.append(np.log(t) - np.log(c))
        values = sides[0] + sides[1]
        for k in np.flatnonzero(doubtful):
            values[k] = _of_split(pool, labels[:, k], given, scales, unbiased)
        return values

    return Pooled(statistic, lambda: 64 * float(np.finfo(float).eps) * pool.n)


def _of_split(
    pool: Samples,
    rows: NDArray[np.bool_],
    given: str,
    scales: tuple[float, float],
    unbiased: bool,
) -> float:
    """The divergence of one split, where differences of the pool's sums have too few digits."""
    try:
        return estimate(pool.take(rows), pool.take(~rows), given, scales, unbiased).value
    except InconclusiveError:  # one row carries all the weight: it counts against us
        return math.nan
