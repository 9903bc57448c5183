"""Sums of a kernel within and between the blocks of two samples: O(n·m / number of blocks) pairs."""

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import to_host
from divmatch.kernels.execution import in_order
from divmatch.kernels.pairwise import Grid, Profile, matched

Array = NDArray[np.float64]
Edges = NDArray[np.intp]  # where the blocks begin, and where the last one ends


def block_sums(
    profile: Profile, x: Array, y: Array, a: Array, b: Array, edges: tuple[Edges, Edges]
) -> Array:
    """Σ aᵢ aⱼ k(xᵢ, xⱼ) over i ≠ j, the same of y, and Σ aᵢ bⱼ k(xᵢ, yⱼ) of every block; (blocks, 3)."""
    grids = Grid(profile, x, x), Grid(profile, y, y), Grid(profile, x, y)
    weights = (a, a), (b, b), (a, b)
    own = a * a * profile.own(x), b * b * profile.own(y)

    def one(block: int) -> Array:
        part_x, part_y = (slice(e[block], e[block + 1]) for e in edges)
        places = (part_x, part_x), (part_y, part_y), (part_x, part_y)
        found = np.array(
            [
                left[rows] @ to_host(grid.tile(rows, columns)) @ right[columns]
                for grid, (left, right), (rows, columns) in zip(grids, weights, places, strict=True)
            ]
        )
        found[:2] -= own[0][part_x].sum(), own[1][part_y].sum()
        return found

    blocks = len(edges[0]) - 1
    return np.array(list(in_order(one, range(blocks), work=grids[2].work / blocks)))


def pair_sums(profile: Profile, x: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Of the pairs of rows (0, 1), (2, 3), …: k(x, x'), k(y, y') and k(x, y') + k(x', y) with weights.

    The second array holds the weights alone; both have the shape (pairs, 3).
    """
    (x0, x1), (y0, y1), (a0, a1), (b0, b1) = ((z[0::2], z[1::2]) for z in (x, y, a, b))
    masses = np.column_stack([a0 * a1, b0 * b1, a0 * b1, a1 * b0])
    kernels = [matched(profile, *pair) for pair in ((x0, x1), (y0, y1), (x0, y1), (x1, y0))]
    sums = masses * np.column_stack(kernels)
    return _joined(sums), _joined(masses)


def _joined(columns: Array) -> Array:
    return np.column_stack([columns[:, 0], columns[:, 1], columns[:, 2] + columns[:, 3]])
