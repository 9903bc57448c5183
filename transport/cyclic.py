"""Rows projected onto an intersection of convex sets: by multipliers, or one set after another.

``kl`` finds the q of least KL(q || p), ``euclidean`` the one of least |q − p|². All sets are equations
and bounds: with few equations their multipliers are found by Newton's steps. With many, projections
onto one set after another, where corrections of each set (Dykstra 1983; Bauschke & Lewis 2000 for kl)
make the limit the projection and not just some point.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from divmatch.matcher import Array
from divmatch.transport.multipliers import MOST, solved

Geometry = Literal["kl", "euclidean"]
SWEEPS = 20_000
CLOSE = 1e-11  # what a sweep still moves, and what a constraint may be off


class Convex(Protocol):
    """A set of distributions."""

    def project(self, q: Array, geometry: Geometry) -> Array:
        """The nearest points of the set."""

    def violation(self, q: Array) -> Array:
        """How far rows are from it, (B,)."""

    def equations(self, classes: int) -> tuple[Array, Array]:
        """Rows a with a·q = b, (m, V), and b; what the simplex demands is left out."""

    def bounds(self) -> tuple[float, float]:
        """Between which every mass is."""


class Simplex:
    """At least 0, sum 1."""

    def project(self, q: Array, geometry: Geometry) -> Array:
        """A quotient, or what is left above a level."""
        if geometry == "kl":
            return np.asarray(q / q.sum(axis=1, keepdims=True))
        ordered = -np.sort(-q, axis=1)
        excess = np.cumsum(ordered, axis=1) - 1.0
        ranks = np.arange(1, q.shape[1] + 1)
        last = (ordered * ranks > excess).sum(axis=1) - 1
        level = np.take_along_axis(excess, last[:, None], axis=1) / (last + 1)[:, None]
        return np.maximum(q - level, 0.0)

    def violation(self, q: Array) -> Array:
        """See `Convex`."""
        return np.maximum(np.abs(q.sum(axis=1) - 1.0), -q.min(axis=1))

    def equations(self, classes: int) -> tuple[Array, Array]:
        """The sum."""
        return np.ones((1, classes)), np.ones(1)

    def bounds(self) -> tuple[float, float]:
        """At least 0."""
        return 0.0, 1.0


@dataclass(frozen=True)
class Box:
    """Every mass between two numbers."""

    low: float
    high: float

    def project(self, q: Array, geometry: Geometry) -> Array:
        """The same in both geometries."""
        return np.clip(q, self.low, self.high)

    def violation(self, q: Array) -> Array:
        """See `Convex`."""
        return np.maximum(self.low - q, q - self.high).max(axis=1)

    def equations(self, classes: int) -> tuple[Array, Array]:
        """None."""
        return np.empty((0, classes)), np.empty(0)

    def bounds(self) -> tuple[float, float]:
        """Its sides."""
        return self.low, self.high


@dataclass(frozen=True, eq=False)
class Moments:
    """Σ q f = t for rows f of ``features`` (r, V); with kl among distributions."""

    features: Array
    targets: Array
    _inverse: list[Array] = field(default_factory=list)

    def project(self, q: Array, geometry: Geometry) -> Array:
        """A tilt by Newton's steps, or the step along the features."""
        if geometry == "kl":
            return tilted(q, self.features, self.targets)
        if not self._inverse:
            self._inverse.append(np.asarray(np.linalg.pinv(self.features), dtype=np.float64))
        return np.asarray(q + (self.targets - q @ self.features.T) @ self._inverse[0].T)

    def violation(self, q: Array) -> Array:
        """See `Convex`; relative to the extent of the feature."""
        extent = np.maximum(np.ptp(self.features, axis=1), 1e-300)
        return np.asarray((np.abs(q @ self.features.T - self.targets) / extent).max(axis=1))

    def equations(self, classes: int) -> tuple[Array, Array]:
        """About the targets, relative to the extents."""
        extent = np.maximum(np.ptp(self.features, axis=1), 1e-300)[:, None]
        return (self.features - self.targets[:, None]) / extent, np.zeros(len(self.targets))

    def bounds(self) -> tuple[float, float]:
        """None of its own."""
        return 0.0, 1.0


