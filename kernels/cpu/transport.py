"""Compiled parts of exact transport: exchanges along a list of arcs, and arcs worth adding to it."""

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels import spanning
from divmatch.kernels.cpu.jit import compiled, compiled_exactly, inlined

Array = NDArray[np.float64]
Numbers = NDArray[np.int32]

BLOCK = 64  # columns priced at a time
GROUP = 256  # columns whose coordinates stay in the cache
SQUARES, ABSOLUTE, LARGEST, POWERS = 0, 1, 2, 3

hung = compiled_exactly(spanning.hung)
exchanged = compiled_exactly(spanning.exchanged)
levelled = compiled_exactly(spanning.levelled)


@compiled_exactly
def improved(
    n: int,
    tails: Numbers,
    heads: Numbers,
    costs: Array,
    tolerance: float,
    most: int,
    place: int,
    parent: Numbers,
    arc: Numbers,
    mass: Array,
    depth: Numbers,
    first: Numbers,
    following: Numbers,
    previous: Numbers,
    level: Array,
) -> tuple[int, int]:
    """Exchange until no arc of the list gains, or ``most`` times; how often, and where it stopped.

    The best arc of a block of √(number of arcs) enters; Kovács 2015, Optim. Methods Softw. 30.
    """
    count = len(costs)
    block = max(10, int(np.sqrt(count)))
    done = 0
    while done < most:
        best, enter, left = -tolerance, -1, block
        for _ in range(count):
            reduced = costs[place] - level[tails[place]] + level[n + heads[place]]
            if reduced < best:
                best, enter = reduced, place
            place += 1
            if place == count:
                place = 0
            left -= 1
            if left == 0:
                if enter >= 0:
                    break
                left = block
        if enter < 0:
            break
        exchanged(
            n, tails[enter], n + heads[enter], enter, best,
            parent, arc, mass, depth, first, following, previous, level,
        )  # fmt: skip
        done += 1
    return done, place


@inlined
def fill_costs(
    row: Array, columns: Array, start: int, family: int, inner: float, outer: float, out: Array
) -> None:
    """Costs of one row with len(out) columns from ``start`` on; columns of shape (d, m)."""
    size = len(out)
    for j in range(size):
        out[j] = 0.0
    for c in range(len(row)):
        value = row[c]
        part = columns[c, start : start + size]
        if family == SQUARES:
            for j in range(size):
                gap = value - part[j]
                out[j] += gap * gap
        elif family == ABSOLUTE:
            for j in range(size):
                out[j] += abs(value - part[j])
        elif family == LARGEST:
            for j in range(size):
                gap = abs(value - part[j])
                out[j] = gap if gap > out[j] else out[j]
        else:
            for j in range(size):
                out[j] += abs(value - part[j]) ** inner
    if outer == 0.5:
        for j in range(size):
            out[j] = np.sqrt(out[j])
    elif outer != 1.0:
        for j in range(size):
            out[j] = out[j] ** outer


@compiled
def priced(
    rows: Array,
    columns: Array,
    g: Array,
    limit: Array,
    family: int,
    inner: float,
    outer: float,
    places: Numbers,
    values: Array,
) -> None:
    """The smallest c(xᵢ, yⱼ) − gⱼ below limitᵢ of every row, in order; −1 and inf where there are fewer.

    ``columns`` has the shape (d, m), ``places`` and ``values`` (n, k).
    """
    k, m = places.shape[1], len(g)
    tile = np.empty(BLOCK)
    places[:] = -1
    values[:] = np.inf
    for group in range(0, m, GROUP):
        for i in range(len(rows)):
            for start in range(group, min(group + GROUP, m), BLOCK):
                size = min(BLOCK, m - start)
                part = tile[:size]
                fill_costs(rows[i], columns, start, family, inner, outer, part)
                bound = min(limit[i], values[i, k - 1])
                hits = 0
                for j in range(size):
                    part[j] -= g[start + j]
                    hits += part[j] < bound
                if hits == 0:
                    continue
                for j in range(size):
                    value = part[j]
                    if value >= bound:
                        continue
                    place = k - 1
                    while place > 0 and values[i, place - 1] > value:
                        values[i, place] = values[i, place - 1]
                        places[i, place] = places[i, place - 1]
                        place -= 1
                    values[i, place] = value
                    places[i, place] = start + j
                    bound = min(limit[i], values[i, k - 1])
