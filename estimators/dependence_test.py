"""Permutations of the rows of y: the distance covariance of every order, from what is common to all."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError
from divmatch.estimator import Array, Pooled
from divmatch.estimators import distance_moments as moments
from divmatch.estimators.column_groups import (
    constant_groups,
    covariance_of,
    distances_of,
    groups_of,
)
from divmatch.estimators.quadratic import rounding
from divmatch.kernels.products import Centred, permuted_products, permuted_sums
from divmatch.samples import Samples

Orders = NDArray[np.int64]


def plan(
    pool: Samples, *, unbiased: bool, x: str | None, y: str | None, kind: str, form: str
) -> Pooled:
    """The statistic of every order of the rows of y: all else is the same for all orders."""
    if pool.weights is not None:
        raise SettingError(
            "dcor: rows with weights have no permutations, which would give y the weight of another "
            "row; leave out --permutations"
        )
    groups, n = groups_of(pool, x, y, form), pool.n
    moved = len(groups.columns) - 1
    nothing = Pooled(lambda orders: np.zeros(orders.shape[1]), draws="orders", moved=moved)
    if constant_groups(pool, groups) or (unbiased and n < 4):
        return nothing
    parts = [distances_of(pool, g) for g in groups.columns]
    scales = [1.0] * len(parts)
    if kind == "correlation":
        own = [covariance_of(pool, g, g, unbiased) for g in groups.columns]
        if min(v.value for v in own) <= 0:
            return nothing
        scales = [v.value**-0.5 for v in own]
    size = float(np.prod([s * (g.mean or 1.0) for s, g in zip(scales, parts, strict=True)]))
    constant = 1.0 if form == "joint" else 0.0
    if form == "pair" and all(part.points.shape[1] == 1 for part in parts):
        statistic = _on_lines(parts, scales[0] * scales[1], pool.masses(), unbiased=unbiased)
    else:
        centred = [
            moments.centred(g, n, unbiased=unbiased, scale=s)
            for g, s in zip(parts, scales, strict=True)
        ]
        statistic = _streamed(centred, constant, n, unbiased=unbiased)
    return Pooled(
        statistic, lambda: rounding(n, 4.0 * size + constant), draws="orders", moved=moved
    )


def _on_lines(
    parts: Sequence[moments.Distances], scale: float, w: Array, *, unbiased: bool
) -> Callable[[Orders], Array]:
    """Of two single columns, from sums in n log n."""
    (left, right), n = parts, len(w)
    total = left.mean * right.mean

    def statistic(orders: Orders) -> Array:
        products = permuted_sums(left.points[:, 0], right.points[:, 0], orders) / n**2
        both = np.array([left.sums @ right.sums[order] for order in orders.T]) / n
        if unbiased:
            ones, threes, fours = moments.distinct(w)
            three = (both - products / n) / threes
            four = (total - 4 * both / n + 2 * products / n**2) / fours
            return scale * (products / ones - 2 * three + four)
        return scale * (products - 2 * both + total)

    return statistic


def _streamed(
    centred: Sequence[Centred], constant: float, n: int, *, unbiased: bool
) -> Callable[[Orders], Array]:
    """Of groups of any number and width, from products in n²."""

    def statistic(orders: Orders) -> Array:
        order = orders.reshape(len(centred) - 1, n, -1)
        total = permuted_products(centred, constant, order)
        if not unbiased:
            return total / n**2 - constant ** len(centred)
        sums = total - _diagonals(centred, constant, order)
        return np.array([moments.joint_value(s, n, len(centred), constant) for s in sums])

    return statistic


def _diagonals(centred: Sequence[Centred], constant: float, orders: Orders) -> Array:
    """Σᵢ Π_g (U^g at row σ_g(i) twice, + c), which the U-statistic leaves out, for every order."""
    first, *others = (part.own() + constant for part in centred)

    def one(b: int) -> float:
        moved = [own[orders[g, :, b]] for g, own in enumerate(others)]
        return float(np.sum(np.prod([first, *moved], axis=0)))

    return np.array([one(b) for b in range(orders.shape[2])])
