"""Transport plans: who goes where, the potentials behind it, and what follows from them on demand."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError
from divmatch.kernels.execution import execution
from divmatch.outputs import whole_file
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.transport import costs
from divmatch.transport.exact_costs import on_sphere

Array = NDArray[np.float64]
Numbers = NDArray[Any]  # positions of rows

LEFT_OUT = 1e-3  # of the mass, at most, in pairs too light to list where memory is no matter


class Pairs(NamedTuple):
    """Pairs of rows with the mass that goes from one to the other, sorted by row.

    Entries of no more than ``least`` are not listed; together they carry ``left_out``.
    """

    rows: Numbers
    columns: Numbers
    masses: Array
    least: float = 0.0
    left_out: float = 0.0

    def lacking(self) -> tuple[Note, ...]:
        """What memory has made it leave out, aloud."""
        if self.left_out <= LEFT_OUT:
            return ()
        return (
            Note(
                "W46",
                f"pairs of up to {self.least:.2g} are left out, which carry {self.left_out:.2%} of the "
                "mass; the potentials give them all, --max-memory takes more",
            ),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan(ABC):
    """A plan π between the rows of x and y for the cost c(x, y)^p, with its potentials.

    ``f`` (n,) and ``g`` (m,) are 0 at rows without weight. ``eps`` is the regularisation, 0 for exact
    transport. No plan without it costs less than ``lower``; one that costs ``upper`` is known.
    """

    x: Samples
    y: Samples
    f: Array
    g: Array
    cost: str
    p: float = 1.0
    eps: float = 0.0

    @property
    @abstractmethod
    def lower(self) -> float:
        """Below the least cost without regularisation."""

    @property
    @abstractmethod
    def upper(self) -> float:
        """Above the least cost without regularisation."""

    @property
    @abstractmethod
    def total_cost(self) -> float:
        """Σ πᵢⱼ c(xᵢ, yⱼ)^p."""

    @abstractmethod
    def marginals(self) -> tuple[Array, Array]:
        """Sums of rows (n,) and columns (m,); mass that is not transported is missing in them."""

    @abstractmethod
    def pairs(self, least: float | None = None) -> Pairs:
        """The pairs with a mass above ``least``."""

    @abstractmethod
    def top(self, k: int) -> Pairs:
        """The k heaviest pairs of every row, the heaviest first."""

    @abstractmethod
    def barycentric(self) -> Array:
        """T(xᵢ) = Σⱼ πᵢⱼ yⱼ / Σⱼ πᵢⱼ, shape (n, d); NaN where nothing leaves a row."""

    @abstractmethod
    def matrix(self) -> Any:
        """The whole plan, shape (n, m)."""

    @property
    def mass(self) -> float:
        """What is transported: 1 where marginals are kept."""
        return float(self.marginals()[0].sum())

    def costs_of(self, pairs: Pairs) -> Array:
        """c(xᵢ, yⱼ)^p of some pairs."""
        x, y = self.measured
        ground = costs.ground_of(self.cost, self.p)
        made = np.empty(len(pairs.rows))
        for start in range(0, len(made), 1 << 16):
            some = slice(start, start + (1 << 16))
            made[some] = ground.pairs(x[pairs.rows[some]], y[pairs.columns[some]])
        return made

    @cached_property
    def measured(self) -> tuple[Array, Array]:
        """The points as the cost takes them."""
        if self.cost == "cosine":
            return on_sphere(self.x).points, on_sphere(self.y).points
        return self.x.points, self.y.points

    def arrays(self, pairs: Pairs | None = None) -> dict[str, Any]:
        """What a file holds: potentials, weights, pairs, cost, p, eps, bounds."""
        pairs = self.pairs() if pairs is None else pairs
        return {
            "f": self.f,
            "g": self.g,
            "weights_p": self.x.masses(),
            "weights_q": self.y.masses(),
            "row": pairs.rows,
            "col": pairs.columns,
            "mass": pairs.masses,
            "least": np.float64(pairs.least),
            "left_out": np.float64(pairs.left_out),
            "cost": np.str_(self.cost),
            "p": np.float64(self.p),
            "eps": np.float64(self.eps),
            "n": np.int64(self.x.n),
            "m": np.int64(self.y.n),
            "total_cost": np.float64(self.total_cost),
            "lower": np.float64(self.lower),
            "upper": np.float64(self.upper),
        }

    def save(self, path: str) -> None:
        """Write an .npz that NumPy opens without pickle; the file appears whole or not at all."""
        with whole_file(path) as file:
            np.savez(file, **self.arrays())


def check_room(numbers: int, what: str) -> None:
    """Refuse arrays of more float64 than the memory allows."""
    if 8 * numbers > execution().memory:
        raise SettingError(
            f"plan: {what} needs {8 * numbers / 2**30:.2g} GiB; take pairs() or top(k), or allow "
            "more memory"
        )
