"""Two sorted samples read as one, in segments of fixed length: the same digits for any number of threads.

A sorted sample is an array of its n numbers in their order, and infinity behind them, so that a merge
needs no test for its end. At a number of the merged line q = i·m − j·n, where i numbers of x and j of
y stand before it: n·m (F − G), exact.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import earned_twin
from divmatch.kernels.execution import in_order, steps_of

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

SEGMENT = 8192  # numbers: sums within a segment stay in the cache and lose few digits
TOGETHER = 32  # segments a task
COMPILED_FROM = 8e6  # numbers walked from which loading the compiled twin has paid; same digits
WORK = 16.0  # elementary operations a number


def ordered(values: Array) -> Array:
    """A sorted copy with infinity behind it, shape (n + 1,)."""
    made = np.empty(len(values) + 1)
    made[:-1] = values
    made[:-1].sort()
    made[-1] = np.inf
    return made


def distance_moments(
    x: Array, y: Array, *, unbiased: bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Mean and sum of squared deviations of p over x, and of p over y; x and y sorted.

    With f(t) and g(t) the mean distances of t to the numbers of x and of y, p is g − c f at the
    numbers of x and f − c' g at those of y; c = n/(n − 1) and c' = m/(m − 1) if unbiased, else 1. The
    sum of both means is the energy distance, 2 p the influence of each number on it.

    Both are followed along the line from gap to gap: d = Σ h·q falls as g − f rises, f = Σ h·(2 i − n).
    What they start from follows from what they end with. Time O(n + m).
    """
    n, m = len(x) - 1, len(y) - 1
    along_x = m / (2.0 * (n - 1)) if unbiased else 0.0
    along_y = -0.5 if unbiased else 0.0
    cuts = _cuts(x, y)
    found = np.empty((len(cuts[0]) - 1, 7))
    twin = earned_twin(float(n + m), COMPILED_FROM)

    def fill(part: slice) -> None:
        places = slice(part.start, part.stop + 1)
        twin.distance_walk(x, y, cuts[0][places], cuts[1][places], along_x, along_y, found[part])

    _filled(fill, len(found), n + m)
    d, f = found[:, 0], found[:, 1]
    span = max(x[n - 1], y[m - 1]) - min(x[0], y[0])
    d_before = np.cumsum(d) - d - d.sum() / 2.0
    f_before = np.cumsum(f) - f + (n * span - f.sum()) / 2.0
    scale_x, scale_y = -2.0 / (float(n) * m), 2.0 / (float(n) * m)
    if unbiased:
        scale_y *= m / (m - 1)
    of_x = _moments(np.diff(cuts[0]), d_before + along_x * f_before, found[:, 2], found[:, 3])
    of_y = _moments(np.diff(cuts[1]), d_before + along_y * f_before, found[:, 4], found[:, 5])
    return (
        (scale_x * of_x[0], scale_x**2 * of_x[1]),
        (scale_y * of_y[0], scale_y**2 * of_y[1]),
    )


def gaps(x: Array, y: Array) -> tuple[float, float]:
    """∫ |F − G| and max |F − G| of the distribution functions of two sorted samples. Time O(n + m)."""
    n, m = len(x) - 1, len(y) - 1
    _, found = _signs(x, y)
    return float(found[:, 0].sum()) / n / m, float(found[:, 6].max()) / n / m


def signed_gaps(x: Array, y: Array) -> tuple[float, float, float]:
    """∫ |F − G|, and the sums of squared deviations over x and over y of ∫ sign(F − G) up to there.

    The integral is W₁, that of the signs its potential but for a constant. Time O(n + m).
    """
    n, m = len(x) - 1, len(y) - 1
    cuts, found = _signs(x, y)
    rises = found[:, 1]
    before = np.cumsum(rises) - rises
    of_x = _moments(np.diff(cuts[0]), before, found[:, 2], found[:, 3])
    of_y = _moments(np.diff(cuts[1]), before, found[:, 4], found[:, 5])
    return float(found[:, 0].sum()) / n / m, of_x[1], of_y[1]


def _signs(x: Array, y: Array) -> tuple[tuple[Integers, Integers], Array]:
    """The cuts, and what `sign_walk` finds between them."""
    numbers = len(x) + len(y) - 2
    cuts = _cuts(x, y)
    found = np.empty((len(cuts[0]) - 1, 7))
    twin = earned_twin(float(numbers), COMPILED_FROM)

    def fill(part: slice) -> None:
        places = slice(part.start, part.stop + 1)
        twin.sign_walk(x, y, cuts[0][places], cuts[1][places], found[part])

    _filled(fill, len(found), numbers)
    return cuts, found


def _filled(fill: Callable[[slice], None], segments: int, numbers: int) -> None:
    """Every segment's sums, on the threads in force."""
    for _ in in_order(fill, steps_of(segments, TOGETHER), work=WORK * numbers):
        pass


def _moments(counts: Integers, before: Array, sums: Array, squares: Array) -> tuple[float, float]:
    """Mean and sum of squared deviations from those of the segments, each relative to ``before``."""
    some = counts > 0
    counts, before = counts[some], before[some]
    sums, squares = sums[some], squares[some]
    own = sums / counts
    mean = float(np.sum(counts * (before + own)) / counts.sum())
    within = np.maximum(squares - sums * own, 0.0)
    return mean, float(np.sum(within) + np.sum(counts * (before + own - mean) ** 2))


def _cuts(x: Array, y: Array) -> tuple[Integers, Integers]:
    """How many numbers of x, and of y, stand before each segment; equal ones of x come first."""
    n, m = len(x) - 1, len(y) - 1
    ends = np.append(np.arange(0, n + m, SEGMENT), n + m)
    low, high = np.maximum(ends - m, 0), np.minimum(ends, n)
    while (unknown := low < high).any():
        middle = (low + high) // 2
        first = unknown & (x[middle] <= y[ends - middle - 1])
        low, high = np.where(first, middle + 1, low), np.where(first, high, middle)
    return low, ends - low
