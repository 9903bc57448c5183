"""Array-module twin of `divmatch.kernels.cpu.splits`: many splits of a sorted line at once."""

from typing import Any

from divmatch.kernels.gpu.pairwise import array_module

AT_ONCE = 1 << 17  # numbers worked on at a time: they stay in the cache


def split_costs(line: Any, order: Any, labels: Any, weights: Any, p: float, out: Any) -> None:
    """W_p^p between marked and other numbers of a sorted line (N,), for every row of labels (B, N).

    ``order`` says which label is each number's; ``weights`` (N,) are in the order of the line, empty
    where all are equal. Without a marked or other number of any weight it is undefined.
    """
    xp = array_module(line)
    at_once = max(1, AT_ONCE // len(line)) if xp.__name__ == "numpy" else len(labels)
    for start in range(0, len(labels), at_once):
        some = slice(start, start + at_once)
        marks = labels[some].take(order, axis=1)
        if not len(weights):
            out[some] = _equal(xp, line, marks, p)
        elif p == 1:
            out[some] = _areas(xp, line, marks, weights)
        else:
            out[some] = xp.stack([_weighted(xp, line, one, weights, p) for one in marks])


def _equal(xp: Any, line: Any, marks: Any, p: float) -> Any:
    """By how many are marked, which is the same for all in a permutation test."""
    made, counts = xp.empty(len(marks)), marks.sum(axis=1)
    for n in (int(count) for count in xp.unique(counts)):
        here, m = counts == n, len(line) - n
        if n == 0 or m == 0:
            made[here] = xp.nan
            continue
        x, y = _picked(xp, line, marks[here], n), _picked(xp, line, ~marks[here], m)
        if n == m:
            made[here] = _powers(xp, x - y, p).mean(axis=1)
            continue
        ends = xp.unique(xp.concatenate([xp.arange(1, n + 1) * m, xp.arange(1, m + 1) * n]))
        lengths = xp.diff(xp.concatenate([xp.zeros(1), ends])) / (float(n) * m)
        gaps = x.take((ends - 1) // m, axis=1) - y.take((ends - 1) // n, axis=1)
        made[here] = _powers(xp, gaps, p) @ lengths
    return made


def _picked(xp: Any, line: Any, marks: Any, count: int) -> Any:
    """``line`` where marked, for rows of equally many marks: many times faster than line[marks]."""
    places = xp.flatnonzero(marks).reshape(len(marks), count)
    places -= len(line) * xp.arange(len(marks))[:, None]
    return line.take(places)


def _powers(xp: Any, gaps: Any, p: float) -> Any:
    return gaps * gaps if p == 2 else xp.abs(gaps) ** p


def _levels(xp: Any, masses: Any) -> Any:
    sums = xp.cumsum(masses, axis=-1)
    return sums / sums[..., -1:]


def _areas(xp: Any, line: Any, marks: Any, weights: Any) -> Any:
    """W₁ = ∫ |F − G|, from the cumulative masses."""
    masses = xp.where(marks, weights, 0.0)
    away = _levels(xp, masses) - _levels(xp, weights - masses)
    return xp.abs(away[:, :-1]) @ xp.diff(line)


def _weighted(xp: Any, line: Any, marks: Any, weights: Any, p: float) -> Any:
    """Both quantile functions on the pieces between all levels."""
    x, y = line[marks], line[~marks]
    if len(x) == 0 or len(y) == 0:
        return xp.asarray(xp.nan)
    upto_x, upto_y = _levels(xp, weights[marks]), _levels(xp, weights[~marks])
    levels = xp.sort(xp.concatenate([upto_x, upto_y]))
    lengths = xp.diff(xp.concatenate([xp.zeros(1), levels]))
    middles = levels - 0.5 * lengths
    rows = xp.minimum(xp.searchsorted(upto_x, middles), len(x) - 1)
    columns = xp.minimum(xp.searchsorted(upto_y, middles), len(y) - 1)
    return _powers(xp, x[rows] - y[columns], p) @ lengths
