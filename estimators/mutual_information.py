"""Mutual information between groups of columns of one sample, from distances to neighbours."""

import math
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SampleError, SettingError, counted
from divmatch.estimator import Array, Estimate, Pooled, Quantity
from divmatch.estimators.column_groups import Groups, X, Y, constant_columns, groups_of
from divmatch.estimators.neighbour_distance import digamma
from divmatch.estimators.quadratic import negative, rounding
from divmatch.kernels import joint_neighbours
from divmatch.kernels.joint_neighbours import Near
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

NEAREST = 5
MOST = 0.8  # share of the largest value that n rows allow, above which it may be far larger, or inf
HALVES = 0.5  # subsamples of n^(2/3) rows are too sparse: their standard error is a tenth too small

Number = Annotated[int, Setting("which neighbour the distance is taken to", least=1)]
Terms = Callable[[Near, int], Array]

MI = Quantity(
    "mi",
    title="mutual information",
    unit="nats",
    direction="P",
    default="ksg",
    degenerate=True,
    scales=("auto", "none", "ref-sd", "ref-iqr"),
    examples=(
        "divmatch mi real.npy --x 0 --y 1-3",
        "divmatch mi real.parquet --x amount --y age --unit bits --permutations 199",
        "divmatch mi real.npy --x 0 --y 1 --method wasserstein --permutations 99",
    ),
)


@MI.estimator(
    "ksg",
    source="Kraskov, Stögbauer & Grassberger 2004, arXiv cond-mat/0305641, eq. (8)",
    interval="subsampling",
    fraction=HALVES,
)
def ksg(sample: Samples, *, x: X = None, y: Y = None, k: Number = NEAREST) -> Estimate:
    """Mutual information between columns of one sample, from neighbour distances (KSG).

    I(X; Y) = E ln p(x, y) / (p(x) p(y)): zero if and only if X and Y are independent, inf when a
    continuous one determines the other. With eᵢ the distance of row i to its k-th neighbour in all
    columns (the largest difference of any column) and nₓ, n_y the numbers of other rows nearer than
    eᵢ in each group, it is ψ(k) + ψ(n) − mean[ψ(nₓ + 1) + ψ(n_y + 1)]. No density is fitted, and what
    the groups have in common is never smoothed: for independent groups the mean is zero, which makes
    half of the values negative (W01).

    Use it for continuous columns, few in each group. Its value is at most ψ(n) − ψ(k), about ln(n/k);
    near that the truth may be anything above (W02). Columns count by their scale: standardise them
    (--scale) unless they share a unit. Rows with copies have no distance: use the method gao.

    The standard error comes from halves of the sample drawn without replacement. At independence the
    interval is not valid: use --permutations, which permute the rows of y.

    Parameters
    ----------
    sample : Samples
        Rows of shape (n, d), weighted or not.
    x : str
        Columns of the first group: names, positions or globs with commas. Without y, all others are y;
        without both, there must be two columns.
    y : str or list of str
        Columns of the other group; several texts are taken together.
    k : int
        Which neighbour: larger ones are less noisy, and biased where the dependence is strong.

    Returns
    -------
    Estimate
        Mutual information in nats, any sign.

    Raises
    ------
    SampleError
        When rows have k copies or more.
    InconclusiveError
        With fewer than k + 1 rows that carry weight.

    Notes
    -----
    Rows with weights: a number of rows is multiplied by the mean weight of these rows over that of
    all. Permutations, which would give y the weight of another row, are refused for them.

    Cost: O(n log n) time for few columns, else O(n² d); memory O(n). The interval costs a hundred
    times the same of half the rows; B permutations B times as much.

    Source: Kraskov, Stögbauer & Grassberger 2004 (Phys. Rev. E 69, arXiv cond-mat/0305641), eq. (8).

    Examples
    --------
    >>> import divmatch
    >>> rows = [[0.0, 0.0], [1.0, 2.0], [3.0, 5.0], [7.0, 4.0]]
    >>> round(divmatch.mi(rows, k=1).value, 6)
    0.458333
    """
    groups = groups_of(sample, x, y, command="mi")
    return _estimate(sample, groups, k, _ksg_terms)


@MI.estimator(
    "gao",
    source="Gao, Kannan, Oh & Viswanath 2017, arXiv 1709.06212, Algorithm 1",
    interval="subsampling",
    fraction=HALVES,
)
def gao(sample: Samples, *, x: X = None, y: Y = None, k: Number = NEAREST) -> Estimate:
    """Mutual information of columns that are discrete, continuous or a mixture of both.

    As the method ksg, but for a row with copies: with k̃ the number of rows equal to it, itself
    included, and nₓ, n_y the numbers equal to it in each group, its term is
    ψ(k̃) + ln n − ψ(nₓ) − ψ(n_y). For columns of a few values it is nearly the plug-in estimate.

    Use it where values repeat: counts, categories, numbers that were rounded or capped.

    Parameters
    ----------
    sample : Samples
        Rows of shape (n, d), weighted or not.
    x : str
        As for the method ksg.
    y : str or list of str
        As for the method ksg.
    k : int
        As for the method ksg, for rows without k copies.

    Returns
    -------
    Estimate
        Mutual information in nats, any sign.

    Raises
    ------
    InconclusiveError
        With fewer than k + 1 rows that carry weight.

    Notes
    -----
    Cost: as the method ksg.

    Source: Gao, Kannan, Oh & Viswanath 2017 (NeurIPS, arXiv 1709.06212), Algorithm 1.

    Examples
    --------
    >>> import divmatch
    >>> rows = [[0.0, 0.0], [1.0, 1.0]] * 50
    >>> round(divmatch.mi(rows, method="gao").value, 3)
    0.703
    """
    groups = groups_of(sample, x, y, command="mi")
    return _estimate(sample, groups, k, _gao_terms)


