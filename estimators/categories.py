"""Categories: samples whose rows are few values, each with rows enough to be counted."""

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.cells import FEW
from divmatch.estimators.discrete import cells_of
from divmatch.samples import Samples

Array = NDArray[np.float64]

MOST_VALUES = 10  # of a column that is taken for categories
FIRST = 1000  # rows that rule most columns of numbers out
THIN = 0.05  # share of either sample in cells too thin to count


def countable(x: Samples, y: Samples) -> str | None:
    """Why the distinct rows can be counted, or None: found once for a pair."""
    _, why = y.once(("countable", id(x)), lambda: (x, _reason(x, y)))
    return why


def _reason(x: Samples, y: Samples) -> str | None:
    if not all(_few_values(x, y, column) for column in range(x.d)):
        return None
    cells = cells_of(x, y)
    p, q = cells.shares()
    n, m = cells.x.effective_size(), cells.y.effective_size()
    expected = (n * p + m * q) / (n + m) * min(n, m)
    thin = expected < FEW
    if max(p[thin].sum(), q[thin].sum()) > THIN:
        return None
    if _ordered(x, y) and (_rare(p, q) or _rare(q, p)):
        return None
    return f"few values: {cells.count} distinct rows, {1.0 - thin.mean():.0%} of them well filled"


def _few_values(x: Samples, y: Samples, column: int) -> bool:
    """Whether a column has few different values, in the first rows and then in all."""
    sides = [samples.points[:, column] for samples in (x, y)]
    return all(
        len(np.unique(np.concatenate([side[:rows] for side in sides]))) <= MOST_VALUES
        for rows in (FIRST, None)
    )


def _ordered(x: Samples, y: Samples) -> bool:
    """Whether a column may hold numbers, such as counts, whose rare values say little."""
    for column in range(x.d):
        if x.columns and "=" in x.columns[column]:
            continue
        values = np.unique(np.concatenate([x.points[:, column], y.points[:, column]]))
        if len(values) > 2:
            return True
    return False


def _rare(own: Array, other: Array) -> bool:
    """Whether some values of one sample alone are rare: the other law may have them too."""
    alone = float(own[other == 0].sum())
    return 0.0 < alone <= THIN
