"""Weights that minimise a quadratic: min w'Kw/2 − μ'w over w ≥ 0, Σ w = 1, w ≤ upper, by an interior point.

Mehrotra's predictor and corrector from a feasible start: about 15 systems (K + D) v = b, D diagonal.
The gap to the smallest value that any weights have (Frank and Wolfe's) certifies the end.
Mehrotra 1992, SIAM J. Optim. 2; Ferris & Munson 2002, SIAM J. Optim. 13 (low rank).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS = 60
SHORTENED = 0.995  # share of the way to the nearest bound


class Kernel(Protocol):
    """A positive semi-definite matrix that is multiplied with, and solved with a diagonal added."""

    def times(self, v: Array) -> Array:
        """K v."""
        ...

    def solver(self, diagonal: Array) -> Callable[[Array], Array]:
        """B ↦ (K + D)⁻¹ B for columns B."""
        ...


@dataclass(frozen=True, eq=False)
class Minimum:
    """The weights, how far above the minimum they can be at most, steps taken."""

    weights: Array
    gap: float
    steps: int
    converged: bool


def minimum(
    kernel: Kernel,
    mu: Array,
    upper: Array,
    start: Array,
    *,
    tolerance: float,
    told: Callable[[int, float], None] | None = None,
) -> Minimum:
    """Weights whose value is at most ``tolerance`` above the smallest; ``start`` is within the bounds."""
    w = start
    bounded = bool((upper < 1.0).any())
    gradient = kernel.times(w) - mu
    nu = float(gradient @ w)
    floor = float(np.abs(gradient - nu).mean()) + 1e-300
    z = np.maximum(gradient - nu, 0.0) + floor
    t = np.maximum(nu - gradient, 0.0) + floor if bounded else np.zeros_like(w)
    nu -= 0.0 if bounded else float((z - (gradient - nu)).max())
    z = z if bounded else gradient - nu
    best = w, np.inf
    for step in range(STEPS):
        gap = gap_of(gradient, w, upper)
        if gap < best[1]:
            best = w, gap
        if told:
            told(step, gap)
        if gap <= tolerance:
            return Minimum(w, gap, step, True)
        moved = _step(kernel, gradient, w, upper - w, z, t, nu)
        if moved is None:
            break
        w, z, t, nu = moved
        w = w / w.sum()
        gradient = kernel.times(w) - mu
    return Minimum(best[0], best[1], STEPS, False)


def _step(
    kernel: Kernel, gradient: Array, w: Array, s: Array, z: Array, t: Array, nu: float
) -> tuple[Array, Array, Array, float] | None:
    """Predict how far complementarity can fall, then correct; None where rounding ends it."""
    solve = kernel.solver(z / w + t / s)
    ones = solve(np.ones((len(w), 1)))[:, 0]
    residual = gradient - nu - z + t

    def direction(aim_z: Array, aim_t: Array) -> tuple[Array, Array, Array, float]:
        right = -residual + aim_z / w - aim_t / s
        free = solve(right[:, None])[:, 0]
        change = -float(free.sum()) / float(ones.sum())
        move = free + change * ones
        return move, (aim_z - z * move) / w, (aim_t + t * move) / s, change

    product = float(w @ z + s @ t)
    sides = len(w) * (2 if t.any() else 1)
    move, dz, dt, _ = direction(-w * z, -s * t)
    size = _longest(w, s, z, t, move, dz, dt)
    ahead = float((w + size * move) @ (z + size * dz) + (s - size * move) @ (t + size * dt))
    centre = (max(ahead, 0.0) / product) ** 3 * product / sides
    on_t = centre + move * dt - s * t if t.any() else np.zeros_like(t)
    move, dz, dt, change = direction(centre - move * dz - w * z, on_t)
    if not np.isfinite(move).all():
        return None
    size = min(1.0, SHORTENED * _longest(w, s, z, t, move, dz, dt))
    return w + size * move, z + size * dz, t + size * dt, nu + size * change


def _longest(w: Array, s: Array, z: Array, t: Array, move: Array, dz: Array, dt: Array) -> float:
    """The step at which the first of all bounds is met, at most 1 / SHORTENED."""
    size = 1.0 / SHORTENED
    pairs = [(w, move), (z, dz)] + ([(s, -move), (t, dt)] if t.any() else [])
    for values, changes in pairs:
        down = changes < 0
        if down.any():
            size = min(size, float((values[down] / -changes[down]).min()))
    return size


def gap_of(gradient: Array, w: Array, upper: Array) -> float:
    """What the best weights could gain at most: g·w − min g·v, the smallest gradients filled first."""
    order = np.argsort(gradient, kind="stable")
    room = np.cumsum(upper[order])
    last = int(np.searchsorted(room, 1.0))
    best = float(gradient[order[:last]] @ upper[order[:last]])
    filled = float(room[last - 1]) if last else 0.0
    if last < len(order):
        best += (1.0 - filled) * float(gradient[order[last]])
    return float(gradient @ w) - best
