"""Semi-relaxed transport: min over π ≥ 0 with π1 = p of <C, π> + Σ q f((π'1)/q), to a stated gap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.generators import Generator, from_slope

Array = NDArray[np.float64]

COOLING = 0.5  # factor of the temperature from one round to the next
MOST_ROUNDS = 60
NEWTON_STEPS = 25
CENTRED = 1e-6  # Newton decrement, in temperatures, from which to cool on
LEAST_RATIO = 1e-300


@dataclass(frozen=True, eq=False)
class Solution:
    """Potentials of both sides; the value lies between ``dual`` and ``primal``.

    ``of_p`` is the Lipschitz critic at the rows of P, ``of_q`` its price f*(h) at the rows of Q.
    """

    primal: float
    dual: float
    of_p: Array
    of_q: Array

    @property
    def gap(self) -> float:
        """Upper bound of the error of either value."""
        return self.primal - self.dual


def solve(cost: Array, p: Array, q: Array, f: Generator, tolerance: float) -> Solution:
    """Newton's method on the dual with a soft minimum that is cooled until the gap is closed.

    Where f grows no faster than linearly, mass of P may also stay where it is, at the price
    lim f(t)/t: one more column of the cost. The dual is max over h of
    Σ pᵢ minⱼ (Cᵢⱼ + hⱼ) − Σ qⱼ f*(hⱼ); h = f'(r) keeps it in its domain. Stops at a gap of
    ``tolerance`` times max(1, value), or where rounding leaves no more to gain.
    """
    v = np.zeros(len(q))  # logarithms of the ratios
    temperature = 0.1 * float(cost.max()) or 1.0
    if np.isfinite(f.at_infinity):
        cost = np.column_stack([cost, np.full(len(p), f.at_infinity)])
    best = _bounds(cost, p, q, f, v, temperature)
    stalled = 0
    for _ in range(MOST_ROUNDS):
        if best.gap <= tolerance * max(1.0, abs(best.dual)) or stalled == 6:
            break
        v = _maximised(cost, p, q, f, v, temperature)
        found = _bounds(cost, p, q, f, v, temperature)
        stalled = 0 if found.gap < best.gap else stalled + 1
        best = _better(best, found)
        temperature *= COOLING
    return best


def _better(one: Solution, other: Solution) -> Solution:
    """The larger dual with the smaller primal: both bounds hold whatever they came with."""
    top = other if other.dual >= one.dual else one
    return Solution(min(one.primal, other.primal), top.dual, top.of_p, top.of_q)


def _soft(cost: Array, h: Array, temperature: float) -> tuple[Array, Array]:
    """Soft minima of the rows of cost + h, and the shares of the columns in them.

    Columns of ``cost`` beyond those of h have no potential.
    """
    shares = cost.copy()
    shares[:, : len(h)] += h
    least = shares.min(axis=1)
    shares -= least[:, None]
    shares *= -1.0 / temperature
    np.exp(shares, out=shares)
    total = shares.sum(axis=1)
    shares /= total[:, None]
    return least - temperature * np.log(total), shares


def _smooth(
    cost: Array, p: Array, q: Array, f: Generator, v: Array, temperature: float
) -> tuple[float, Array]:
    """The dual with soft minima, and the shares."""
    r = np.exp(v)
    soft, shares = _soft(cost, f.slope(r), temperature)
    return float(p @ soft - q @ from_slope(f, r)), shares


def _bounds(
    cost: Array, p: Array, q: Array, f: Generator, v: Array, temperature: float
) -> Solution:
    r = np.exp(v)
    h = f.slope(r)
    _, shares = _soft(cost, h, temperature)
    ratio = np.maximum(p @ shares[:, : len(q)] / q, LEAST_RATIO)
    np.multiply(shares, cost, out=shares)
    primal = float(p @ shares.sum(axis=1) + q @ f.f(ratio))
    np.copyto(shares, cost)
    shares[:, : len(q)] += h
    of_p, of_q = shares.min(axis=1), from_slope(f, r)
    return Solution(primal, float(p @ of_p - q @ of_q), of_p, of_q)


def _maximised(
    cost: Array, p: Array, q: Array, f: Generator, v: Array, temperature: float
) -> Array:
    """The logarithms of the ratios that maximise the smooth dual at one temperature."""
    value, shares = _smooth(cost, p, q, f, v, temperature)
    for _ in range(NEWTON_STEPS):
        r = np.exp(v)
        curvature = f.curvature(r)
        shares = shares[:, : len(q)]
        mass = p @ shares
        gradient = mass - q * r
        hessian = shares.T @ (shares * (-p / temperature)[:, None])
        hessian[np.diag_indices_from(hessian)] += mass / temperature + q / curvature
        scale = 1.0 / np.sqrt(np.diag(hessian))
        step = scale * np.linalg.solve(hessian * np.outer(scale, scale), scale * gradient)
        expected = float(gradient @ step)
        if not expected > CENTRED * temperature:
            break
        change = np.clip(step / (r * curvature), -5.0, 5.0)  # h = f'(exp v) moves by `step`
        length = 1.0
        while length > 1e-6:
            moved = v + length * change
            found, shares = _smooth(cost, p, q, f, moved, temperature)
            if found >= value + 1e-4 * length * min(expected, temperature):
                break
            length *= 0.5
        else:
            break
        v, value = moved, found
    return v
