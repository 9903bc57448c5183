"""Cauchy-Schwarz divergence."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.bandwidth import Bandwidth, resolved
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimate, Labels, Pooled, Quantity
from divmatch.estimators import conditional, orbits, quadratic
from divmatch.estimators.conditional import dominance
from divmatch.estimators.invariance import Group, Invariant
from divmatch.kernels.pairwise import Profile
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]


def columns_text(text: str) -> str:
    """Check that a list of columns names any; they are looked up in the data."""
    if not text.strip(" ,"):
        raise SettingError("--given: names no column; leave it out for all columns together")
    return text.strip()


Given = Annotated[
    str | None,
    Setting("columns x of the conditional divergence, of P(y|x) and Q(y|x)", parse=columns_text),
]
BandwidthGiven = Annotated[
    float | Literal["median", "reference"] | None,
    Setting(
        "bandwidth on the columns of --given; by default median, or reference if --bandwidth says so",
        above=0,
        unit="data unit",
    ),
]
TINY = 1e-250  # a mean of kernels below it may have lost terms to underflow
CANCELLED = 1e-8  # a difference this much smaller than its terms has too few digits for a logarithm

CS = Quantity(
    "cs",
    title="Cauchy-Schwarz",
    unit="nats",
    direction="symmetric",
    default="u",
    degenerate=True,
    examples=(
        "divmatch cs real.npy gen.npy",
        "divmatch cs real.npy gen.npy --method v --bandwidth 0.5 --unit bits",
        "divmatch cs real.npy gen.npy --given 0",
    ),
    when_scoring={"bandwidth": "reference"},
)


@CS.estimator("u", source="Príncipe 2010, Information Theoretic Learning; arXiv 2301.08970")
def cs_u(
    x: Samples,
    y: Samples,
    *,
    bandwidth: Bandwidth = "median",
    given: Given = None,
    bandwidth_given: BandwidthGiven = None,
    invariant: Invariant = None,
) -> Estimate:
    """Cauchy-Schwarz divergence between two samples, without each row's kernel with itself.

    D = −2 ln ∫pq + ln ∫p² + ln ∫q², estimated as −2 ln E k(X, Y) + ln E k(X, X') + ln E k(Y, Y') with
    k = exp(−r²/(2s²)): the divergence of the densities smoothed with bandwidth s/√2. Zero if and only
    if the distributions agree, symmetric, without upper bound, finite where KL is not. The logarithms
    are of unbiased means: the estimate is nearly unbiased and can be negative.

    With --given it is the conditional divergence of P(y|x) and Q(y|x), x the named columns and y the
    others: D = ln t₁ + ln t₂ − ln c₁₂ − ln c₂₁ with t₁ = E_P[Ê_P(KL)/Ê_P(K)²],
    c₁₂ = E_P[Ê_Q(KL)/(Ê_P(K) Ê_Q(K))], K on x and L on y, and t₂, c₂₁ with P and Q exchanged. It sees no
    difference of P(x) and Q(x). It holds for the x that were observed; the method u leaves each row
    out of its own means, which removes the bias but needs neighbours for every row: with a narrow
    --bandwidth-given and outlying x prefer the method v. A p-value of --permutations is then that of
    the hypothesis P = Q of all columns, measured by this statistic.

    Use it for a symmetric measure in nats that compares densities at the length scale s.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    bandwidth : float or str
        s in data units; median of the pooled pairwise distances over at most 2000 rows, or of the
        reference's. With --given it is that of the other columns.
    given : str
        Names, positions, ranges or globs of the columns x: age,income or 0-2.
    bandwidth_given : float or str
        Bandwidth on the columns x, used with --given alone; by default their median distance, that
        of the reference's rows where --bandwidth says reference.
    invariant : str
        Group under which both distributions are unchanged, such as perm:0,1: the kernel is averaged
        over it. Not with --given.

    Returns
    -------
    Estimate
        Divergence in nats, with the influence of every row; inf with --given where no row of the
        other sample has an x near a row's.

    Raises
    ------
    InconclusiveError
        When one row carries all the weight, or all rows are equal and no bandwidth was given.
    SettingError
        When --given names no column or all of them, or comes with --invariant.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory; four times that with --given.

    Source: Príncipe 2010, Information Theoretic Learning, ch. 2; conditional form Yu et al. 2023,
    arXiv 2301.08970.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.cs([0.0, 0.0], [2.0, 2.0], bandwidth=1).value, 6)
    4.0
    """
    return _estimate(x, y, bandwidth, given, bandwidth_given, invariant, unbiased=True)


@CS.estimator(
    "v", source="Príncipe 2010, Information Theoretic Learning; arXiv 2301.08970", biased=1.0
)
def cs_v(
    x: Samples,
    y: Samples,
    *,
    bandwidth: Bandwidth = "median",
    given: Given = None,
    bandwidth_given: BandwidthGiven = None,
    invariant: Invariant = None,
) -> Estimate:
    """Cauchy-Schwarz divergence between two kernel density estimates, every pair counted.

    The same formula as the method u with each row's kernel with itself: the exact divergence of the
    two smoothed files. Never negative (without --given), zero if and only if the files hold the same
    weighted points; biased upward, more so for narrow bandwidths, where it measures nothing but the
    rows' kernels with themselves.

    Use it as an objective to minimise, when integer weights must equal repeated rows, and with
    --given when some x have few neighbours.

    Parameters
    ----------
    x, y : Samples
        Rows of shape (n, d) and (m, d), weighted or not.
    bandwidth : float or str
        As for the method u.
    given : str
        As for the method u.
    bandwidth_given : float or str
        As for the method u.
    invariant : str
        As for the method u.

    Returns
    -------
    Estimate
        Divergence in nats, with the influence of every row.

    Raises
    ------
    InconclusiveError
        When all rows are equal and no bandwidth was given.
    SettingError
        As for the method u.

    Notes
    -----
    Cost: O((n + m)² d) time, O(n + m) memory; four times that with --given.

    Source: Príncipe 2010, Information Theoretic Learning, ch. 2; conditional form Yu et al. 2023,
    arXiv 2301.08970.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.cs([0.0, 0.0], [2.0, 2.0], method="v", bandwidth=1).value, 6)
    4.0
    """
    return _estimate(x, y, bandwidth, given, bandwidth_given, invariant, unbiased=False)


@cs_u.pooled
def cs_u_plan(pool: Samples, **settings: Any) -> Pooled:
    """One streamed product for all splits."""
    return _plan(pool, unbiased=True, **settings)


@cs_v.pooled
def cs_v_plan(pool: Samples, **settings: Any) -> Pooled:
    """One streamed product for all splits."""
    return _plan(pool, unbiased=False, **settings)


def _estimate(
    x: Samples,
    y: Samples,
    bandwidth: float | str,
    given: str | None,
    bandwidth_given: float | str | None,
    invariant: str | None,
    *,
    unbiased: bool,
) -> Estimate:
    if given is None:
        if bandwidth_given is not None:
            raise SettingError("--bandwidth-given: has an effect only with --given")
        scale, notes = resolved(bandwidth, x, y)
        found = plain(scale, x, y, quadratic.group_in(x, invariant), unbiased)
        return replace(found, params={"bandwidth": scale}, notes=(*notes, *found.notes))
    if invariant is not None:
        raise SettingError("--given with --invariant: cannot be combined; choose one of them")
    (x_given, x_rest), (y_given, y_rest) = (conditional.split(part, given) for part in (x, y))
    default = "reference" if bandwidth == "reference" else "median"
    wanted = default if bandwidth_given is None else bandwidth_given
    scale_given, notes_given = resolved(wanted, x_given, y_given, "--bandwidth-given")
    scale, notes = resolved(bandwidth, x_rest, y_rest)
    found = conditional.estimate(x, y, given, (scale_given, scale), unbiased)
    params = {"bandwidth": scale, "bandwidth_given": scale_given}
    return replace(found, params=params, notes=(*notes_given, *notes, *found.notes))


# ------------------------------------------------------------------------------ logarithms


@dataclass(frozen=True, eq=False)
class LogMean:
    """Ln E k(A, B), and every row's part of the mean relative to it."""

    log: float
    rows: Array
    columns: Array


