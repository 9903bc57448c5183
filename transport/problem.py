"""Entropic transport problems: two weighted samples, a cost, a regularisation, and what solves them."""

import math
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Term:
    """A solved problem: its value, the influence of every row, and how well it was solved."""

    value: float
    influence_x: Array
    influence_y: Array
    cost: float
    mass: float
    error: float
    sweeps: int
    newton_steps: int


def between(x: Support, y: Support, of: Regularised, start: float) -> Term:
    """OT_eps of two samples. The dual has one unknown a row of the smaller one."""
    if len(x.weights) < len(y.weights):
        turned = between(y, x, of, start)
        return _turned(turned)
    profile = costs.PROFILES[of.cost]
    dual = Dual(Coupling(profile, x.points, y.points, x.weights, y.weights), of.rho)
    found = solve(dual, of.eps, start, of.effort)
    state = found.state
    spent = state.value - of.eps * dual.kl(state)
    if not math.isinf(of.rho):
        spent -= of.rho * (_kl(dual.row_sums(state), x.weights) + _kl(state.columns, y.weights))
    return _term(dual, found, of, dual.rows(state), state.g, spent)


def within(x: Support, of: Regularised) -> Term:
    """OT_eps of a sample and itself."""
    dual, found = _own(x, of)
    potential = _symmetric(dual, found)
    return _term(dual, found, of, potential, potential, math.nan)


def own_potential(x: Support, of: Regularised) -> Array:
    """The potential of a sample and itself, which is the same for rows and columns."""
    return _symmetric(*_own(x, of))


def _own(x: Support, of: Regularised) -> tuple[Dual, Solved]:
    profile = costs.PROFILES[of.cost]
    dual = Dual(Coupling(profile, x.points, x.points, x.weights, x.weights), of.rho)
    return dual, solve_symmetric(dual, of.eps, of.effort)


def _symmetric(dual: Dual, found: Solved) -> Array:
    return np.asarray(0.5 * (found.state.g + dual.rows(found.state)))


def _term(dual: Dual, found: Solved, of: Regularised, f: Array, g: Array, cost: float) -> Term:
    state = found.state
    return Term(
        state.value, _influence(f, of), _influence(g, of), cost, float(state.columns.sum()),
        state.error, found.sweeps, found.newton_steps,
    )  # fmt: skip


def _turned(term: Term) -> Term:
    return Term(
        term.value, term.influence_y, term.influence_x, term.cost, term.mass,
        term.error, term.sweeps, term.newton_steps,
    )  # fmt: skip


def _influence(potential: Array, of: Regularised) -> Array:
    """The derivative of the value by the weight of a row: its potential where marginals are kept."""
    if math.isinf(of.rho):
        return potential
    made = -(of.rho + of.eps) * np.expm1(np.minimum(-potential / of.rho, 700.0))
    return np.asarray(made)


def _kl(sums: Array, weights: Array) -> float:
    """Σ p ln(p / q) − p + q."""
    logs = np.log(np.maximum(sums, 1e-300) / weights)
    return float(sums @ logs - sums.sum() + weights.sum())
