"""Permutation tests: a statistic at what was observed against the same at random draws.

All numbers follow from the seed, whatever the number of threads.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Array, Estimator, Pooled
from divmatch.intervals import normal_quantile
from divmatch.kernels.execution import execution
from divmatch.randomness import stream
from divmatch.record import Test
from divmatch.samples import Samples

BETTER = {"lower": 1.0, "higher": -1.0}  # in which direction a statistic speaks for a difference
SPLITS = 512  # splits a pass: enough to drown the cost of making the tiles, few enough for memory
DETECTABLE_POWER = 0.8


def permutation_test(
    estimator: Estimator,
    x: Samples,
    y: Samples,
    settings: Mapping[str, Any],
    *,
    permutations: int,
    seed: int = 0,
) -> Test:
    """Exact in level for any n and m: p = (1 + #{T_b >= T}) / (B + 1), ties against us.

    T_b <= T counts where higher is better: what is small speaks for a difference. Rows keep their
    weights when their labels move. The pool is put in random order first, so that
    a plan that breaks ties by row number cannot see the labels.
    """
    return tested(estimator, *shuffled_pool(x, y, seed), settings, permutations, seed)


def tested(
    estimator: Estimator,
    pool: Samples,
    observed: NDArray[np.bool_] | None,
    settings: Mapping[str, Any],
    permutations: int,
    seed: int,
) -> Test:
    """The test of an estimator on a pool: of rows labelled as observed, or of the rows of one sample."""
    plan = estimator.plan(pool, **settings)
    of = estimator.quantity
    return permuted(plan, pool.n, observed, permutations, seed, of.name, sign=BETTER[of.better])


def permuted(
    plan: Pooled,
    n: int,
    observed: NDArray[np.bool_] | None,
    permutations: int,
    seed: int,
    name: str,
    *,
    sign: float = 1.0,
) -> Test:
    """The test whether a statistic is larger at the observed split, signs or order than at random ones.

    With ``sign`` −1, whether it is smaller.
    """
    with np.errstate(all="ignore"):  # a split without any weight is undefined: it counts against us
        splits = _all_splits(plan, *_draws(plan, n, observed), permutations, seed)
    first, values = float(splits[0]), splits[1:]
    if math.isnan(first) or first == -math.inf:
        raise InconclusiveError(f"{name}: {first} cannot be compared in a test")
    bar = sign * first  # inf is as large as another inf, and larger than any number
    if math.isfinite(first):
        bar -= max(plan.rounding(), 1e-12 * abs(first))
    as_large = int(np.count_nonzero(~(sign * values < bar)))  # an undefined value counts against us
    return Test(
        p_value=(1 + as_large) / (1 + permutations),
        method="wild-bootstrap" if plan.draws == "signs" else "permutation",
        permutations=permutations,
        null=null_of(values, sign),
    )


Draw = Callable[[np.random.Generator], NDArray[Any]]


def _draws(plan: Pooled, n: int, labels: NDArray[np.bool_] | None) -> tuple[NDArray[Any], Draw]:
    """What was observed, and how to draw another one under the null hypothesis."""
    if plan.draws == "signs":
        return np.ones(n), lambda rng: 1.0 - 2.0 * rng.integers(0, 2, n)
    if plan.draws == "orders":
        own = np.tile(np.arange(n), plan.moved)
        return own, lambda rng: np.concatenate([rng.permutation(n) for _ in range(plan.moved)])
    observed = np.ones(n, dtype=bool) if labels is None else labels
    return observed, lambda rng: rng.permutation(observed)


def _all_splits(
    plan: Pooled, observed: NDArray[Any], draw: Draw, permutations: int, seed: int
) -> Array:
    """The statistic of the observed draw and of every random one, in one pass over the pool."""
    blocks = _splits(observed, draw, permutations, seed)
    return np.concatenate([plan.statistic(labels) for labels in blocks])


def pool_order(rows: int, seed: int) -> NDArray[np.intp]:
    """The random order of the pool: x's rows are the first of those that it numbers."""
    return stream(seed, "pool").permutation(rows)


def shuffled_pool(x: Samples, y: Samples, seed: int) -> tuple[Samples, NDArray[np.bool_]]:
    """The rows of both samples in random order, and which of them are of x."""
    order = pool_order(x.n + y.n, seed)
    points = np.concatenate([x.points, y.points])[order]
    weights = None
    if x.weights is not None or y.weights is not None:
        both = np.concatenate([x.masses() * x.n, y.masses() * y.n])[order]
        weights = both / both.sum()
    return Samples(points, weights, "pool", x.columns), order < x.n


def _splits(
    observed: NDArray[Any], draw: Draw, permutations: int, seed: int
) -> Iterator[NDArray[Any]]:
    """The observed draw, then random ones, in blocks that fit the memory.

    The b-th draw does not depend on the blocks.
    """
    rng = stream(seed, "permutations")
    rows = len(observed)
    block = max(1, min(permutations + 1, SPLITS, execution().memory // (40 * rows)))
    for start in range(0, permutations + 1, block):
        size = min(block, permutations + 1 - start)
        labels = np.empty((size, rows), dtype=observed.dtype)
        for b in range(size):
            labels[b] = draw(rng) if start + b else observed
        yield labels.T


def null_of(values: Array, sign: float) -> dict[str, float]:
    """Mean, spread and 95 % point of the statistic under the null hypothesis, and what would be seen."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return {}
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    high = float(np.quantile(known, 0.95, method="higher"))
    edge = sign * float(np.quantile(sign * known, 0.95, method="higher"))
    detectable = edge + sign * normal_quantile(DETECTABLE_POWER) * spread
    return {"mean": float(known.mean()), "sd": spread, "q95": high, "detectable": detectable}