@dataclass(frozen=True, eq=False)
class Marginal:
    """Classes of group g have the mass ``masses[g]`` together."""

    groups: NDArray[np.intp]
    masses: Array

    def project(self, q: Array, geometry: Geometry) -> Array:
        """One factor, or one summand, for each group."""
        sums = self._sums(q)
        if geometry == "kl":
            with np.errstate(all="ignore"):
                factors = np.where(sums > 0, self.masses / sums, 0.0)
            return np.asarray(q * factors[:, self.groups])
        sizes = np.bincount(self.groups, minlength=len(self.masses))
        return np.asarray(q + ((self.masses - sums) / np.maximum(sizes, 1))[:, self.groups])

    def violation(self, q: Array) -> Array:
        """See `Convex`."""
        return np.asarray(np.abs(self._sums(q) - self.masses).max(axis=1))

    def equations(self, classes: int) -> tuple[Array, Array]:
        """All groups but the last, which the sum leaves no choice."""
        groups = np.arange(len(self.masses) - 1)
        return (self.groups == groups[:, None]).astype(np.float64), self.masses[:-1]

    def bounds(self) -> tuple[float, float]:
        """None of its own."""
        return 0.0, 1.0

    def _sums(self, q: Array) -> Array:
        number = len(self.masses)
        return np.stack([np.bincount(self.groups, row, minlength=number) for row in q])


def projected(
    p: Array, sets: Sequence[Convex], geometry: Geometry
) -> tuple[Array, NDArray[np.bool_]]:
    """The nearest rows in all sets, and whether each was found."""
    parts = [one.equations(p.shape[1]) for one in (Simplex(), *sets)]
    matrix, targets = (np.concatenate(part) for part in zip(*parts, strict=True))
    if len(matrix) > MOST:
        return in_turn(p, sets, geometry)
    lows, highs = zip(*(one.bounds() for one in (Simplex(), *sets)), strict=True)
    return solved(p, matrix, targets, max(lows), min(highs), kl=geometry == "kl")


def in_turn(
    p: Array, sets: Sequence[Convex], geometry: Geometry
) -> tuple[Array, NDArray[np.bool_]]:
    """The same by Dykstra's projections. Time O(sweeps · B · V)."""
    q = p.copy()
    found = np.zeros(len(p), dtype=bool)
    rows = np.arange(len(p))
    start = 1.0 if geometry == "kl" else 0.0
    corrections = [np.full_like(p, start) for _ in sets]
    for _ in range(SWEEPS):
        before = q[rows]
        now = before
        for correction, one in zip(corrections, sets, strict=True):
            held = correction[rows]
            asked = now * held if geometry == "kl" else now + held
            now = one.project(asked, geometry)
            correction[rows] = _left(asked, now, geometry)
        q[rows] = now
        worst = np.max([one.violation(now) for one in sets], axis=0)
        done = (np.abs(now - before).max(axis=1) <= CLOSE) & (worst <= CLOSE)
        found[rows[done]] = True
        rows = rows[~done & np.isfinite(now).all(axis=1)]
        if len(rows) == 0:
            break
    return q, found


def _left(asked: Array, now: Array, geometry: Geometry) -> Array:
    if geometry == "euclidean":
        return asked - now
    return np.where(now > 0, asked / np.where(now > 0, now, 1.0), 1.0)


def tilted(q: Array, features: Array, targets: Array) -> Array:
    """Q exp(λ·f) / Z with the wanted means: min over λ of ln Σ q exp(λ·(f − t)), by damped Newton."""
    scale = np.maximum(np.ptp(features, axis=1), 1e-300)
    moved = ((features - targets[:, None]) / scale[:, None]).T  # (V, r)
    weights = np.zeros((len(q), moved.shape[1]))
    value, made = _log_sum(q, moved, weights)
    for _ in range(100):
        slope = made @ moved
        if (np.abs(slope) <= 1e-14).all():
            break
        spread = np.einsum("bv,vr,vs->brs", made, moved, moved, optimize=True)
        spread -= slope[:, :, None] * slope[:, None, :]
        spread += 1e-14 * np.eye(moved.shape[1])
        step = np.linalg.solve(spread, slope[:, :, None])[:, :, 0]
        size = np.ones(len(q))
        for _ in range(40):
            tried, made_there = _log_sum(q, moved, weights - size[:, None] * step)
            worse = ~(tried <= value + 1e-15 * np.abs(value) + 1e-16)
            if not worse.any():
                break
            size = np.where(worse, 0.5 * size, size)
        weights = weights - size[:, None] * step
        value, made = tried, made_there
    return made


def _log_sum(q: Array, moved: Array, weights: Array) -> tuple[Array, Array]:
    exponents = weights @ moved.T
    top = np.where(q > 0, exponents, -np.inf).max(axis=1, keepdims=True)
    masses = q * np.exp(np.minimum(exponents - top, 0.0))
    total = masses.sum(axis=1, keepdims=True)
    return (np.log(total) + top)[:, 0], masses / total
