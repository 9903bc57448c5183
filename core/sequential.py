"""Sequential Monte Carlo: permutations until the p-value is known well enough, without cheating.

The stopping rule depends on what was drawn, so (1 + c) / (1 + b) no longer is a p-value. The rule's
end points are put in order instead, and the p-value is how likely the rule is under the null
hypothesis to end as far down, which is exact. Besag & Clifford 1991, Biometrika 78(2), with the
ordering of Fay, Kim & Hachey 2007, J. Comput. Graph. Stat. 16(4).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.estimator import Array

BAND = 2.0  # times the root of the draws, eight widths of a bridge: no order of draws comes back from there


def monte_carlo_se(count: int, draws: int) -> float:
    """Standard deviation of the exact p-value given ``count`` of ``draws`` as large: of a beta law.

    Never 0 for a finite number of draws, as sqrt(p (1 − p) / B) would be at p = 1.
    """
    return float(_variance(count, draws)) ** 0.5


def _variance(count: Any, draws: Any) -> Any:
    share = (count + 1.0) / (draws + 2.0)
    return share * (1.0 - share) / (draws + 3.0)


def enough(precision: float) -> int:
    """The draws after which the error is at most ``precision``, whatever they were."""
    return max(1, math.ceil(0.25 / precision**2) - 3)


def first_stop(precision: float) -> int:
    """The fewest draws that can be enough: all of them smaller than what was observed."""
    b = 1
    while _variance(0, b) > precision**2:
        b += 1
    return b


def stop(
    as_large: NDArray[np.bool_], precision: float, count: int = 0, draws: int = 0
) -> int | None:
    """How many of these draws it takes until the error is at most ``precision``, if it ever is.

    ``count`` of ``draws`` earlier ones were as large.
    """
    counts = count + np.cumsum(as_large)
    numbers = draws + np.arange(1, len(as_large) + 1)
    done = np.flatnonzero(_variance(counts, numbers) <= precision**2)
    return int(done[0]) + 1 if len(done) else None


def sequential_p_value(count: int, draws: int, precision: float) -> float:
    """The exact p-value where the rule ended after ``draws``, ``count`` of them as large.

    Under the null hypothesis every count of b draws is equally likely, and so is every order of
    them. Let f(b, c) be the share of orders that have not ended before b: it is
    (c f(b−1, c−1) + (b−c) f(b−1, c)) / b, and 0 where the rule has ended. The rule treats c and
    b − c alike. An end is the farther down the earlier it is at few large draws, the farther up the
    earlier it is at many. Only counts up to b / 2 are kept, and of them those near the boundary:
    beyond, f is 1.
    """
    low, top = 0, 0  # the counts that are kept: f(0, 0) = 1
    share, ended = np.ones(1), 0.0
    band = False
    for b in range(1, draws + 1):
        most = min(b // 2, low + int(BAND * math.sqrt(b)) + 20)
        if most > top:  # b / 2 is the mirror image of the last count, farther counts are all 1
            extension = np.ones(most - top) if band or most > top + 1 else share[-1:]
            share = np.concatenate([share, extension])
        band = most < b // 2
        up = np.arange(low, most + 1) / b  # how likely the last of b draws was a large one
        share = share[: len(up)]
        share[1:] -= up[1:] * np.diff(share)
        share[0] *= 1 - up[0]
        top = most
        if b == draws:
            break
        over = 0
        while over < len(share) and _variance(low + over, b) <= precision**2:
            over += 1
        if over:
            ended += float(share[:over].sum()) / (b + 1)
            low, share = low + over, share[over:]
    return _tail(share, low, count, draws, ended)


def _tail(share: Array, low: int, count: int, draws: int, ended: float) -> float:
    """What ended before, and the counts up to this one at the last draw."""

    def upto(c: int) -> float:
        kept = share[: max(0, c - low + 1)]
        beyond = max(0, c - low + 1 - len(share))
        return ended + (float(kept.sum()) + beyond) / (draws + 1)

    if count <= draws // 2:
        return upto(count)
    return 1.0 - upto(draws - count - 1)
