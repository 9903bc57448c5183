"""Sums of many kernels over the pairs of every two groups of rows, from one pass over the distances.

The kernels are gaussians exp(−r² / (2 s²)), then as many laplaces exp(−r₁ / s). Nothing of the size
of all pairs is kept; results of blocks are added in a fixed order.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import to_device, to_host, twin
from divmatch.kernels.execution import in_order
from divmatch.kernels.pairwise import COMPILED_FROM

Array = NDArray[np.float64]
Edges = NDArray[np.intp]

ROWS, COLUMNS = 64, 512  # about, of a block: it holds whole groups


def bundle_sums(z: Array, w: Array, edges: Edges, scales: tuple[float, ...]) -> tuple[Array, Array]:
    """Σ wᵢ wⱼ kₛ(zᵢ, zⱼ) over i in group g, j in group h, and Σ wᵢ wⱼ kₛ² over all; (S, G, G), (S,).

    Group g is the rows from edges[g] to edges[g + 1]. Time O(N² (d + S) / 2), memory O(S G²).
    """
    work = 0.5 * len(z) ** 2 * (z.shape[1] + 8.0 * len(scales))
    chosen = twin(work, COMPILED_FROM)
    points, weights = to_device(z, work), to_device(w, work)
    groups = len(edges) - 1
    sums, squares = np.zeros((len(scales), groups, groups)), np.zeros(len(scales))

    def block(place: tuple[slice, slice]) -> tuple[tuple[slice, slice], Array, Array]:
        parts = []
        for part in place:
            own = edges[part.start : part.stop + 1]
            rows = slice(own[0], own[-1])
            parts += [points[rows], weights[rows], own - own[0]]
        found, power = chosen.bundle_sums(*parts, scales)
        return place, to_host(found), to_host(power)

    for (rows, columns), found, power in in_order(block, _blocks(edges), work=work):
        sums[:, rows, columns] = found
        if rows.start == columns.start and rows.stop == columns.stop:
            squares += power
        else:
            sums[:, columns, rows] = found.transpose(0, 2, 1)
            squares += 2.0 * power
    return sums, squares


def _blocks(edges: Edges) -> Iterator[tuple[slice, slice]]:
    """Blocks of groups of about ROWS rows, with themselves and with the later groups."""
    start = 0
    while start < len(edges) - 1:
        stop = _reach(edges, start, ROWS)
        yield slice(start, stop), slice(start, stop)
        column = stop
        while column < len(edges) - 1:
            end = _reach(edges, column, COLUMNS)
            yield slice(start, stop), slice(column, end)
            column = end
        start = stop


def _reach(edges: Edges, start: int, rows: int) -> int:
    """The group after those from ``start`` that hold at most ``rows`` rows; at least one group."""
    found = int(np.searchsorted(edges, edges[start] + rows, side="right")) - 1
    return max(found, start + 1)
