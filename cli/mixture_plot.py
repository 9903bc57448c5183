"""A drawing of a mixture: its density before and after, and the rows, one panel a column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.cli.plot import panels
from divmatch.mixtures import Components, StoredMixture

BINS, POINTS = 40, 400


def drawn(found: Any, inputs: Sequence[Any], held_out: Any) -> bytes:
    """A PNG; columns beyond the ninth are left out. Needs matplotlib."""
    rows = [one for one in inputs if not isinstance(one, StoredMixture)]
    rows += [] if held_out is None else [held_out]
    before, after = found.whole.components, found.mixture.components

    def panel(axes: Any, j: int) -> None:
        at = _grid(before, j)
        if rows:
            values = np.concatenate([one.points[:, j] for one in rows])
            masses = np.concatenate([one.masses() * one.n for one in rows])
            edges = np.linspace(at[0], at[-1], BINS + 1)
            axes.hist(values, edges, weights=masses, density=True, color="0.85", label="rows")
        if before is not after and found.plan.reduce is not None:
            axes.plot(at, _density(before, j, at), color="0.5", label="before")
        axes.plot(at, _density(after, j, at), color="C0", label="after")

    return panels(panel, after.d, found.mixture.columns)


def _spreads(mixture: Components, j: int) -> NDArray[np.float64]:
    return np.sqrt(mixture.covariances[:, j, j])


def _grid(mixture: Components, j: int) -> NDArray[np.float64]:
    """Four standard deviations around every component."""
    centres, spreads = mixture.means[:, j], 4.0 * _spreads(mixture, j)
    low, high = float((centres - spreads).min()), float((centres + spreads).max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, POINTS)


def _density(mixture: Components, j: int, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of one column; one without variance is drawn as narrow as the grid."""
    spreads = np.maximum(_spreads(mixture, j), (at[-1] - at[0]) / POINTS)
    gaps = (at[:, None] - mixture.means[:, j]) / spreads
    heights = mixture.shares / (spreads * np.sqrt(2.0 * np.pi))
    return np.asarray(np.exp(-0.5 * gaps**2) @ heights)
