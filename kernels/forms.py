"""Quadratic forms of one kernel matrix in many vectors: what every split of a sample is judged by.

From 10,000 rows on they are of the matrix in single precision, in half the time: each entry has an
error of up to 6e-8 of itself (of nearer rows, 6e-8 of the rows' length). It is the same matrix for
every vector, so that splits are compared as fairly as with the exact one: an exchangeable statistic
stays exchangeable.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels import line
from divmatch.kernels.backend import to_host
from divmatch.kernels.execution import in_order, steps_of
from divmatch.kernels.pairwise import Grid, Profile, on_a_line

Array = NDArray[np.float64]

SINGLE_FROM = 10_000  # rows from which entries are in single precision
MARKED_ROWS = 4096  # of marks that become numbers at once
SINGLE_ROWS = 256  # of such a tile: as many bytes as the others have
SINGLE_ERROR = (
    1e-4  # of a row's share in them, as a share of the mean entry: about twice what was seen
)
SINGLE = ("gaussian", "imq", "rq", "matern12", "matern32", "matern52")
FLATTEST = 0.5  # powers of the distance below this are steep at zero: they need more digits
NARROWEST = 1e-3  # and so do scales below this share of the rows' reach
REACHES = (1e-12, 1e12)  # squares of other numbers leave the range


def quadratic_forms(
    profile: Profile, z: Array, marks: NDArray[Any], w: Array
) -> tuple[Array, Array, float]:
    """vᵀKv and wᵀKv of v = m∘w for every column m of the marks, and wᵀKw, K = profile(zᵢ, zⱼ).

    Marks, labels or signs of the rows, have shape (N, B) and w (N,); the shapes of the results are
    (B,), (B,), (). B splits in one pass over half of the pairs: time O(N²·(d + B) / 2), memory that of
    the marks.
    """
    if on_a_line(profile, z):
        forms = line.distance_forms(z[:, 0], np.column_stack([marks * w[:, None], w]))
        return (
            forms[:-1],
            along(line.distance_sums(z[:, 0], z[:, 0], w) * w, marks),
            float(forms[-1]),
        )
    points = _narrowed(profile, z)
    grid = Grid(profile, points, points, extra=marks.shape[1] + 1)
    chosen, weights = grid.moved(marks), grid.moved(w.astype(points.dtype, copy=False))

    def vectors(rows: slice) -> Any:
        made = chosen[rows].astype(weights.dtype)  # where they are used: marks are small
        made *= weights[rows, None]
        return made

    def panel(rows: slice) -> tuple[NDArray[Any], NDArray[Any], float]:
        left, own_weights = vectors(rows), weights[rows]
        tile = grid.tile(rows, rows)
        own, summed = (tile @ left).astype(float), (tile @ own_weights).astype(float)
        others, beyond = 0.0 * own, 0.0 * summed
        for columns in grid.columns(rows.stop):
            tile = grid.tile(rows, columns)
            others += tile @ vectors(columns)
            beyond += tile @ weights[columns]
        forms = (left * (own + 2.0 * others)).sum(0)
        mixed = own_weights @ (own + others) + beyond @ left
        return to_host(forms), to_host(mixed), float(own_weights @ (summed + 2.0 * beyond))

    forms, mixed, total = np.zeros(marks.shape[1]), np.zeros(marks.shape[1]), 0.0
    blocks = grid.rows() if points is z else steps_of(len(z), max(SINGLE_ROWS, grid.tile_rows))
    for part, mixed_part, own_total in in_order(panel, blocks, work=grid.work):
        forms += part
        mixed += mixed_part
        total += own_total
    return forms, mixed, total


def along(weights: Array, marks: NDArray[Any]) -> Array:
    """Wᵀm of every column m of the marks, of which no copy as numbers is kept."""
    total = np.zeros(marks.shape[1])
    for rows in steps_of(len(weights), MARKED_ROWS):
        total += weights[rows] @ marks[rows]
    return total


def rounding(rows: int) -> float:
    """The errors of forms that should be equal, as a share of the mean entry."""
    if rows >= SINGLE_FROM:
        return SINGLE_ERROR / rows
    return 64 * float(np.finfo(float).eps) * rows**0.5


def _narrowed(profile: Profile, z: Array) -> NDArray[Any]:
    """The rows less their medians in single precision; as they are where that loses what K says."""
    fits = profile.scale >= FLATTEST if profile.name == "distance" else profile.name in SINGLE
    if len(z) < SINGLE_FROM or not fits:
        return z
    centred = z - np.median(z, axis=0)  # in double: rows far from zero keep their differences
    reach = float(np.abs(centred).max())
    wide = profile.name == "distance" or profile.scale >= NARROWEST * reach
    return centred.astype(np.float32) if wide and REACHES[0] < reach < REACHES[1] else z
