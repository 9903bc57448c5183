"""Drawings of a match: P before, P after and Q, one panel a column. Needs matplotlib."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.cli.main import printable
from divmatch.match import Matched
from divmatch.samples import Samples
from divmatch.scaling import own_units

PANELS = 9  # columns that are drawn
BINS = 40


def drawn(found: Matched, y: Samples | None) -> bytes:
    """A PNG of histograms, all with the same bins; columns beyond the ninth are left out."""
    x, after = found.x, found.fit.applied(found.x)
    shown = [("P before", x, "0.6"), ("P after", after, "C0")]
    shown += [] if y is None else [("Q", y, "C3")]
    points = [own_units(samples) for _, samples, _ in shown]

    def panel(axes: Any, j: int) -> None:
        edges = _edges([block[:, j] for block in points])
        for (label, samples, colour), block in zip(shown, points, strict=True):
            axes.hist(
                block[:, j],
                edges,
                weights=samples.masses(),
                histtype="step",
                label=label,
                color=colour,
                linewidth=1.5,
            )

    return panels(panel, x.d, x.columns)


def panels(draw: Callable[[Any, int], None], d: int, columns: Sequence[str]) -> bytes:
    """A PNG of one panel a column; columns beyond the ninth are left out."""
    from matplotlib.figure import Figure

    across = min(d, 3)
    down = -(-min(d, PANELS) // across)
    figure = Figure(figsize=(4.0 * across, 3.0 * down), layout="constrained")
    names = columns or tuple(map(str, range(d)))
    for j in range(min(d, PANELS)):
        axes: Any = figure.add_subplot(down, across, j + 1)
        draw(axes, j)
        axes.set_title(printable(names[j]).replace("$", r"\$"), fontsize=10)
        axes.set_yticks([])
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def _edges(values: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Bins over the middle 99.8 % of all values; single values get a bin of their own."""
    both = np.concatenate(values)
    low, high = np.quantile(both, [0.001, 0.999])
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)
