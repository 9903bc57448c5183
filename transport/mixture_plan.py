"""The plan of transport between Gaussian mixtures: which component goes onto which."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from divmatch.mixtures import Components
from divmatch.samples import Samples
from divmatch.transport.exact_costs import Moved
from divmatch.transport.mixture_cost import Carried
from divmatch.transport.plans import Array, Pairs
from divmatch.transport.sparse_plan import SparsePlan


@dataclass(frozen=True, eq=False, kw_only=True)
class MixturePlan(SparsePlan):
    """A plan between components, whose means stand in the place of rows."""

    p_side: Components
    q_side: Components
    each: Array  # cost of moving one component onto another, (K, L)

    @classmethod
    def between(cls, one: Components, other: Components, found: Carried, cost: str) -> Self:
        """The plan that was found, with a lower bound that its potentials prove."""
        x, y = (
            Samples(side.means, side.shares / side.shares.sum(), name)
            for side, name in ((one, "x"), (other, "y"))
        )
        g = found.by_q.shares
        f = (found.costs - g).min(axis=1)
        rows, columns = np.nonzero(found.plan)
        masses = found.plan[rows, columns]
        lower = min(float(x.masses() @ f + y.masses() @ g), found.value)
        moved = Moved(found.value, lower, f, g, lambda: (rows, columns, masses))
        plain = SparsePlan.of(x, y, moved, 1.0, cost, 1.0)
        return cls(
            x=x, y=y, f=plain.f, g=plain.g, cost=cost, moved=moved,
            p_side=one, q_side=other, each=found.costs,
        )  # fmt: skip

    def costs_of(self, pairs: Pairs) -> Array:
        """What moving the one component onto the other costs."""
        return np.asarray(self.each[pairs.rows, pairs.columns])

    def arrays(self, pairs: Pairs | None = None) -> dict[str, Any]:
        """What a file holds: also the components."""
        return {
            **super().arrays(pairs),
            "means_p": self.p_side.means,
            "covariances_p": self.p_side.covariances,
            "means_q": self.q_side.means,
            "covariances_q": self.q_side.covariances,
        }
