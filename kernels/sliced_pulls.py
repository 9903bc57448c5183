"""Where sorted projections pull the rows of a sample: gradients of sliced distances, without pairs.

Blocks depend on nothing but the shapes, and sums are in their order: the same digits for any number
of threads.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import host_twin
from divmatch.kernels.execution import in_order, steps_of

Array = NDArray[np.float64]
Places = NDArray[Any]  # whole numbers: positions of rows
Pull = Callable[[Array, Array, "Masses"], tuple[float, Array]]

GROUP = 1 << 23  # projections of one sample held at a time
ROWS = 2048  # rows projected, or whose pulls are added up, at a time
SEVERAL = 1e4  # walks of a flow, about: directions times steps
COMPILED_FROM = 1e8  # numbers walked from which loading the compiled twin has paid


NONE: Array = np.empty(0)


class Masses(NamedTuple):
    """Weights a (n,) and b (m,) of two samples; None where every row counts the same."""

    a: Array | None
    b: Array | None


def pulled(
    pull: Pull, x: Array, y: Array, masses: Masses, vectors: Array, slope: float, velocity: Array
) -> float:
    """Mean over directions of the value on a line; into ``velocity`` that of slope θ times the derivative.

    Shapes (n, d), (m, d), (L, d), (n, d). Derivatives are divided by the weights of the rows.
    Time O(L (n + m)(d + log(n + m))).
    """
    work = float(len(x) + len(y)) * len(vectors) * (x.shape[1] + 60)
    value = 0.0
    steep = (slope / len(vectors)) * vectors

    def spread(rows: slice) -> None:
        if group.start == 0:
            np.matmul(across[:, rows].T, steep[group], out=velocity[rows])
        else:
            velocity[rows] += across[:, rows].T @ steep[group]

    def one(k: int) -> float:
        found, across[k] = pull(across[k], down[k], masses)
        return found

    for group in steps_of(len(vectors), max(1, GROUP // max(len(x), len(y)))):
        across, down = (_projected(rows, vectors[group], work) for rows in (x, y))
        value += sum(in_order(one, range(len(across)), work=work))
        _done(spread, len(x), work)
    return value / len(vectors)


def _projected(points: Array, vectors: Array, work: float) -> Array:
    """Vectors @ pointsᵀ, in blocks of rows that stay in the cache."""
    made = np.empty((len(vectors), len(points)))

    def fill(rows: slice) -> None:
        np.matmul(vectors, points[rows].T, out=made[:, rows])

    _done(fill, len(points), work)
    return made


def _done(function: Callable[[slice], None], rows: int, work: float) -> None:
    for _ in in_order(function, steps_of(rows, ROWS), work=work):
        pass


def riesz_pull(x: Array, y: Array, masses: Masses) -> tuple[float, Array]:
    """Half the energy distance of two sets of numbers, ∫ (F − G)², and 2 (F̄ − Ḡ) at those of x.

    Equal numbers of x have ranks one after the other.
    """
    order, line, a, nodes, b = _sorted(x, y, masses)
    chosen = host_twin(float(len(x) + len(y)) * SEVERAL, COMPILED_FROM)
    pull, made = np.empty(len(x)), np.empty(len(x))
    value = chosen.riesz_walk(line, nodes, a, b, pull)
    made[order] = pull
    return value, made


def quantile_pull(x: Array, y: Array, masses: Masses) -> tuple[float, Array]:
    """W₂² of two sets of numbers, and x − T(x): T(x) is the mean of y over the mass that x goes to."""
    order, line, a, nodes, b = _sorted(x, y, masses)
    own = a if len(a) else np.full(len(x), 1.0 / len(x))
    target, spread = nodes, 0.0
    if len(x) != len(y) or len(a) or len(b):
        other = b if len(b) else np.full(len(y), 1.0 / len(y))
        ends, upto = _upto(own), _upto(other)
        reached = np.interp(ends / ends[-1], upto / upto[-1], _upto(other * nodes))
        target = np.divide(np.diff(reached), own, out=line.copy(), where=own > 0)
        np.clip(target, nodes[0], nodes[-1], out=target)  # rounding of the sums
        spread = max(float(other @ nodes**2 - own @ target**2), 0.0)
    made = np.empty(len(x))
    made[order] = line - target
    return float(own @ (line - target) ** 2) + spread, made


def _sorted(x: Array, y: Array, masses: Masses) -> tuple[Places, Array, Array, Array, Array]:
    """The order of x, then both sets in their order with their weights; none where all are equal."""
    order = ordered(x)
    a = NONE if masses.a is None else masses.a[order]
    if masses.b is None:
        return order, x[order], a, np.sort(y), NONE
    order_y = ordered(y)
    return order, x[order], a, y[order_y], masses.b[order_y]


def ordered(numbers: Array) -> Places:
    """The order of n finite numbers, in which those nearer than n·2⁻⁵¹ of their size may change places.

    Sorts the numbers with their places in the last bits, which is twice as fast as sorting places.
    """
    places = (1 << (len(numbers) - 1).bit_length()) - 1
    keys = numbers.view(np.int64) & ~places
    keys |= np.arange(len(numbers))
    keys.view(np.float64).sort()
    keys &= places
    return keys


def _upto(values: Array) -> Array:
    """0 and the running sums."""
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums
