"""Half of the rows of every pair, so that kept and dropped ones look alike: kernel thinning."""

from typing import Annotated

import numpy as np

from divmatch.kernels import pairwise
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
    Weighted,
    Whole,
    chosen,
    whole_of,
)

Swaps = Annotated[
    int, Setting("passes in which every chosen row may be exchanged for a better one", least=0)
]
PAIRS = 256  # of a block, inside which signs depend on each other


@SELECT.method(
    "thinning", source="Dwivedi & Mackey 2021, COLT (arXiv 2105.05842)", candidate="never"
)
def thinning(
    x: Samples,
    *,
    n: Number = None,
    swaps: Swaps = 1,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "median",
    weighted: Weighted = False,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """K rows of P by halving: of every two rows one is kept, so that kept and dropped ones balance.

    Rows come in random pairs (a, b). With ψ the signed sum of the kernels of all pairs so far, kept
    less dropped, a is kept if ψ(a) ≤ ψ(b): |ψ| stays small, and with it the MMD between the half and
    the whole. Halves are halved until K rows are left; K·2^h random rows are begun with, as many as
    there are. Then, --swaps times, every chosen row is exchanged for the row of P that lowers the MMD
    most, if any does.

    Use it where all of P's rows should have had their chance: unlike herding it starts from a random
    sample. The signs are the greedy ones; the published guarantee is of random signs, which are
    worse in practice.

    Parameters
    ----------
    x : Samples
        Rows of P, shape (n, d); by their weights they are drawn for the first round.
    n : int
        K, how many rows to choose.
    swaps : int
        Passes of exchanges; 0 for none.
    kernel : str
        As for `divmatch mmd`.
    bandwidth : float or str
        As for the method herding.
    weighted : bool
        As for the method herding.
    rng : Generator
        Draws the pairs.
    watch : Watch
        Is told the size of every half.

    Returns
    -------
    Fit
        As for the method herding; `rounds` is the number of halvings.

    Raises
    ------
    SettingError
        When there are fewer than K rows, or Q is given.

    Notes
    -----
    Cost: O(n² d) time for the halvings and as much for the means, O(n K d) a pass of swaps; O(n d)
    memory.

    Source: Dwivedi & Mackey 2021, Kernel thinning, COLT (arXiv 2105.05842), algorithms 1a and 1b, with
    the sign that lowers |ψ| in the place of the random one.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.select([1.0, 1.1, 5.0, 5.1], method="thinning", n=2)
    >>> sorted(found.points[:, 0].round().tolist())
    [1.0, 5.0]
    """
    whole = whole_of(x, None, kernel, bandwidth, n)
    number = n or 0
    rounds = int(np.log2(whole.n // number))
    rows = drawn(whole, number << rounds, rng)
    for done in range(rounds):
        rows = halved(whole, rows)
        watch.step(done + 1, rows=float(len(rows)))
    if swaps:
        rows = exchanged(whole, rows, swaps)
    return chosen(whole, rows, None, weighted=weighted, facts={"rounds": rounds})


def drawn(whole: Whole, number: int, rng: "np.random.Generator") -> Rows:
    """Rows in random order: different ones or, of weighted rows, each about weight times number often."""
    if whole.even:
        return rng.permutation(whole.n)[:number]
    order = rng.permutation(whole.n)
    edges = np.cumsum(whole.masses[order])
    places = (np.arange(number) + rng.random()) * (edges[-1] / number)
    rows = order[np.minimum(np.searchsorted(edges, places, side="right"), whole.n - 1)]
    return np.asarray(rng.permutation(rows), dtype=np.intp)


def halved(whole: Whole, rows: Rows) -> Rows:
    """One row of each pair (0, 1), (2, 3), …; blocks of pairs share the sums over all earlier ones."""
    pairs = len(rows) // 2
    first, second = whole.points[rows[0::2]], whole.points[rows[1::2]]
    sign = -whole.form.sign
    signs = np.empty(pairs)
    for start in range(0, pairs, PAIRS):
        stop = min(start + PAIRS, pairs)
        left, right = first[start:stop], second[start:stop]
        both = np.concatenate([left, right])
        gap = np.zeros(stop - start)
        if start:
            earlier = np.concatenate([first[:start], second[:start]])
            charges = np.concatenate([signs[:start], -signs[:start]])[:, None]
            psi = pairwise.product(whole.form.profile, both, earlier, charges)[:, 0]
            gap = sign * (psi[: len(left)] - psi[len(left) :])
        kernel = sign * pairwise.product(whole.form.profile, both, both, np.eye(len(both)))
        signs[start:stop] = _signs(gap, kernel)
    return np.where(signs > 0, rows[0::2], rows[1::2])


def _signs(gap: Array, kernel: Array) -> Array:
    """+1 where the first row of a pair is kept, in their order; ``gap`` is ψ(a) − ψ(b) of the earlier."""
    size = len(gap)
    aa, ab = kernel[:size, :size], kernel[:size, size:]
    ba, bb = kernel[size:, :size], kernel[size:, size:]
    change = aa - ab - ba + bb
    signs = np.empty(size)
    for t in range(size):
        signs[t] = 1.0 if gap[t] <= 0.0 else -1.0
        gap += signs[t] * change[t]
    return signs


def exchanged(whole: Whole, rows: Rows, passes: int) -> Rows:
    """Each row in turn is taken out, and the row that is not chosen with the least MMD² put in."""
    rows = rows.copy()
    column = Column(whole, 2 * passes * len(rows))
    counts = np.bincount(rows, minlength=whole.n)
    sums = sum_over(whole, rows)
    base = whole.own - 2.0 * len(rows) * whole.mean
    for _ in range(passes):
        moved = False
        for place, row in enumerate(rows):
            own = column.of(row)
            sums -= own
            counts[row] -= 1
            scores = np.where(counts > 0, np.inf, base + 2.0 * sums)
            best = int(scores.argmin())
            if not scores[best] < (base[row] + 2.0 * sums[row]) * (1 - 1e-12):
                best = int(row) if counts[row] == 0 else best
            moved |= best != row
            rows[place] = best
            counts[best] += 1
            sums += own if best == row else column.of(best)
        if not moved:
            break
    return rows


def sum_over(whole: Whole, rows: Rows) -> Array:
    """Σₛ k(xᵢ, xₛ) over the chosen rows."""
    ones = np.ones((len(rows), 1))
    found = pairwise.product(whole.form.profile, whole.points, whole.points[rows], ones)
    return -whole.form.sign * found[:, 0]
