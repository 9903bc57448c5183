"""The map of every column by itself that keeps the order."""

import numpy as np
from numpy.typing import NDArray

from divmatch.matcher import Fit
from divmatch.samples import Samples
from divmatch.transport.exact_line import keeping_order
from divmatch.transport.mapping import MAP, mapped
from divmatch.transport.maps import Staircase

Array = NDArray[np.float64]


@MAP.method(
    "quantile", source="Santambrogio 2015, Optimal Transport for Applied Mathematicians, 2.1"
)
def quantile(x: Samples, y: Samples) -> Fit:
    """Rows of P moved column by column, each value to the quantile of Q that it is in P.

    T_c(v) = F_Q⁻¹(F_P(v)) for every column c. The mass of a value of P, several rows where it is tied,
    takes up a part of [0, 1], and the value goes to the mean of Q's quantile function there: equal
    values stay equal, and n = m values without ties or weights go to Q's in their order. Between the
    values of P the map is linear, beyond them it goes on with slope 1.

    In one column it is the cheapest map for every convex cost. In more it matches each column and leaves
    the ranks, and so the dependence, as they were in P: use it where only that is wanted, and where
    columns differ in shape and not in how they go together.

    Parameters
    ----------
    x, y : Samples
        As for the method gaussian.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Notes
    -----
    Cost: O(d (n + m) log(n + m)) time, O(d n) numbers in the map.

    Source: Santambrogio 2015 (Optimal Transport for Applied Mathematicians, section 2.1).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.map([3.0, 1.0, 2.0], [10.0, 40.0, 20.0], method="quantile", metric="none")
    >>> found.points[:, 0].tolist()
    [40.0, 10.0, 20.0]
    """
    columns = [_knots(x, y, c) for c in range(x.d)]
    lengths = [len(knots) for knots, _ in columns]
    knots, values = (np.concatenate(part) for part in zip(*columns, strict=True))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return mapped(x, Staircase(knots, values, starts), facts={"knots": sum(lengths)})


def _knots(x: Samples, y: Samples, column: int) -> tuple[Array, Array]:
    """The distinct values of P that carry weight, and the means of the values of Q that meet them."""
    rows, others, masses = keeping_order(x, y, column)
    values = x.points[rows, column]  # they rise
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    counts = np.diff(first, append=len(values))
    heaviest = np.maximum.reduceat(masses, first)
    shares = masses / np.repeat(heaviest, counts)  # of one partner 1, and no digit of it is lost
    sums = np.add.reduceat(shares * y.points[others, column], first)
    return values[first], np.maximum.accumulate(sums / np.add.reduceat(shares, first))
