"""The plan of entropic transport, streamed: π_ij = aᵢ bⱼ exp((fᵢ + gⱼ − C_ij) / eps) from its potentials."""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmatch.errors import SampleError, SettingError, counted
from divmatch.kernels.couplings import Coupling, Sweep
from divmatch.kernels.execution import execution
from divmatch.samples import as_samples
from divmatch.transport import costs
from divmatch.transport.plans import LEFT_OUT, Pairs, Plan, check_room
from divmatch.transport.problem import Support, averaged

Array = NDArray[np.float64]

ROUNDED = 2.0**-50  # of what is added up
PAIR_BYTES = 64  # that listing a pair takes
KEPT_SUMS = 1e-13  # of a row: sums that are this near are those wanted


@dataclass(frozen=True, eq=False)
class Paired:
    """The plan of two potentials, gone through row by row: nothing here keeps n × m numbers."""

    coupling: Coupling
    f: Array
    g: Array
    eps: float
    solved: Sweep | None = None  # the solver's last sweep, if it was one of these potentials

    @cached_property
    def sweep(self) -> Sweep:
        """Row log-sums of the logits of g, and the column sums of the plan."""
        return self.solved or self.coupling.sweep(self.g, self.eps, -self.f / self.eps, 0.0)

    @cached_property
    def rows(self) -> Array:
        """Row sums of the plan."""
        return np.asarray(self.coupling.a * np.exp(self.f / self.eps + self.sweep.levels))

    @property
    def columns(self) -> Array:
        """Column sums of the plan."""
        return self.sweep.columns

    @property
    def total_cost(self) -> float:
        """Σ πᵢⱼ C_ij."""
        return self._cost(self.rows, self.columns, self._moments[:, 0])

    def rounded(self) -> "Rounded":
        """No more than a leaves any row, and b reaches any column: Altschuler et al. 2017, Alg. 2."""
        shares = np.minimum(1.0, self.coupling.a / np.maximum(self.rows, 1e-300))
        if (shares < 1.0 - KEPT_SUMS).any():
            return replace(self, f=self.f + self.eps * np.log(shares), solved=None).rounded()
        rows, columns = self.coupling.a * self._moments[:, 1], self.columns * self._fitting
        return Rounded(rows, columns, self._cost(rows, columns, self._moments[:, 2]))

    @cached_property
    def _fitting(self) -> Array:
        """What no column of the plan is above its weight with."""
        return np.asarray(np.minimum(1.0, self.coupling.b / np.maximum(self.columns, 1e-300)))

    @cached_property
    def _moments(self) -> Array:
        """Of the plan, and of that whose columns fit, in one pass."""
        return self.coupling.moments(self.g, self.eps, -self.f / self.eps, self._fitting)

    def _cost(self, rows: Array, columns: Array, moments: Array) -> float:
        """Σ π C of a plan with these sums: f + g − C is eps times the logarithm of π / ab."""
        of_columns = columns @ (self.g + self.eps * self.coupling.log_b)
        return float(rows @ self.f + of_columns - self.eps * (self.coupling.a @ moments))


class Rounded(NamedTuple):
    """Sums and cost of a plan none of whose rows and columns is above its weight."""

    rows: Array
    columns: Array
    cost: float


