"""A coupling of a sample with itself, at one potential for rows and columns: each pair is met once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import uses_gpu
from divmatch.kernels.couplings import FACTOR_COLUMNS, Coupling, Sweep
from divmatch.kernels.execution import in_order, steps_of
from divmatch.kernels.pairwise import Profile

Array = NDArray[np.float64]

ROWS = (
    128  # of a tile; a part of FACTOR_COLUMNS, so that a square on the diagonal lies in one block
)
TILES = 4  # of a block: enough to drown the cost of handing it to a thread


class SymmetricCoupling(Coupling):
    """The plans aᵢ aⱼ exp((gᵢ + gⱼ − C_ij) / eps) of a sample and itself.

    Entries are not divided by the sum of their row, which is 1 where g is right: one exponential
    serves (i, j) and (j, i), and none has to be kept until its row is complete.
    """

    def __init__(self, profile: Profile, x: Array, a: Array) -> None:
        super().__init__(profile, x, x, a, a)
        self.halved = self.by_products and self.kept is None and not uses_gpu(self.work)

    def sweep(
        self,
        g: Array,
        eps: float,
        keep: Array | None = None,
        gain: float = 1.0,
        *,
        single: bool = False,
    ) -> Sweep:
        """L as `Coupling.sweep` has it, with the sums of the plan of (g, g), where marginals are kept."""
        if not self.halved or keep is not None or gain != 1.0:
            return super().sweep(g, eps, keep, gain, single=single)
        kind = np.float32 if single else np.float64
        scale, shift, offset = self._logits(g, eps)
        shift = (shift - self.log_b).astype(kind)
        offset = offset + g / eps

        def block(rows: slice) -> Array:
            return self._sums(rows, kind, scale, shift, offset)

        sums = np.zeros(self.n)
        for made in in_order(block, steps_of(self.n, ROWS * TILES), work=self.work):
            sums[self.n - len(made) :] += made
        self.sweeps += 1
        self.single_sweeps += single
        return Sweep(np.log(sums) - g / eps, self.a * sums)

    def _sums(self, rows: slice, kind: Any, scale: float, shift: Any, offset: Array) -> Array:
        """What the pairs of some rows with those from the first of them on add to the sums of both."""
        left, right = self.factors[kind]
        room = np.empty(ROWS * FACTOR_COLUMNS, dtype=kind)
        weights = self.a.astype(kind)
        made = np.zeros(self.n - rows.start)
        for own in steps_of(rows.stop, ROWS, rows.start):
            square = slice(own.start, own.stop)
            for place, factor in right[own.start // FACTOR_COLUMNS :]:
                parts = [slice(max(place.start, own.stop), place.stop)]
                parts += [square] if place.start <= own.start else []
                for part in parts:
                    shape = own.stop - own.start, part.stop - part.start
                    tile = room[: shape[0] * shape[1]].reshape(shape)
                    inside = slice(part.start - place.start, part.stop - place.start)
                    np.matmul(left[own], factor[:, inside], out=tile)
                    totals, sums = self.twin.mirrored_sums(
                        tile, scale, shift[part], offset[own], weights[own], weights[part]
                    )
                    made[own.start - rows.start : own.stop - rows.start] += totals
                    if part is not square:  # it holds both (i, j) and (j, i)
                        made[part.start - rows.start : part.stop - rows.start] += sums
        return made
