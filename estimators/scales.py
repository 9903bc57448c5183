"""Scales: columns so unlike in spread that distances between rows see only some of them."""

import numpy as np

from divmatch.record import Note
from divmatch.samples import Samples

UNLIKE = 100.0  # times; a column this much narrower moves no neighbour


def comparable(x: Samples, y: Samples | None = None, **_: object) -> tuple[Note, ...]:
    """A warning where one column's spread and range are a hundred times another's.

    Both: a rare category has a small spread, and heavy tails a wide range.
    """
    if x.d < 2:
        return ()
    sides = [samples.points for samples in (x, y) if samples is not None]
    low = np.min([points.min(axis=0) for points in sides], axis=0)
    high = np.max([points.max(axis=0) for points in sides], axis=0)
    spread = np.max([points.std(axis=0) for points in sides], axis=0)
    varies = np.flatnonzero(spread > 1e-13 * np.maximum(np.abs(low), np.abs(high)))
    if len(varies) < 2:
        return ()
    wide = varies[np.argmax(spread[varies])]
    near = UNLIKE * spread[varies] >= spread[wide]
    near |= UNLIKE * (high - low)[varies] >= (high - low)[wide]
    lost = varies[~near]
    if not len(lost):
        return ()
    names = [f"'{x.columns[j] if x.columns else j}'" for j in (wide, lost[0])]
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return (
        Note(
            "W44",
            f"column {names[0]} spreads {spread[wide] / spread[lost[0]]:.2g} times as far as "
            f"{names[1]}{more}, which distances do not see: the value may be far off; use --scale ref-sd",
        ),
    )
