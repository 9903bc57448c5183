"""The Sinkhorn divergence of many splits of one pool: one kernel matrix serves them all.

The potential f₀ of the pool's own term is near every potential of every split. With it absorbed,
K_ij = exp((f₀ᵢ + f₀ⱼ − C_ij) / eps) has the weighted row sums 1, and the iterations of all splits are
matrix products K V with scalings exp((f − f₀) / eps) that stay near 1.

A sample's own term takes few of these at any eps. Those of two samples take many where eps is small;
what will take more than it costs to solve a split by itself is seen after a dozen and solved so.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.estimator import Labels
from divmatch.kernels.backend import to_host
from divmatch.kernels.execution import execution, in_order
from divmatch.kernels.pairwise import Grid
from divmatch.transport import costs
from divmatch.transport.problem import Regularised, Support, between, within

Array = NDArray[np.float64]

SWEEPS = 250  # then a split is solved by itself, which costs about as much as 280
EXACT = 1e-9  # marginal error in L1: the error of the value is of the order of its square
JUDGED = 12  # sweeps over which the speed is measured that the over-relaxation follows from
MOST_RELAXED = 1.9


@dataclass(frozen=True, eq=False)
class Scalings:
    """Weights of both parts, and the logarithms of their scalings; one column a split."""

    a: Array
    b: Array
    f: Array
    g: Array

    def taken(self, on: NDArray[np.bool_]) -> "Scalings":
        """Some of the splits."""
        return self if on.all() else Scalings(*(v[:, on] for v in (self.a, self.b, self.f, self.g)))

    def error(self, best_f: Array, best_g: Array | None = None) -> Array:
        """The marginal error in L1, from the scalings that are best for the other ones."""
        made = weighted(self.a, np.abs(np.expm1(self.f - best_f)))
        if best_g is not None:
            made = made + weighted(self.b, np.abs(np.expm1(self.g - best_g)))
        return made


def weighted(weights: Array, values: Array) -> Array:
    """Σᵢ wᵢ vᵢ of every column; what has no weight may be no number."""
    return np.where(weights > 0, weights * values, 0.0).sum(axis=0)


def positive(weights: Array, logarithms: Array) -> Array:
    """W exp(l), 0 where there is no weight, whatever l is."""
    return np.where(weights > 0, weights * np.exp(logarithms), 0.0)


def relaxation(rate: Array) -> Array:
    """The over-relaxation for an error that shrinks by ``rate`` a sweep. Thibault et al. 2021."""
    made = 2.0 / (1.0 + np.sqrt(np.maximum(1.0 - rate, 0.0)))
    return np.where(rate < 1, np.minimum(made, MOST_RELAXED), 1.0)


def sweeps_left(rate: Array, relaxed: Array, error: Array) -> Array:
    """How many relaxed sweeps lead from ``error`` to the end, where plain ones shrink it by ``rate``.

    Young 1954: with the over-relaxation ω the error shrinks by ω − 1, if ω is large enough for it.
    """
    rate = np.clip(rate, 1e-12, 1.0 - 1e-12)
    root = relaxed**2 * rate - 4.0 * (relaxed - 1.0)
    slow = 0.25 * (relaxed * np.sqrt(rate) + np.sqrt(np.maximum(root, 0.0))) ** 2
    shrinks = np.clip(np.where(root > 0, slow, relaxed - 1.0), 1e-12, 1.0 - 1e-12)
    return np.asarray(np.log(np.maximum(error / EXACT, 1.0)) / -np.log(shrinks))


class Splits:
    """Values of splits of a pool."""

    def __init__(self, pool: Support, of: Regularised, *, debiased: bool) -> None:
        self.pool, self.of, self.debiased = pool, of, debiased
        self.tau = 1.0 if math.isinf(of.rho) else of.rho / (of.rho + of.eps)
        potential = within(pool, of).f
        self.size = of.eps + float(np.abs(potential).max())  # of the terms of a value
        self.start = potential[:, None] / of.eps
        self.grid = Grid(costs.PROFILES[of.cost], pool.points, pool.points)
        n = len(pool.weights)
        self.kept: dict[int, Array] | None = {} if 8 * n * n <= execution().memory // 2 else None

    def values(self, labels: Labels) -> Array:
        """One value a column of labels; NaN where a part has no weight."""
        held = labels[self.pool.rows]
        first, second = (self.pool.weights[:, None] * part for part in (held, ~held))
        whole = (first.sum(axis=0) > 0) & (second.sum(axis=0) > 0)
        a, b = (part[:, whole] / part[:, whole].sum(axis=0) for part in (first, second))
        found = np.full(labels.shape[1], np.nan)
        with np.errstate(all="ignore"):  # a split that leaves the numbers is solved by itself
            made = self._whole(a, b)
            if self.debiased:
                made -= 0.5 * (self._whole(a) + self._whole(b))
        found[whole] = made
        return found

    def _whole(self, a: Array, b: Array | None = None) -> Array:
        """OT_eps of every column, of those that take too long here one by one."""
        found = self._solved(a, b)
        for column in np.flatnonzero(np.isnan(found)):
            part = self._part(a[:, column])
            if b is None:
                found[column] = within(part, self.of).value
                continue
            other = self._part(b[:, column])
            pair = (part.points, other.points, part.weights, other.weights)
            start = costs.mean(self.of.cost, *pair)
            found[column] = between(part, other, self.of, start).value
        return found

    def _part(self, weights: Array) -> Support:
        held = np.flatnonzero(weights > 0)
        return Support(self.pool.points[held], weights[held], self.pool.rows[held])

    def _solved(self, a: Array, b: Array | None = None) -> Array:
        """OT_eps of every column of a with that of b, or with itself; NaN where it takes too long."""
        found, left = np.full(a.shape[1], np.nan), np.arange(a.shape[1])
        state = Scalings(a, a if b is None else b, np.zeros_like(a), np.zeros_like(a))
        relaxed, first, least = np.ones(len(left)), np.ones(len(left)), np.full(len(left), np.inf)
        for sweep in range(SWEEPS):
            if not len(left):
                break
            sums = self._product(positive(state.b, state.g))
            best = self._best(sums)
            if b is None:
                error = state.error(best)
                following = 0.5 * (state.f + best)
                moved = following, following
            else:
                f = state.f + relaxed * (best - state.f)
                other = self._best(self._product(positive(state.a, f)))
                error = state.error(best, other)
                moved = f, state.g + relaxed * (other - state.g)
            done = error <= EXACT
            if done.any():
                found[left[done]] = self._values(state, best, sums)[done]
            if b is not None:
                first = np.where(sweep == 1, error, first)
                relaxed = np.where(error > 10 * least, 1.0, relaxed)
                if sweep == JUDGED:
                    rate = (error / first) ** (1 / (JUDGED - 1))
                    relaxed = relaxation(rate)
                    done |= sweep + sweeps_left(rate, relaxed, error) > SWEEPS  # has no value yet
            least = np.minimum(least, error)
            on = ~done & np.isfinite(error)
            state = Scalings(state.a, state.b, *moved).taken(on)
            left, relaxed, first, least = left[on], relaxed[on], first[on], least[on]
        return found

    def _best(self, sums: Array) -> Array:
        """The scalings' logarithms that are best for the other ones, from K times those."""
        return np.asarray(-self.tau * np.log(sums) - (1.0 - self.tau) * self.start)

    def _values(self, state: "Scalings", f: Array, sums: Array) -> Array:
        """The dual, where f is the best one for g."""
        eps, rho = self.of.eps, self.of.rho
        potentials = [(state.a, eps * (self.start + f)), (state.b, eps * (self.start + state.g))]
        if math.isinf(rho):
            return np.asarray(sum(weighted(w, v) for w, v in potentials))
        paid = sum(-rho * weighted(w, np.expm1(-v / rho)) for w, v in potentials)
        mass = (positive(state.a, f) * sums).sum(axis=0)
        return np.asarray(paid - eps * (mass - 1.0))

    def _product(self, v: Array) -> Array:
        """K V, a block of rows at a time."""

        def block(rows: slice) -> Array:
            return np.asarray(self._kernel(rows) @ v)

        work = self.grid.work * (1 + v.shape[1] / 16)
        return np.concatenate(list(in_order(block, self.grid.rows(), work=work)))

    def _kernel(self, rows: slice) -> Array:
        if self.kept is not None and rows.start in self.kept:
            return self.kept[rows.start]
        parts = [to_host(self.grid.tile(rows, columns)) for columns in self.grid.columns()]
        exponents = np.concatenate(parts, axis=1) / -self.of.eps
        exponents += self.start[rows]
        exponents += self.start[:, 0]
        made = np.exp(exponents, out=exponents)
        if self.kept is not None:
            self.kept[rows.start] = made
        return made
