"""Weights: entropy balancing against SciPy on the same dual; kernel mean matching against a plain QP.

CPU seconds, each side in a process of its own, on one thread. The QP is set up as adapt 0.4.5 does it: a
dense matrix for the bounds, solved by CVXOPT with adapt's tolerances. Both sides share the kernel.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

from tests.bench.measure import peak_mb

BALANCED = (100_000, 30)
MATCHED = ((1_000, 5), (2_000, 5), (5_000, 5))


def rows() -> list[dict[str, object]]:
    """One row a case."""
    return [_row("entropy", "scipy BFGS", *BALANCED)] + [
        _row("kmm", "CVXOPT as in adapt", *case) for case in MATCHED
    ]


def _row(kind: str, peer: str, n: int, d: int) -> dict[str, object]:
    ours, theirs = (_measured(side, kind, n, d) for side in ("ours", "peer"))
    apart = "weights" if kind == "entropy" else "objectives"
    difference = np.abs(np.array(ours["checked"]) - np.array(theirs["checked"])).max()
    return {
        "work": f"{kind}, n = {n:,}, d = {d}",
        "ours_s": ours["seconds"],
        "ours_mb": ours["mb"],
        "peer": peer,
        "peer_s": theirs["seconds"],
        "peer_mb": theirs["mb"],
        "ratio": theirs["seconds"] / ours["seconds"],
        "note": f"CPU s; {apart} {difference:.1g} apart",
    }


def _measured(side: str, *case: object) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_weights", side, *map(str, case)],
        capture_output=True,
        check=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def data(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """P, and Q a little aside."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)), rng.normal(size=(n, d)) + 0.3 * rng.normal(size=d)


def main(side: str, kind: str, n: int, d: int) -> None:
    """One side of one case: the fastest of three for what takes seconds, else one run."""
    x, y = data(n, d)
    work = {"ours": ours, "peer": balanced if kind == "entropy" else matched}[side]
    work(kind, *data(50, 2))  # imports
    runs = 3 if kind == "entropy" else 1
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        weights = work(kind, x, y)
        seconds.append(time.process_time() - start)
    checked = weights[:100].tolist() if kind == "entropy" else [objective(weights, x, y)]
    print(json.dumps({"seconds": min(seconds), "mb": peak_mb(), "checked": checked}))


def ours(kind: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The method, nothing else."""
    import divmatch

    settings = {} if kind == "entropy" else {"bandwidth": bandwidth(x)}
    found = divmatch.match.weights(x, y, method=kind, metric="none", **settings)
    assert found.converged
    return found.weights


def balanced(_: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The dual of entropy balancing by SciPy's BFGS."""
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    z = (x - y.mean(axis=0)) / x.std(axis=0)

    def dual(slopes: np.ndarray) -> tuple[float, np.ndarray]:
        s = z @ slopes
        value = logsumexp(s)
        return value, z.T @ np.exp(s - value)

    found = minimize(dual, np.zeros(z.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-10})
    return np.exp(z @ found.x - logsumexp(z @ found.x))


def bandwidth(x: np.ndarray) -> float:
    """Of the order of the median distance."""
    return float(np.sqrt(2.0 * x.shape[1]))


def gaussian(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None, :] - 2 * x @ y.T
    return np.exp(squares / (-2 * bandwidth(x) ** 2))


def matched(_: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The QP of adapt, B = 1000, the sum of the weights as free as it leaves it."""
    from cvxopt import matrix, solvers

    n, m = len(x), len(y)
    eps = (np.sqrt(n) - 1) / np.sqrt(n)
    bounds = np.ones((2 * n + 2, n))
    bounds[1] = -1
    bounds[2 : n + 2], bounds[n + 2 :] = np.eye(n), -np.eye(n)
    limits = np.ones(2 * n + 2)
    limits[:2] = n * (1 + eps), n * (eps - 1)
    limits[2 : n + 2], limits[n + 2 :] = 1000, 0
    kappa = n / m * gaussian(x, y).sum(axis=1)
    solvers.options |= {"show_progress": False, "abstol": 1e-7, "reltol": 1e-6, "feastol": 1e-7}
    found = solvers.qp(matrix(gaussian(x, x)), matrix(-kappa), matrix(bounds), matrix(limits))
    weights = np.array(found["x"]).ravel()
    return weights / weights.sum()


def objective(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Half of the squared MMD, less its constant."""
    return float(0.5 * w @ (gaussian(x, x) @ w) - w @ gaussian(x, y).mean(axis=1))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
