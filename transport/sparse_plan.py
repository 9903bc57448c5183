"""The plan of exact transport: a few pairs of rows, found by the simplex or by sorting."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.samples import Samples
from divmatch.transport.exact_costs import Moved
from divmatch.transport.plans import Pairs, Plan

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class SparsePlan(Plan):
    """A plan with few pairs, which are listed when they are first asked for."""

    moved: Moved
    scale: float = 1.0  # what a cost of 1 in `moved` is

    @classmethod
    def of(cls, x: Samples, y: Samples, moved: Moved, scale: float, cost: str, p: float) -> Self:
        """The plan that was found; its potentials add up to its cost."""
        if not 0.0 < scale < math.inf:
            raise InconclusiveError(
                f"plan: costs to the power {p:g} of data of this scale are no numbers; choose a smaller -p"
            )
        f, g = scale * moved.f, scale * moved.g
        shift = scale * moved.cost - float(x.masses() @ f + y.masses() @ g)
        g = g + np.where(y.masses() > 0, shift, 0.0)
        return cls(x=x, y=y, f=f, g=g, cost=cost, p=p, moved=moved, scale=scale)

    @property
    def total_cost(self) -> float:
        """Σ πᵢⱼ c(xᵢ, yⱼ)^p."""
        return self.scale * self.moved.cost

    @property
    def lower(self) -> float:
        """What the potentials prove."""
        return self.scale * self.moved.lower

    @property
    def upper(self) -> float:
        """The cost of this plan."""
        return self.total_cost

    @cached_property
    def _pairs(self) -> Pairs:
        rows, columns, masses = self.moved.arcs()
        order = np.lexsort((columns, rows))
        return Pairs(rows[order], columns[order], masses[order])

    def pairs(self, least: float | None = None) -> Pairs:
        """The pairs with a mass above ``least``, 0 if not given."""
        found = self._pairs
        if not least:
            return found
        kept = found.masses > least
        left_out = float(found.masses[~kept].sum())
        return Pairs(found.rows[kept], found.columns[kept], found.masses[kept], least, left_out)

    def marginals(self) -> tuple[Array, Array]:
        """Sums of rows and columns: the weights."""
        rows, columns, masses, *_ = self._pairs
        sums = np.bincount(rows, masses, self.x.n), np.bincount(columns, masses, self.y.n)
        return sums[0].astype(np.float64), sums[1].astype(np.float64)

    def top(self, k: int) -> Pairs:
        """The k heaviest pairs of every row, the heaviest first."""
        rows, columns, masses, *_ = self._pairs
        order = np.lexsort((columns, -masses, rows))
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)  # rows keep their places
        kept = order[rank < k]
        left_out = float(masses.sum() - masses[kept].sum())
        return Pairs(rows[kept], columns[kept], masses[kept], left_out=max(left_out, 0.0))

    def barycentric(self) -> Array:
        """T(xᵢ) = Σⱼ πᵢⱼ yⱼ / Σⱼ πᵢⱼ; NaN at rows without weight."""
        rows, columns, masses, *_ = self._pairs
        heaviest = np.zeros(self.x.n)
        np.maximum.at(heaviest, rows, masses)
        shares = masses / heaviest[rows]  # of one partner 1, and no digit of it is lost
        whole = np.bincount(rows, shares, self.x.n)
        made = np.empty((self.x.n, self.y.d))
        for c in range(self.y.d):
            made[:, c] = np.bincount(rows, shares * self.y.points[columns, c], self.x.n)
        with np.errstate(invalid="ignore"):
            return made / whole[:, None]

    def matrix(self) -> Any:
        """The plan as a scipy.sparse.csr_array."""
        from scipy.sparse import csr_array

        rows, columns, masses, *_ = self._pairs
        return csr_array((masses, (rows, columns)), shape=(self.x.n, self.y.n))