@dataclass(frozen=True, eq=False, kw_only=True)
class EntropicPlan(Plan):
    """The plan of `divmatch sinkhorn`; ``rho`` is the price of mass, ``own`` the samples' own potentials."""

    rho: float = math.inf
    own: tuple[Array, Array] | None = field(default=None)
    solved: Sweep | None = None

    @cached_property
    def _p(self) -> Support:
        return Support.of(self.x)

    @cached_property
    def _q(self) -> Support:
        return Support.of(self.y)

    @cached_property
    def _paired(self) -> Paired:
        p, q = self._p, self._q
        coupling = Coupling(costs.PROFILES[self.cost], p.points, q.points, p.weights, q.weights)
        return Paired(coupling, self.f[p.rows], self.g[q.rows], self.eps, self.solved)

    def release(self) -> None:
        """Let go of costs that were kept; they are made again when they are needed."""
        self._paired.coupling.release()

    @property
    def total_cost(self) -> float:
        """Σ πᵢⱼ c(xᵢ, yⱼ)."""
        return self._paired.total_cost

    @property
    def lower(self) -> float:
        """What potentials prove that are made feasible: fᵢ + gⱼ <= C_ij for all pairs."""
        return self._bounds[0]

    @property
    def upper(self) -> float:
        """What the plan costs once its sums are those wanted; with a price of mass, as it is."""
        return self._bounds[1]

    @cached_property
    def _bounds(self) -> tuple[float, float]:
        a, b = self._p.weights, self._q.weights
        f, g = self._paired.coupling.transforms(self._paired.g)
        doubt = self._paired.coupling.rounding + ROUNDED * float(a @ np.abs(f) + b @ np.abs(g))
        largest = float(np.abs(f).max() + np.abs(g).max())
        if math.isinf(self.rho):
            lower, upper = float(a @ f + b @ g), self._rounded_cost()
        else:
            lower, upper = self._paid(a, f) + self._paid(b, g), self._priced_cost()
            steepest = math.exp(min(-min(f.min(), g.min()) / self.rho, 700.0))
            doubt *= max(1.0, steepest)
        lower = max(lower - doubt, 0.0)
        upper += doubt + ROUNDED * upper * largest / self.eps  # exponents are that much off
        return min(lower, upper), upper

    def _rounded_cost(self) -> float:
        """Σ π C of the plan with the marginals: what is missing is added as a product."""
        rounded, a, b = self._paired.rounded(), self._p.weights, self._q.weights
        rows = np.maximum(a - rounded.rows, 0.0)
        columns = np.maximum(b - rounded.columns, 0.0)
        left = float(rows.sum())
        if not (left > 0 and columns.sum() > 0):
            return rounded.cost
        columns /= columns.sum()
        p, q = self._p.points, self._q.points
        return rounded.cost + left * costs.mean(self.cost, p, q, rows / left, columns)

    def _paid(self, weights: Array, potential: Array) -> float:
        return float(-self.rho * (weights @ np.expm1(np.minimum(-potential / self.rho, 700.0))))

    def _priced_cost(self) -> float:
        """Σ π C with what is paid for the marginals that are missed."""
        missed = _kl(self._paired.rows, self._p.weights) + _kl(
            self._paired.columns, self._q.weights
        )
        return self._paired.total_cost + self.rho * missed

    def marginals(self) -> tuple[Array, Array]:
        """Sums of rows (n,) and columns (m,)."""
        return (
            self._p.spread(self._paired.rows, self.x.n),
            self._q.spread(self._paired.columns, self.y.n),
        )

    def pairs(self, least: float | None = None) -> Pairs:
        """The pairs with a mass above ``least``; if not given, those that hold 99.9 % of it.

        Where so many do not fit the memory ``least`` is raised tenfold until they do.
        """
        at, most = self._paired, execution().memory // PAIR_BYTES
        level = LEFT_OUT / (at.coupling.n * at.coupling.m) if least is None else least
        while True:
            shares = np.maximum(level / np.maximum(at.rows, 1e-300), 1e-300)
            found = at.coupling.entries(at.g, at.eps, at.sweep.levels, shares, most)
            if found is not None:
                break
            if least is not None:
                raise SettingError(
                    f"plan: more than {counted(most, 'pair')} have a mass above {least:g}; take more, "
                    "or allow more memory"
                )
            level *= 10.0
        rows = np.repeat(np.arange(at.coupling.n), np.diff(found.starts))
        masses = found.values * at.rows[rows]
        left_out = max(0.0, float(at.rows.sum() - masses.sum()))
        return Pairs(self._p.rows[rows], self._q.rows[found.columns], masses, level, left_out)

    def top(self, k: int) -> Pairs:
        """The k heaviest pairs of every row, the heaviest first; streamed, O(n k) memory."""
        at = self._paired
        k = min(k, at.coupling.m)
        check_room(3 * at.coupling.n * k, f"{k} pairs of every row")
        columns, shares = at.coupling.largest(at.g, at.eps, at.sweep.levels, k)
        masses = (shares * at.rows[:, None]).ravel()
        rows = np.repeat(self._p.rows, k)
        left_out = max(0.0, float(at.rows.sum() - masses.sum()))
        return Pairs(rows, self._q.rows[columns.ravel()], masses, left_out=left_out)

    def barycentric(self) -> Array:
        """T(xᵢ) = Σⱼ πᵢⱼ yⱼ / Σⱼ πᵢⱼ, shape (n, d), also at rows without weight."""
        return self.map(self.x.points)

    def map(self, points: ArrayLike, *, debiased: bool = False) -> Array:
        """The entropic map at any points, shape (N, d): the mean of y by bⱼ exp((gⱼ − c(·, yⱼ)) / eps).

        ``debiased`` moves a point by what the map of x to y moves it more than that of x to itself,
        which takes off most of the shrinkage. Pooladian & Niles-Weed 2021, arXiv 2109.12004.
        """
        at = as_samples(points, "points")
        if at.d != self.x.d:
            raise SampleError(
                f"points: {counted(at.d, 'column')}, expected {self.x.d} as the plan has"
            )
        made = averaged(self.cost, at.points, self._q, self._paired.g, self.eps)
        if not debiased:
            return made
        if self.own is None:
            raise SettingError("plan: no potentials of x itself are known; solve it with debiased")
        own = averaged(self.cost, at.points, self._p, self.own[0][self._p.rows], self.eps)
        return np.asarray(at.points + made - own)

    def matrix(self) -> Any:
        """The whole plan as an array, shape (n, m), where it fits the memory."""
        check_room(2 * self.x.n * self.y.n, f"the matrix of {self.x.n} x {self.y.n} rows")
        p, q = self._p, self._q
        logs = costs.tile(self.cost, p.points, q.points)
        np.subtract(self._paired.g, logs, out=logs)
        logs += self._paired.f[:, None]
        logs /= self.eps
        np.exp(logs, out=logs)
        logs *= p.weights[:, None]
        logs *= q.weights
        if len(p.rows) == self.x.n and len(q.rows) == self.y.n:
            return logs
        made = np.zeros((self.x.n, self.y.n))
        made[np.ix_(p.rows, q.rows)] = logs
        return made

    def arrays(self, pairs: Pairs | None = None) -> dict[str, Any]:
        """What a file holds; with the price of mass and the samples' own potentials."""
        own = {} if self.own is None else {"f_own": self.own[0], "g_own": self.own[1]}
        return super().arrays(pairs) | {"unbalanced": np.float64(self.rho)} | own


def _kl(sums: Array, weights: Array) -> float:
    """Σ p ln(p / q) − p + q."""
    logs = np.log(np.maximum(sums, 1e-300) / weights)
    return float(sums @ logs - sums.sum() + weights.sum())
