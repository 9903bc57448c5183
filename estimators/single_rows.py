"""What a reference says of every single row of a candidate: how far, how much rarer, how new."""

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.manifolds import authentic, carrying
from divmatch.estimators.neighbour_distance import index
from divmatch.samples import Samples

Array = NDArray[np.float64]
K = 5  # neighbours that a density goes by


def single_rows(x: Samples, y: Samples) -> dict[str, Array]:
    """Numbers of each row of y, NaN for one without weight or where there are too few rows.

    nearest    Euclidean distance to the nearest row of x
    log_ratio  ln p/q from the distances ρ, ν to the k-th nearest rows of x and of y's others:
               ln M(ρ) − d ln ρ − ln M(ν) + d ln ν with M the mass of these k, k = 5; low where y has
               rows that x lacks (Wang, Kulkarni & Verdú 2009, IEEE Trans. Inf. Theory 55)
    authentic  1 if the row is farther from its nearest row of x than that is from its nearest other
    """
    p, q = carrying(x), carrying(y)
    weighty = y.masses() > 0
    made = {
        "nearest": index(p).nearest(q.points, 1)[0][:, 0],
        "log_ratio": log_ratios(p, q),
        "authentic": authentic(p, q, K).astype(np.float64) if p.n > 2 else None,
    }
    return {name: _in_place(values, weighty) for name, values in made.items()}


def log_ratios(x: Samples, y: Samples, k: int = K) -> Array | None:
    """Infinite where only one of the distances is 0, of the masses alone where both are."""
    if x.n < k or y.n <= k:
        return None
    far_x, near_x = index(x).nearest(y.points, k)
    far_y, near_y = index(y).nearest(y.points, k, exclude_self=True)
    a, b = x.masses(), y.masses()
    mass_x, mass_y = a[near_x].sum(axis=1), b[near_y].sum(axis=1) / (1.0 - b)
    rho, nu = far_x[:, -1], far_y[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(rho == nu, 0.0, np.log(nu) - np.log(rho))
        return np.asarray(np.log(mass_x) - np.log(mass_y) + x.d * gap)


def _in_place(values: Array | None, kept: NDArray[np.bool_]) -> Array:
    made = np.full(len(kept), np.nan)
    if values is not None:
        made[kept] = values
    return made
