"""Ground costs by name: the one table of them, tiles, and the mean cost without an n × m matrix."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError, suggestion
from divmatch.kernels import line
from divmatch.kernels.backend import to_host
from divmatch.kernels.execution import steps_of
from divmatch.kernels.ground import Ground
from divmatch.kernels.pairwise import Grid, Profile, cross_sums
from divmatch.settings import Setting

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """A ground cost: of chosen pairs, and of sums over all pairs where it is one of their profiles."""

    ground: Ground
    profile: Profile | None = None
    unit: str = "data unit"


COSTS = {
    "euclidean": Cost(Ground("squares", 0.5), Profile("distance", 1.0)),
    "sqeuclidean": Cost(Ground("squares"), Profile("distance", 2.0), "data unit^2"),
    "cityblock": Cost(Ground("absolute"), Profile("cityblock", 1.0)),
    "chebyshev": Cost(Ground("largest")),
    "cosine": Cost(
        Ground("squares"), unit="1"
    ),  # of rows that `exact_costs.on_sphere` has prepared
}
NAMES = (*COSTS, "lp:Q")
PROFILES = {name: cost.profile for name, cost in COSTS.items() if cost.profile is not None}

CostName = Literal["sqeuclidean", "euclidean", "cityblock"]  # those with a profile
CostSetting = Annotated[
    CostName, Setting("ground cost: |x − y|², not halved; |x − y|; or Σ |x_c − y_c|")
]


def parse_cost(text: str) -> str:
    """The name of a ground cost, or say which there are."""
    if text in COSTS:
        return text
    name, colon, number = text.partition(":")
    if name == "lp" and colon:
        try:
            order = float(number)
        except ValueError:
            order = math.nan
        if 1 <= order < math.inf:
            return f"lp:{order:g}"
        raise SettingError(f"--cost {text}: expected lp:Q with a number Q, at least 1")
    known = ", ".join(NAMES)
    raise SettingError(f"--cost {text}: expected one of {known}{suggestion(text, NAMES)}")


def named(cost: str) -> Cost:
    """The cost of a name that `parse_cost` let pass: (Σ |x_c − y_c|^Q)^(1/Q) for lp:Q."""
    if cost in COSTS:
        return COSTS[cost]
    order = float(cost.partition(":")[2])
    same = {1.0: "cityblock", 2.0: "euclidean"}.get(order)
    return COSTS[same] if same else Cost(Ground("powers", 1.0 / order, order))


def unit(cost: str) -> str:
    """The unit that the cost is measured in."""
    return named(cost).unit


def ground_of(cost: str, p: float) -> Ground:
    """The p-th power of the cost."""
    ground = named(cost).ground
    return replace(ground, outer=p * ground.outer)


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
        x, y = x - x[0], y - x[0]  # equal rows cost exactly nothing
        centre_x, centre_y = a @ x, b @ y
        within = a @ np.square(x - centre_x).sum(1) + b @ np.square(y - centre_y).sum(1)
        return float(within + np.square(centre_x - centre_y).sum())
    if cost == "cityblock":
        columns = range(x.shape[1])
        return float(sum(a @ line.distance_sums(x[:, c], y[:, c], b) for c in columns))
    return float(a @ cross_sums(PROFILES[cost], x, y, a, b)[0])


def mean_power(cost: str, p: float, x: Array, y: Array, a: Array, b: Array) -> float:
    """Σᵢⱼ aᵢ bⱼ c(xᵢ, yⱼ)^p; O(n·m·d) time and O(n + m) memory where no faster form is known."""
    profile = PROFILES.get(cost)
    squared = profile is not None and profile.name == "distance" and profile.scale * p == 2.0
    if squared or (p == 1 and profile is not None):
        return mean("sqeuclidean" if squared else cost, x, y, a, b)
    if profile is not None and profile.name == "distance" and profile.scale * p < 2.0:
        return float(a @ cross_sums(Profile("distance", profile.scale * p), x, y, a, b)[0])
    ground, total = ground_of(cost, p), 0.0
    for rows in steps_of(len(x), max(1, (1 << 20) // y.size)):
        total += float(a[rows] @ (ground.matrix(x[rows], y) @ b))
    return total
