"""Compiled twin of `divmatch.kernels.gpu.means`."""

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.elementary import exponential
from divmatch.kernels.cpu.jit import compiled

Array = NDArray[np.float64]


def row_means(tile: Array, scale: float, shift: Array, values: Array) -> tuple[Array, Array]:
    """See `divmatch.kernels.gpu.means`."""
    shares, levels = np.empty(tile.shape), np.empty(len(tile))
    share_rows(tile, scale, shift, shares, levels)
    return levels, np.asarray(shares @ values)


@compiled
def share_rows(tile: Array, scale: float, shift: Array, shares: Array, levels: Array) -> None:
    """Softmax of every row and the logarithm of its sum; the largest logit is taken off first."""
    for i in range(tile.shape[0]):
        top = -np.inf
        for j in range(tile.shape[1]):
            value = scale * tile[i, j] + shift[j]
            shares[i, j] = value
            top = max(top, value)
        total = 0.0
        for j in range(tile.shape[1]):
            share = exponential(shares[i, j] - top)
            shares[i, j] = share
            total += share
        levels[i] = top + np.log(total)
        for j in range(tile.shape[1]):
            shares[i, j] /= total
