"""Rows chosen one by one, each the one that brings the chosen nearest to the whole: herding, prototypes."""

from typing import Annotated

import numpy as np

from divmatch.matcher import Array, Fit, Watch
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.selection import (
    SELECT,
    Bandwidth,
    Column,
    Kernel,
    Number,
    Rows,
    Unique,
    Weighted,
    Whole,
    chosen,
    whole_of,
)

Criticisms = Annotated[
    int, Setting("rows to name besides that the chosen ones represent worst", least=0)
]
SMALLEST = 1e-12  # of a kernel's own value: what is left of a row that others determine


@SELECT.method(
    "herding",
    source="Chen, Welling & Smola 2010, UAI; Teymur et al. 2021, AISTATS (greedy MMD)",
    candidate="optional",
)
def herding(
    x: Samples,
    y: Samples | None,
    *,
    n: Number = None,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    unique: Unique = False,
    weighted: Weighted = False,
    watch: Watch,
) -> Fit:
    """K rows of P that represent Q, or P itself: greedy in the maximum mean discrepancy.

    The m-th row is the one with which the rows chosen so far have the least MMD² to the whole:
    argmin 2 Σₛ k(x, xₛ) + k(x, x) − 2 m E k(x, T). That is kernel herding where k(x, x) is the same for
    all rows. T is Q or, without Q, P; weights of T count. Every prefix of the result is a
    selection too. A row may be chosen again, which W80 tells, unless --unique.

    Use it to keep a few rows for a large set: for labelling, for inspection, as a coreset. The MMD falls
    like 1/K, that of random rows like 1/√K: the result states both, and their factor. It sees what
    the kernel sees: give a smaller --bandwidth for finer detail.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), that are chosen from, and of Q, shape (m, d); y is None to represent P.
    n : int
        K, how many rows to choose.
    kernel : str
        As for `divmatch mmd`.
    bandwidth : float or str
        s in data units, or the median distance of the rows of P and Q.
    unique : bool
        Choose no row twice.
    weighted : bool
        Give the rows chosen the weights of least MMD, at least 0 with sum 1, in the place of 1/K.
    watch : Watch
        Is told of every row.

    Returns
    -------
    Fit
        Row numbers in the order of choice, and weights. `mmd2` is the squared MMD to the whole,
        `mmd2_random` its mean over 200 draws of K rows by weight without replacement (fewer above
        K = 4472), `factor` the ratio of their roots; `gap` bounds what better weights could gain.

    Raises
    ------
    SettingError
        When there are fewer than K rows.
    InconclusiveError
        When all rows are equal and no bandwidth was given.

    Notes
    -----
    Cost: O(n² d) time once for the means, half of it without Q, and O(n K d) for the choice; O(n d)
    memory, with --weighted O(K³) time and O(K²) memory more.

    Source: Chen, Welling & Smola 2010, Super-samples from kernel herding, UAI, eq. (8); Teymur, Gorham,
    Riabiz & Oates 2021, Optimal quantisation of probability measures using MMD, AISTATS, algorithm 1.

    Examples
    --------
    >>> import divmatch
    >>> divmatch.match.select([0.0, 0.0, 0.0, 8.0, 9.0], n=2).rows.tolist()
    [0, 3]
    """
    whole = whole_of(x, y, kernel, bandwidth, n)
    rows = greedy_rows(whole, len_of(n), unique, watch)[0]
    return chosen(whole, rows, None, weighted=weighted)


