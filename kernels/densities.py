"""Kernel density sums on the log scale: nothing underflows, and a row's own kernel is left out exactly."""

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import execution, in_order, steps_of

Array = NDArray[np.float64]

PANEL = 256  # rows a block at most


def log_kernel_sums(
    at: Array, points: Array, weights: Array, widths: Array, *, exclude_self: bool = False
) -> Array:
    """Logarithm of Σⱼ bⱼ exp(−|aᵢ − yⱼ|² / (2 h²)) for every width h; shape (n, widths).

    ``widths`` fall by the factor √2 from one to the next, so that each kernel is the square of the
    one before. ``exclude_self`` leaves row i out of its own sum: ``at`` is ``points`` then; with one
    row there is nothing left: −inf. Time O(n m (d + widths)), memory a block of rows.
    """
    from scipy.spatial.distance import cdist

    live = weights > 0

    def panel(rows: slice) -> Array:
        exponents = cdist(at[rows], points, "sqeuclidean")
        exponents /= -2.0 * widths[0] ** 2
        exponents[:, ~live] = -np.inf
        if exclude_self:
            own = np.arange(rows.start, rows.stop)
            exponents[own - rows.start, own] = -np.inf
        top = exponents.max(axis=1)
        known = np.isfinite(top)
        kernels = np.exp(exponents - np.where(known, top, 0.0)[:, None])
        made = np.full((len(exponents), len(widths)), -np.inf)
        for place in range(len(widths)):
            if place:
                np.multiply(kernels, kernels, out=kernels)
            total = kernels @ weights
            made[known, place] = np.log(total[known]) + 2.0**place * top[known]
        return made

    step = max(1, min(PANEL, execution().memory // (32 * len(points))))
    work = float(len(at)) * len(points) * (at.shape[1] + 8 + len(widths))
    return np.concatenate(list(in_order(panel, steps_of(len(at), step), work=work)))