def plain(scale: float, x: Samples, y: Samples, group: Group | None, unbiased: bool) -> Estimate:
    """The divergence without conditions; influence of xᵢ: 2 (E k(xᵢ, X')/E k − E k(xᵢ, Y)/E k)."""
    profile = Profile("gaussian", scale)
    across = _between(profile, x, y, group)
    own_x, own_y = (_within(profile, samples, unbiased, group) for samples in (x, y))
    value = own_x.log + own_y.log - 2.0 * across.log
    notes = quadratic.negative(value) if unbiased else ()
    for samples, parts in ((x, (own_x.rows, across.rows)), (y, (own_y.rows, across.columns))):
        weights = samples.masses()
        share = max(float((weights * part).max()) for part in parts)
        notes += dominance(samples, share, "widen --bandwidth")
    return Estimate(
        value,
        terms_x=2.0 * (own_x.rows - across.rows),
        terms_y=2.0 * (own_y.rows - across.columns),
        notes=notes,
    )


def _between(profile: Profile, x: Samples, y: Samples, group: Group | None) -> LogMean:
    mean = quadratic.between(profile, x, y, group)
    if mean.value > TINY:
        return _logged(mean)
    left, right = x.points / profile.scale, y.points / profile.scale
    rows = orbits.log_sums(left, right, _log(y.masses()), group)
    columns = orbits.log_sums(right, left, _log(x.masses()), group)
    total = _log_total(_log(x.masses()) + rows)
    return LogMean(total, np.exp(rows - total), np.exp(columns - total))


