"""What a column looks like in both samples, in its own units: for people who read an explanation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.explanation_features import Column, masses_of, ranks, values_of
from divmatch.samples import Samples

Array = NDArray[np.float64]


def typical(column: Column, x: Samples, y: Samples) -> dict[str, Any]:
    """The medians of a number; of a category the word whose share differs most, and its shares."""
    pair = [(values_of(column, one), one.masses()) for one in (x, y)]
    if column.gap:
        return {"word": "yes", "masses": [float(masses @ values) for values, masses in pair]}
    if not column.words:
        return {"median": [median(values, masses) for values, masses in pair]}
    shares = [masses_of(column, one) for one in (x, y)]
    place = int(np.argmax(np.abs(shares[1] - shares[0])))
    return {"word": column.words[place], "masses": [float(own[place]) for own in shares]}


def median(values: Array, masses: Array) -> float:
    """The middle of the mass: between two values where one half ends there."""
    order = np.argsort(values)
    upto = np.cumsum(masses[order])
    near = 1e-12 * upto[-1]
    low, high = np.searchsorted(upto, [upto[-1] / 2 - near, upto[-1] / 2 + near], side="left")
    line = values[order]
    last = len(line) - 1
    return float((line[min(low, last)] + line[min(high, last)]) / 2)


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
