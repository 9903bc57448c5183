"""Whether rows of two candidates can be exchanged without changing which is nearer to a reference."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.designs import Exchange
from divmatch.errors import InconclusiveError
from divmatch.estimator import Estimator, Pooled
from divmatch.inference import seed_of
from divmatch.kernels.execution import one_blas_thread
from divmatch.permutations import permuted, pool_order, shuffled_pool
from divmatch.record import Test
from divmatch.samples import Samples


def exchange_test(
    estimator: Estimator,
    reference: Samples,
    a: Samples,
    b: Samples,
    settings: Mapping[str, Any],
    *,
    permutations: int,
    seed: int = 0,
    paired: bool = False,
) -> Test:
    """Exchange rows of A and B: exact, for any statistic, if both are of one distribution.

    The statistic is |D(reference, A) − D(reference, B)|. If ``paired``, rows are exchanged within
    their pairs. Settings left to the data must be fixed: see `divmatch.comparison.held`.
    """
    pool, of_a = shuffled_pool(a, b, seed)
    with one_blas_thread(), np.errstate(all="ignore"):
        fixed = {**settings, **seed_of(estimator, seed)}
        plan = _plan(estimator, reference, pool, fixed)
        whole = Pooled(lambda labels: np.abs(plan.statistic(labels)), plan.rounding)
        exchange = Exchange.of_rows(of_a)
        if paired:
            exchange = replace(exchange, strata=pool_order(pool.n, seed) % a.n)
        return permuted(whole, pool.n, exchange, permutations, seed, estimator.quantity.name)


def larger(normal: float | None, exchanged: Test | None) -> Test | None:
    """One p-value for `D(reference, A) = D(reference, B)`, whichever way it holds.

    If A and B are of one distribution the permutations are exact; if they differ and are equally
    far, the normal one holds, and permutations, which know nothing of the reference's luck, do
    not. The larger of both is right in either case: Berger 1982, Technometrics 24.
    """
    if exchanged is None:
        return None if normal is None else Test(normal, "normal", 0, {})
    if normal is None:
        return exchanged
    p = max(normal, exchanged.p_value)
    return replace(exchanged, p_value=p, method="permutation and normal")


def _plan(
    estimator: Estimator, reference: Samples, pool: Samples, settings: Mapping[str, Any]
) -> Pooled:
    """D(reference, rest) − D(reference, part) of the splits of the pool."""
    if estimator.quantity.direction_of(settings) == "symmetric":
        return estimator.contrast(pool, reference, **settings)

    def one(split: NDArray[np.bool_]) -> float:
        try:
            rest, part = (
                estimator(reference, pool.take(rows), **settings).value for rows in (~split, split)
            )
        except InconclusiveError:
            return math.nan
        return rest - part

    return Pooled(lambda labels: np.array([one(labels[:, b]) for b in range(labels.shape[1])]))
