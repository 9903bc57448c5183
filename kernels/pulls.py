"""Where a kernel pulls rows: sums of its gradient over all pairs, streamed over tiles.

For k = φ(r) of `divmatch.kernels.pairwise` with w = −φ'(r) / r the gradient by z is −w (z − y). Profiles
are those whose w follows from k alone: gaussian, imq, rq and distance (s = 1). Nothing here keeps an
n × m matrix; results of tiles are added in a fixed order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import to_host
from divmatch.kernels.execution import in_order
from divmatch.kernels.pairwise import Grid, Profile

Array = NDArray[np.float64]


def pulls(profile: Profile, z: Array, y: Array, weights: Array) -> tuple[Array, Array]:
    """Σⱼ w_jb k(zᵢ, yⱼ), shape (n, B), and Σ_jb w_jb ∇k(zᵢ, yⱼ) by zᵢ, shape (n, d).

    ``weights`` has shape (m, B). Rows that coincide do not pull. Time O(n·m·(d + B)).
    """
    grid = Grid(profile, z, y, extra=z.shape[1] + weights.shape[1])
    signed = weights.sum(axis=1)
    carried = grid.moved(np.column_stack([signed[:, None] * y, signed]))
    masses = grid.moved(weights)

    def panel(rows: slice) -> tuple[Array, Array]:
        sums: Any = 0.0
        moments: Any = 0.0
        for columns in grid.columns():
            part, pull = grid.twin.pull_sums(
                grid.x[rows], grid.y[columns], profile.name, profile.scale, masses[columns],
                carried[columns],
            )  # fmt: skip
            sums, moments = sums + part, moments + pull
        return to_host(sums), to_host(moments)

    parts = list(in_order(panel, grid.rows(), work=grid.work))
    sums, moments = (np.concatenate(part) for part in zip(*parts, strict=True))
    return sums, moments[:, :-1] - moments[:, -1:] * z
