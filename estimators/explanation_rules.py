"""Rules: conjunctions of conditions that hold more or less of Q than of P.

They are found on one half of the rows and tested on the other half, which had no part in the choice.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.explanation_features import values_of
from divmatch.estimators.explanation_search import (
    Conditions,
    Grid,
    coded,
    grid_of,
    searched,
    text_of,
)
from divmatch.multiplicity import holm
from divmatch.randomness import stream
from divmatch.samples import Samples


@dataclass(frozen=True)
class Rule:
    """A rule with its mass in P and Q on rows that had no part in finding it.

    ``ratio`` is mass in Q by that in P; the interval is for this rule alone, ``adjusted`` is Holm's
    p-value for all rules of the run.
    """

    text: str
    columns: tuple[str, ...]
    masses: tuple[float, float]
    ratio: float
    low: float
    high: float
    p_value: float
    adjusted: float
    rows: tuple[int, int]  # of the half that it was tested on


def rules(
    x: Samples, y: Samples, *, top: int = 5, level: float = 0.95, seed: int = 0
) -> tuple[Rule, ...]:
    """Find rules of at most three conditions on one half of the rows, and test them on the other.

    Only rules are tested that hold more or less of Q than the best of as many would by chance.

    Parameters
    ----------
    x, y : Samples
        Reference and candidate, with the same columns in their own units.
    top : int
        The most rules that are tested. No two of them hold mostly the same rows.
    level : float
        Of the intervals, each of which is for its rule alone.
    seed : int
        Of the halves.

    Returns
    -------
    tuple of Rule
        In the order in which they were found: the clearest first.

    Notes
    -----
    The interval is the conditional one of Clopper & Pearson 1934 (Biometrika 26): given the rows in
    both samples that a rule holds, those of Q are taken as binomial. It is exact for rare rules and
    too wide by up to sqrt(2) for one that holds half of the mass. The p-value belongs to it.

    Cost: O((n + m) d²) time, O((n + m) d) memory.
    """
    halves = [
        np.array_split(stream(seed, "explain", "halves", role).permutation(one.n), 2)
        for one, role in ((x, "p"), (y, "q"))
    ]
    for one, parts in zip((x, y), halves, strict=True):
        if one.weights is not None and any(one.weights[part].sum() == 0 for part in parts):
            return ()  # so few rows carry weight that a half has none
    found, held = ((x.take(halves[0][k]), y.take(halves[1][k])) for k in (0, 1))
    grid = grid_of(*found)
    chosen = searched(grid, top)
    tested = [tested_on(grid, rule, *held, level) for rule in chosen]
    tested = [rule for rule in tested if not math.isnan(rule.ratio)]
    adjusted = holm([rule.p_value for rule in tested])
    return tuple(replace(rule, adjusted=p) for rule, p in zip(tested, adjusted, strict=True))


def tested_on(grid: Grid, conditions: Conditions, x: Samples, y: Samples, level: float) -> Rule:
    """A rule on rows that had no part in the search."""
    masses, counts, sizes = [], [], []
    for one in (x, y):
        kept = np.ones(one.n, dtype=np.bool_)
        for c in conditions:
            column = grid.columns[c.column]
            codes = coded(column, grid.cuts[c.column], values_of(column, one))
            kept &= (codes >= c.low) & (codes <= c.high)
        mass, size = _mass(one, kept)
        masses.append(mass)
        counts.append(mass * size)
        sizes.append(size)
    ratio = masses[1] / masses[0] if masses[0] > 0 else math.inf if masses[1] > 0 else math.nan
    low, high, p = ratio_interval((counts[0], counts[1]), (sizes[0], sizes[1]), level)
    return Rule(
        text_of(grid, conditions),
        tuple(dict.fromkeys(grid.columns[c.column].name for c in conditions)),
        (masses[0], masses[1]), ratio, low, high, p, p, (x.n, y.n),
    )  # fmt: skip


def _mass(samples: Samples, kept: NDArray[np.bool_]) -> tuple[float, float]:
    """The mass of some rows, and how many equal rows would know it as well."""
    if samples.weights is None:
        return float(np.count_nonzero(kept)) / samples.n, float(samples.n)
    mass = float(samples.weights[kept].sum())
    variance = float(np.sum(samples.weights**2 * (kept - mass) ** 2))
    if variance == 0.0 or not 0.0 < mass < 1.0:
        return mass, samples.effective_size()
    return mass, mass * (1.0 - mass) / variance


def ratio_interval(
    counts: tuple[float, float], sizes: tuple[float, float], level: float
) -> tuple[float, float, float]:
    """Interval and two-sided p-value (of ratio 1) of two masses' ratio, second by first.

    Given a + b, b is binomial with probability m ratio / (n + m ratio), and a, b may be fractions.
    """
    from scipy.special import betainc, betaincinv

    (a, b), (n, m) = counts, sizes
    a, b = (_whole(value) for value in (a, b))
    if a + b == 0:
        return 0.0, math.inf, 1.0
    tail = (1.0 - level) / 2.0
    low = float(betaincinv(b, a + 1.0, tail)) if b > 0 else 0.0
    high = float(betaincinv(b + 1.0, a, 1.0 - tail)) if a > 0 else 1.0
    equal = m / (n + m)
    upper = float(betainc(b, a + 1.0, equal)) if b > 0 else 1.0
    lower = float(betainc(a, b + 1.0, 1.0 - equal)) if a > 0 else 1.0
    odds = [value / (1.0 - value) * n / m if value < 1.0 else math.inf for value in (low, high)]
    p = min(1.0, 2.0 * min(upper, lower))
    return odds[0], odds[1], max(p, float(np.finfo(float).tiny))


def _whole(value: float) -> float:
    """A count without the rounding of its mass."""
    near = round(value)
    return float(near) if math.isclose(value, near, rel_tol=1e-9) else value
