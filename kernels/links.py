"""The large entries of a plan as a coupling of its own: few enough to sweep over in no time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import host_twin
from divmatch.kernels.couplings import Coupling, Entries, Sweep
from divmatch.kernels.execution import steps_of

Array = NDArray[np.float64]

AT_ONCE = 1 << 18  # entries that are worked on: what is made of them on the way stays small


class Links:
    """The plans of some pairs of rows and columns, for any eps and any potential of the columns.

    It answers as `Coupling` does and leaves out what all other pairs carry. ``entries`` are shares at
    the potential g, regularisation eps and row log-sums ``levels`` of the whole coupling; their values
    are overwritten, for a second copy of them would be most of the memory.
    """

    compiled = True

    def __init__(
        self, whole: Coupling, entries: Entries, g: Array, eps: float, levels: Array
    ) -> None:
        self.n, self.m, self.a, self.b, self.log_b = whole.n, whole.m, whole.a, whole.b, whole.log_b
        self.starts, self.columns = entries.starts, entries.columns
        self.twin = host_twin(np.inf, 0.0)
        self.sweeps = self.single_sweeps = 0
        self.costs, shift = entries.values, self.log_b + g / eps
        for rows, own in self._parts():
            logs = np.log(self.costs[own], out=self.costs[own])
            logs += self._repeated(levels, rows)
            np.subtract(shift[self.columns[own]], logs, out=logs)
            logs *= eps

    def floor(self, _eps: float) -> float:
        """No sweep is made in float32: nothing would be saved."""
        return np.inf

    def sweep(
        self, g: Array, eps: float, keep: Array | None = None, gain: float = 1.0, **_: Any
    ) -> Sweep:
        """See `Coupling.sweep`."""
        self.sweeps += 1
        kept = np.zeros(self.n) if keep is None else keep
        shift = self.log_b + g / eps
        levels, columns = self.twin.linked_sums(
            self.starts, self.columns, self.costs, -1.0 / eps, shift, self.a, kept, gain
        )
        return Sweep(levels, columns)

    def entries(
        self, g: Array, eps: float, levels: Array, least: float, most: int
    ) -> Entries | None:
        """See `Coupling.entries`."""
        most = min(most, len(self.columns))
        columns, values = np.empty(most, dtype=np.int32), np.empty(most)
        counts, total = np.empty(self.n, dtype=np.int64), 0
        for rows, own in self._parts():
            logs = self._logs(rows, own, g, eps, levels)
            above = logs > np.log(least)
            starts = self.starts[rows.start : rows.stop] - own.start
            counts[rows] = np.add.reduceat(above, starts, dtype=np.int64)
            first, total = total, total + int(counts[rows].sum())
            if total > most:
                return None
            columns[first:total] = self.columns[own][above]
            np.exp(logs[above], out=values[first:total])
        starts = np.concatenate([[0], np.cumsum(counts)])
        return Entries(starts, columns[:total], values[:total])

    def _logs(self, rows: slice, own: slice, g: Array, eps: float, levels: Array) -> Array:
        """Of the shares of all pairs of some rows."""
        logs = self.costs[own] * (-1.0 / eps)
        logs += (self.log_b + g / eps)[self.columns[own]]
        logs -= self._repeated(levels, rows)
        return logs

    def _parts(self) -> Iterator[tuple[slice, slice]]:
        """Some rows, and the places of their pairs."""
        for rows in steps_of(self.n, max(1, AT_ONCE * self.n // max(1, len(self.columns)))):
            yield rows, slice(int(self.starts[rows.start]), int(self.starts[rows.stop]))

    def _repeated(self, values: Array, rows: slice) -> Array:
        return np.repeat(values[rows], np.diff(self.starts[rows.start : rows.stop + 1]))
