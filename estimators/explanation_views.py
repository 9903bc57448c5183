"""What a column looks like in both samples, in its own units: for people who read an explanation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.explanation_features import Column, masses_of, ranks, values_of
from divmatch.samples import Samples

Array = NDArray[np.float64]
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
CLEARLY = 1.5  # times as far as the median


def typical(column: Column, x: Samples, y: Samples) -> dict[str, Any]:
    """What moved most: a quantile of a number, or the share of a word.

    The median where no other quantile moved clearly more.
    """
    pair = [(values_of(column, one), one.masses()) for one in (x, y)]
    if column.gap:
        return {"word": "yes", "masses": [float(masses @ values) for values, masses in pair]}
    if not column.words:
        p, q = (quantiles(values, masses) for values, masses in pair)
        moved = np.abs(q - p)
        moved[LEVELS.index(0.5)] *= CLEARLY
        k = int(np.argmax(moved))
        return {"level": LEVELS[k], "quantiles": [float(p[k]), float(q[k])]}
    shares = [masses_of(column, one) for one in (x, y)]
    place = int(np.argmax(np.abs(shares[1] - shares[0])))
    return {"word": column.words[place], "masses": [float(own[place]) for own in shares]}


def quantiles(values: Array, masses: Array, levels: tuple[float, ...] = LEVELS) -> Array:
    """Where these shares of the mass end: between two values if they end there."""
    order = np.argsort(values)
    upto = np.cumsum(masses[order])
    near, last = 1e-12 * upto[-1], len(values) - 1
    low, high = (
        np.minimum(np.searchsorted(upto, np.array(levels) * upto[-1] + side), last)
        for side in (-near, near)
    )
    line = values[order]
    made: Array = (line[low] + line[high]) / 2.0
    return made


def rank_correlation(one: Column, other: Column, samples: Samples) -> float | None:
    """Spearman's, of two numbers; None for categories and where one of them is constant."""
    if one.words or other.words:
        return None
    masses = samples.masses()
    lines = []
    for column in (one, other):
        below, own = ranks(values_of(column, samples), masses)
        middle = below + own / 2
        lines.append(middle - masses @ middle)
    spread = [float(masses @ line**2) for line in lines]
    if min(spread) < 1e-12:
        return None
    return float(masses @ (lines[0] * lines[1])) / (spread[0] * spread[1]) ** 0.5
