"""Where sorted projections pull the rows of a sample: gradients of sliced distances, without pairs.

Directions are worked on in blocks that depend on nothing but the shapes, and blocks are added in
their order: the same digits for any number of threads.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import in_order, steps_of

Array = NDArray[np.float64]
Places = NDArray[Any]  # whole numbers: positions of rows
Pull = Callable[[Array, Array, "Masses"], tuple[float, Array]]

BLOCK = 1 << 19  # projections of one sample worked on at a time by one thread
MOST = 32  # directions of a block


class Masses(NamedTuple):
    """Weights a (n,) and b (m,) of two samples; None where every row counts the same."""

    a: Array | None
    b: Array | None


def _balance(weights: Array | None, order: Places) -> tuple[Array, Array]:
    """Weights in this order, and how much more mass lies before each row than behind it."""
    if weights is None:
        n = len(order)
        return np.full(n, 1.0 / n), (2.0 * np.arange(n) + 1.0) / n - 1.0
    own = weights[order]
    return own, 2.0 * np.cumsum(own) - own - 1.0


def _ordered(y: Array, weights: Array | None) -> tuple[Array, Array, Array]:
    """The numbers in their order, their weights and balance; without weights the order is not needed."""
    order = np.argsort(y) if weights is not None else np.empty(len(y), dtype=np.intp)
    nodes = np.sort(y) if weights is None else y[order]
    return nodes, *_balance(weights, order)


def pulled(pull: Pull, x: Array, y: Array, masses: Masses, vectors: Array) -> tuple[float, Array]:
    """Mean over directions of the value on a line, and of θ times the derivative by each number of x.

    Shapes (n, d), (m, d), (L, d); the second result has the shape of x. Derivatives are divided by the
    weights of the rows. Time O(L (n + m)(d + log(n + m))).
    """
    size = max(1, min(MOST, BLOCK // max(len(x), len(y))))

    def block(part: slice) -> tuple[float, Array]:
        across, down = vectors[part] @ x.T, vectors[part] @ y.T
        total = 0.0
        for k in range(len(across)):
            value, across[k] = pull(across[k], down[k], masses)
            total += value
        return total, across.T @ vectors[part]

    work = float(len(x) + len(y)) * len(vectors) * (x.shape[1] + 60)
    value, velocity = 0.0, np.zeros(x.shape)
    for total, pulls in in_order(block, steps_of(len(vectors), size), work=work):
        value += total
        velocity += pulls
    velocity /= len(vectors)
    return value / len(vectors), velocity


def riesz_pull(x: Array, y: Array, masses: Masses) -> tuple[float, Array]:
    """Half the energy distance of two sets of numbers, ∫ (F − G)², and 2 (F̄ − Ḡ) at those of x.

    A number stands in the middle of its own mass and of that of equal numbers of y; equal numbers of
    x have ranks one after the other.
    """
    order = np.argsort(x)
    line, (own, balance) = x[order], _balance(masses.a, order)
    nodes, other, balance_y = _ordered(y, masses.b)
    low = np.searchsorted(nodes, line)
    met = nodes.take(low, mode="clip") == line
    high = np.searchsorted(nodes, line, side="right") if met.any() else low
    mass, moment = _upto(other), _upto(other * nodes)
    across = (mass[low] + mass[high]) - 1.0
    apart = own @ (line * across - (moment[low] + moment[high])) + moment[-1]
    value = apart - own @ (line * balance) - other @ (nodes * balance_y)
    made = np.empty(len(x))
    made[order] = across - balance
    return float(value), made


def quantile_pull(x: Array, y: Array, masses: Masses) -> tuple[float, Array]:
    """W₂² of two sets of numbers, and x − T(x): T(x) is the mean of y over the mass that x goes to."""
    order = np.argsort(x)
    line, (own, _) = x[order], _balance(masses.a, order)
    nodes, other, _ = _ordered(y, masses.b)
    target, spread = nodes, 0.0
    if len(x) != len(y) or masses != (None, None):
        ends, upto = _upto(own), _upto(other)
        reached = np.interp(ends / ends[-1], upto / upto[-1], _upto(other * nodes))
        target = np.divide(np.diff(reached), own, out=line.copy(), where=own > 0)
        np.clip(target, nodes[0], nodes[-1], out=target)  # rounding of the sums
        spread = max(float(other @ nodes**2 - own @ target**2), 0.0)
    made = np.empty(len(x))
    made[order] = line - target
    return float(own @ (line - target) ** 2) + spread, made


def _upto(values: Array) -> Array:
    """0 and the running sums."""
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums
