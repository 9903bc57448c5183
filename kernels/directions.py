"""Random directions, spread evenly over the sphere, and the Monte Carlo error that they leave."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[Any]  # whole numbers: positions of rows

GROUPS = 4  # least number of groups of directions that shows a Monte Carlo error


class Directions(NamedTuple):
    """Unit vectors of shape (L, d), and the group of each: groups are exchangeable."""

    vectors: Array
    groups: Places


def directions(d: int, count: int, rng: "np.random.Generator") -> Directions:
    """About ``count`` directions, each uniform on the sphere, and together spread evenly.

    d = 1: the one there is. d = 2: equal angles with a random start, in four interleaved groups.
    d ≥ 3: orthonormal blocks, a group each; they integrate every quadratic form exactly.
    """
    if d == 1:
        return Directions(np.ones((1, 1)), np.zeros(1, dtype=np.intp))
    if d == 2:
        count = GROUPS * math.ceil(count / GROUPS)
        angles = np.pi * (np.arange(count) + rng.random()) / count
        return Directions(
            np.stack([np.cos(angles), np.sin(angles)], axis=1), np.arange(count) % GROUPS
        )
    sizes = _block_sizes(d, count)
    vectors = np.concatenate([_orthonormal(d, size, rng) for size in sizes])
    return Directions(vectors, np.repeat(np.arange(len(sizes)), sizes))


def _block_sizes(d: int, count: int) -> list[int]:
    """Whole blocks of d and a rest, or four even parts where there are not four blocks."""
    if count <= (GROUPS - 1) * d:
        return [(count + part) // GROUPS for part in range(GROUPS)]
    whole, rest = divmod(count, d)
    return [d] * whole + [rest] * (rest > 0)


def _orthonormal(d: int, size: int, rng: "np.random.Generator") -> Array:
    """``size`` ≤ d orthonormal rows, uniform: Q of a Gaussian matrix, its signs fixed by R."""
    q, r = np.linalg.qr(rng.standard_normal((size, d)).T)
    return np.ascontiguousarray((q * np.where(np.diag(r) < 0, -1.0, 1.0)).T)


def spread(d: int, count: int, enough: int) -> Places:
    """Positions of about ``enough`` of ``count`` directions that are as even as all of them."""
    if d == 2:
        return np.arange(0, count, max(1, count // enough))
    return np.arange(min(count, d * math.ceil(enough / d)))


def monte_carlo_se(costs: Array, groups: Places) -> float:
    """sqrt(Var(mean of ``costs``)), from the spread between groups.

    Divides by G − 3 instead of G − 1: a normal interval with so few groups then covers as often as
    Student's. The sub-grids of d = 2 err more than their union, so there it is an upper estimate.
    """
    sizes = np.bincount(groups)
    sums = np.bincount(groups, costs)
    number = len(sizes)
    if number < GROUPS:
        return 0.0
    away = sums - sizes * (costs.sum() / len(costs))
    return math.sqrt(number / (number - 3) * float(away @ away)) / len(costs)
