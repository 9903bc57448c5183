"""Permutation tests: drawn, sequential or complete, for any statistic and any design."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.designs import Design, Exchange
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Array, Estimator, Pooled
from divmatch.intervals import normal_quantile
from divmatch.kernels.execution import execution
from divmatch.randomness import stream
from divmatch.record import Result, Test
from divmatch.samples import Samples
from divmatch.sequential import monte_carlo_se, sequential_p_value, stop

BETTER = {"lower": 1.0, "higher": -1.0}  # in which direction a statistic speaks for a difference
SPLITS = 512  # splits a pass: enough to drown the cost of making the tiles, few enough for memory
DETECTABLE_POWER = 0.8
ROUNDING = 1e-12  # a spread below this share of the values is none
ALPHA = 0.05


def permutation_test(
    estimator: Estimator,
    x: Samples,
    y: Samples,
    settings: Mapping[str, Any],
    *,
    permutations: int,
    seed: int = 0,
    design: Design | None = None,
    precision: float | None = None,
) -> Test:
    """Exact in level for any n and m: p = (1 + #{T_b >= T}) / (B + 1), ties against us.

    T_b <= T counts where higher is better: what is small speaks for a difference. Rows keep their
    weights when their labels move. The pool is put in random order first, so that
    a plan that breaks ties by row number cannot see the labels.

    Parameters
    ----------
    estimator : Estimator
        The statistic.
    x, y : Samples
        The reference P and the candidate Q.
    settings : mapping
        Checked settings of the estimator.
    permutations : int
        The most splits that are drawn. Where there are no more than these beside the observed one,
        each of them is taken once.
    seed : int
        Seed of the pool's order and of the splits.
    design : Design, optional
        Which rows may be exchanged; all with one another if not given.
    precision : float, optional
        Stop as soon as the Monte Carlo error of the p-value is at most this.
    """
    pool, observed = shuffled_pool(x, y, seed)
    exchange = Exchange.of_rows(observed) if design is None else exchanged(design, seed)
    plan = estimator.plan(pool, **settings)
    of = estimator.quantity
    return permuted(
        plan, pool.n, exchange, permutations, seed, of.name,
        precision=precision, sign=BETTER[of.better],
    )  # fmt: skip


def permuted(
    plan: Pooled,
    n: int,
    observed: Exchange | NDArray[np.bool_] | None,
    permutations: int,
    seed: int,
    name: str,
    *,
    precision: float | None = None,
    alpha: float = ALPHA,
    sign: float = 1.0,
) -> Test:
    """The test whether a statistic is larger at the observed split, signs or order than at random ones.

    With ``sign`` −1, whether it is smaller.
    """
    if isinstance(observed, np.ndarray):
        observed = Exchange.of_rows(observed)
    splits = observed.splits(permutations + 1) if observed and plan.draws == "labels" else None
    first, draw = _draws(plan, n, observed)
    if splits is not None and observed is not None:
        drawn, permutations, precision = observed.others(), splits - 1, None
    else:
        rng = stream(seed, "permutations")
        drawn = (draw(rng) for _ in range(permutations))
    with np.errstate(all="ignore"):  # a split without any weight is undefined: it counts against us
        values, as_large = _compared(plan, first, drawn, permutations, precision, name, sign)
    count, used = int(np.count_nonzero(as_large)), len(as_large)
    p_value = (1 + count) / (1 + used)
    if precision is not None:
        p_value = sequential_p_value(count, used, precision)
    how = "wild-bootstrap" if plan.draws == "signs" else "permutation"
    return Test(
        p_value=p_value,
        method=how if splits is None else "exact",
        permutations=used,
        null=null_of(values, alpha, sign),
        error=monte_carlo_se(count, used) if splits is None else 0.0,
    )


Draw = Callable[["np.random.Generator"], NDArray[Any]]


def _draws(plan: Pooled, n: int, exchange: Exchange | None) -> tuple[NDArray[Any], Draw]:
    """What was observed, and how to draw another one under the null hypothesis."""
    if plan.draws == "signs":
        return np.ones(n), lambda rng: 1.0 - 2.0 * rng.integers(0, 2, n)
    if plan.draws == "orders":
        own = np.tile(np.arange(n), plan.moved)
        return own, lambda rng: np.concatenate([rng.permutation(n) for _ in range(plan.moved)])
    if exchange is None:
        exchange = Exchange.of_rows(np.ones(n, dtype=bool))
    return exchange.labels, exchange.drawing()


def _compared(
    plan: Pooled,
    observed: NDArray[Any],
    drawn: Iterable[NDArray[Any]],
    permutations: int,
    precision: float | None,
    name: str,
    sign: float,
) -> tuple[Array, NDArray[np.bool_]]:
    """The statistic of random draws, and whether it is as large as the observed one.

    With a precision, draws beyond the one that was enough are left out, so that the memory, which
    decides how many are evaluated at once, changes nothing.
    """
    first, used, count = math.nan, 0, 0
    found: list[Array] = []
    larger: list[NDArray[np.bool_]] = []
    for labels in _blocks(observed, drawn, permutations):
        values = plan.statistic(labels)
        if not found:
            first, values = float(values[0]), values[1:]
            if math.isnan(first) or first == -math.inf:
                raise InconclusiveError(f"{name}: {first} cannot be compared in a test")
        bar = sign * first  # inf is as large as another inf, and larger than any number
        if math.isfinite(first):
            bar -= max(plan.rounding(), 1e-12 * abs(first))
        found.append(values)
        larger.append(~(sign * values < bar))  # an undefined value counts against us
        end = None if precision is None else stop(larger[-1], precision, count, used)
        if end is not None:
            found[-1], larger[-1] = values[:end], larger[-1][:end]
            break
        used, count = used + len(values), count + int(np.count_nonzero(larger[-1]))
    return np.concatenate(found), np.concatenate(larger)


def pool_order(rows: int, seed: int) -> NDArray[np.intp]:
    """The random order of the pool: x's rows are the first of those that it numbers."""
    return np.asarray(stream(seed, "pool").permutation(rows), dtype=np.intp)


def shuffled_pool(x: Samples, y: Samples, seed: int) -> tuple[Samples, NDArray[np.bool_]]:
    """The rows of both samples in random order, and which of them are of x."""
    for one in (x, y):
        if one.n != len(one.points):
            raise SettingError(
                f"--permutations: {one.name} holds moments and no rows; leave it out"
            )
    order = pool_order(x.n + y.n, seed)
    points = np.concatenate([x.points, y.points])[order]
    weights = None
    if x.weights is not None or y.weights is not None:
        both = np.concatenate([x.masses() * x.n, y.masses() * y.n])[order]
        weights = both / both.sum()
    return Samples(points, weights, "pool", x.columns), order < x.n


def exchanged(design: Design, seed: int) -> Exchange:
    """What a design allows to exchange in the pool of the same seed."""
    return design.exchange(pool_order(len(design.units), seed))


def _blocks(
    observed: NDArray[Any], drawn: Iterable[NDArray[Any]], permutations: int
) -> Iterator[NDArray[Any]]:
    """The observed draw, then others, in blocks that fit the memory.

    The b-th draw does not depend on the blocks.
    """
    rows, draws = len(observed), chain([observed], drawn)
    block = max(1, min(permutations + 1, SPLITS, execution().memory // (40 * rows)))
    for start in range(0, permutations + 1, block):
        size = min(block, permutations + 1 - start)
        labels = np.empty((size, rows), dtype=observed.dtype)
        for b in range(size):
            labels[b] = next(draws)
        yield labels.T


def null_of(values: Array, alpha: float = ALPHA, sign: float = 1.0) -> dict[str, float]:
    """Mean, spread and quantiles of the statistic under the null hypothesis, and what would be seen."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return {}
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    high = float(np.quantile(known, 0.95, method="higher"))
    critical = sign * float(np.quantile(sign * known, 1 - alpha, method="higher"))
    return {
        "mean": float(known.mean()),
        "sd": spread,
        "q95": high,
        "critical": critical,
        "detectable": sign * _detectable(sign * critical, spread, 0.0),
    }


def with_power(test: Test, result: Result, alpha: float, *, degenerate: bool) -> Test:
    """The test with its power at the estimate, and the effect that is seen in four cases of five.

    Both go by the critical value of the permutations. Where influences vanish at equal distributions
    (``degenerate``), the variance of the estimate grows with the divergence D from that of the
    permuted values: it is s₀² + D se² / value. The power is never below alpha, which it is where there
    is no difference.
    """
    if not test.null or not math.isfinite(result.value):
        return test
    largest = max(abs(test.null["mean"]), abs(result.value))
    if test.null["sd"] <= ROUNDING * largest:  # no split differs from another: nothing can be seen
        null = {key: value for key, value in test.null.items() if key != "detectable"}
        return replace(test, null=null, power=alpha)
    # in a design, rows that belong together are alike and pull the statistic below 0 at equality
    pull = min(test.null["mean"], 0.0) if test.design is not None else 0.0
    critical, noise, se = test.null["critical"] - pull, test.null["sd"], result.se or 0.0
    value = result.value - pull
    spread = math.hypot(noise, se) if degenerate else max(noise, se)
    power = 1.0 if value > critical else alpha
    if spread > 0:
        power = max(alpha, 0.5 * math.erfc((critical - value) / (spread * math.sqrt(2))))
    growth = se**2 / max(value, noise) if degenerate and max(value, noise) > 0 else 0.0
    if not degenerate:
        noise = spread
    null = {**test.null, "detectable": _detectable(critical, noise, growth)}
    return replace(test, null=null, power=power)


def _detectable(critical: float, noise: float, growth: float) -> float:
    """The solution D of D = critical + z sqrt(noise² + growth D)."""
    z = normal_quantile(DETECTABLE_POWER)
    half = z * z * growth / 2
    square = 2 * half * critical + half**2 + (z * noise) ** 2
    return critical + half + math.sqrt(max(square, 0.0))
