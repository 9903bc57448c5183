"""Wasserstein distances, potentials and noise of sorted numbers.

W_p^p of two samples of numbers is Σₖ lₖ |x₍ᵢₖ₎ − y₍ⱼₖ₎|^p over the *cells* of [0, 1], the pieces of
length lₖ on which both quantile functions are constant. Places are always in range; take is told to
clip because that is twice as fast as to check.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.gpu.pairwise import array_module

Array = NDArray[np.float64]
Places = NDArray[Any]  # whole numbers: positions of rows

MOST_KNOTS = 2000


class Cells(NamedTuple):
    """Pieces of [0, 1]: place among the sorted x, place among the sorted y, length; shape (K,)."""

    rows: Places
    columns: Places
    lengths: Array


def equal_cells(n: int, m: int) -> Cells | None:
    """Cells of equal weights, from whole numbers: exact. None for n = m: pairs by rank."""
    if n == m:
        return None
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # in units of 1 / (n m)
    return Cells((ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m))


def weighted_cells(upto_x: Array, upto_y: Array) -> Cells:
    """Cells of cumulative weights that end in 1; levels equal but for rounding make thin cells."""
    both = np.concatenate([upto_x, upto_y])
    order = np.argsort(both, kind="stable")  # merges two sorted runs
    of_x = order < len(upto_x)
    passed_x: Places = np.cumsum(of_x) - of_x
    passed_y = np.arange(len(both)) - passed_x
    return Cells(
        np.minimum(passed_x, len(upto_x) - 1),
        np.minimum(passed_y, len(upto_y) - 1),
        np.diff(both[order], prepend=0.0),
    )


def batched_cells(upto_x: Array, upto_y: Array) -> Cells:
    """`weighted_cells` of many pairs of lines, (q, n) and (q, m), with places in the flattened arrays."""
    (count, n), m = upto_x.shape, upto_y.shape[1]
    both = np.concatenate([upto_x, upto_y], axis=1)
    order = np.argsort(both, axis=1, kind="stable")
    of_x = order < n
    passed_x: Places = np.cumsum(of_x, axis=1) - of_x
    passed_y = np.arange(n + m) - passed_x
    lines = np.arange(count)[:, None]
    return Cells(
        np.minimum(passed_x, n - 1) + n * lines,
        np.minimum(passed_y, m - 1) + m * lines,
        np.diff(np.take_along_axis(both, order, axis=1), prepend=0.0, axis=1),
    )


def cumulated(weights: Array) -> Array:
    """Cumulative weights along the last axis; the last is 1 whatever the rounding."""
    sums: Array = np.cumsum(weights, axis=-1)
    return sums / sums[..., -1:]


def sorted_costs(x: Any, y: Any, cells: Cells | None, p: float) -> Any:
    """W_p^p of every row of sorted numbers, of any array module; (q, n), (q, m) to (q,)."""
    if cells is None:
        return _powers(x - y, p).mean(axis=1)
    return _powers(_taken(x, cells.rows) - _taken(y, cells.columns), p) @ cells.lengths


def forces(x: Array, y: Array, cells: Cells | None, p: float) -> tuple[Array, Array, Array]:
    """W_p^p of every row, (q,), and its derivatives by the sorted numbers, (q, n) and (q, m).

    Cells are those of all rows, or of each (`batched_cells`).
    """
    lengths: Array | float = 1.0 / x.shape[1] if cells is None else cells.lengths
    if cells is None:
        gaps = x - y
    elif cells.rows.ndim == 1:
        gaps = _taken(x, cells.rows) - _taken(y, cells.columns)
    else:
        gaps = x.take(cells.rows) - y.take(cells.columns)
    sizes = np.abs(gaps)
    pulls = (2.0 * gaps if p == 2 else p * sizes ** (p - 1) * np.sign(gaps)) * lengths
    costs = (_powers(sizes, p) * lengths).sum(axis=1)
    if cells is None:
        return costs, pulls, -pulls
    lines = np.arange(len(x))[:, None]
    onto: list[Array] = []
    for places, part in ((cells.rows, x), (cells.columns, y)):
        flat = places if places.ndim == 2 else places + part.shape[1] * lines
        sums: Any = np.bincount(flat.ravel(), pulls.ravel(), part.size)
        onto.append(sums.reshape(part.shape))
    return costs, onto[0], -onto[1]


def _taken(values: Any, places: Any) -> Any:
    if isinstance(values, np.ndarray):
        return values.take(places, axis=1, mode="clip")
    return values.take(places, axis=1)  # only NumPy checks


def _powers(gaps: Any, p: float) -> Any:
    """|gap|^p in place."""
    if p == 2:
        gaps *= gaps
    else:
        xp = array_module(gaps)
        xp.abs(gaps, out=gaps)
        if p != 1:
            xp.power(gaps, p, out=gaps)
    return gaps


class Turns(NamedTuple):
    """For every gap between neighbours: places of the partners below and above that level."""

    below: Places
    above: Places


def equal_turns(n: int, m: int) -> Turns:
    """Partners among m at the levels i/n, 0 < i < n; the two differ where levels coincide."""
    levels = np.arange(1, n) * m
    return Turns((levels - 1) // n, levels // n)


def weighted_turns(upto_x: Array, upto_y: Array) -> Turns:
    """Partners for cumulative weights; levels within rounding of each other coincide."""
    levels, last = upto_x[:-1], len(upto_y) - 1
    below = np.searchsorted(upto_y, levels - 1e-12)
    above = np.searchsorted(upto_y, levels + 1e-12)
    return Turns(np.minimum(below, last), np.minimum(above, last))


def potentials(x: Array, y: Array, turns: Turns, p: float) -> Array:
    """Kantorovich potential of W_p^p at sorted x, zero at the first; shapes (q, n), (q, m), (q, n).

    From one x to the next it grows by |x' − y|^p − |x − y|^p, y the partner at the level between.
    """
    made = np.zeros_like(x)
    low, high = x[:, :-1], x[:, 1:]
    below, above = (y.take(places, axis=1, mode="clip") for places in turns)
    if p == 2:
        steps = (high - low) * ((low - below) + (high - above))
    else:
        steps = _powers(high - below, p) - _powers(low - below, p)
        steps += _powers(high - above, p) - _powers(low - above, p)
        steps *= 0.5
    np.cumsum(steps, axis=1, out=made[:, 1:])
    return made


class Knots(NamedTuple):
    """Places of K equal steps of probability in both samples, and the weights of the gaps between."""

    rows: Places
    columns: Places
    weights: Array


def knots(a: Array, b: Array, upto_x: Array, upto_y: Array, p: float) -> Knots:
    """Knots for `noise`, from weights and cumulative weights in sorted order."""
    share = float(a @ a + b @ b)  # 1/n + 1/m
    number = max(1, min(MOST_KNOTS, int(1 / max(a @ a, b @ b) + 0.5)))
    steps = (np.arange(number) + 0.5) / number
    weights = _knot_weights(share, number, p)
    return Knots(np.searchsorted(upto_x, steps), np.searchsorted(upto_y, steps), weights)


def equal_knots(n: int, m: int, p: float) -> Knots:
    """Knots for equal weights, without an array of the length of a sample."""
    share, number = 1 / n + 1 / m, max(1, min(MOST_KNOTS, n, m))
    places = 2 * np.arange(number) + 1
    return Knots(
        (places * n - 1) // (2 * number),
        (places * m - 1) // (2 * number),
        _knot_weights(share, number, p),
    )


def _knot_weights(share: float, number: int, p: float) -> Array:
    inside = np.arange(1, number) / number
    spread_of_level = share * inside * (1 - inside)  # variance of F − G there when F = G
    weights = number * spread_of_level if p == 2 else np.sqrt(spread_of_level / (2 * np.pi))
    return np.asarray(weights)


def noise(x: Array, y: Array, at: Knots, p: float) -> Array:
    """E W_p^p that sampling alone makes, for rows of sorted numbers; (q, n), (q, m) to (q,).

    p = 1: (2/π)^(1/2) ∫ (F (1 − F)(1/n + 1/m))^(1/2), the value for F = G. p = 2, also for F ≠ G:
    (1/n + 1/m) ∫ u (1 − u) q'(u) r'(u) du, q and r the quantile functions; the gaps of one sample
    are independent of the other's, so their product needs no smoothing.
    """
    gaps_x = np.diff(x.take(at.rows, axis=1))
    gaps_y = np.diff(y.take(at.columns, axis=1))
    made: Array = (gaps_x * gaps_y if p == 2 else gaps_x + gaps_y) @ at.weights
    return made
