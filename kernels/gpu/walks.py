"""Array-module twin of `divmatch.kernels.cpu.walks`."""

from typing import Any

from divmatch.kernels.gpu.pairwise import array_module


def riesz_walk(line: Any, nodes: Any, a: Any, b: Any, out: Any) -> float:
    """∫ (F − G)² of two sorted lines, and 2 (F̄ − Ḡ) at each number of the first into ``out``.

    ``a`` and ``b`` are the weights in the same order, empty where all are equal. A number stands in the
    middle of its own mass and of that of equal nodes.
    """
    xp = array_module(line)
    own, balance = _balance(xp, a, len(line))
    other, balance_y = _balance(xp, b, len(nodes))
    low = xp.searchsorted(nodes, line)
    met = nodes.take(low, mode="clip") == line
    high = xp.searchsorted(nodes, line, side="right") if met.any() else low
    mass, moment = _upto(xp, other), _upto(xp, other * nodes)
    out[:] = mass[low] + mass[high] - 1.0 - balance
    passed = moment[low] + moment[high]
    value = own @ (line * out - passed) + moment[-1] - (other * nodes) @ balance_y
    return float(value)


def _balance(xp: Any, weights: Any, n: int) -> tuple[Any, Any]:
    """The weights, and how much more mass lies before each number than behind it."""
    if not len(weights):
        return xp.full(n, 1.0 / n), (2.0 * xp.arange(n) + 1.0) / n - 1.0
    return weights, 2.0 * xp.cumsum(weights) - weights - 1.0


def _upto(xp: Any, values: Any) -> Any:
    """0 and the running sums."""
    return xp.concatenate([xp.zeros(1), xp.cumsum(values)])
