"""One row from each of K cells of equal mass."""

import numpy as np

from divmatch.matcher import Array, Fit
from divmatch.samples import Samples
from divmatch.transport.selection import (
    SELECT,
    Bandwidth,
    Kernel,
    Number,
    Rows,
    Weighted,
    Whole,
    chosen,
    whole_of,
)


@SELECT.method(
    "stratified", source="Bentley 1975, CACM 18 (cells); Cochran 1977, ch. 5", candidate="never"
)
def stratified(
    x: Samples,
    *,
    n: Number = None,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    weighted: Weighted = False,
    rng: "np.random.Generator",
) -> Fit:
    """K rows of P, one drawn at random from each of K cells of equal mass.

    P is cut at a quantile of the column that varies most for its own spread, the parts again, until there
    are K cells of mass 1/K or nearly. Of every cell one row is drawn in proportion to its weight; its
    weight is the mass of the cell.

    Use it for a sample in the statistical sense: every row has a chance in proportion to its weight, so
    that weighted means over the chosen rows are unbiased, with less variance than at random.

    Parameters
    ----------
    x : Samples
        Rows of P, shape (n, d), weighted or not.
    n : int
        K, how many rows to choose.
    kernel : str
        As for `divmatch mmd`; the MMD of the result is measured with it.
    bandwidth : float or str
        As for the method herding.
    weighted : bool
        As for the method herding.
    rng : Generator
        Draws the rows.

    Returns
    -------
    Fit
        As for the method herding, with the masses of the cells as weights.

    Raises
    ------
    SettingError
        When there are fewer than K rows, or Q is given.

    Notes
    -----
    Cost: O(n (d + log n) log K) time for the cells, O(n² d) for the MMD that is reported; O(n d) memory.

    Source: Bentley 1975, Multidimensional binary search trees, CACM 18, for the cells; Cochran 1977,
    Sampling Techniques, chapter 5.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.select([1.0, 1.0, 5.0, 5.0], method="stratified", n=2, bandwidth=1)
    >>> found.points[:, 0].tolist()
    [1.0, 5.0]
    """
    whole = whole_of(x, None, kernel, bandwidth, n)
    rows, shares = drawn(whole, cells_of(whole, n or 0), rng)
    return chosen(whole, rows, shares, weighted=weighted)


def drawn(whole: Whole, cells: list[Rows], rng: "np.random.Generator") -> tuple[Rows, Array]:
    """A row of each cell in proportion to its weight, and the masses of the cells."""
    rows, weights = [], []
    for cell in cells:
        masses = whole.masses[cell]
        total = masses.sum()
        rows.append(cell[rng.choice(len(cell), p=masses / total)])
        weights.append(total)
    shares = np.array(weights)
    return np.array(rows), shares / shares.sum()


def cells_of(whole: Whole, number: int) -> list[Rows]:
    """Rows of each of the cells, by cuts at quantiles."""
    spread = whole.points.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    waiting = [(np.arange(whole.n), number)]
    cells = []
    while waiting:
        rows, parts = waiting.pop()
        if parts == 1:
            cells.append(rows)
            continue
        fewer = parts // 2
        first, second = cut(whole.points[rows] / scale, whole.masses[rows], fewer, parts)
        waiting += [(rows[second], parts - fewer), (rows[first], fewer)]
    return cells


def cut(points: Array, masses: Array, fewer: int, parts: int) -> tuple[Rows, Rows]:
    """Two parts, the lower with about fewer/parts of the mass and at least as many rows as cells."""
    column = points[:, int(points.var(axis=0).argmax())]
    order = np.argsort(column, kind="stable")
    edges = np.cumsum(masses[order])
    wanted = edges[-1] * fewer / parts
    place = int(np.searchsorted(edges, wanted, side="right"))
    below = edges[place - 1] if place else 0.0
    if place < len(edges) and edges[place] - wanted < wanted - below:
        place += 1
    place = min(max(place, fewer), len(order) - (parts - fewer))
    return order[:place], order[place:]
