"""Exact divergences between two probability vectors, their influences and their leading biases.

Everywhere p and q are arrays (..., K) of masses over the same K cells, one distribution a row; each
row is taken to sum to 1. Values are summed over the last axis in float64. Nothing warns: a mass
without a partner costs the limit of f, which may be inf. So does a mass below 1e-308 of its partner's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmatch.estimators.generators import Generator, generator

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


Value = Callable[[ArrayLike, ArrayLike], Array]
Influences = Callable[[ArrayLike, ArrayLike], tuple[Array, Array]]
Bias = Callable[[ArrayLike, ArrayLike, float, float], Array]


@dataclass(frozen=True)
class Divergence:
    """A divergence of two probability vectors: value, influences, leading bias, by p and q.

    ``dear`` says of a cell whether p alone, or q alone, makes the value infinite.
    """

    value: Value
    influences: Influences
    bias: Bias
    dear: tuple[bool, bool]


def of_kind(kind: str) -> Divergence:
    """The f-divergence called ``kind``."""
    of = generator(kind)
    return Divergence(
        partial(divergence, of),
        partial(divergence_influences, of),
        partial(divergence_bias, of),
        (math.isinf(of.at_infinity), math.isinf(of.at_zero)),
    )


def of_order(order: float, *, tsallis_form: bool = False) -> Divergence:
    """The Rényi divergence of an order, or its Tsallis form."""
    dear = order >= 1, False
    if tsallis_form:
        return Divergence(
            partial(tsallis, order),
            partial(tsallis_influences, order),
            partial(tsallis_bias, order),
            dear,
        )
    return Divergence(
        partial(renyi, order), partial(renyi_influences, order), partial(renyi_bias, order), dear
    )


# --------------------------------------------------------------------------------- f-divergences


def divergence_terms(of: Generator, p: ArrayLike, q: ArrayLike) -> Array:
    """What each cell adds to D_f(P || Q): q f(p/q), q f(0+) where p = 0, p lim f(t)/t where q = 0."""
    p, q, ratio, both = _ratios(p, q)
    with np.errstate(all="ignore"):
        terms = q * of.f(ratio)
    return np.where(both, terms, _priced(p, of.at_infinity, q) + _priced(q, of.at_zero, p))


def divergence(of: Generator, p: ArrayLike, q: ArrayLike) -> Array:
    """D_f(P || Q) of every row: Σ q f(p/q)."""
    return divergence_terms(of, p, q).sum(axis=-1)


def divergence_influences(of: Generator, p: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    """Derivatives of D_f by p and by q in every cell: f'(r) and f(r) − r f'(r), with r = p/q.

    0 in the cells where the vector itself has no mass, which no row can be in.
    """
    p, q, ratio, both = _ratios(p, q)
    with np.errstate(all="ignore"):
        slope = of.slope(ratio)
        left = of.f(ratio) - ratio * slope
    by_p = np.where(both, slope, np.where(p > 0, of.at_infinity, 0.0))
    by_q = np.where(both, left, np.where(q > 0, of.at_zero, 0.0))
    return by_p, by_q


def divergence_bias(of: Generator, p: ArrayLike, q: ArrayLike, n: float, m: float) -> Array:
    """Leading bias of D_f between the shares of n and m counts with expectations p and q.

    ½ Σ f''(r) [(1 − p) r / n + r² (1 − q) / m]; a number of counts may be inf (a known vector). For
    tv, which has a kink at r = 1, the mean of |p̂ − q̂| under a normal error takes its place.
    """
    p, q, ratio, both = _ratios(p, q)
    if of.name == "tv":
        return _folded_bias(p, q, n, m)
    with np.errstate(all="ignore"):
        bend = of.curvature(ratio) * ratio
        terms = 0.5 * bend * ((1.0 - p) / n + ratio * (1.0 - q) / m)
    return np.where(both, terms, 0.0).sum(axis=-1)


def _folded_bias(p: Array, q: Array, n: float, m: float) -> Array:
    """½ Σ (E|Δ + sZ| − |Δ|), with Δ = p − q and s² the variance of the difference of shares."""
    from scipy.special import ndtr

    gap = np.abs(p - q)
    spread = np.sqrt(p * (1.0 - p) / n + q * (1.0 - q) / m)
    z = np.where(spread > 0, gap / np.where(spread > 0, spread, 1.0), 0.0)
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return (spread * (density - z * ndtr(-z))).sum(axis=-1)


# ----------------------------------------------------------------------------------- Rényi orders


def renyi(order: float, p: ArrayLike, q: ArrayLike) -> Array:
    """Rényi divergence of every row: ln Σ p^a q^(1−a) / (a − 1); KL at a = 1, max ln(p/q) at inf."""
    if order == 1:
        return divergence(generator("kl"), p, q)
    p, q, log_ratio = _log_ratios(p, q)
    if math.isinf(order):
        return np.where(p > 0, log_ratio, -np.inf).max(axis=-1)
    excess = _excess(order, p, log_ratio)
    with np.errstate(all="ignore"):
        direct = np.log1p(excess) / (order - 1.0)
        # sums far from 1 lose nothing on the log scale, and do not overflow there
        logs = np.where(p > 0, np.log(p) + (order - 1.0) * log_ratio, -np.inf)
        top = logs.max(axis=-1, keepdims=True)
        level = np.where(np.isfinite(top), top, 0.0)
        scaled = (np.log(np.exp(logs - level).sum(axis=-1)) + level[..., 0]) / (order - 1.0)
    return np.where(np.abs(excess) < 0.5, direct, scaled) + 0.0  # no −0 at p = q


def tsallis(order: float, p: ArrayLike, q: ArrayLike) -> Array:
    """Tsallis divergence of every row: (Σ p^a q^(1−a) − 1) / (a − 1); KL at a = 1."""
    if order == 1:
        return divergence(generator("kl"), p, q)
    p, q, log_ratio = _log_ratios(p, q)
    return _excess(order, p, log_ratio) / (order - 1.0) + 0.0


def renyi_influences(order: float, p: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    """Derivatives of the Rényi divergence by p and by q, up to a constant; 0 where there is no mass.

    a ((r^(a−1)/I) − 1) / (a − 1) and −r^a / I with I = Σ p^a q^(1−a); at order inf 1/p and −1/q in
    the cell of the maximum.
    """
    if order == 1:
        return divergence_influences(generator("kl"), p, q)
    value = renyi(order, p, q)[..., None]
    p, q, log_ratio = _log_ratios(p, q)
    with np.errstate(all="ignore"):
        if math.isinf(order):
            cells = np.arange(p.shape[-1])
            best = np.where(p > 0, log_ratio, -np.inf).argmax(axis=-1)[..., None] == cells
            return np.where(best, 1.0 / p, 0.0), np.where(best, -1.0 / q, 0.0)
        b = order - 1.0
        by_p = order * np.expm1(b * (log_ratio - value)) / b
        by_q = -np.exp(order * log_ratio - b * value)
    return np.where(p > 0, by_p, 0.0), np.where(q > 0, by_q, 0.0)


def tsallis_influences(order: float, p: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    """Derivatives of the Tsallis divergence by p and by q, up to a constant; 0 where there is no mass.

    a (r^(a−1) − 1) / (a − 1) and −r^a.
    """
    if order == 1:
        return divergence_influences(generator("kl"), p, q)
    p, q, log_ratio = _log_ratios(p, q)
    with np.errstate(all="ignore"):
        by_p = order * np.expm1((order - 1.0) * log_ratio) / (order - 1.0)
        by_q = -np.exp(order * log_ratio)
    return np.where(p > 0, by_p, 0.0), np.where(q > 0, by_q, 0.0)


def tsallis_bias(order: float, p: ArrayLike, q: ArrayLike, n: float, m: float) -> Array:
    """Leading bias of the Tsallis divergence, which is a D_alpha, between shares of n and m counts."""
    return order * divergence_bias(generator(f"alpha:{order!r}"), p, q, n, m)


def renyi_bias(order: float, p: ArrayLike, q: ArrayLike, n: float, m: float) -> Array:
    """Leading bias of the Rényi divergence between the shares of n and m counts.

    That of the sum I, and that of its logarithm: [E ΔI / I − ½ Var(I) / I²] / (a − 1). The maximum
    at order inf has none: 0.
    """
    if math.isinf(order):
        return np.zeros(np.broadcast_shapes(np.shape(p), np.shape(q))[:-1])
    if order == 1:
        return divergence_bias(generator("kl"), p, q, n, m)
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    by_p, by_q = renyi_influences(order, p, q)
    spread = _variance(p, by_p) / n + _variance(q, by_q) / m
    with np.errstate(all="ignore"):
        total = np.exp((order - 1.0) * renyi(order, p, q))
        return tsallis_bias(order, p, q, n, m) / total - 0.5 * (order - 1.0) * spread


# --------------------------------------------------------------------------------------- ratios


def _ratios(p: ArrayLike, q: ArrayLike) -> tuple[Array, Array, Array, Mask]:
    """p, q, their ratio (1 where there is none) and where both have mass and a ratio."""
    p, q = np.broadcast_arrays(np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64))
    both = (p > 0) & (q > 0)
    with np.errstate(all="ignore"):
        ratio = np.where(both, p / np.where(both, q, 1.0), 1.0)
    both = both & np.isfinite(ratio) & (ratio > 0)  # subnormal masses have none
    return p, q, np.where(both, ratio, 1.0), both


def _log_ratios(p: ArrayLike, q: ArrayLike) -> tuple[Array, Array, Array]:
    """p, q and ln p − ln q: inf where q alone is 0, −inf where p is 0."""
    p, q = np.broadcast_arrays(np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64))
    with np.errstate(all="ignore"):
        log_ratio = np.where(p > 0, np.log(p) - np.log(q), -np.inf)
        near = np.abs(log_ratio) < 0.5  # the difference of logarithms loses digits near 0
        return p, q, np.where(near, np.log1p((p - q) / q), log_ratio)


def _excess(order: float, p: Array, log_ratio: Array) -> Array:
    """Σ p^a q^(1−a) − 1, without the cancellation near a = 1."""
    with np.errstate(all="ignore"):
        terms = p * np.expm1((order - 1.0) * log_ratio)
    return np.where(p > 0, terms, 0.0).sum(axis=-1)


def _priced(mass: Array, price: float, partner: Array) -> Array:
    """The mass that has no partner at its price, 0 elsewhere."""
    with np.errstate(all="ignore"):
        return np.where((mass > 0) & (partner <= mass), mass * price, 0.0)


def _variance(mass: Array, values: Array) -> Array:
    """Variance of the values under the masses."""
    with np.errstate(all="ignore"):
        mean = (mass * values).sum(axis=-1, keepdims=True)
        return (mass * (values - mean) ** 2).sum(axis=-1)
