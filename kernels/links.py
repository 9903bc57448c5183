"""The large entries of a plan as a coupling of its own: few enough to sweep over in no time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import host_twin
from divmatch.kernels.couplings import Coupling, Entries, Sweep

Array = NDArray[np.float64]


class Links:
    """The plans of some pairs of rows and columns, for any eps and any potential of the columns.

    It answers as `Coupling` does and leaves out what all other pairs carry. ``entries`` are shares at
    the potential g, regularisation eps and row log-sums ``levels`` of the whole coupling.
    """

    compiled = True

    def __init__(
        self, whole: Coupling, entries: Entries, g: Array, eps: float, levels: Array
    ) -> None:
        self.n, self.m, self.a, self.b, self.log_b = whole.n, whole.m, whole.a, whole.b, whole.log_b
        self.starts, self.columns = entries.starts, entries.columns
        self.twin = host_twin(np.inf, 0.0)
        self.sweeps = self.single_sweeps = 0
        logs = np.log(entries.values)
        logs += np.repeat(levels, np.diff(self.starts))
        self.costs = (self.log_b + g / eps)[self.columns] - logs
        self.costs *= eps

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

    def moments(self, g: Array, eps: float, levels: Array) -> Array:
        """See `Coupling.moments`."""
        logs = self._logs(g, eps, levels)
        return np.add.reduceat(np.exp(logs) * logs, self.starts[:-1])

    def entries(
        self, g: Array, eps: float, levels: Array, least: float, most: int
    ) -> Entries | None:
        """See `Coupling.entries`."""
        logs = self._logs(g, eps, levels)
        above = logs > np.log(least)
        counts = np.add.reduceat(above, self.starts[:-1], dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(counts)])
        if starts[-1] > most:
            return None
        return Entries(starts, self.columns[above], np.exp(logs[above]))

    def _logs(self, g: Array, eps: float, levels: Array) -> Array:
        """Of the shares of all pairs."""
        logs = self.costs * (-1.0 / eps)
        logs += (self.log_b + g / eps)[self.columns]
        logs -= np.repeat(levels, np.diff(self.starts))
        return logs
