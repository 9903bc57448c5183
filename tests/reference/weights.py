"""Weights by other hands: iterative proportional fitting, and a general solver on the primal problem."""

import numpy as np
from scipy.optimize import minimize


def raked(table, rows, columns, sweeps=200):
    """Iterative proportional fitting of a table of counts to the shares of rows and columns."""
    table = table / table.sum()
    for _ in range(sweeps):
        table = table * (rows / table.sum(axis=1))[:, None]
        table = table * (columns / table.sum(axis=0))[None, :]
    return table


def nearest(f, slope, features, targets, q, *, delta=0.0, most=np.inf):
    """min Σ q f(w/q) under the constraints, by sequential quadratic programming on the weights."""
    constraints = [{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(len(w))}]
    if delta == 0:
        constraints.append(
            {"type": "eq", "fun": lambda w: features.T @ w - targets, "jac": lambda w: features.T}
        )
    else:
        constraints += [
            {
                "type": "ineq",
                "fun": lambda w, sign=sign: delta - sign * (features.T @ w - targets),
                "jac": lambda w, sign=sign: -sign * features.T,
            }
            for sign in (1, -1)
        ]
    found = minimize(
        lambda w: float(q @ f(w / q)),
        q,
        jac=lambda w: slope(w / q),
        bounds=[(1e-12, most * one) for one in q],
        constraints=constraints,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    return found.x


def tilted(features, targets, q):
    """Entropy balancing through its dual, by a quasi-Newton method that knows nothing of the primal."""

    def dual(z):
        s = (features - targets) @ z + np.log(q)
        top = s.max()
        w = np.exp(s - top)
        return top + np.log(w.sum()), (features - targets).T @ (w / w.sum())

    found = minimize(
        dual, np.zeros(features.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-11}
    )
    w = q * np.exp((features - targets) @ found.x)
    return w / w.sum()
