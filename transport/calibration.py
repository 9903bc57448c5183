"""Weights nearest to given ones under linear constraints: the dual of an f-divergence, by Newton steps.

min Σ qᵢ f(tᵢ), wᵢ = qᵢ tᵢ, subject to Σ wᵢ = 1 and Φ'w = m or |Φ'w − m| ≤ δ, and lower ≤ tᵢ ≤ upper. With the
convex conjugate f* the dual is min Σ qᵢ f*(sᵢ) − ν − λ·m + δ|λ|₁, s = ν + Φλ, and tᵢ = f*'(sᵢ).
Deville & Särndal 1992, JASA 87; Newey & Smith 2004, Econometrica 72.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS = 200
HALVINGS = 40
ARMIJO = 1e-4
RANK = 1e-11  # squared singular values below this share of the largest carry no direction
MET = 1e-8  # residual in standard deviations up to which a constraint is met
ABSENT = 1e-12  # curvature below which a direction says nothing


@dataclass(frozen=True)
class Divergence:
    """f of an f-divergence through its conjugate: f*(s), and t = f*'(s) with dt/ds.

    ``gamma`` is the power of Cressie and Read, f(t) = (t^(γ+1) − 1)/(γ(γ+1)) − (t − 1)/γ: 0 is KL(w|q),
    −1 is KL(q|w) (empirical likelihood), 1 is χ²/2. t is kept between ``lower`` and ``upper``.
    """

    gamma: float = 0.0
    lower: float = 0.0
    upper: float = np.inf

    @property
    def total(self) -> bool:
        """Whether every s has a t: rows that the fit has not seen may have any s."""
        return self.gamma >= 0 or np.isfinite(self.upper)

    def slopes(self, s: Array) -> tuple[Array, Array, Array]:
        """f*(s), t and dt/ds; infinite where s is beyond what any t has."""
        free = self._free(s)
        t, bend = np.clip(free, self.lower, self.upper), self._bend(free)
        bend = np.where((free > self.lower) & (free < self.upper), bend, 0.0)
        value = s * t - self.of(t)
        if not self.total:
            value = np.where(1.0 + self.gamma * s > 0, value, np.inf)
        return value, t, bend

    def _free(self, s: Array) -> Array:
        if self.gamma == 0.0:
            return np.exp(s)
        base = 1.0 + self.gamma * s
        inside = base > 0
        power = np.power(np.where(inside, base, 1.0), 1.0 / self.gamma)
        return np.where(inside, power, 0.0 if self.gamma > 0 else np.inf)

    def _bend(self, t: Array) -> Array:
        return t if self.gamma == 0.0 else np.power(np.maximum(t, 1e-300), 1.0 - self.gamma)

    def of(self, t: Array) -> Array:
        """f(t)."""
        positive = np.maximum(t, 1e-300)
        g = self.gamma
        if g == 0.0:
            return np.where(t > 0, t * np.log(positive), 0.0) - t + 1.0
        if g == -1.0:
            return t - 1.0 - np.log(positive)
        power = np.power(positive, g + 1.0)
        if g > -1.0:
            power = np.where(t > 0, power, 0.0)
        return (power - 1.0) / (g * (g + 1.0)) - (t - 1.0) / g


@dataclass(frozen=True, eq=False)
class Solution:
    """t of every row, the multipliers (ν, λ) of the features as given, residuals, steps."""

    t: Array
    multipliers: Array
    residual: Array
    steps: int
    converged: bool
    curve: tuple[float, ...]


def reduced(features: Array, q: Array) -> Array:
    """The basis in which centred features are uncorrelated with variance 1; collinear ones fall away."""
    gram = (features.T * q) @ features
    values, vectors = np.linalg.eigh(gram)
    kept = values > RANK * max(float(values.max(initial=0.0)), 1e-300) * len(values)
    made: Array = vectors[:, kept] / np.sqrt(values[kept])
    return made


def calibrated(
    divergence: Divergence,
    features: Array,
    targets: Array,
    q: Array,
    *,
    delta: float = 0.0,
    tolerance: float = 1e-10,
    told: Callable[[int, float], None] | None = None,
) -> Solution:
    """Newton steps on the dual; ``features`` (n, k) have mean about 0 and deviation about 1.

    O(n k²) a step. ``tolerance`` is of the largest residual, in standard deviations.
    """
    shift = q @ features
    centred, offsets = features - shift, targets - shift
    basis = np.eye(len(targets)) if delta else reduced(centred, q)
    wide = np.ones((basis.shape[1] + 1, len(q)))
    np.matmul(basis.T, centred.T, out=wide[1:])
    rows = wide.T
    aim = np.concatenate([[1.0], basis.T @ offsets])
    slack = np.concatenate([[0.0], np.full(len(aim) - 1, delta)])
    z = np.zeros(len(aim))
    value, t, gradient, bend = _at(divergence, rows, q, aim, z)
    value += float(slack @ np.abs(z))
    curve: list[float] = []
    done = False
    for step in range(STEPS):
        residual = excess(gradient, z, slack)
        worst = float(np.abs(residual).max())
        curve.append(worst)
        if told:
            told(step, worst)
        if worst <= tolerance:
            done = True
            break
        hessian = (rows.T * (q * bend)) @ rows
        move = direction(hessian, gradient, z, slack)
        found = _line(divergence, rows, q, aim, z, slack, value, gradient, move)
        if found is None:
            break
        z, value, t, gradient, bend = found
    slopes = basis @ z[1:]
    multipliers = np.concatenate([[z[0] - shift @ slopes], slopes])
    residual = centred.T @ (q * t) - offsets
    met = bool(np.abs(residual).max(initial=0.0) <= delta + MET)
    return Solution(t, multipliers, residual, len(curve) - 1, done and met, tuple(curve))


def _at(
    divergence: Divergence, rows: Array, q: Array, aim: Array, z: Array
) -> tuple[float, Array, Array, Array]:
    """The smooth part of the dual, t, its gradient, dt/ds."""
    with np.errstate(over="ignore", invalid="ignore"):
        conjugate, t, bend = divergence.slopes(rows @ z)
        value = float(q @ conjugate) - float(z @ aim)
    if not np.isfinite(value):
        return np.inf, t, np.zeros_like(z), bend
    return value, t, rows.T @ (q * t) - aim, bend


def excess(gradient: Array, z: Array, slack: Array) -> Array:
    """How far each constraint is from being met: the smallest subgradient."""
    at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - slack, 0.0)
    return np.where((z == 0.0) & (slack > 0), at_zero, gradient + slack * np.sign(z))


def direction(hessian: Array, gradient: Array, z: Array, slack: Array) -> Array:
    """The minimum of the quadratic model, with δ|λ|₁ in it."""
    ridge = 1e-14 * max(float(np.trace(hessian)) / len(z), 1e-300)
    hessian = hessian + ridge * np.eye(len(z))
    if not slack.any():
        try:
            straight: Any = np.linalg.solve(hessian, -gradient)
        except np.linalg.LinAlgError:
            straight = np.linalg.lstsq(hessian, -gradient, rcond=None)[0]
        return np.asarray(straight, dtype=np.float64)
    return _lasso(hessian, gradient, z, slack)


def _lasso(hessian: Array, gradient: Array, z: Array, slack: Array) -> Array:
    """Coordinate descent, then the equations of the coordinates that are not at zero."""
    move = np.zeros_like(z)
    slope = gradient.copy()
    diagonal = np.maximum(np.diag(hessian), ABSENT)
    for _ in range(200):
        largest = 0.0
        for j in range(len(z)):
            at = z[j] + move[j] - slope[j] / diagonal[j]
            new = np.sign(at) * max(abs(at) - slack[j] / diagonal[j], 0.0) - z[j]
            change = new - move[j]
            if change:
                slope += change * hessian[:, j]
                move[j] = new
                largest = max(largest, abs(change))
        if largest <= 1e-12 * (1.0 + float(np.abs(move).max())):
            break
    free = (z + move != 0.0) | (slack == 0.0)
    sign = np.sign(z + move)
    right = -(gradient + slack * sign)[free] + hessian[np.ix_(free, ~free)] @ z[~free]
    polished = np.linalg.lstsq(hessian[np.ix_(free, free)], right, rcond=None)[0]
    exact = -z.copy()
    exact[free] = polished
    kept = np.all((np.sign(z + exact) == sign)[free & (slack > 0)])
    return exact if kept else move


def _line(
    divergence: Divergence,
    rows: Array,
    q: Array,
    aim: Array,
    z: Array,
    slack: Array,
    value: float,
    gradient: Array,
    move: Array,
) -> tuple[Array, float, Array, Array, Array] | None:
    """A step that lowers the dual enough; where rounding hides that, one that lowers the residual."""
    penalty = float(slack @ np.abs(z))
    slope = float(gradient @ move) + float(slack @ np.abs(z + move)) - penalty
    before = float(np.abs(excess(gradient, z, slack)).max())
    size = 1.0
    for _ in range(HALVINGS):
        at = z + size * move
        smooth, t, new, bend = _at(divergence, rows, q, aim, at)
        total = smooth + float(slack @ np.abs(at))
        rounding = 1e-13 * (1.0 + abs(value))
        lower = total <= value + ARMIJO * size * slope
        if not lower and total <= value + rounding:
            lower = float(np.abs(excess(new, at, slack)).max()) < before
        if lower and np.isfinite(total):
            return at, total, t, new, bend
        size *= 0.5
    return None
