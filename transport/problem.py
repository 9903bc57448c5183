"""Entropic transport problems: two weighted samples, a cost, a regularisation, and what solves them."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.kernels.couplings import Coupling, Sweep
from divmatch.kernels.symmetric import SymmetricCoupling
from divmatch.samples import Samples
from divmatch.transport import costs
from divmatch.transport.dual import Dual
from divmatch.transport.entropic import ROUGH, Effort, Solved, solve, solve_symmetric

Array = NDArray[np.float64]

THINNED_FROM = 512  # rows of the smaller sample from which a problem of fewer is solved first
THINNING = 4
COARSE = 0.05  # of the mean cost: the least eps at which it is


class Support(NamedTuple):
    """The rows of a sample that carry weight, with it, and which of all rows they are."""

    points: Array
    weights: Array
    rows: NDArray[np.intp]

    @classmethod
    def of(cls, samples: Samples) -> "Support":
        """Rows without weight are left out: they have no logarithm and change nothing."""
        weights = samples.masses()
        rows = np.flatnonzero(weights > 0)
        if len(rows) == 0:
            raise InconclusiveError(f"{samples.name}: no row carries weight")
        if len(rows) == samples.n:
            return cls(samples.points, weights, rows)
        return cls(samples.points[rows], weights[rows], rows)

    def half(self, first: int) -> "Support":
        """Every second row, from the first or the second on, with weights that sum to 1."""
        return self.thinned(2, first)

    def thinned(self, step: int, first: int = 0) -> "Support":
        """Rows that are ``step`` apart, with weights that sum to 1."""
        rows = slice(first, None, step)
        weights = self.weights[rows]
        return Support(self.points[rows], weights / weights.sum(), self.rows[rows])

    def spread(self, values: Array, n: int) -> Array:
        """Values of these rows as values of all n rows, 0 where there is no weight."""
        found = np.zeros(n)
        found[self.rows] = values
        return found


@dataclass(frozen=True)
class Regularised:
    """What is solved: min Σ P C + eps KL(P | a ⊗ b) + ρ KL(P 1 | a) + ρ KL(P' 1 | b)."""

    cost: str
    eps: float
    rho: float
    effort: Effort

    def influence(self, potential: Array) -> Array:
        """The derivative of the value by the weight of a row: its potential if marginals are kept."""
        if math.isinf(self.rho):
            return potential
        made = np.expm1(np.minimum(-potential / self.rho, 700.0))
        return np.asarray(-(self.rho + self.eps) * made)


@dataclass(frozen=True, eq=False)
class Term:
    """A solved problem: its value, the potentials of the rows, and how well it was solved."""

    value: float
    f: Array
    g: Array
    mass: float
    error: float
    sweeps: int
    single_sweeps: int
    newton_steps: int
    sweep: Sweep | None = None  # the last one, where rows and columns have kept their places

    def half(self, first: int) -> "Term":
        """Every second row: near the solution for them."""
        return replace(self, f=self.f[first::2], g=self.g[first::2])


def between(
    x: Support, y: Support, of: Regularised, start: float, near: Term | None = None
) -> Term:
    """OT_eps of two samples, on a path from the eps ``start`` or from the potentials of a near problem.

    The dual is solved in the potential of the smaller sample.
    """
    if len(x.weights) < len(y.weights):
        turned = between(y, x, of, start, near and replace(near, f=near.g, g=near.f))
        return replace(turned, f=turned.g, g=turned.f, sweep=None)
    dual = Dual(_coupling(x, y, of), of.rho)
    if near is None:
        level, g = _start(x, y, of, start, compiled=dual.coupling.compiled)
    else:
        level, g = of.eps, near.g
    found = solve(dual, of.eps, level, of.effort, g)
    term = _term(dual, found, dual.rows(found.state), found.state.g)
    return replace(term, sweep=Sweep(found.state.levels, found.state.columns))


def _start(
    x: Support, y: Support, of: Regularised, start: float, *, compiled: bool
) -> tuple[float, Array | None]:
    """An eps and a potential of the columns to start from: those of a problem of fewer rows.

    Potentials of a large eps are smooth, so that those of some rows are near those of all.
    """
    if not compiled or len(y.weights) < THINNED_FROM:
        return start, None
    rows, columns = x.thinned(THINNING), y.thinned(THINNING)
    level, g = _start(rows, columns, of, start, compiled=True)
    coarse = Dual(_coupling(rows, columns, of, part=True), of.rho)
    effort = replace(of.effort, tol=ROUGH, fine=False)
    found = solve(coarse, max(of.eps, COARSE * start), level, effort, g)
    every = Dual(_coupling(y, rows, of, part=True), of.rho)
    state = every.at(coarse.rows(found.state), found.state.eps)
    return state.eps, every.rows(state)


def within(x: Support, of: Regularised, f: Array | None = None) -> Term:
    """OT_eps of a sample and itself, whose rows and columns have the same potential."""
    dual = Dual(SymmetricCoupling(costs.PROFILES[of.cost], x.points, x.weights), of.rho)
    found = solve_symmetric(dual, of.eps, of.effort, f)
    potential = np.asarray(0.5 * (found.state.g + dual.rows(found.state)))
    return _term(dual, found, potential, potential)


def averaged(cost: str, points: Array, to: Support, g: Array, eps: float) -> Array:
    """Σⱼ yⱼ wⱼ(x) with wⱼ ∝ bⱼ exp((gⱼ − c(x, yⱼ)) / eps), for any points: the entropic map."""
    each = np.full(len(points), 1.0 / len(points))
    coupling = Coupling(costs.PROFILES[cost], points, to.points, each, to.weights)
    return coupling.means(g, eps, to.points)


def _coupling(x: Support, y: Support, of: Regularised, *, part: bool = False) -> Coupling:
    return Coupling(costs.PROFILES[of.cost], x.points, y.points, x.weights, y.weights, part=part)


def _term(dual: Dual, found: Solved, f: Array, g: Array) -> Term:
    state, mass = found.state, float(found.state.columns.sum())
    return Term(
        state.value, f, g, mass, state.error, found.sweeps, found.single_sweeps, found.newton_steps
    )
