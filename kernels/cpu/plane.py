"""Compiled twin of `divmatch.kernels.gpu.plane`: a Fenwick tree over the ranks."""

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.jit import compiled

Array = NDArray[np.float64]


def dominated(ranks: NDArray[np.int64], values: Array) -> Array:
    """See `divmatch.kernels.gpu.plane`."""
    out = np.empty_like(values)
    fenwick(ranks, values, out)
    return out


@compiled
def fenwick(ranks: NDArray[np.int64], values: Array, out: Array) -> None:
    """Sums of four values over the rows before each row whose ranks are below its own."""
    n = len(ranks)
    tree = np.zeros((n + 1, 4))
    for i in range(n):
        a = b = c = d = 0.0
        node = ranks[i]
        while node > 0:
            a += tree[node, 0]
            b += tree[node, 1]
            c += tree[node, 2]
            d += tree[node, 3]
            node -= node & -node
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = a, b, c, d
        node = ranks[i] + 1
        while node <= n:
            tree[node, 0] += values[i, 0]
            tree[node, 1] += values[i, 1]
            tree[node, 2] += values[i, 2]
            tree[node, 3] += values[i, 3]
            node += node & -node
