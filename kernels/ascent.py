"""Steepest ascent on the unit sphere from several starts at once."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS = 200
HALVINGS, LAST_HALVINGS = 4, 12  # of a step; at a kink the last ones are short
ENOUGH = 1e-4  # share of the promised gain that a step must bring; Armijo 1966
ROUGH, GAIN = 1e-2, 1e-6  # relative; two steps in a row that gain less are the end
FINALISTS, SAME_POINT = 2, 0.9999
LONGEST = 1e3  # a step relative to the first one


class Summit(NamedTuple):
    """The highest point found, (d,), its value, and whether the ascent to it came to an end."""

    point: Array
    value: float
    settled: bool


def unit(vectors: Array) -> Array:
    """Rows of length 1."""
    made: Array = vectors / np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return made


def climbed(slopes: Callable[[Array], tuple[Array, Array]], starts: Array, degree: float) -> Summit:
    """The highest of the maxima above unit vectors ``starts`` (q, d).

    ``slopes`` gives values, at least 0, and gradients of a function that grows like |θ|^degree. All
    starts are followed until steps bring little, the highest few that are apart to the end.
    """
    points = unit(starts)
    if len(points) > 1:
        points = _highest(_followed(slopes, points, degree, ROUGH, HALVINGS))
    found = _followed(slopes, points, degree, GAIN, LAST_HALVINGS)
    best = int(np.argmax(found.values))
    return Summit(found.points[best], float(found.values[best]), bool(found.settled[best]))


class _Found(NamedTuple):
    points: Array
    values: Array
    settled: NDArray[np.bool_]


def _highest(found: _Found) -> Array:
    """The best points that are not the same, nor opposite."""
    kept: list[Array] = []
    for k in np.argsort(-found.values, kind="stable"):
        point = found.points[k]
        if all(abs(float(point @ other)) < SAME_POINT for other in kept):
            kept.append(point)
    return np.array(kept[:FINALISTS])


def _followed(
    slopes: Callable[[Array], tuple[Array, Array]],
    points: Array,
    degree: float,
    gain: float,
    halvings: int,
) -> _Found:
    """Steps from every point until two in a row gain less than a share ``gain``.

    The first step on a function of degree 2 is that of the power iteration; later ones are as long as
    the last two gradients say (Barzilai & Borwein 1988), halved until the value grows by enough. So
    no value ever falls.
    """
    points = points.copy()
    values, gradients = slopes(points)
    tangents = _tangent(points, gradients)
    first = 1.0 / (degree * np.where(values > 0, values, 1.0))
    lengths, slow = first.copy(), np.zeros(len(points), dtype=int)
    left = np.flatnonzero((values > 0) & tangents.any(axis=1))
    for _ in range(STEPS):
        if not len(left):
            break
        here = _Taken(points[left], values[left], tangents[left])
        taken, higher = _stepped(slopes, here, lengths[left], halvings)
        gained = taken.values - values[left]
        along = taken.points - points[left]
        slopes_now = _tangent(taken.points, taken.gradients)
        change = np.abs(np.einsum("ij,ij->i", along, slopes_now - tangents[left]))
        with np.errstate(divide="ignore", invalid="ignore"):
            following = np.einsum("ij,ij->i", along, along) / change
        following = np.where(np.isfinite(following), following, first[left])
        points[left], values[left], tangents[left] = taken.points, taken.values, slopes_now
        lengths[left] = np.clip(following, first[left] / LONGEST, first[left] * LONGEST)
        slow[left] = np.where(gained > gain * values[left], 0, slow[left] + 1)
        left = left[higher & (slow[left] < 2) & slopes_now.any(axis=1)]
    settled = np.ones(len(points), dtype=bool)
    settled[left] = False
    return _Found(points, values, settled)


class _Taken(NamedTuple):
    points: Array
    values: Array
    gradients: Array


def _stepped(
    slopes: Callable[[Array], tuple[Array, Array]], here: _Taken, lengths: Array, halvings: int
) -> tuple[_Taken, NDArray[np.bool_]]:
    """One step of each, halved until it is good enough; those for which none is stay where they are."""
    points, values, tangents = here
    found = _Taken(points.copy(), values.copy(), np.zeros_like(points))
    promised = ENOUGH * np.einsum("ij,ij->i", tangents, tangents)
    lengths, left = lengths.copy(), np.arange(len(points))
    for _ in range(halvings):
        tried = unit(points[left] + lengths[left, None] * tangents[left])
        heights, gradients = slopes(tried)
        good = heights >= values[left] + lengths[left] * promised[left]
        there = left[good]
        found.points[there], found.values[there] = tried[good], heights[good]
        found.gradients[there] = gradients[good]
        left = left[~good]
        lengths[left] *= 0.5
        if not len(left):
            break
    higher = np.ones(len(points), dtype=bool)
    higher[left] = False
    return found, higher


def _tangent(points: Array, gradients: Array) -> Array:
    along = np.einsum("ij,ij->i", points, gradients)
    made: Array = gradients - along[:, None] * points
    return made
