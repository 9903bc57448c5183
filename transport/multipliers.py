"""Rows projected onto linear equations within bounds, by Newton's steps on the multipliers.

min KL(q || p) or |q − p|² / 2 subject to A q = b, low ≤ q ≤ high: q = clip(p exp(λ·A)), or clip(p + λ·A),
with the λ that maximises the concave dual λ·b − Σ h(λ·A).
"""

import numpy as np
from numpy.typing import NDArray

from divmatch.matcher import Array

STEPS, HALVINGS = 200, 30
MOST = 64  # equations: each step solves as many in every row
ENTRIES = 1 << 22  # numbers of a block of rows, equations and classes
CLOSE = 1e-12
LARGEST = 700.0  # exponents beyond it are no numbers


def solved(
    p: Array, matrix: Array, targets: Array, low: float, high: float, *, kl: bool
) -> tuple[Array, NDArray[np.bool_]]:
    """New rows, and whether each meets the equations. Time O(m² V) a step and row, about 10 steps."""
    size = max(1, ENTRIES // matrix.size)
    parts = [
        _solved(p[start : start + size], matrix, targets, low, high, kl)
        for start in range(0, len(p), size)
    ]
    return np.concatenate([q for q, _ in parts]), np.concatenate([found for _, found in parts])


def _solved(
    p: Array, matrix: Array, targets: Array, low: float, high: float, kl: bool
) -> tuple[Array, NDArray[np.bool_]]:
    dual = _Dual(p, matrix, targets, low, high, kl)
    multipliers = np.zeros((len(p), len(matrix)))
    value, q = dual.at(multipliers)
    damping = np.full(len(p), 1e-12)
    found = np.zeros(len(p), dtype=bool)
    for _ in range(STEPS):
        slope = targets - q @ matrix.T
        found = np.abs(slope).max(axis=1) <= CLOSE
        if found.all():
            break
        step = np.linalg.solve(dual.curvature(q, damping), slope[:, :, None])[:, :, 0]
        step[found] = 0.0
        expected = 1e-4 * (slope * step).sum(axis=1)
        length = np.ones(len(p))
        for _ in range(HALVINGS):
            tried, made = dual.at(multipliers + length[:, None] * step)
            enough = value + length * expected - 1e-14 * (1.0 + np.abs(value))
            worse = ~(tried >= enough)
            if not worse.any():
                break
            length = np.where(worse, 0.5 * length, length)
        multipliers = multipliers + length[:, None] * step
        damping = np.where(length < 0.1, np.minimum(100.0 * damping, 1.0), 0.1 * damping)
        damping = np.maximum(damping, 1e-14)
        value, q = tried, made
    return q, found


class _Dual:
    """The dual function of a block of rows."""

    def __init__(
        self, p: Array, matrix: Array, targets: Array, low: float, high: float, kl: bool
    ) -> None:
        self.matrix, self.targets, self.low, self.high, self.kl = matrix, targets, low, high, kl
        with np.errstate(divide="ignore"):
            self.start = np.log(p) if kl else p

    def at(self, multipliers: Array) -> tuple[Array, Array]:
        """Its value, and the rows there."""
        s = self.start + multipliers @ self.matrix
        if self.kl:
            q = np.clip(np.exp(np.minimum(s, LARGEST)), self.low, self.high)
            inside = q > 0
            terms = np.where(inside, q * (s - np.log(np.where(inside, q, 1.0)) + 1.0), 0.0)
        else:
            q = np.clip(s, self.low, self.high)
            terms = q * (s - 0.5 * q)
        terms = np.where(np.isneginf(self.start), 0.0, terms)
        return multipliers @ self.targets - terms.sum(axis=1), q

    def curvature(self, q: Array, damping: Array) -> Array:
        """A W Aᵀ with W the slope of the clipped rows, a little raised where it may be singular."""
        free = (q > self.low) & (q < self.high)
        weights = np.where(free, q if self.kl else 1.0, 0.0)
        made = np.einsum("bv,mv,kv->bmk", weights, self.matrix, self.matrix, optimize=True)
        size = np.maximum(np.einsum("bmm->b", made), 1e-12)
        made += (damping * size)[:, None, None] * np.eye(len(self.matrix))
        return np.asarray(made)
