"""Ground costs of transport: c(x, y) of chosen pairs of rows, of all pairs, and the best of each row.

A cost is h^(outer) of h = Σ (x − y)², Σ |x − y|, max |x − y| or Σ |x − y|^inner over the columns, or
with a rate exp(rate h^outer) − 1; always from differences: equal rows cost nothing wherever they lie.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import in_order, steps_of

Array = NDArray[np.float64]
Places = NDArray[np.int32]
Family = Literal["squares", "absolute", "largest", "powers"]

FAMILIES: tuple[Family, ...] = ("squares", "absolute", "largest", "powers")
CHUNK = 64  # rows priced by one thread at a time
STEEPEST = 700.0  # exponents from which costs are inf


@dataclass(frozen=True)
class Ground:
    """A cost of two rows: which sum over the columns, and the powers inside and outside of it.

    A ``rate`` above 0 makes it exponential; what would overflow is inf.
    """

    family: Family
    outer: float = 1.0
    inner: float = 2.0
    rate: float = 0.0

    @property
    def degree(self) -> float:
        """The power of t by which a cost without a rate grows when all rows are multiplied by t."""
        return {"squares": 2.0, "powers": self.inner}.get(self.family, 1.0) * self.outer

    def of(self, gaps: Array) -> Array:
        """The cost of differences, shape (…, d) to (…)."""
        if self.family == "squares":
            sums = np.einsum("...d,...d->...", gaps, gaps)
        elif self.family == "absolute":
            sums = np.abs(gaps).sum(axis=-1)
        elif self.family == "largest":
            sums = np.abs(gaps).max(axis=-1)
        else:
            sums = (np.abs(gaps) ** self.inner).sum(axis=-1)
        if self.outer != 1.0:
            sums = np.sqrt(sums) if self.outer == 0.5 else sums**self.outer
        if not self.rate:
            return sums
        steep = self.rate * sums
        return np.where(steep < STEEPEST, np.expm1(np.minimum(steep, STEEPEST)), np.inf)

    def pairs(self, x: Array, y: Array) -> Array:
        """c(xᵢ, yᵢ), shape (n,)."""
        return np.concatenate(
            [self.of(x[rows] - y[rows]) for rows in steps_of(len(x), 1 << 16)] or [np.empty(0)]
        )

    def matrix(self, x: Array, y: Array) -> Array:
        """c(xᵢ, yⱼ), shape (n, m): for small samples alone."""
        made = np.empty((len(x), len(y)))
        for rows in steps_of(len(x), max(1, (1 << 18) // max(1, y.size))):
            made[rows] = self.of(x[rows, None, :] - y)
        return made

    def best(self, x: Array, y: Array, g: Array, limit: Array, k: int) -> tuple[Places, Array]:
        """Places and values of the k smallest c(xᵢ, yⱼ) − gⱼ below limitᵢ, shapes (n, k).

        −1 and inf where there are fewer. Time O(n·m·d), memory O(n k + m d).
        """
        from divmatch.kernels.cpu.transport import BLOCK, blocked, priced

        blocks = blocked(y)
        duals = np.zeros((len(blocks), BLOCK))
        duals.ravel()[: len(y)] = g
        places = np.empty((len(x), min(k, len(y))), dtype=np.int32)
        values = np.empty(places.shape)
        family = FAMILIES.index(self.family)

        def fill(rows: slice) -> None:
            priced(
                x[rows], blocks, duals, limit[rows], family, self.inner, self.outer, self.rate,
                places[rows], values[rows],
            )  # fmt: skip

        for _ in in_order(fill, steps_of(len(x), CHUNK), work=float(len(x)) * len(y) * x.shape[1]):
            pass
        return places, values
