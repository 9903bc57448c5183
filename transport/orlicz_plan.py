"""The plan of an Orlicz distance: the cheapest for Φ(c / k), where k is the distance and the cost 1."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from divmatch.samples import Samples
from divmatch.transport.exact_costs import Arcs, Moved
from divmatch.transport.growth import growth_of
from divmatch.transport.plans import Array, Pairs
from divmatch.transport.sparse_plan import SparsePlan


@dataclass(frozen=True, eq=False, kw_only=True)
class OrliczPlan(SparsePlan):
    """A plan π for the cost Φ(c(x, y) / norm), which costs 1; 0 where the norm is.

    ``lower`` and ``upper`` hold the least cost at this norm, and potentials add up to it.
    """

    orlicz: str
    norm: float

    @classmethod
    def at(cls, x: Samples, y: Samples, moved: Moved, cost: str, orlicz: str, norm: float) -> Self:
        """The plan that was found at this norm."""
        plain = SparsePlan.of(x, y, moved, 1.0, cost, 1.0)
        return cls(x=x, y=y, f=plain.f, g=plain.g, cost=cost, moved=moved, orlicz=orlicz, norm=norm)

    def costs_of(self, pairs: Pairs) -> Array:
        """Φ(c(xᵢ, yⱼ) / norm) of some pairs."""
        return growth_of(self.orlicz).at(super().costs_of(pairs), self.norm)

    def arrays(self, pairs: Pairs | None = None) -> dict[str, Any]:
        """What a file holds: also Φ and the norm."""
        return {
            **super().arrays(pairs),
            "orlicz": np.str_(self.orlicz),
            "norm": np.float64(self.norm),
        }


def keeping_potentials(
    left: Array, right: Array, arcs: Arcs, cost_of: Callable[[Array], Array], room: float
) -> tuple[Array, Array]:
    """Potentials of the plan that keeps the order on a line, for a convex cost.

    From a pair to the next f and g grow by what one of the two moves more. Where a pair ends both
    of its rows, f may grow by anything between two bounds: by their mean, but since that is of no
    meaning where they are too far apart for its digits, by no more than ``room`` if it may.
    """
    rows, columns, _ = arcs
    one, other = left[rows], right[columns]
    here = cost_of(one - other)
    most = cost_of(one[1:] - other[:-1]) - here[:-1]  # with the partner of before
    least = here[1:] - cost_of(one[:-1] - other[1:])  # with the partner of after
    mean = np.clip(0.5 * least + 0.5 * most, -room, room)
    along = np.where(columns[1:] == columns[:-1], most, np.minimum(np.maximum(mean, least), most))
    steps = np.where(rows[1:] == rows[:-1], 0.0, along)
    grown = np.concatenate([[0.0], np.cumsum(steps)])
    f, g = np.zeros(len(left)), np.full(len(right), np.inf)
    f[rows] = grown
    np.minimum.at(g, columns, here - grown)
    return f, np.where(np.isfinite(g), g, 0.0)