def _within(profile: Profile, samples: Samples, unbiased: bool, group: Group | None) -> LogMean:
    mean = quadratic.within(profile, samples, unbiased, group)
    weights = samples.masses()
    if not unbiased:
        return _logged(mean)
    own = float(weights**2 @ quadratic.own_kernel(profile, samples, group))
    pairs, rest = quadratic.pairs_of(samples)
    if mean.value * pairs > max(TINY, CANCELLED * own):
        return _logged(mean)
    points = samples.points / profile.scale
    rows = orbits.log_sums(points, points, _log(weights), group, np.arange(samples.n))
    total = _log_total(_log(weights) + rows) - math.log(pairs)
    parts = np.exp(rows - np.log(rest) - total)
    return LogMean(total, parts, parts)


def _logged(mean: quadratic.Mean) -> LogMean:
    return LogMean(math.log(mean.value), mean.rows / mean.value, mean.columns / mean.value)


def _log(weights: Array) -> Array:
    with np.errstate(divide="ignore"):  # a row without weight
        return np.log(weights)


def _log_total(logs: Array) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum()))


# ------------------------------------------------------------------------------------- plans


def _plan(
    pool: Samples,
    *,
    unbiased: bool,
    bandwidth: float,
    given: str | None,
    bandwidth_given: Any,
    invariant: str | None,
) -> Pooled:
    if given is not None:
        return conditional.plan(pool, given, (bandwidth_given, bandwidth), unbiased)
    profile = Profile("gaussian", bandwidth)
    means = quadratic.split_means(profile, pool, unbiased=unbiased, invariant=invariant)
    group = quadratic.group_in(pool, invariant)
    own = float(np.mean(quadratic.own_kernel(profile, pool, group))) / pool.n if unbiased else 0.0
    error = 0.0

    def statistic(labels: Labels) -> Array:
        nonlocal error
        across, mean_x, mean_y, typical = means(labels)
        bar = CANCELLED * max(typical, own)
        exact = (across > bar) & (mean_x > bar) & (mean_y > bar)
        values = np.full(labels.shape[1], np.nan)
        values[exact] = np.log(mean_x[exact]) + np.log(mean_y[exact]) - 2 * np.log(across[exact])
        least = min(float(part[exact].min(initial=np.inf)) for part in (across, mean_x, mean_y))
        error = max(error, 4 * quadratic.rounding(pool.n, typical) / least)
        for b in np.flatnonzero(~exact):
            values[b] = _of_split(profile, pool, labels[:, b], group, unbiased)
        return values

    return Pooled(statistic, lambda: error)


def _of_split(
    profile: Profile, pool: Samples, split: NDArray[np.bool_], group: Group | None, unbiased: bool
) -> float:
    """The divergence of one split, where differences of the pool's sums have too few digits."""
    try:
        return plain(profile.scale, pool.take(split), pool.take(~split), group, unbiased).value
    except InconclusiveError:  # no pairs of rows with weight: it counts against us
        return math.nan
