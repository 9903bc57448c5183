"""Ground costs by name: tiles of two blocks of rows, and the mean cost, without an n × m matrix."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels import line
from divmatch.kernels.backend import to_host
from divmatch.kernels.pairwise import Grid, Profile, cross_sums
from divmatch.settings import Setting

Array = NDArray[np.float64]
CostName = Literal["sqeuclidean", "euclidean", "cityblock"]
CostSetting = Annotated[
    CostName, Setting("ground cost: |x − y|², not halved; |x − y|; or Σ |x_c − y_c|")
]

PROFILES: dict[str, Profile] = {
    "sqeuclidean": Profile("distance", 2.0),
    "euclidean": Profile("distance", 1.0),
    "cityblock": Profile("cityblock", 1.0),
}


def unit(cost: str) -> str:
    """The unit that the cost is measured in."""
    return "data unit^2" if cost == "sqeuclidean" else "data unit"


def tile(cost: str, x: Array, y: Array) -> Array:
    """C_ij = c(xᵢ, yⱼ) of two blocks of rows, shape (n, m), from differences: equal rows cost 0."""
    grid = Grid(PROFILES[cost], x, y)
    return to_host(grid.tile(slice(0, len(x)), slice(0, len(y))))


def mean(cost: str, x: Array, y: Array, a: Array, b: Array) -> float:
    """Σᵢⱼ aᵢ bⱼ c(xᵢ, yⱼ) for weights that sum to 1.

    O((n + m) d) for sqeuclidean, O(d (n + m) log(n + m)) for cityblock, O(n·m·d) time and O(n + m)
    memory for euclidean.
    """
    if cost == "sqeuclidean":
        centre_x, centre_y = a @ x, b @ y
        within = a @ np.square(x - centre_x).sum(1) + b @ np.square(y - centre_y).sum(1)
        return float(within + np.square(centre_x - centre_y).sum())
    if cost == "cityblock":
        columns = range(x.shape[1])
        return float(sum(a @ line.distance_sums(x[:, c], y[:, c], b) for c in columns))
    return float(a @ cross_sums(PROFILES[cost], x, y, a, b)[0])
