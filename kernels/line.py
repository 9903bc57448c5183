"""Sums of |xᵢ − yⱼ| over all pairs of numbers, by sorting: O((n + m) log(n + m))."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def distance_sums(x: Array, y: Array, b: Array) -> Array:
    """Σⱼ bⱼ |xᵢ − yⱼ| for every i; x of shape (n,), y and b of shape (m,)."""
    centre = y.mean()  # sums of products cancel less around the middle
    order = np.argsort(y)
    nodes, masses = y[order] - centre, b[order]
    mass = _cumulative(masses)
    moment = _cumulative(masses * nodes)
    places = order if x is y else np.argsort(x)
    points = x[places] - centre  # in their order, so that each search starts in the cache
    below = np.searchsorted(nodes, points, side="right")
    made = np.empty(len(x))
    made[places] = points * (2 * mass[below] - mass[-1]) + (moment[-1] - 2 * moment[below])
    return made


def _cumulative(values: Array) -> Array:
    """0 and the running sums, added in extended precision: a million equal steps drift otherwise."""
    sums = np.zeros(len(values) + 1)
    sums[1:] = np.cumsum(values, dtype=np.longdouble)
    return sums


def distance_forms(z: Array, v: Array) -> Array:
    """Σᵢⱼ vᵢ vⱼ |zᵢ − zⱼ| for every column v of V, shape (N, B): 2 Σₖ Cₖ (C − Cₖ) (z₍ₖ₊₁₎ − z₍ₖ₎).

    C is the cumulative sum of v in the order of z.
    """
    order = np.argsort(z, kind="stable")
    gaps = np.diff(z[order])
    cumulative = np.cumsum(v[order], axis=0)
    below = cumulative[:-1]
    return 2.0 * (gaps @ (below * (cumulative[-1] - below)))
