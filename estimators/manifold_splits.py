"""Precision, recall, density, coverage and authenticity of many splits of one pool, from its neighbours.

In the list of a row's neighbours in the pool, its ball ends at the k-th row with its own label, and
the rows of the other label before that are what it holds. Random labels put it near the front.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import execution, in_order
from divmatch.kernels.neighbours import Neighbours

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

HELD = 40  # bytes of temporary arrays for each entry of the lists


@dataclass(frozen=True, eq=False)
class Lists:
    """The nearest other rows of every row of a pool, and the rows' weights."""

    far: Array  # (N, L), ascending
    near: Integers  # (N, L)
    weights: Array  # (N,)
    equal: bool  # all weights are the same
    whole: bool  # the lists hold all rows


def listed(points: Array, weights: Array, k: int, share: float) -> Lists | None:
    """Lists that hardly ever end before k rows with a share of the labels; None if they are too long."""
    rows = len(points)
    length = min(rows - 1, math.ceil((k + 6 * math.sqrt(k) + 12) / max(share, 1 / rows)))
    if length < 1 or HELD * rows * length > execution().memory:
        return None
    far, near = Neighbours(points).nearest(points, length, exclude_self=True)
    equal = bool((weights == weights[0]).all())
    return Lists(far, near, weights, equal, length == rows - 1)


def figures_of(lists: Lists, labels: Mask, k: int) -> dict[str, Array]:
    """The figures of every split (N, B): one array (B,) each; NaN where the lists are too short."""
    columns = range(labels.shape[1])
    found = in_order(lambda b: _split(lists, np.ascontiguousarray(labels[:, b]), k), columns)
    parts = list(found)
    return {name: np.array([part[name] for part in parts]) for name in parts[0]}


def _split(lists: Lists, real: Mask, k: int) -> dict[str, float]:
    """The figures of one split; True are the rows of P."""
    names = ("precision", "recall", "density", "coverage", "authenticity")
    own = real[lists.near] == real[:, None]
    sizes = int(real.sum()), int((~real).sum())
    if min(sizes) <= k:
        return dict.fromkeys(names, math.nan)
    order = np.cumsum(own, axis=1)
    radius, sure = _distance(lists, order >= k)
    if not sure.all():
        return dict.fromkeys(names, math.nan)
    inside = lists.far <= radius[:, None]
    guests = inside & ~own
    a = np.where(real, lists.weights, 0.0)
    a, b = a / a.sum(), np.where(real, 0.0, lists.weights)
    b /= b.sum()
    by_real, by_other = _held(lists, guests, real), _held(lists, guests, ~real)
    return {
        "precision": float(b @ by_real),
        "recall": float(a @ by_other),
        "density": float(a @ (_contents(lists, guests, b) * _values(lists, inside & own, a))),
        "coverage": float(a @ (guests.any(axis=1) & real)),
        "authenticity": _authenticity(lists, own, order, real, b),
    }


def _distance(lists: Lists, reached: Mask) -> tuple[Array, Mask]:
    """The distance of the first entry that is reached, and whether all as near are in the list."""
    radius = np.take_along_axis(lists.far, reached.argmax(axis=1)[:, None], axis=1)[:, 0]
    there = reached[:, -1]
    return radius, there & (lists.whole | (lists.far[:, -1] > radius))


def _held(lists: Lists, guests: Mask, by: Mask) -> Array:
    """1 for the rows that are guests of at least one of the balls ``by``, else 0."""
    found = np.zeros(len(by))
    found[lists.near[by][guests[by]]] = 1.0
    return found


def _contents(lists: Lists, guests: Mask, b: Array) -> Array:
    """The mass of Q in every ball."""
    content: Array = np.where(guests, b[lists.near], 0.0).sum(axis=1)
    return content


def _values(lists: Lists, mates: Mask, a: Array) -> Array:
    """One over the mass of the other rows of P in a ball; 0 for the balls of Q."""
    held = np.where(mates, a[lists.near], 0.0).sum(axis=1)
    values = np.zeros(len(a))
    np.divide(1.0, held, out=values, where=a > 0)
    return values


def _authenticity(lists: Lists, own: Mask, order: Integers, real: Mask, b: Array) -> float:
    """Every row of Q against its nearest rows of P; the loneliest of them decides."""
    first, sure = _distance(lists, order >= 1)
    reach, reached = _distance(lists, np.cumsum(~own, axis=1) >= 1)
    others = ~real
    if not (sure[real].all() and reached[others].all()):
        return math.nan
    nearest = ~own[others] & (lists.far[others] == reach[others, None])
    lonely = np.where(nearest, first[lists.near[others]], -1.0).max(axis=1)
    return float(b[others] @ (reach[others] > lonely))
