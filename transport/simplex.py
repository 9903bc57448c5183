"""The point of least norm in a simplex: min wᵀQw over w ≥ 0, Σ w = 1, with a certificate."""

import numpy as np

from divmatch.matcher import Array

MOST = 5000  # rows: Q and its factor are dense
RIDGE = 1e-12  # of the mean diagonal: equal rows make Q singular
ROUNDS = 200


def least_norm(q: Array) -> tuple[Array, float]:
    """Weights, and wᵀQw − minᵢ (Qw)ᵢ, which their wᵀQw is at most above the least one.

    Scaled to sum 1, a solution of Qv ≥ 1, v ≥ 0, v·(Qv − 1) = 0 is optimal. Block principal pivoting
    (Júdice & Pires 1994): the sets of the free and of the zero weights change at all rows that
    contradict them, and at the last of these alone where many at once have stopped to help. Time
    O(K³) a round, a handful of rounds; memory O(K²).
    """
    size = len(q)
    trace = float(np.trace(q)) / size
    if not trace > 0:
        return np.full(size, 1.0 / size), 0.0
    ridged = q / trace + RIDGE * np.eye(size)
    v = _complementary(ridged)
    if not v.sum() > 0:
        v = np.ones(size)
    w = v / v.sum()
    slopes = q @ w
    return w, max(float(w @ slopes - slopes.min()), 0.0)


def _complementary(q: Array) -> Array:
    """V ≥ 0 with Qv ≥ 1 and v·(Qv − 1) = 0."""
    free = np.ones(len(q), dtype=bool)
    fewest, patience = len(q) + 1, 3
    v = np.zeros(len(q))
    for _ in range(ROUNDS):
        v = _solved(q, free)
        slack = q @ v - 1.0
        wrong = np.where(free, v < 0, slack < -1e-9)
        count = int(wrong.sum())
        if count == 0:
            break
        if count < fewest:
            fewest, patience = count, 3
        elif patience > 0:
            patience -= 1
        else:
            last = np.flatnonzero(wrong)[-1]
            wrong = np.arange(len(q)) == last
        free ^= wrong
    made: Array = np.maximum(v, 0.0)
    return made


def _solved(q: Array, free: np.ndarray) -> Array:
    """Qv = 1 on the free rows, 0 elsewhere."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    part, ones = q[np.ix_(free, free)], np.ones(int(free.sum()))
    v = np.zeros(len(q))
    try:
        v[free] = cho_solve(cho_factor(part, lower=True), ones)
    except LinAlgError:  # rounding made it indefinite
        v[free] = np.linalg.lstsq(part, ones, rcond=1e-12)[0]
    return v
