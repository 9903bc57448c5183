"""Where Stein's identity steers particles: the direction of SVGD, streamed over half of the pairs.

For k = φ(r) of `divmatch.kernels.pairwise`, gaussian or imq, the gradient by xⱼ is w (xᵢ − xⱼ) with
w = −φ'(r) / r: k / s² and k³. Nothing here keeps an n × n matrix; results of tiles are added in a
fixed order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import to_host
from divmatch.kernels.execution import in_order
from divmatch.kernels.pairwise import Grid, Profile

Array = NDArray[np.float64]


def steered(profile: Profile, x: Array, scores: Array, a: Array) -> tuple[Array, Array]:
    """Σⱼ aⱼ [k(xⱼ, xᵢ) sⱼ + ∇k(xⱼ, xᵢ) by xⱼ], shape (n, d), and Σⱼ aⱼ k(xⱼ, xᵢ), shape (n,).

    Time O(n² d), memory O(n d) a thread.
    """
    centred = x - a @ x
    mass = a[:, None]
    if profile.name == "gaussian":
        factor = profile.scale**-2
        carried = np.hstack([mass * (scores - factor * centred), mass])
        (sums,) = self_products(profile, x, (carried,))
        masses = sums[:, -1]
        return sums[:, :-1] + factor * masses[:, None] * centred, masses
    sums, pulled = self_products(
        profile, x, (np.hstack([mass * scores, mass]), np.hstack([mass * centred, mass]))
    )
    return sums[:, :-1] + pulled[:, -1:] * centred - pulled[:, :-1], sums[:, -1]


def self_products(profile: Profile, x: Array, carried: tuple[Array, ...]) -> list[Array]:
    """K V for K = profile(xᵢ, xⱼ) and the first V, of shape (n, B); for imq K³ V of a second one."""
    width = sum(v.shape[1] for v in carried)
    grid = Grid(profile, x, x, extra=width)
    vectors = [grid.moved(v) for v in carried]

    def panel(rows: slice) -> tuple[int, list[Any]]:
        room = grid.room()
        found = [np.zeros((len(x) - rows.start, v.shape[1])) for v in carried]
        for columns in grid.columns(rows.start):
            squares = grid.squares(rows, columns, room)
            tile = grid.twin.replaced(squares, profile.name, profile.scale)
            for order, (v, out) in enumerate(zip(vectors, found, strict=True)):
                if order == 1:
                    tile *= tile * tile
                out[: rows.stop - rows.start] += to_host(tile @ v[columns])
                first = max(rows.stop, columns.start)
                if first < columns.stop:
                    down = tile[:, first - columns.start :].T @ v[rows]
                    out[first - rows.start : columns.stop - rows.start] += to_host(down)
        return rows.start, found

    totals = [np.zeros(v.shape) for v in carried]
    for start, found in in_order(panel, grid.rows(), work=grid.work):
        for total, part in zip(totals, found, strict=True):
            total[start:] += part
    return totals
