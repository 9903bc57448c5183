"""Transport between two Gaussian mixtures: components are moved as a whole."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from divmatch.errors import InconclusiveError
from divmatch.mixtures import Components
from divmatch.transport.bures import Array, Gaussian, coupled, root


@dataclass(frozen=True, eq=False)
class Gradient:
    """Derivatives of a number by the shares, means and covariances of a mixture."""

    shares: Array
    means: Array
    covariances: Array


@dataclass(frozen=True, eq=False)
class Move:
    """Cost of moving one Gaussian onto another, and its derivatives by either one's moments."""

    cost: float
    mean: Array  # by the mean of the first; of the second it is the negative
    first: Array
    second: Array


def wasserstein(m1: Array, a: Array, m2: Array, b: Array) -> Move:
    """|m₁ − m₂|² + tr A + tr B − 2 tr(A^½ B A^½)^½; the derivative by A is I − T, T A T = B."""
    pair = coupled(
        Gaussian(m1, root(a, np.zeros(len(m1)))), Gaussian(m2, root(b, np.zeros(len(m2))))
    )
    maps = [np.eye(len(m1)) - (white * pair.strengths) @ white.T for white in pair.whitening()]
    return Move(pair.squared(), 2.0 * (m1 - m2), np.asarray(maps[0]), np.asarray(maps[1]))


def jeffreys(m1: Array, a: Array, m2: Array, b: Array) -> Move:
    """KL in both directions: ½ [tr(B⁻¹A + A⁻¹B) − 2d + Δ'(A⁻¹ + B⁻¹)Δ]."""
    gap, inverse_a, inverse_b = m1 - m2, np.linalg.inv(a), np.linalg.inv(b)
    both = inverse_a + inverse_b
    traces = float(np.sum(inverse_b * a) + np.sum(inverse_a * b)) - 2.0 * len(gap)
    square = np.outer(gap, gap)
    first = 0.5 * (inverse_b - inverse_a @ (b + square) @ inverse_a)
    second = 0.5 * (inverse_a - inverse_b @ (a + square) @ inverse_b)
    cost = 0.5 * (traces + float(gap @ both @ gap))
    return Move(cost, both @ gap, np.asarray(first), np.asarray(second))


def kullback_leibler(m1: Array, a: Array, m2: Array, b: Array) -> Move:
    """KL of the first from the second: ½ [tr(B⁻¹A) − d + Δ'B⁻¹Δ + ln(det B / det A)]."""
    gap, inverse_a, inverse_b = m1 - m2, np.linalg.inv(a), np.linalg.inv(b)
    volumes = float(np.linalg.slogdet(b)[1] - np.linalg.slogdet(a)[1])
    first = 0.5 * (inverse_b - inverse_a)
    second = 0.5 * (inverse_b - inverse_b @ (a + np.outer(gap, gap)) @ inverse_b)
    cost = 0.5 * (float(np.sum(inverse_b * a) + gap @ inverse_b @ gap) - len(gap) + volumes)
    return Move(cost, inverse_b @ gap, np.asarray(first), np.asarray(second))


COSTS = {"w2": wasserstein, "jeffreys": jeffreys, "kl": kullback_leibler}


@dataclass(frozen=True, eq=False)
class Carried:
    """Least cost of moving one mixture onto another, its derivatives, and the plan behind it."""

    value: float
    by_p: Gradient
    by_q: Gradient
    plan: Array
    costs: Array


def transported(p: Components, q: Components, cost: str) -> Carried:
    """Least cost of moving the shares of p onto those of q, and its derivatives."""
    moves = [
        [
            COSTS[cost](p.means[k], p.covariances[k], q.means[j], q.covariances[j])
            for j in range(len(q.shares))
        ]
        for k in range(len(p.shares))
    ]
    costs = np.array([[move.cost for move in row] for row in moves])
    plan, f, g = plan_of(costs, p.shares, q.shares)
    by_p = Gradient(f, np.zeros_like(p.means), np.zeros_like(p.covariances))
    by_q = Gradient(g, np.zeros_like(q.means), np.zeros_like(q.covariances))
    for k, j in zip(*np.nonzero(plan), strict=True):
        mass, move = plan[k, j], moves[k][j]
        by_p.means[k] += mass * move.mean
        by_q.means[j] -= mass * move.mean
        by_p.covariances[k] += mass * move.first
        by_q.covariances[j] += mass * move.second
    return Carried(float(np.sum(plan * costs)), by_p, by_q, plan, costs)


def plan_of(costs: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Optimal plan and potentials of a small transport problem."""
    rows, columns = costs.shape
    if rows == 1 or columns == 1:  # nothing to choose
        plan = np.outer(a, b)
        along = costs @ b if rows > 1 else np.zeros(1)
        return plan, along, costs.T @ a if rows == 1 else np.zeros(1)
    from scipy.optimize import linprog

    sums = np.zeros((rows + columns, rows * columns))
    for k in range(rows):
        sums[k, k * columns : (k + 1) * columns] = 1.0
    for j in range(columns):
        sums[rows + j, j::columns] = 1.0
    scale = float(np.abs(costs).max()) or 1.0
    found: Any = linprog(
        costs.ravel() / scale,
        A_eq=sums,
        b_eq=np.concatenate([a, b * (a.sum() / b.sum())]),
        method="highs-ds",
    )
    if found.status != 0:
        raise InconclusiveError(f"the plan between components was not found: {found.message}")
    potentials = found.eqlin.marginals * scale
    plan = np.maximum(found.x, 0.0).reshape(rows, columns)
    return plan, potentials[:rows], potentials[rows:]