def _ksg_terms(near: Near, k: int) -> Array:
    psi = digamma(len(near.radius) + 1)
    return _against(psi[k - 1] + psi[len(near.radius) - 1], near, psi)


def _gao_terms(near: Near, k: int) -> Array:
    n = len(near.radius)
    psi = digamma(n + 1)
    return _against(psi[near.copies - 1] + math.log(n), near, psi)


def _against(both: Any, near: Near, psi: Array) -> Array:
    """What is known of the pair, less ψ of the rows inside in each group, itself included."""
    weights = np.log(near.joint) - np.log(near.weight_x) - np.log(near.weight_y)
    return np.asarray(both - psi[near.inside_x - 1] - psi[near.inside_y - 1] + weights)


def _estimate(sample: Samples, groups: Groups, k: int, terms: Terms) -> Estimate:
    params: dict[str, Any] = {"x": groups.x, "y": groups.y}
    masses = sample.masses()
    kept = np.flatnonzero(masses > 0)
    if len(kept) <= k:
        raise InconclusiveError(
            f"{sample.name}: {counted(len(kept), 'row')}, at least {k + 1} (k + 1 with k = {k}) are needed"
        )
    parts = [sample.points[kept][:, list(group)] for group in groups.columns]
    notes = constant_columns(sample, groups, parts)
    if notes:
        return Estimate(0.0, np.zeros(sample.n), params=params, notes=notes)
    w = masses[kept] / masses[kept].sum()
    near = _found(parts[0], parts[1], k, None if sample.weights is None else w * len(w))
    if terms is _ksg_terms:
        notes = _of_copies(sample, parts, near, k)
    each = terms(near, k)
    value = float(w @ each)
    most = float(np.sum(1.0 / np.arange(k, len(kept))))  # ψ(n) − ψ(k)
    if value > MOST * most and near.radius.all():
        message = (
            f"{len(kept)} rows show no more than {most:.3g}: the truth may be far larger, or inf"
        )
        notes = (*notes, Note("W02", message))
    influence = np.zeros(sample.n)
    influence[kept] = each - value
    return Estimate(value, influence, params=params, notes=(*notes, *negative(value, "dependence")))


def _found(x: Array, y: Array, k: int, weights: Array | None) -> Near:
    return joint_neighbours.near(x, y, k, weights)


def _of_copies(sample: Samples, parts: list[Array], near: Near, k: int) -> tuple[Note, ...]:
    """Refuse rows without a distance, and say that there are copies."""
    lost = int(np.count_nonzero(near.radius == 0))
    if lost:
        raise SampleError(
            f"{sample.name}: {lost} of {len(near.radius)} rows have {k} copies or more and so no distance "
            "to a neighbour; use --method gao"
        )
    rows = np.concatenate(parts, axis=1)
    order = np.lexsort(rows.T)
    copies = int(np.count_nonzero((np.diff(rows[order], axis=0) == 0).all(axis=1)))
    if not copies:
        return ()
    what = f"{copies} of {len(rows)} rows are copies of others"
    return (Note("W03", f"{what}: the value is biased; use --method gao"),)


@ksg.pooled
def ksg_plan(pool: Samples, *, x: str | None, y: str | None, k: int) -> Pooled:
    """The neighbours of every order of the rows of y."""
    return _plan(pool, groups_of(pool, x, y, command="mi"), k, _ksg_terms)


@gao.pooled
def gao_plan(pool: Samples, *, x: str | None, y: str | None, k: int) -> Pooled:
    """The neighbours of every order of the rows of y."""
    return _plan(pool, groups_of(pool, x, y, command="mi"), k, _gao_terms)


def refuse_weights(pool: Samples) -> None:
    """A permutation of y would give a row the weight of another."""
    if pool.weights is not None:
        raise SettingError(
            "mi: rows with weights have no permutations, which would give y the weight of another row; "
            "leave out --permutations"
        )


def _plan(pool: Samples, groups: Groups, k: int, terms: Terms) -> Pooled:
    refuse_weights(pool)
    left, right = (pool.points[:, list(group)] for group in groups.columns)
    constant = bool(constant_columns(pool, groups, [left, right]))

    def one(order: NDArray[np.int64]) -> float:
        if constant:
            return 0.0
        near = _found(left, right[order], k, None)
        if terms is _ksg_terms and not near.radius.all():
            return math.nan  # undefined, which counts against us
        return float(terms(near, k).mean())

    def statistic(orders: NDArray[np.int64]) -> Array:
        return np.array([one(order) for order in orders.T])

    return Pooled(statistic, lambda: rounding(pool.n, 1.0 + math.log(pool.n)), draws="orders")
