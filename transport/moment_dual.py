"""Weights nearest to a point of a kernel's space under moments: the dual, by Newton steps.

min |L'w|²/2 − μ·w + ε KL(w|q) over Σ w = 1 with |Φ'w − m| ≤ δ: w ∝ q exp(μ/ε + L u + Φ λ) at the minimum of
ε|u|²/2 + ln Σ q exp(μ/ε + L u + Φ λ) − λ·m + δ|λ|₁. What the weights cost more than the least is at most
|L'w + ε u|²/2.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from divmatch.matcher import Array
from divmatch.transport.calibration import MET, direction, excess, reduced

STEPS, HALVINGS = 200, 40
FALL = 0.2  # of ε from stage to stage: at once, a small ε starts with all weight on one row
ROUGH = 1e-2  # of the stages before the last
ARMIJO = 1e-4
TOLERANCE = 1e-10  # of the moments in deviations, and of L'w + ε u over the root of the spread
CERTAIN = 1e-9  # gap over the spread up to which weights count as the best


@dataclass(frozen=True, eq=False)
class Problem:
    """L (n, r), μ (n,), ε; features less their targets (n, k); q; δ; the spread that a gap is a share of."""

    factor: Array
    mu: Array
    eps: float
    features: Array
    q: Array
    delta: float
    spread: float


@dataclass(frozen=True, eq=False)
class Tilt:
    """w, the multipliers λ, ln of the sum that makes w one, gap, largest residual, steps."""

    weights: Array
    multipliers: Array
    log_total: float
    gap: float
    residual: float
    steps: int
    converged: bool


@dataclass(frozen=True, eq=False)
class State:
    """A point of the dual: its value without δ|λ|₁, the weights, the gradient, ln of their sum."""

    z: Array
    value: float
    weights: Array
    gradient: Array
    log_total: float


def tilted(of: Problem, told: Callable[[int, float], None] | None = None) -> Tilt:
    """O(n (r + k)²) a step, about ten steps for large ε; smaller ones are come to in stages."""
    rank, k = of.factor.shape[1], of.features.shape[1]
    shift = of.q @ of.features
    basis = np.eye(k) if of.delta else reduced(of.features - shift, of.q)
    wide = np.hstack([of.factor, of.features @ basis])
    free = np.arange(wide.shape[1]) >= rank
    slack = np.where(free, of.delta, 0.0)
    unit = np.where(free, 1.0, np.sqrt(of.spread))
    z, step = np.zeros(wide.shape[1]), 0
    for eps in _stages(of):
        stage, curved = replace(of, eps=eps), np.where(free, 0.0, eps)
        state = _at(stage, wide, curved, z)
        while True:
            worst = float(np.abs(excess(state.gradient, state.z, slack) / unit).max(initial=0.0))
            if told:
                told(step, worst)
            if worst <= (TOLERANCE if eps == of.eps else ROUGH) or step == STEPS:
                break
            centred = wide - state.weights @ wide
            hessian = (centred.T * state.weights) @ centred + np.diag(curved)
            moved = _line(stage, wide, curved, slack, unit, state, hessian)
            if moved is None:
                break
            state, step = moved, step + 1
        z = state.z / FALL  # the potentials stay as they are
    gap = 0.5 * float(state.gradient[:rank] @ state.gradient[:rank])
    residual = float(np.abs(of.features.T @ state.weights).max(initial=0.0))
    done = residual <= of.delta + MET and gap <= CERTAIN * of.spread
    return Tilt(state.weights, basis @ state.z[rank:], state.log_total, gap, residual, step, done)


def _stages(of: Problem) -> list[float]:
    """From the spread down to ε."""
    made, eps = [of.eps], of.eps / FALL
    while eps < of.spread:
        made.insert(0, eps)
        eps /= FALL
    return made


def _at(of: Problem, wide: Array, curved: Array, z: Array) -> State:
    """Ln Σ q exp(s) with the largest exponent taken out."""
    s = of.mu / of.eps + wide @ z
    top = float(s[of.q > 0].max())
    if not np.isfinite(top):
        return State(z, np.inf, of.q, np.full_like(z, np.nan), np.inf)
    weights = of.q * np.exp(np.minimum(s - top, 0.0))
    total = float(weights.sum())
    log_total = top + float(np.log(total))
    weights /= total
    value = log_total + 0.5 * float(curved @ z**2)
    return State(z, value, weights, wide.T @ weights + curved * z, log_total)


def _line(
    of: Problem,
    wide: Array,
    curved: Array,
    slack: Array,
    unit: Array,
    state: State,
    hessian: Array,
) -> State | None:
    """A step that lowers the dual enough; where rounding hides that, one that lowers the gradient."""
    move = direction(hessian, state.gradient, state.z, slack)
    penalty = float(slack @ np.abs(state.z))
    slope = float(state.gradient @ move) + float(slack @ np.abs(state.z + move)) - penalty
    before = float(np.abs(excess(state.gradient, state.z, slack) / unit).max())
    size = 1.0
    for _ in range(HALVINGS):
        made = _at(of, wide, curved, state.z + size * move)
        change = made.value + float(slack @ np.abs(made.z)) - state.value - penalty
        if change <= ARMIJO * size * slope:
            return made
        near = change <= 1e-13 * (1.0 + abs(state.value))
        if near and float(np.abs(excess(made.gradient, made.z, slack) / unit).max()) < before:
            return made
        size *= 0.5
    return None
