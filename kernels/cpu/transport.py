"""Compiled parts of exact transport: exchanges along a list of arcs, and arcs worth adding to it."""

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels import spanning
from divmatch.kernels.cpu.elementary import bounded_exponential
from divmatch.kernels.cpu.jit import compiled, compiled_exactly, inlined

Array = NDArray[np.float64]
Numbers = NDArray[np.int32]

BLOCK = 64  # columns priced at a time: a constant, or the loops do not vectorise
IN_CACHE = 256  # blocks of one coordinate whose numbers stay in the cache
SQUARES, ABSOLUTE, LARGEST, POWERS = 0, 1, 2, 3
STEEPEST = 700.0  # as `divmatch.kernels.ground` has it

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


def blocked(points: Array) -> Array:
    """Rows (m, d) as blocks of columns, shape (⌈m / BLOCK⌉, d, BLOCK), with infinity behind the last."""
    m, d = points.shape
    made = np.full((-(-m // BLOCK) * BLOCK, d), np.inf)
    made[:m] = points
    return np.ascontiguousarray(made.reshape(-1, BLOCK, d).transpose(0, 2, 1))


@inlined
def fill_costs(
    row: Array, block: Array, family: int, inner: float, outer: float, rate: float, out: Array
) -> None:
    """Costs of one row with a block of columns, shapes (d,), (d, BLOCK), (BLOCK,)."""
    for j in range(BLOCK):
        out[j] = 0.0
    for c in range(len(row)):
        value = row[c]
        if family == SQUARES:
            for j in range(BLOCK):
                gap = value - block[c, j]
                out[j] += gap * gap
        elif family == ABSOLUTE:
            for j in range(BLOCK):
                out[j] += abs(value - block[c, j])
        elif family == LARGEST:
            for j in range(BLOCK):
                gap = abs(value - block[c, j])
                out[j] = gap if gap > out[j] else out[j]
        else:
            for j in range(BLOCK):
                out[j] += abs(value - block[c, j]) ** inner
    if outer == 0.5:
        for j in range(BLOCK):
            out[j] = np.sqrt(out[j])
    elif outer != 1.0:
        for j in range(BLOCK):
            out[j] = out[j] ** outer
    if rate > 0.0:
        for j in range(BLOCK):
            steep = rate * out[j]
            out[j] = bounded_exponential(steep) - 1.0 if steep < STEEPEST else np.inf


@compiled
def priced(
    rows: Array,
    blocks: Array,
    g: Array,
    limit: Array,
    family: int,
    inner: float,
    outer: float,
    rate: float,
    places: Numbers,
    values: Array,
) -> None:
    """The smallest c(xᵢ, yⱼ) − gⱼ below limitᵢ of every row, in order; −1 and inf where there are fewer.

    ``blocks`` are those of `blocked`, g has a row for each; ``places`` and ``values`` (n, k).
    """
    k, count = places.shape[1], len(blocks)
    group = max(1, IN_CACHE // rows.shape[1])
    tile = np.empty(BLOCK)
    places[:] = -1
    values[:] = np.inf
    for first in range(0, count, group):
        for i in range(len(rows)):
            bound = min(limit[i], values[i, k - 1])
            for b in range(first, min(first + group, count)):
                start = b * BLOCK
                fill_costs(rows[i], blocks[b], family, inner, outer, rate, tile)
                hits = 0.0
                for j in range(BLOCK):
                    value = tile[j] - g[b, j]
                    tile[j] = value
                    hits += 1.0 if value < bound else 0.0
                if hits == 0.0:
                    continue
                for j in range(BLOCK):
                    value = tile[j]
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
