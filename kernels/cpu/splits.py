"""Compiled twin of `divmatch.kernels.gpu.splits`: one walk along the line a split.

Labels are random, so that a branch on them would be mispredicted half of the time: a number is written
to both parts, and only one of them moves on.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.jit import compiled, inlined

Array = NDArray[np.float64]


def split_costs(
    line: Array, order: Any, labels: NDArray[np.bool_], weights: Array, p: float, out: Array
) -> None:
    """See `divmatch.kernels.gpu.splits`."""
    marks = labels.view(np.uint8)
    if len(weights) and p == 1:
        walk_areas(line, order, marks, weights, out)
    elif len(weights):
        walk_weights(line, order, marks, weights, float(p), out)
    elif p == 1:
        walk_counts(line, order, marks, out)
    else:
        walk_ranks(line, order, marks, float(p), out)


@inlined
def powered(gap: float, p: float) -> Any:
    """|gap|^p."""
    return gap * gap if p == 2.0 else abs(gap) ** p


@compiled
def walk_counts(line: Array, order: Any, labels: Any, out: Array) -> None:
    """∫ |F − G|, with n m (F − G) a whole number."""
    total = len(line)
    for b in range(len(labels)):
        marks = labels[b]
        n: Any = 0
        for k in range(total):
            n += marks[k]
        m, area = total - n, 0.0
        level: Any = 0
        if n == 0 or m == 0:
            out[b] = np.nan
            continue
        for k in range(total - 1):
            level += np.int64(marks[order[k]]) * total - n
            area += abs(level) * (line[k + 1] - line[k])
        out[b] = area / (float(n) * m)


@compiled
def walk_ranks(line: Array, order: Any, labels: Any, p: float, out: Array) -> None:
    """Quantile against quantile: by rank where both parts are the same size."""
    total = len(line)
    x, y = np.empty(total + 1), np.empty(total + 1)
    for b in range(len(labels)):
        marks = labels[b]
        n: Any = 0
        m: Any = 0
        for k in range(total):
            own = np.int64(marks[order[k]])
            x[n] = line[k]
            y[m] = line[k]
            n += own
            m += 1 - own
        cost = 0.0
        if n == 0 or m == 0:
            out[b] = np.nan
            continue
        if n == m:
            if p == 2.0:
                for k in range(n):
                    cost += (x[k] - y[k]) * (x[k] - y[k])
            else:
                for k in range(n):
                    cost += abs(x[k] - y[k]) ** p
            out[b] = cost / n
            continue
        i: Any = 0
        j: Any = 0
        last = 0
        while last < n * m:
            above, right = (i + 1) * m, (j + 1) * n
            end = min(above, right)
            cost += float(end - last) * powered(x[i] - y[j], p)
            last = end
            i += np.int64(above == end)
            j += np.int64(right == end)
        out[b] = cost / (float(n) * m)


@compiled
def walk_areas(line: Array, order: Any, labels: Any, weights: Array, out: Array) -> None:
    """∫ |F − G| of weighted numbers."""
    total = len(line)
    for b in range(len(labels)):
        marks = labels[b]
        of_x, of_y = 0.0, 0.0
        for k in range(total):
            own = float(marks[order[k]])
            of_x += own * weights[k]
            of_y += (1.0 - own) * weights[k]
        share_x, share_y = 1.0 / of_x, 1.0 / of_y
        level, area = 0.0, 0.0
        for k in range(total - 1):
            own = float(marks[order[k]])
            level += weights[k] * (own * share_x - (1.0 - own) * share_y)
            area += abs(level) * (line[k + 1] - line[k])
        out[b] = area


@compiled
def walk_weights(
    line: Array, order: Any, labels: Any, weights: Array, p: float, out: Array
) -> None:
    """Quantile against quantile between all levels of both parts."""
    total = len(line)
    x, y = np.empty(total + 1), np.empty(total + 1)
    upto_x, upto_y = np.empty(total + 1), np.empty(total + 1)
    for b in range(len(labels)):
        marks = labels[b]
        n: Any = 0
        m: Any = 0
        of_x, of_y = 0.0, 0.0
        for k in range(total):
            own = np.int64(marks[order[k]])
            of_x += own * weights[k]
            of_y += (1 - own) * weights[k]
            x[n] = line[k]
            y[m] = line[k]
            upto_x[n] = of_x
            upto_y[m] = of_y
            n += own
            m += 1 - own
        if n == 0 or m == 0:
            out[b] = np.nan
            continue
        share_x, share_y = 1.0 / of_x, 1.0 / of_y
        i: Any = 0
        j: Any = 0
        last, cost = 0.0, 0.0
        while i < n and j < m:
            above, right = upto_x[i] * share_x, upto_y[j] * share_y
            end = min(above, right)
            cost += (end - last) * powered(x[i] - y[j], p)
            last = end
            i += np.int64(above == end)
            j += np.int64(right == end)
        out[b] = cost
