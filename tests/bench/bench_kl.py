"""KL from neighbour distances against other packages: python tests/bench/bench_kl.py."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

from divmatch.estimator import quantity
from divmatch.kernels.execution import executing, one_blas_thread
from divmatch.samples import as_samples

THREADS = 2
RUNS = 1
K = 5
CASES = ((20_000, 20), (20_000, 3), (20_000, 1))


def ours(x: Any, y: Any, name: str = "kl", method: str = "knn") -> float:
    chosen = quantity(name).chosen(method)
    with one_blas_thread(), executing(threads=THREADS, device="cpu"):
        found = chosen(as_samples(x, "x"), as_samples(y, "y"), **chosen.checked({}))
    return found.value


def scikit_learn(x: Any, y: Any, algorithm: str) -> float:
    """The same formula on scikit-learn's searches."""
    n, d = x.shape
    rho = NearestNeighbors(n_neighbors=K, algorithm=algorithm, n_jobs=THREADS).fit(x).kneighbors()
    nu = NearestNeighbors(n_neighbors=K, algorithm=algorithm, n_jobs=THREADS).fit(y).kneighbors(x)
    ratio = np.log(nu[0][:, -1] / rho[0][:, -1]).mean()
    return float(d * ratio + np.log(len(y) / (n - 1)))


def divergence(x: Any, y: Any) -> float:
    """The package `divergence`, where it is installed."""
    from divergence import relative_entropy_from_samples

    return float(relative_entropy_from_samples(x, y, discrete=False))


def rows() -> list[dict[str, Any]]:
    """One row a comparison: one run each in this process, building included."""
    rng = np.random.default_rng(0)
    ours(rng.normal(size=(6000, 16)), rng.normal(size=(6000, 16)))  # loads the compiled twin
    table = []
    for n, d in CASES:
        x, y = rng.normal(size=(n, d)), rng.normal(0.1, 1.1, size=(n, d))
        work = f"kl knn k={K} of {n} x {d}"
        for algorithm in ("kd_tree", "ball_tree"):
            peer = partial(scikit_learn, algorithm=algorithm)
            table.append(_row(work, f"scikit-learn {algorithm}", ours, peer, x, y))
        if d == 1 and find_spec("divergence") is not None:  # it takes one column
            table.append(_row(work, "divergence", ours, divergence, x, y))
        labels = partial(ours, method="nnr")
        table.append(_row(f"kl nnr of {n} x {d}", "our knn", labels, ours, x, y))
    return table


def _row(
    work: str, peer: str, mine: Callable[..., float], other: Callable[..., float], x: Any, y: Any
) -> dict[str, Any]:
    times: list[tuple[float, float]] = []
    values = 0.0, 0.0
    for _ in range(RUNS):
        first, second = _seconds(partial(mine, x, y)), _seconds(partial(other, x, y))
        times.append((first[0], second[0]))
        values = first[1], second[1]
    ours_s, peer_s = map(statistics.median, zip(*times, strict=True))
    note = f"values {values[0]:.6f} and {values[1]:.6f}"
    return {
        "work": work, "ours_s": ours_s, "peer": peer, "peer_s": peer_s, "ratio": peer_s / ours_s,
        "note": note,
    }  # fmt: skip


def _seconds(function: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


if __name__ == "__main__":
    for row in rows():
        print(
            f"{row['work']:26} ours {row['ours_s']:7.3f} s   {row['peer']:24} {row['peer_s']:7.3f} s"
            f"   {row['ratio']:5.2f}x   {row['note']}"
        )
