"""Where Stein's identity steers particles: the direction of SVGD, streamed over half of the pairs.

For k = φ(r) of `divmatch.kernels.pairwise`, gaussian or imq, the gradient by xⱼ is w (xᵢ − xⱼ) with
w = −φ'(r) / r: k / s² and k³. Nothing here keeps an n × n matrix; results of tiles are added in a
fixed order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import to_device, to_host, twin
from divmatch.kernels.execution import in_order, steps_of
from divmatch.kernels.pairwise import COMPILED_FROM, Grid, Profile

Array = NDArray[np.float64]

SINGLE_FROM = 1e7  # operations from which single precision is worth it
NEAR = 50.0  # squares of the scale within which it is right to 1e-5


def steered(
    profile: Profile, x: Array, scores: Array, a: Array, *, rough: bool = False
) -> tuple[Array, Array]:
    """Σⱼ aⱼ [k(xⱼ, xᵢ) sⱼ + ∇k(xⱼ, xᵢ) by xⱼ], shape (n, d), and Σⱼ aⱼ k(xⱼ, xᵢ), shape (n,).

    ``rough`` lets a gaussian kernel of many rows be of single precision, summed up in double: 1e-5 of
    its terms off, at twice the speed. Time O(n² d), memory O(n d) a thread.
    """
    centred = x - a @ x
    mass = a[:, None]
    if profile.name == "gaussian":
        factor = profile.scale**-2
        carried = np.hstack([mass * (scores - factor * centred), mass])
        if rough and _single(centred, factor):
            sums = rough_products(centred, carried, profile.scale)
        else:
            (sums,) = self_products(profile, x, (carried,))
        masses = sums[:, -1]
        return sums[:, :-1] + factor * masses[:, None] * centred, masses
    sums, pulled = self_products(
        profile, x, (np.hstack([mass * scores, mass]), np.hstack([mass * centred, mass]))
    )
    return sums[:, :-1] + pulled[:, -1:] * centred - pulled[:, :-1], sums[:, -1]


def _single(centred: Array, factor: float) -> bool:
    """Whether many rows lie so near to their centre that exponents keep their digits."""
    n, d = centred.shape
    work = float(n) * n * (2 * d + 8)
    return work >= SINGLE_FROM and factor * float((centred**2).sum(axis=1).max()) < NEAR


def rough_products(x: Array, carried: Array, scale: float) -> Array:
    """K V for the gaussian kernel of centred rows, tiles in single precision."""
    n, d = x.shape
    work = float(n) * n * (d + carried.shape[1] + 8)
    run = twin(work, COMPILED_FROM)
    rows = x / scale
    halves = 0.5 * np.einsum("ij,ij->i", rows, rows)
    ones = np.ones(n)
    left = to_device(np.column_stack([rows, -halves, ones]).astype(np.float32), work)
    right = np.ascontiguousarray(np.column_stack([rows, ones, -halves]).T, dtype=np.float32)
    right, vectors = to_device(right, work), to_device(carried.astype(np.float32), work)

    tile_rows, tile_columns = run.tile_shape(left)

    def panel(own: slice) -> tuple[int, Array]:
        found = np.zeros((n - own.start, carried.shape[1]))
        size = own.stop - own.start
        for columns in steps_of(n, tile_columns, own.start):
            tile = run.exponentials(left[own] @ right[:, columns])
            found[:size] += to_host(tile @ vectors[columns])
            first = max(own.stop, columns.start)
            if first < columns.stop:
                down = tile[:, first - columns.start :].T @ vectors[own]
                found[first - own.start : columns.stop - own.start] += to_host(down)
        return own.start, found

    total = np.zeros(carried.shape)
    for start, found in in_order(panel, steps_of(n, tile_rows), work=work):
        total[start:] += found
    return total


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
            tile = grid.twin.shaped(squares, profile.name, profile.scale)
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
