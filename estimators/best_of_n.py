"""Best of n: how far choosing the best of n outputs moves a model from its base (arXiv 2401.01879)."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def bound(n: int) -> float:
    """Bound ln n − (n − 1)/n: the divergence is at most this, and equals it only without atoms."""
    return math.log(n) - (n - 1) / n


def divergence_of_chosen(log_eps: Array, n: int) -> Array:
    """KL(best of n || base), estimated from ln ε, ε the base probability of the output chosen.

    (1 − ε)^n [ln n + (n − 1) ln(1 − ε) − (n − 1)/n] + (1 − (1 − ε)^n) ln[(1 − (1 − ε)^n)/ε]: the
    bound as ε → 0, 0 at ε = 1; never below 0. (1 − ε)^n by log1p and expm1.
    """
    with np.errstate(all="ignore"):
        log_rest = _log_complement(log_eps)
        left = np.exp(n * log_rest)
        inner = math.log(n) + (n - 1) * log_rest - (n - 1) / n
        hit = -np.expm1(n * log_rest)
        # (1 − (1 − ε)^n)/ε tends to n; below the smallest number it is n
        gain = np.where(hit > 0, np.log(np.where(hit > 0, hit, 1.0)) - log_eps, math.log(n))
        value = np.where(left > 0, left * inner, 0.0) + np.where(hit > 0, hit * gain, 0.0)
    return np.asarray(value) + 0.0


def _log_complement(log_eps: Array) -> Array:
    """Logarithm of 1 − ε from ln ε, with all digits at both ends."""
    return np.where(
        log_eps > -math.log(2.0), np.log(-np.expm1(log_eps)), np.log1p(-np.exp(log_eps))
    )


def exact(base: Array, n: int, rewards: Array | None = None) -> tuple[Array, Array]:
    """KL(best of n || base) and win rate of every row of base probabilities (rows, K), exactly.

    π_n(y) = F(y)^n − F(y⁻)^n with F the distribution of the rewards under the base; the win rate is
    Σ π_n (F − π/2), ties counted half. Classes are in ascending order of reward unless ``rewards``
    (K,) or (rows, K) are given; equal rewards are one output, which for both numbers is the same as
    breaking ties at random.
    """
    masses = base if rewards is None else _by_reward(base, np.broadcast_to(rewards, base.shape))
    below = np.cumsum(masses, axis=1)
    above = np.zeros_like(masses)
    above[:, :-1] = np.cumsum(masses[:, :0:-1], axis=1)[:, ::-1]
    with np.errstate(all="ignore"):
        upto = np.where(below < 0.5, np.log(below), np.log1p(-np.minimum(above, 1.0)))
        step = np.log1p(-masses / below)  # ln F(y⁻)/F(y)
        log_chosen = n * upto + np.log(-np.expm1(n * step))
        chosen = np.where(masses > 0, np.exp(log_chosen), 0.0)
        parts = np.where(chosen > 0, chosen * (log_chosen - np.log(masses)), 0.0)
    wins = (chosen * (below - masses / 2)).sum(axis=1)
    return parts.sum(axis=1) + 0.0, wins


def _by_reward(base: Array, rewards: Array) -> Array:
    """Masses in ascending order of reward, those of equal rewards added up; zeros fill the rows."""
    order = np.argsort(rewards, axis=1, kind="stable")
    ranked = np.take_along_axis(rewards, order, axis=1)
    group = np.zeros(base.shape, dtype=np.intp)
    group[:, 1:] = np.cumsum(ranked[:, 1:] != ranked[:, :-1], axis=1)
    merged = np.zeros(base.shape)
    rows = np.arange(len(base))[:, None]
    np.add.at(merged, (rows, group), np.take_along_axis(base, order, axis=1))
    return merged
