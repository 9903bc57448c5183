"""Which linear constraints no weights can meet: a linear programme, asked only when no weights were found."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LARGEST = 2e7  # numbers in the programme
MET = 1e-7


def shortfalls(features: Array, targets: Array, upper: Array | None = None) -> Array | None:
    """How far each target is from what some weights reach that miss them least in sum; None: unknown.

    min Σ |Φ'w − m| over weights w ≥ 0 of sum 1, with wᵢ ≤ ``upper``. All zero means feasible. HiGHS.
    """
    n, k = features.shape
    if n * k > LARGEST:
        return None
    from scipy.optimize import linprog

    cost = np.concatenate([np.zeros(n), np.ones(2 * k)])
    equal = np.zeros((k + 1, n + 2 * k))
    equal[:k, :n] = features.T
    equal[:k, n : n + k] = np.eye(k)
    equal[:k, n + k :] = -np.eye(k)
    equal[k, :n] = 1.0
    most = np.full(n, np.inf) if upper is None else upper
    bounds = np.column_stack([np.zeros(n + 2 * k), np.concatenate([most, np.full(2 * k, np.inf)])])
    found = linprog(
        cost, A_eq=equal, b_eq=np.concatenate([targets, [1.0]]), bounds=bounds, method="highs"
    )
    if found.x is None:
        return None
    gap: Array = found.x[n : n + k] - found.x[n + k :]
    return np.where(np.abs(gap) > MET, gap, 0.0)


def least_slack(features: Array, targets: Array, upper: Array | None = None) -> float | None:
    """The smallest δ for which some weights have |Φ'w − m| ≤ δ in every feature; None: unknown."""
    n, k = features.shape
    if n * k > LARGEST:
        return None
    from scipy.optimize import linprog

    slack = -np.ones((k, 1))
    most = np.full(n, np.inf) if upper is None else upper
    found = linprog(
        np.concatenate([np.zeros(n), [1.0]]),
        A_ub=np.vstack([np.hstack([features.T, slack]), np.hstack([-features.T, slack])]),
        b_ub=np.concatenate([targets, -targets]),
        A_eq=np.concatenate([np.ones(n), [0.0]])[None, :],
        b_eq=[1.0],
        bounds=np.column_stack([np.zeros(n + 1), np.concatenate([most, [np.inf]])]),
        method="highs",
    )
    return None if found.x is None else float(found.x[n])
