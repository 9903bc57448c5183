"""Random directions, spread evenly over the sphere, and the Monte Carlo error that they leave."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[Any]  # whole numbers: positions of rows

GROUPS = 4  # least number of groups of directions that shows a Monte Carlo error
GOLDEN = math.pi * (3.0 - 5.0**0.5)  # the angle from one point of a spiral to the next
SMALLEST_SPIRAL = 10  # points that integrate the five quadratic forms with positive weights


class Directions(NamedTuple):
    """Unit vectors (L, d), the group of each, and weights (L,) of sum 1 for the mean over the sphere.

    Groups are exchangeable, and their weights in proportion to their sizes. Where the weights are
    those of a regression, ``controls`` (L, c) are its variables, of mean 0 over the sphere.
    """

    vectors: Array
    groups: Places
    weights: Array
    controls: Array | None = None

    def mean(self, costs: Array) -> float:
        """The mean over the sphere of what has the values ``costs`` along the directions."""
        return float(self.weights @ costs)

    def error(self, costs: Array) -> float:
        """Standard error of the mean, from the spread between groups.

        Divides by G − 3 instead of G − 1: a normal interval with so few groups then covers as often
        as Student's. The sub-grids of d = 2 err more than their union, so there it is an upper
        estimate. With controls what they do not explain counts.
        """
        away = costs - self.mean(costs)
        groups, weights = self.groups, self.weights
        lost = 3
        if self.controls is not None:
            away -= self.controls @ np.linalg.lstsq(self.controls, away)[0]
            groups, lost = np.arange(len(costs)), 1 + self.controls.shape[1]
        sums = np.bincount(groups, weights * away)
        number = len(sums)
        if number < max(GROUPS, lost + 1):
            return 0.0
        return math.sqrt(number / (number - lost) * float(sums @ sums))

    def some(self, enough: int) -> "Directions":
        """At least ``enough`` of them, if there are, in whole groups or evenly spaced; the first of d ≥ 3."""
        places = self.places(enough)
        if len(places) == len(self.vectors):
            return self
        chosen = self.weights[places]
        controls = None if self.controls is None else self.controls[places]
        return Directions(
            self.vectors[places], self.groups[places], chosen / chosen.sum(), controls
        )

    def joined(self, more: "Directions") -> "Directions":
        """Together with others of equal weights, whose groups are not the same."""
        vectors = np.concatenate([self.vectors, more.vectors])
        return _equal(vectors, np.concatenate([self.groups, more.groups + self.groups[-1] + 1]))

    def places(self, enough: int) -> Places:
        """Positions of what `some` takes."""
        count, d = self.vectors.shape
        if d == 2:
            return np.arange(0, count, max(1, count // enough))
        if enough >= count or self.controls is not None:
            return np.arange(min(count, enough))
        return np.flatnonzero(self.groups <= self.groups[enough - 1])


def directions(
    d: int, count: int, rng: "np.random.Generator", *, whole: bool = False
) -> Directions:
    """About ``count`` directions, each uniform on the sphere, and together spread evenly.

    d = 1: the one there is. d = 2: equal angles with a random start, in four interleaved groups.
    d = 3: four spirals, each turned at random, weighted to integrate every quadratic form exactly;
    few directions and d ≥ 4: orthonormal blocks, which do so by themselves, a group each.
    A direction and its opposite are the same unless ``whole``.
    """
    if d == 1:
        vectors = np.array([[1.0], [-1.0]])[: 1 + whole]
        return _equal(vectors, np.zeros(len(vectors), dtype=np.intp))
    if d == 2:
        count = GROUPS * math.ceil(count / GROUPS)
        angles = (1 + whole) * np.pi * (np.arange(count) + rng.random()) / count
        vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return _equal(vectors, np.arange(count) % GROUPS)
    if d == 3 and count >= GROUPS * SMALLEST_SPIRAL:
        return _spirals(math.ceil(count / GROUPS), rng)
    sizes = _block_sizes(d, count)
    vectors = np.concatenate([_orthonormal(d, size, rng) for size in sizes])
    return _equal(vectors, np.repeat(np.arange(len(sizes)), sizes))


def controlled(
    d: int, count: int, rng: "np.random.Generator", apart: Array | None = None
) -> Directions:
    """Independent uniform directions, weighted so that their mean is that of a regression.

    Its variables are all quadratic forms or, with the difference ``apart`` of two means, its square
    along the direction: what has a known mean over the sphere. The regression takes the same
    directions, so the mean is biased by 1 / count of its spread.
    """
    vectors = rng.standard_normal((count, d))
    vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    if apart is None:
        controls = _quadratics(vectors)
    else:
        controls = ((vectors @ apart) ** 2 - apart @ apart / d)[:, None]
    return Directions(vectors, np.arange(count), _intercept(controls), controls)


def _equal(vectors: Array, groups: Places) -> Directions:
    return Directions(vectors, groups, np.full(len(vectors), 1.0 / len(vectors)))


def _spirals(size: int, rng: "np.random.Generator") -> Directions:
    """Points at equal steps of height, each a golden angle further; Rakhmanov et al. 1994."""
    steps = np.arange(size)
    height, angle = 1.0 - (2.0 * steps + 1.0) / size, GOLDEN * steps
    radius = np.sqrt(1.0 - height**2)
    spiral = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    vectors = np.concatenate([spiral @ _orthonormal(3, 3, rng) for _ in range(GROUPS)])
    weights = (
        _intercept(_quadratics(spiral)) / GROUPS
    )  # a turn mixes quadratic forms among themselves
    return Directions(vectors, np.repeat(np.arange(GROUPS), size), np.tile(weights, GROUPS))


def _quadratics(vectors: Array) -> Array:
    """All quadratic forms less their means, but for the last square, which the others determine."""
    rows, columns = np.triu_indices(vectors.shape[1])
    made = vectors[:, rows] * vectors[:, columns] - (rows == columns) / vectors.shape[1]
    return np.asarray(made[:, :-1])


def _intercept(controls: Array) -> Array:
    """Weights whose sum of products with any costs is the intercept of their regression."""
    ones = np.ones(len(controls))
    left = ones - controls @ np.linalg.lstsq(controls, ones)[0]
    return np.asarray(left / left.sum())


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
