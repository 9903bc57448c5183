"""Divergences between the margins of two groups of models, point by point."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import Array
from divmatch.kernels.execution import execution, in_order, steps_of

CLIP = 100.0  # margins beyond are moved to it, as published
FLOOR = 1e-5  # mass of a bin without an oracle model
SPLITS = 10  # of the oracle models, for the null baseline
ELEMENTS = 1 << 17  # margins of a block: it stays in the cache

Integers = NDArray[np.int64]
# of both groups' margins at some points: values (b,), influences of the models (n, b) and (m, b)
Measure = Callable[[Array, Array, int], tuple[Array, Array, Array]]


@dataclass(frozen=True, eq=False)
class Divergences:
    """The divergence of every point."""

    values: Array
    x: Array
    y: Array
    measure: Measure
    amount: int

    def influences(self, points: Integers) -> tuple[Array, Array, float]:
        """What every model contributes to the mean over these points, and the variance that is double.

        The last is the part of the models' variance that the spread of the points has in it already.
        """
        x, y, noise = np.zeros(len(self.x)), np.zeros(len(self.y)), 0.0
        for _, of_x, of_y in _blocks(
            self.x[:, points], self.y[:, points], self.measure, self.amount
        ):
            x += of_x.sum(axis=1)
            y += of_y.sum(axis=1)
            noise += sum(
                float(part.var(axis=0).sum()) / max(len(part) - 1, 1) for part in (of_x, of_y)
            )
        return x / len(points), y / len(points), noise / len(points) ** 2


def divergences(x: Array, y: Array, measure: Measure, amount: int) -> Divergences:
    """KL(x || y) of every column."""
    values = np.concatenate([part[0] for part in _blocks(x, y, measure, amount)])
    return Divergences(values, x, y, measure, amount)


def baseline(y: Array, measure: Measure, amount: int, rng: "np.random.Generator") -> Array | None:
    """KL of every point between random halves of the models, (splits, points); None if too few."""
    half = len(y) // 2
    if half < 2 or (measure is by_neighbours and half <= amount):
        return None
    made = []
    for _ in range(SPLITS):
        order = rng.permutation(len(y))
        one, other = y[order[:half]], y[order[half:]]
        made.append(divergences(one, other, measure, amount).values)
    return np.array(made)


def _blocks(
    x: Array, y: Array, measure: Measure, amount: int
) -> Iterator[tuple[Array, Array, Array]]:
    models = len(x) + len(y)
    size = max(1, min(ELEMENTS, execution().memory // 64) // models)

    def measured(columns: slice) -> tuple[Array, Array, Array]:
        one, other = (np.clip(part[:, columns], -CLIP, CLIP) for part in (x, y))
        return measure(one, other, amount)

    return in_order(measured, steps_of(x.shape[1], size), work=60.0 * models * x.shape[1])


def by_histogram(x: Array, y: Array, bins: int) -> tuple[Array, Array, Array]:
    """KL of histograms over shared bins."""
    p, q, floored, into = _histograms(x, y, bins)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(p > 0, np.log(p) - np.log(floored), 0.0)
        ratios = np.where(q > 0, p / q, 0.0)
    values = np.sum(p * logs, axis=1)
    of_x = np.take_along_axis(logs, into[0], axis=1).T - values
    of_y = 1.0 - np.take_along_axis(ratios, into[1], axis=1).T
    return values, of_x, of_y


def by_corrected_histogram(x: Array, y: Array, bins: int) -> tuple[Array, Array, Array]:
    """KL of histograms, less the first-order bias of the counts."""
    values, of_x, of_y = by_histogram(x, y, bins)
    p, q, _, _ = _histograms(x, y, bins)
    own = (np.count_nonzero(p, axis=1) - 1) / (2 * len(x))
    with np.errstate(divide="ignore", invalid="ignore"):
        cross = np.where(q > 0, p * (1 - q) / q, 0.0).sum(axis=1) / (2 * len(y))
    return values - own - cross, of_x, of_y


def _histograms(
    x: Array, y: Array, bins: int
) -> tuple[Array, Array, Array, tuple[Integers, Integers]]:
    """Masses (b, bins) of both, those of y with their floor, and the bins that the margins are in."""
    low = np.minimum(x.min(axis=0), y.min(axis=0))
    extent = np.maximum(x.max(axis=0), y.max(axis=0)) - low
    scale = bins / np.where(extent > 0, extent, 1.0)
    points = x.shape[1]
    first = np.arange(points)[:, None] * bins

    def counted(part: Array) -> tuple[Array, Integers]:
        into = np.minimum(((part - low) * scale).astype(np.int64), bins - 1).T
        counts = np.bincount((into + first).ravel(), minlength=points * bins)
        return counts.reshape(points, bins) / len(part), into

    (p, into_x), (q, into_y) = counted(x), counted(y)
    return p, q, np.where(p > 0, np.maximum(q, FLOOR), q), (into_x, into_y)


def by_neighbours(x: Array, y: Array, k: int) -> tuple[Array, Array, Array]:
    """KL from the distances to the k-th nearest margins of both groups."""
    if k >= min(len(x), len(y)):
        raise InconclusiveError(
            f"klom: {len(x)} and {len(y)} models, expected more than k = {k} each; choose a smaller -k"
        )
    own, other = np.sort(x, axis=0), np.sort(y, axis=0)
    at_x = _log_ratio(own, other, k) + np.log(len(y) / (len(x) - 1))
    at_y = _log_ratio(other, own, k) + np.log(len(x) / (len(y) - 1))
    values = at_x.mean(axis=0)
    return values, _back(x, at_x - values), _back(y, 1.0 - np.exp(-at_y))


def _back(part: Array, of_sorted: Array) -> Array:
    """Numbers of sorted margins, in the order of the models."""
    made = np.empty_like(of_sorted)
    np.put_along_axis(made, np.argsort(part, axis=0), of_sorted, axis=0)
    return made


def _log_ratio(own: Array, other: Array, k: int) -> Array:
    """ln(ν/ρ) of sorted columns: k-th nearest of the other group, and of the own one without itself."""
    n, b = own.shape
    merged = np.argsort(np.concatenate([other, own]), axis=0, kind="stable")
    rank = np.empty_like(merged)
    np.put_along_axis(rank, merged, np.arange(len(merged))[:, None], axis=0)
    place = rank[len(other) :] - np.arange(n)[:, None]  # margins of the other group up to this one
    rho = _reach(own, own, np.broadcast_to(np.arange(n)[:, None], (n, b)), k + 1)
    nu = _reach(own, other, place, k)
    if not (rho.min() > 0 and nu.min() > 0):
        raise InconclusiveError(
            f"klom: more than k = {k} models have the same margin at a point; choose --method hist"
        )
    made: Array = np.log(nu / rho)
    return made


def _reach(at: Array, among: Array, place: Integers, count: int) -> Array:
    """The least radius around each number that holds ``count`` of the sorted ones about its place."""
    ends = np.full((count, among.shape[1]), np.inf)
    padded = np.concatenate([-ends, among, ends])
    found = np.full(at.shape, np.inf)
    for first in range(count + 1):
        start = place + first
        low = np.take_along_axis(padded, start, axis=0)
        high = np.take_along_axis(padded, start + count - 1, axis=0)
        np.minimum(found, np.maximum(at - low, high - at), out=found)
    return found


MEASURES: dict[str, Measure] = {
    "hist": by_histogram,
    "miller-madow": by_corrected_histogram,
    "knn": by_neighbours,
}
