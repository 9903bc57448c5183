"""One row from each of K cells of equal mass, of all rows or within strata."""

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError, counted, suggestion
from divmatch.matcher import Array, Fit
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.scaling import own_units
from divmatch.settings import Setting
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

By = Annotated[
    str | None,
    Setting("column whose values are strata, each with rows by its share", shown="COL", parse=str),
]
SHOWN = 3  # strata that a warning names


@SELECT.method(
    "stratified", source="Bentley 1975, CACM 18 (cells); Cochran 1977, ch. 5", candidate="never"
)
def stratified(
    x: Samples,
    *,
    n: Number = None,
    by: By = None,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    weighted: Weighted = False,
    rng: "np.random.Generator",
) -> Fit:
    """K rows of P, one drawn at random from each of K cells of equal mass.

    P is cut at a quantile of the column that varies most for its own spread, the parts again, until there
    are K cells of mass 1/K or nearly. Of every cell one row is drawn in proportion to its weight; its
    weight is the mass of the cell. With --by the cells are of strata, the values of a column: each
    stratum has as many as K times its mass, rounded by largest remainders; W79 names those that have none.

    Use it for a sample in the statistical sense: every row has a chance in proportion to its weight, so
    that weighted means over the chosen rows are unbiased, with less variance than at random.

    Parameters
    ----------
    x : Samples
        Rows of P, shape (n, d), weighted or not.
    n : int
        K, how many rows to choose.
    by : str
        Name or position of a column of words, or of numbers with at most K values, among those read.
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
        As for the method herding, with the masses of the cells as weights; `strata`, how many there are.

    Raises
    ------
    SettingError
        When there are fewer than K rows or more than K strata, or Q is given.

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
    if by is None:
        rows, shares = drawn(whole, cells_of(whole, n or 0), rng)
        return chosen(whole, rows, shares, weighted=weighted)
    names, stratum = strata_of(x, by)
    stratum = stratum[whole.places]
    masses = np.bincount(stratum, whole.masses, len(names)) / whole.masses.sum()
    held = np.bincount(stratum, minlength=len(names))
    if np.count_nonzero(held) > (n or 0):
        raise SettingError(
            f"--by {by}: has {np.count_nonzero(held)} values, more than --n {n}; give at least as many rows, "
            "or a column of fewer values"
        )
    counts = allocated(masses, held, n or 0)
    cells = [
        cell
        for k in np.flatnonzero(counts)
        for cell in cells_of(whole, int(counts[k]), np.flatnonzero(stratum == k))
    ]
    rows, shares = drawn(whole, cells, rng)
    found = chosen(
        whole, rows, shares, weighted=weighted, facts={"strata": int(np.count_nonzero(held))}
    )
    return replace(found, notes=(*found.notes, *_missed(by, names, masses, counts)))


def strata_of(x: Samples, by: str) -> tuple[list[str], Rows]:
    """Values of a column, and which of them every row has."""
    columns = x.columns or tuple(map(str, range(x.d)))
    labels = [j for j, name in enumerate(columns) if name.startswith(f"{by}=")]
    if by in columns:
        values, stratum = np.unique(own_units(x)[:, columns.index(by)], return_inverse=True)
        return [f"{value:g}" for value in values], stratum
    if labels:
        return [columns[j].partition("=")[2] for j in labels], x.points[:, labels].argmax(axis=1)
    near = suggestion(by, dict.fromkeys(name.partition("=")[0] for name in columns))
    raise SettingError(
        f"--by {by}: is not among the columns read of {x.name}; name it in --columns{near}"
    )


def allocated(masses: Array, held: NDArray[np.intp], number: int) -> NDArray[np.intp]:
    """Whole numbers of sum ``number`` in proportion to the masses, none above what a stratum holds.

    Largest remainders: parts are rounded down, and what is left goes one by one to the largest rests.
    """
    counts = np.minimum(np.floor(number * masses * (1 + 1e-12)).astype(np.intp), held)
    while (left := number - int(counts.sum())) > 0:
        rest = np.where(counts < held, number * masses - counts, -np.inf)
        first = np.argsort(-rest, kind="stable")[: min(left, int((counts < held).sum()))]
        counts[first] += 1
    return counts


def _missed(by: str, names: list[str], masses: Array, counts: NDArray[np.intp]) -> tuple[Note, ...]:
    """Strata that are too rare for a row."""
    gone = np.flatnonzero((counts == 0) & (masses > 0))
    if not len(gone):
        return ()
    shown = ", ".join(names[k] for k in gone[:SHOWN]) + (
        f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
    )
    share = float(masses[gone].sum())
    return (
        Note("W79", f"--by {by}: {shown} with {share:.2%} of the weight: too rare for a row; give more "
                    f"than {counted(int(counts.sum()), 'row')}, or merge values"),
    )  # fmt: skip


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


def cells_of(whole: Whole, number: int, among: Rows | None = None) -> list[Rows]:
    """Rows of each of the cells, by cuts at quantiles of all rows or of some."""
    spread = whole.points.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    waiting = [(np.arange(whole.n) if among is None else among, number)]
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
