"""Rows raised to a power so that they have a wanted entropy: q ∝ p^β."""

import numpy as np
from numpy.typing import NDArray

from divmatch.matcher import Array

STEPS = 200
CLOSE = 1e-12


def entropies(p: Array) -> Array:
    """−Σ p ln p of rows, in nats."""
    with np.errstate(all="ignore"):
        return np.asarray(-np.where(p > 0, p * np.log(p), 0.0).sum(axis=1))


def limits(p: Array) -> tuple[Array, Array]:
    """The entropies at β = ∞ and β = 0: logarithms of how many classes share the top, or have mass."""
    top = (p == p.max(axis=1, keepdims=True)).sum(axis=1)
    return np.log(top), np.log((p > 0).sum(axis=1))


def tempered(p: Array, wanted: float) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Rows q ∝ p^β with entropy ``wanted``, β, and whether the row can have it.

    The entropy falls in β, by β times the variance of ln p: Newton's steps in ln β inside a bracket.
    Time O(V) a step, about 6; memory O(B V).
    """
    lowest, highest = limits(p)
    possible = (wanted >= lowest - CLOSE) & (wanted <= highest + CLOSE)
    with np.errstate(divide="ignore"):
        logs = np.log(p)
    logs -= logs.max(axis=1, keepdims=True)
    beta = np.ones(len(p))
    beta[wanted >= highest - CLOSE] = 0.0
    beta[(wanted <= lowest + CLOSE) & (beta > 0)] = np.inf
    low, high = np.zeros(len(p)), np.full(len(p), np.inf)
    open_ = possible & (beta > 0) & np.isfinite(beta)
    for _ in range(STEPS):
        rows = np.flatnonzero(open_)
        if len(rows) == 0:
            break
        value, spread = _moments(logs[rows], beta[rows])
        gap = value - wanted
        done = np.abs(gap) <= CLOSE * max(1.0, wanted)
        b = beta[rows]
        low[rows] = np.where(gap > 0, b, low[rows])
        high[rows] = np.where(gap < 0, b, high[rows])
        with np.errstate(all="ignore"):
            step = b + gap / (b * spread)
            middle = np.where(np.isinf(high[rows]), 2.0 * b, 0.5 * (low[rows] + high[rows]))
        inside = np.isfinite(step) & (step > low[rows]) & (step < high[rows]) & (step < 8.0 * b)
        moved = np.where(inside, step, middle)
        stuck = moved == b
        beta[rows] = np.where(done, b, moved)
        open_[rows] = ~(done | stuck)
    return _powers(logs, beta), beta, possible


def _powers(logs: Array, beta: Array) -> Array:
    """Rows ∝ exp(β ln p), of classes with mass; the largest alone at β = ∞."""
    with np.errstate(invalid="ignore"):
        exponents = np.where(logs == 0.0, 0.0, beta[:, None] * logs)
    masses = np.where(np.isneginf(logs), 0.0, np.exp(exponents))
    return np.asarray(masses / masses.sum(axis=1, keepdims=True))


def _moments(logs: Array, beta: Array) -> tuple[Array, Array]:
    """Entropy of the rows at β, and the variance of ln p there."""
    q = _powers(logs, beta)
    finite = np.where(np.isneginf(logs), 0.0, logs)
    mean = (q * finite).sum(axis=1)
    gaps = finite - mean[:, None]
    spread = (q * gaps * gaps).sum(axis=1)
    total = np.where(np.isneginf(logs), 0.0, np.exp(beta[:, None] * finite)).sum(axis=1)
    return np.log(total) - beta * mean, spread
