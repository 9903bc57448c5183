"""Compiled twin of `divmatch.kernels.gpu.walks`: one walk along both sorted lines."""

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.jit import compiled, inlined

Array = NDArray[np.float64]


def riesz_walk(line: Array, nodes: Array, a: Array, b: Array, out: Array) -> float:
    """See `divmatch.kernels.gpu.walks`."""
    return float(walked(line, nodes, a, b, out))


@inlined
def mass(weights: Array, k: int, each: float) -> float:
    """Of the k-th number."""
    return weights[k] if len(weights) else each


@compiled
def walked(line: Array, nodes: Array, a: Array, b: Array, out: Array) -> float:
    """Which line goes on is no branch, for nobody could foresee it."""
    n, m = len(line), len(nodes)
    each_x, each_y = 1.0 / n, 1.0 / m
    below_x = below_y = value = equal = 0.0
    before = min(line[0], nodes[0])
    met = before - 1.0
    i = j = 0
    while i < n and j < m:
        x, y = line[i], nodes[j]
        other = int(y < x)
        here = y if y < x else x
        gap = below_x - below_y
        value += (here - before) * gap * gap
        before = here
        own = mass(a, i, each_x)
        out[i] = 2.0 * (below_y - below_x) - own
        if x == y:
            if x != met:
                met, equal, k = x, 0.0, j
                while k < m and nodes[k] == x:
                    equal += mass(b, k, each_y)
                    k += 1
            out[i] += equal
        below_x += (1 - other) * own
        below_y += other * mass(b, j, each_y)
        i += 1 - other
        j += other
    for k in range(i, n):
        gap = below_x - below_y
        value += (line[k] - before) * gap * gap
        before = line[k]
        own = mass(a, k, each_x)
        out[k] = 2.0 * (below_y - below_x) - own
        below_x += own
    for k in range(j, m):
        gap = below_x - below_y
        value += (nodes[k] - before) * gap * gap
        before = nodes[k]
        below_y += mass(b, k, each_y)
    return value
