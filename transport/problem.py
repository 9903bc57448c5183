"""Entropic transport problems: two weighted samples, a cost, a regularisation, and what solves them."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.kernels.couplings import Coupling
from divmatch.samples import Samples
from divmatch.transport import costs
from divmatch.transport.dual import Dual
from divmatch.transport.entropic import Effort, Solved, solve, solve_symmetric

Array = NDArray[np.float64]


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
        weights = self.weights[first::2]
        return Support(self.points[first::2], weights / weights.sum(), self.rows[first::2])

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
        return replace(turned, f=turned.g, g=turned.f)
    dual = Dual(_coupling(x, y, of), of.rho)
    found = solve(dual, of.eps, start, of.effort, None if near is None else near.g)
    return _term(dual, found, dual.rows(found.state), found.state.g)


def within(x: Support, of: Regularised, f: Array | None = None) -> Term:
    """OT_eps of a sample and itself, whose rows and columns have the same potential."""
    dual = Dual(_coupling(x, x, of), of.rho)
    found = solve_symmetric(dual, of.eps, of.effort, f)
    potential = np.asarray(0.5 * (found.state.g + dual.rows(found.state)))
    return _term(dual, found, potential, potential)


def _coupling(x: Support, y: Support, of: Regularised) -> Coupling:
    return Coupling(costs.PROFILES[of.cost], x.points, y.points, x.weights, y.weights)


def _term(dual: Dual, found: Solved, f: Array, g: Array) -> Term:
    state, mass = found.state, float(found.state.columns.sum())
    return Term(
        state.value, f, g, mass, state.error, found.sweeps, found.single_sweeps, found.newton_steps
    )
