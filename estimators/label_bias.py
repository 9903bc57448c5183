"""What balls of neighbours blur: divergences from counted labels that are right to first order.

For any ratio r near p/q, E_P f'(r) − E_Q [r f'(r) − f(r)] misses D_f by the square of r's error only,
and never exceeds it. Where a divergence from the counts differs from that, the ratio is not constant
in the balls; the gap is about the bias, and costs nothing.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.generators import Generator, generator
from divmatch.estimators.label_counts import (
    LARGEST,
    Counts,
    finite,
    forward_kl,
    mean_power,
    unseen_x,
)
from divmatch.estimators.powers import powers_of

Array = NDArray[np.float64]

NEARLY_ZERO = 1e-100  # a ratio whose cube is a number


def first_order(c: Counts, kind: str) -> float:
    """D_f(P || Q) to first order, free of the noise of the counts; inf where a power is too large."""
    if kind == "softened-rkl":
        return _backward(c) - first_order(c, "js-gan")
    powers = powers_of(kind)
    if powers is None:
        g = generator(kind)
        return _kinked(c, g) if kind == "tv" else _smooth(c, g)
    value = powers.constant
    if powers.forward:
        value += powers.forward * _forward(c)
    if powers.backward:
        value += powers.backward * _backward(c)
    return value + sum(scale * first_order_power(c, s) for s, scale in powers.terms)


def first_order_power(c: Counts, s: float) -> float:
    """I_s = s E_P r^(s − 1) + (1 − s) E_Q r^s, from unbiased powers at the rows of P and of Q."""
    at_x, log_x = mean_power(c.a, c.own_x, c.other_x, s - 1.0)
    at_y, log_y = mean_power(c.b, c.other_y, c.own_y, s)
    log_x += (s - 1.0) * math.log(c.m / (c.n - 1.0))
    log_y += s * math.log(c.m / c.n)
    if max(log_x, log_y) > LARGEST:
        return math.inf
    return s * at_x * math.exp(log_x) + (1.0 - s) * at_y * math.exp(log_y)


def _forward(c: Counts) -> float:
    """KL(P || Q) = E_P ln r − (E_Q r − 1); E_Q r misses the mass of P out of reach."""
    return forward_kl(c) - (float(c.b @ c.plain_y) + unseen_x(c) - 1.0)


def _backward(c: Counts) -> float:
    return _forward(c.swapped)


def _kinked(c: Counts, g: Generator) -> float:
    """Where f' jumps, counts cannot tell it: the divergence read at the rows of P, r f(1/r)."""
    return finite(c.swapped, g.reversed(), NEARLY_ZERO)


def _smooth(c: Counts, g: Generator) -> float:
    """For f with bounded slope, the noise of the counts taken off by second differences."""
    at_x = _without_noise(g.slope, c.own_x, c.other_x, c.m / (c.n - 1.0))
    at_y = _without_noise(lambda r: g.f(r) - r * g.slope(r), c.other_y, c.own_y, (c.m - 1.0) / c.n)
    return float(c.a @ at_x + c.b @ at_y)


def _without_noise(
    function: Callable[[Array], Array], above: Array, below: Array, scale: float
) -> Array:
    """Values of ``function`` at the ratio, less half its second difference times the variance of a count."""

    def at(more: float) -> Array:
        return function(scale * (above + more + 0.5) / (below - more + 0.5))

    total = above + below
    share = (above + 0.5) / (total + 1.0)
    inside = (above >= 1.0) & (below >= 1.0)
    with np.errstate(all="ignore"):  # steps out of the range of counts are not taken
        bend = np.where(inside, at(1.0) - 2.0 * at(0.0) + at(-1.0), 0.0)
    return at(0.0) - 0.5 * total * share * (1.0 - share) * bend