@SELECT.method(
    "prototypes",
    source="Kim, Khanna & Koyejo 2016, NeurIPS (MMD-critic)",
    candidate="optional",
)
def prototypes(
    x: Samples,
    y: Samples | None,
    *,
    n: Number = None,
    criticisms: Criticisms = 0,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    weighted: Weighted = False,
    watch: Watch,
) -> Fit:
    """Prototypes of Q, or of P, and the rows that they represent worst (criticisms).

    Prototypes are different rows, chosen greedily for the least MMD² to the whole. Criticisms C are
    other rows where the witness |E k(x, T) − mean k(x, S)| is large, and which differ:
    greedy in Σ |witness| + ln det K_CC.

    Use it to show a data set to people: typical rows first, then what is missing from them.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), that are chosen from, and of Q, shape (m, d); y is None to represent P.
    n : int
        K, how many prototypes.
    criticisms : int
        How many criticisms; their row numbers are `criticisms` in an .npz output.
    kernel : str
        As for `divmatch mmd`.
    bandwidth : float or str
        As for the method herding.
    weighted : bool
        As for the method herding.
    watch : Watch
        Is told of every row.

    Returns
    -------
    Fit
        As for the method herding, with `criticisms` among the arrays.

    Raises
    ------
    SettingError
        When there are fewer rows than prototypes and criticisms.

    Notes
    -----
    Cost: that of herding, and O(n C (d + C)) time and O(n C) memory for C criticisms.

    Source: Kim, Khanna & Koyejo 2016, Examples are not enough, learn to criticize!, NeurIPS, eqs. (2)
    and (4), algorithms 1 and 2.

    Examples
    --------
    >>> import divmatch
    >>> rows = [0.0, 0.1, 0.2, 6.9, 7.0, 7.1, 30.0]
    >>> found = divmatch.match.select(rows, method="prototypes", n=2, criticisms=1, bandwidth=1)
    >>> found.rows.tolist(), found.fit.arrays["criticisms"].tolist()
    ([1, 4], [6])
    """
    whole = whole_of(x, y, kernel, bandwidth, None if n is None else n + criticisms)
    rows, sums = greedy_rows(whole, len_of(n), True, watch)
    witness = np.abs(whole.mean - sums / len(rows))
    arrays = {"criticisms": criticised(whole, rows, witness, criticisms)} if criticisms else {}
    return chosen(whole, rows, None, weighted=weighted, arrays=arrays)


def len_of(n: int | None) -> int:
    """How many rows: asked for, as `places_of` has checked."""
    return 0 if n is None else n


def greedy_rows(whole: Whole, number: int, unique: bool, watch: Watch) -> tuple[Rows, Array]:
    """The rows in their order, and Σₛ k(xᵢ, xₛ) over them; the first of equally good ones."""
    column = Column(whole, number)
    scores = whole.own - 2.0 * whole.mean  # of the next row, up to what is the same for all
    sums = np.zeros(whole.n)
    rows = np.empty(number, dtype=np.intp)
    within = across = 0.0
    for m in range(number):
        best = int(scores.argmin())
        rows[m] = best
        within += 2.0 * sums[best] + whole.own[best]
        across += whole.mean[best]
        found = column.of(best)
        sums += found
        found -= whole.mean
        found *= 2.0
        scores += found
        if unique:
            scores[best] = np.inf
        left = within / (m + 1) ** 2 - 2.0 * across / (m + 1) + whole.energy
        watch.step(m + 1, mmd=float(max(left, 0.0)))
    return rows, sums


def criticised(whole: Whole, taken: Rows, witness: Array, number: int) -> Rows:
    """Greedy in Σ |witness| + ln det: the logarithm of what a row has of its own, by pivoted Cholesky."""
    left = whole.own.copy()
    free = np.ones(whole.n, dtype=bool)
    free[taken] = False
    column, factors = Column(whole, number), np.zeros((number, whole.n))
    rows = np.empty(number, dtype=np.intp)
    least = SMALLEST * np.abs(whole.own)
    for c in range(number):
        gain = np.where(free, witness + np.log(np.maximum(left, least)), -np.inf)
        best = int(gain.argmax())
        rows[c], free[best] = best, False
        root = np.sqrt(max(left[best], least[best]))
        factors[c] = (column.of(best) - factors[:c, best] @ factors[:c]) / root
        left -= factors[c] ** 2
    return rows
