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


def near_in_a_kernel(gram, mu, eps, features, targets, q):
    """min w'Kw/2 − μ·w + ε KL(w|q) under moments, by sequential quadratic programming on the weights."""
    found = minimize(
        lambda w: float(w @ gram @ w / 2 - mu @ w + eps * (w @ np.log(w / q))),
        q,
        jac=lambda w: gram @ w - mu + eps * (np.log(w / q) + 1),
        bounds=[(1e-12, 1.0)] * len(q),
        constraints=[
            {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(len(w))},
            {"type": "eq", "fun": lambda w: features.T @ w - targets, "jac": lambda w: features.T},
        ],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return found.x


def bumps(points, centres, width):
    """exp(−|x − c|²/(2h²)) of every row and centre, one pair after another."""
    return np.array(
        [
            [np.exp(-sum((u - v) ** 2 for u, v in zip(x, c, strict=True)) / (2 * width**2)) for c in centres]
            for x in points
        ]
    )  # fmt: skip


def least_squares_ratio(p, q, centres, width, ridge):
    """α of the ratio q/p with the least E_P r²/2 − E_Q r + λ|α|²/2, sums in plain loops."""
    below, above = bumps(p, centres, width), bumps(q, centres, width)
    count = len(centres)
    square = [
        [sum(row[i] * row[j] for row in below) / len(p) for j in range(count)] for i in range(count)
    ]
    mean = [sum(row[i] for row in above) / len(q) for i in range(count)]
    return np.linalg.solve(np.array(square) + ridge * np.eye(count), np.array(mean))


def likeliest_ratio(below, above):
    """α ≥ 0 with mean(below) · α = 1 and the largest mean ln(above α), by a general solver."""
    level = below.mean(axis=0)

    def loss(v):
        ratio = above @ (v / level)
        return -np.log(ratio).mean(), -((above / level) / ratio[:, None]).mean(axis=0)

    count = len(level)
    found = minimize(
        loss,
        np.full(count, 1 / count),
        jac=True,
        bounds=[(0, None)] * count,
        constraints=[{"type": "eq", "fun": lambda v: v.sum() - 1, "jac": lambda v: np.ones(count)}],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 2000},
    )
    return found.x / level
