"""Compiled twin of `divmatch.kernels.gpu.merging`.

Every sum is in the order of the line and nothing is contracted: the digits are the twin's.

A merge waits for each comparison before the next. So two segments are merged in turns, and what
depends on a comparison is arithmetic: a branch would be mispredicted half of the time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.jit import compiled_exactly, inlined_exactly

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


def distance_walk(
    x: Array,
    y: Array,
    cuts_x: Integers,
    cuts_y: Integers,
    along_x: float,
    along_y: float,
    out: Array,
) -> None:
    """See `divmatch.kernels.gpu.merging`."""
    walk_distances(x, y, cuts_x, cuts_y, along_x, along_y, out)


def gap_walk(x: Array, y: Array, cuts_x: Integers, cuts_y: Integers, out: Array) -> None:
    """See `divmatch.kernels.gpu.merging`."""
    walk_gaps(x, y, cuts_x, cuts_y, out)


def sign_walk(x: Array, y: Array, cuts_x: Integers, cuts_y: Integers, out: Array) -> None:
    """See `divmatch.kernels.gpu.merging`."""
    walk_signs(x, y, cuts_x, cuts_y, out)


@inlined_exactly
def number_before(x: Array, y: Array, i: int, j: int) -> Any:
    """The last number before i of x and j of y; the first number at the start."""
    if i == 0 and j == 0:
        return min(x[0], y[0])
    if i == 0:
        return y[j - 1]
    if j == 0:
        return x[i - 1]
    return max(x[i - 1], y[j - 1])


@inlined_exactly
def step(
    x: Array,
    y: Array,
    i: int,
    j: int,
    last: float,
    q: float,
    s: float,
    d: float,
    f: float,
    x1: float,
    x2: float,
    y1: float,
    y2: float,
    n: float,
    both: float,
    along_y: float,
    more: float,
) -> Any:
    """One number further along the line."""
    u, v = x[i], y[j]
    own = np.int64(u <= v)
    of_x = float(own)
    z = min(u, v)
    h = z - last
    d += h * q
    f += h * s
    p = d + f * (along_y + of_x * more)
    a = p * of_x
    b = p - a
    return (
        i + own, j + 1 - own, z, q + (of_x * both - n), s + 2.0 * of_x, d, f,
        x1 + a, x2 + a * p, y1 + b, y2 + b * p,
    )  # fmt: skip


@compiled_exactly
def walk_distances(
    x: Array,
    y: Array,
    cuts_x: Integers,
    cuts_y: Integers,
    along_x: float,
    along_y: float,
    out: Array,
) -> None:
    """Two segments in turns; the second may be shorter, or there is none."""
    n, m = float(len(x) - 1), float(len(y) - 1)
    both, more, segments = n + m, along_x - along_y, len(cuts_x) - 1
    for k in range(0, segments, 2):
        other, end = min(k + 1, segments), min(k + 2, segments)
        i, j, i_, j_ = cuts_x[k], cuts_y[k], cuts_x[other], cuts_y[other]
        long, short = i_ - i + j_ - j, cuts_x[end] - i_ + cuts_y[end] - j_
        z, z_ = number_before(x, y, i, j), number_before(x, y, i_, j_)
        q, s = i * m - j * n, 2.0 * i - n
        q_, s_ = i_ * m - j_ * n, 2.0 * i_ - n
        d = f = x1 = x2 = y1 = y2 = 0.0
        d_ = f_ = x1_ = x2_ = y1_ = y2_ = 0.0
        for _ in range(short):
            i, j, z, q, s, d, f, x1, x2, y1, y2 = step(
                x, y, i, j, z, q, s, d, f, x1, x2, y1, y2, n, both, along_y, more
            )
            i_, j_, z_, q_, s_, d_, f_, x1_, x2_, y1_, y2_ = step(
                x, y, i_, j_, z_, q_, s_, d_, f_, x1_, x2_, y1_, y2_, n, both, along_y, more
            )
        for _ in range(short, long):
            i, j, z, q, s, d, f, x1, x2, y1, y2 = step(
                x, y, i, j, z, q, s, d, f, x1, x2, y1, y2, n, both, along_y, more
            )
        out[k, 0], out[k, 1], out[k, 2], out[k, 3], out[k, 4], out[k, 5] = d, f, x1, x2, y1, y2
        if other < segments:
            out[other, 0], out[other, 1], out[other, 2] = d_, f_, x1_
            out[other, 3], out[other, 4], out[other, 5] = x2_, y1_, y2_


@inlined_exactly
def gap_step(
    x: Array,
    y: Array,
    i: int,
    j: int,
    last: float,
    q: float,
    area: float,
    largest: float,
    n: float,
    both: float,
) -> Any:
    """One number further along the line."""
    u, v = x[i], y[j]
    own = np.int64(u <= v)
    z = min(u, v)
    h = z - last
    size = abs(q)
    area += h * size
    seen = size * float(np.int64(h > 0.0))  # between equal numbers there is no F − G
    largest = max(largest, seen)
    return i + own, j + 1 - own, z, q + (float(own) * both - n), area, largest


@compiled_exactly
def walk_gaps(x: Array, y: Array, cuts_x: Integers, cuts_y: Integers, out: Array) -> None:
    """Two segments in turns; the second may be shorter, or there is none."""
    n, m = float(len(x) - 1), float(len(y) - 1)
    both, segments = n + m, len(cuts_x) - 1
    for k in range(0, segments, 2):
        other, end = min(k + 1, segments), min(k + 2, segments)
        i, j, i_, j_ = cuts_x[k], cuts_y[k], cuts_x[other], cuts_y[other]
        long, short = i_ - i + j_ - j, cuts_x[end] - i_ + cuts_y[end] - j_
        z, z_ = number_before(x, y, i, j), number_before(x, y, i_, j_)
        q, q_ = i * m - j * n, i_ * m - j_ * n
        area = most = area_ = most_ = 0.0
        for _ in range(short):
            i, j, z, q, area, most = gap_step(x, y, i, j, z, q, area, most, n, both)
            i_, j_, z_, q_, area_, most_ = gap_step(x, y, i_, j_, z_, q_, area_, most_, n, both)
        for _ in range(short, long):
            i, j, z, q, area, most = gap_step(x, y, i, j, z, q, area, most, n, both)
        out[k, 0], out[k, 1] = area, most
        if other < segments:
            out[other, 0], out[other, 1] = area_, most_


@inlined_exactly
def sign_step(
    x: Array,
    y: Array,
    i: int,
    j: int,
    last: float,
    q: float,
    area: float,
    s: float,
    x1: float,
    x2: float,
    y1: float,
    y2: float,
    n: float,
    both: float,
) -> Any:
    """One number further along the line."""
    u, v = x[i], y[j]
    own = np.int64(u <= v)
    of_x = float(own)
    z = min(u, v)
    h = z - last
    area += h * abs(q)
    s += h * (float(np.int64(q > 0.0)) - float(np.int64(q < 0.0)))
    a = s * of_x
    b = s - a
    return (
        i + own, j + 1 - own, z, q + (of_x * both - n), area, s,
        x1 + a, x2 + a * s, y1 + b, y2 + b * s,
    )  # fmt: skip


@compiled_exactly
def walk_signs(x: Array, y: Array, cuts_x: Integers, cuts_y: Integers, out: Array) -> None:
    """Two segments in turns; the second may be shorter, or there is none."""
    n, m = float(len(x) - 1), float(len(y) - 1)
    both, segments = n + m, len(cuts_x) - 1
    for k in range(0, segments, 2):
        other, end = min(k + 1, segments), min(k + 2, segments)
        i, j, i_, j_ = cuts_x[k], cuts_y[k], cuts_x[other], cuts_y[other]
        long, short = i_ - i + j_ - j, cuts_x[end] - i_ + cuts_y[end] - j_
        z, z_ = number_before(x, y, i, j), number_before(x, y, i_, j_)
        q, q_ = i * m - j * n, i_ * m - j_ * n
        area = s = x1 = x2 = y1 = y2 = 0.0
        area_ = s_ = x1_ = x2_ = y1_ = y2_ = 0.0
        for _ in range(short):
            i, j, z, q, area, s, x1, x2, y1, y2 = sign_step(
                x, y, i, j, z, q, area, s, x1, x2, y1, y2, n, both
            )
            i_, j_, z_, q_, area_, s_, x1_, x2_, y1_, y2_ = sign_step(
                x, y, i_, j_, z_, q_, area_, s_, x1_, x2_, y1_, y2_, n, both
            )
        for _ in range(short, long):
            i, j, z, q, area, s, x1, x2, y1, y2 = sign_step(
                x, y, i, j, z, q, area, s, x1, x2, y1, y2, n, both
            )
        out[k, 0], out[k, 1], out[k, 2], out[k, 3], out[k, 4], out[k, 5] = area, s, x1, x2, y1, y2
        if other < segments:
            out[other, 0], out[other, 1], out[other, 2] = area_, s_, x1_
            out[other, 3], out[other, 4], out[other, 5] = x2_, y1_, y2_
