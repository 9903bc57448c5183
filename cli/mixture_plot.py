"""A drawing of a mixture: its density before and after, and the rows, one panel a column."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.cli.main import printable
from divmatch.mixtures import Components, StoredMixture

PANELS, BINS, POINTS = 9, 40, 400


def drawn(found: Any, inputs: Sequence[Any], held_out: Any) -> bytes:
    """A PNG; columns beyond the ninth are left out. Needs matplotlib."""
    from matplotlib.figure import Figure

    rows = [one for one in inputs if not isinstance(one, StoredMixture)]
    rows += [] if held_out is None else [held_out]
    before, after = found.whole.components, found.mixture.components
    d = min(after.d, PANELS)
    across = min(d, 3)
    down = -(-d // across)
    figure = Figure(figsize=(4.0 * across, 3.0 * down), layout="constrained")
    names = found.mixture.columns or tuple(map(str, range(after.d)))
    for j in range(d):
        axes: Any = figure.add_subplot(down, across, j + 1)
        at = _grid(before, j)
        if rows:
            values = np.concatenate([one.points[:, j] for one in rows])
            masses = np.concatenate([one.masses() * one.n for one in rows])
            edges = np.linspace(at[0], at[-1], BINS + 1)
            axes.hist(values, edges, weights=masses, density=True, color="0.85", label="rows")
        if before is not after and found.plan.reduce is not None:
            axes.plot(at, _density(before, j, at), color="0.5", label="before")
        axes.plot(at, _density(after, j, at), color="C0", label="after")
        axes.set_title(printable(names[j]).replace("$", r"\$"), fontsize=10)
        axes.set_yticks([])
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


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
