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
    walk(x, y, cuts_x, cuts_y, along_x, along_y, None, out)


def sign_walk(x: Array, y: Array, cuts_x: Integers, cuts_y: Integers, out: Array) -> None:
    """See `divmatch.kernels.gpu.merging`."""
    walk(x, y, cuts_x, cuts_y, 0.0, 0.0, 1, out)


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
def begun(x: Array, y: Array, i: int, j: int, signs: Any) -> Any:
    """Where a segment begins: i, j, the number before, q, sums of nothing, 2 i − n or a largest |q|."""
    n, m = float(len(x) - 1), float(len(y) - 1)
    z = number_before(x, y, i, j)
    s = 2.0 * i - n if signs is None else 0.0
    return i, j, z, i * m - j * n, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, s


@inlined_exactly
def step(x: Array, y: Array, at: Any, along_x: float, along_y: float, signs: Any) -> Any:
    """One number further along the line; what ``signs`` decides is decided by the compiler."""
    i, j, last, q, d, f, x1, x2, y1, y2, s = at
    n, m = float(len(x) - 1), float(len(y) - 1)
    u, v = x[i], y[j]
    own = np.int64(u <= v)
    of_x = float(own)
    z = min(u, v)
    h = z - last
    if signs is None:
        d += h * q
        f += h * s
        p = d + f * (along_y + of_x * (along_x - along_y))
        s += 2.0 * of_x
    else:
        d += h * abs(q)
        s = max(s, abs(q) * float(np.int64(h > 0.0)))  # between equal numbers there is no F − G
        f += h * (float(np.int64(q > 0.0)) - float(np.int64(q < 0.0)))
        p = f
    a = p * of_x
    b = p - a
    return (
        i + own, j + 1 - own, z, q + (of_x * (n + m) - n), d, f,
        x1 + a, x2 + a * p, y1 + b, y2 + b * p, s,
    )  # fmt: skip


@compiled_exactly
def walk(
    x: Array,
    y: Array,
    cuts_x: Integers,
    cuts_y: Integers,
    along_x: float,
    along_y: float,
    signs: Any,
    out: Array,
) -> None:
    """Two segments in turns; the second may be shorter, or there is none.

    ``signs`` is None for distances: so there is a compiled walk for either.
    """
    segments = len(cuts_x) - 1
    for k in range(0, segments, 2):
        other, end = min(k + 1, segments), min(k + 2, segments)
        one, two = (
            begun(x, y, cuts_x[k], cuts_y[k], signs),
            begun(x, y, cuts_x[other], cuts_y[other], signs),
        )
        long = cuts_x[other] - cuts_x[k] + cuts_y[other] - cuts_y[k]
        short = cuts_x[end] - cuts_x[other] + cuts_y[end] - cuts_y[other]
        for _ in range(short):
            one = step(x, y, one, along_x, along_y, signs)
            two = step(x, y, two, along_x, along_y, signs)
        for _ in range(short, long):
            one = step(x, y, one, along_x, along_y, signs)
        for c, total in enumerate(one[4:]):
            out[k, c] = total
        if other < segments:
            for c, total in enumerate(two[4:]):
                out[other, c] = total
