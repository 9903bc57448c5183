"""Planes: a sample that keeps to a line or plane on which no row of the other sample lies."""

import numpy as np

from divmatch.record import Note
from divmatch.samples import Samples

FLAT = 1e-7  # standard deviations of the other sample that rounding may move a row off a plane
OFF = 1e-6  # and from which a row lies off it


def on_a_plane(x: Samples, y: Samples) -> tuple[Note, ...]:
    """A warning where one sample has no density where the other has one."""
    return _constant(x, y) or _along(x, y, "P", "Q") or _along(y, x, "Q", "P")


def _constant(x: Samples, y: Samples) -> tuple[Note, ...]:
    """A column with one value in P that no row of Q has."""
    value = x.points[0]
    fixed = (x.points == value).all(axis=0) & ~(y.points == value).any(axis=0)
    varies = y.points.min(axis=0) < y.points.max(axis=0)
    columns = np.flatnonzero(fixed & varies)
    if not len(columns):
        return ()
    label = x.columns[columns[0]] if x.columns else str(columns[0])
    return (
        Note(
            "W02",
            f"column '{label}' has one value in P, which no row of Q has: the divergence is inf, or the "
            "largest that there is",
        ),
    )


def _along(flat: Samples, other: Samples, name: str, others: str) -> tuple[Note, ...]:
    """A combination of columns that is constant in one sample, and nearly nowhere so in the other."""
    if min(flat.n, other.n) <= flat.d + 1 or flat.d < 2:
        return ()  # so few rows always lie on a plane
    spread = other.points.std(axis=0)
    live = spread > 1e-13 * np.abs(other.points).max(axis=0)
    if np.count_nonzero(live) < 2:
        return ()
    middle = flat.points[:, live].mean(axis=0)
    own, rest = ((s.points[:, live] - middle) / spread[live] for s in (flat, other))
    axis = np.linalg.eigh(own.T @ own)[1][:, 0]
    if np.abs(own @ axis).max() > FLAT or np.abs(rest @ axis).min() <= OFF:
        return ()
    return (
        Note(
            "W02",
            f"in {name} some columns determine another one, in {others} they do not: the divergence is inf, "
            "or the largest that there is",
        ),
    )
