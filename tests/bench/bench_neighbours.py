"""Nearest neighbours against scikit-learn, FAISS and SciPy: python tests/bench/bench_neighbours.py."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from sklearn.neighbors import NearestNeighbors

from divmatch.kernels.execution import executing, one_blas_thread
from divmatch.kernels.neighbours import Neighbours

THREADS = 2
RUNS = 3
K = 5
CHECKED = 200  # rows whose neighbours are compared with all float64 distances


def ours(points: Any) -> Any:
    with one_blas_thread(), executing(threads=THREADS, device="cpu"):
        return Neighbours(points).nearest(points, K, exclude_self=True)


def ours_counted(points: Any, radius: Any) -> Any:
    with one_blas_thread(), executing(threads=THREADS, device="cpu"):
        return Neighbours(points).count_within(points, radius, exclude_self=True)


def scikit_learn(points: Any) -> Any:
    search = NearestNeighbors(n_neighbors=K, algorithm="brute", n_jobs=THREADS).fit(points)
    return search.kneighbors()


def faiss_flat(points: Any) -> Any:
    import faiss

    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatL2(points.shape[1])
    single = points.astype(np.float32)
    index.add(single)
    return index.search(single, K + 1)


def scipy_tree(points: Any) -> Any:
    return cKDTree(points).query(points, K + 1, workers=THREADS)


def scipy_counted(points: Any, radius: Any) -> Any:
    return cKDTree(points).query_ball_point(points, radius, return_length=True, workers=THREADS)


def rows() -> list[dict[str, Any]]:
    """One row a comparison: medians of interleaved runs in this process, building included."""
    rng = np.random.default_rng(0)
    ours(rng.normal(size=(6000, 16)))  # loads the compiled twin
    table = []
    for n, d in ((50_000, 16), (20_000, 64)):
        points = rng.normal(size=(n, d))
        note = _same_as_all_distances(points)
        work = f"k={K} of {n} x {d}"
        table.append(_row(work, "scikit-learn brute", ours, scikit_learn, note, points))
        if find_spec("faiss") is not None:
            table.append(_row(work, "FAISS IndexFlatL2", ours, faiss_flat, note, points))
    for d in (1, 2, 3, 5):
        points = rng.normal(size=(100_000, d))
        note = _same_as_all_distances(points)
        table.append(_row(f"k={K} of 100000 x {d}", "SciPy", ours, scipy_tree, note, points))
    points = rng.normal(size=(100_000, 3))
    radius = ours(points)[0][:, -1]
    note = "the peer counts by its own rounding"
    table.append(
        _row("count 100000 x 3", "SciPy", ours_counted, scipy_counted, note, points, radius)
    )
    return table


def _row(
    work: str, peer: str, mine: Callable[..., Any], other: Callable[..., Any], note: str, *args: Any
) -> dict[str, Any]:
    pairs = [_seconds(partial(mine, *args)) + _seconds(partial(other, *args)) for _ in range(RUNS)]
    ours_s, ours_cpu, peer_s, peer_cpu = map(statistics.median, zip(*pairs, strict=True))
    note = f"{note}; CPU seconds {ours_cpu:.2f} and {peer_cpu:.2f}"
    ratio = peer_s / ours_s
    return {
        "work": work, "ours_s": ours_s, "peer": peer, "peer_s": peer_s, "ratio": ratio, "note": note
    }  # fmt: skip


def _seconds(function: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU: the second hardly depends on what else the machine does."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def _same_as_all_distances(points: Any) -> str:
    """Whether some rows have the neighbours that a full sort of float64 distances gives."""
    found = ours(points)[1]
    checked = np.linspace(0, len(points) - 1, CHECKED).astype(np.int64)
    for row in checked:
        distances = np.sqrt(((points - points[row]) ** 2).sum(axis=1))
        distances[row] = np.inf
        if not np.array_equal(np.argsort(distances, kind="stable")[:K], found[row]):
            return f"WRONG at row {row}"
    return f"{CHECKED} rows equal float64 brute force"


if __name__ == "__main__":
    for row in rows():
        print(
            f"{row['work']:20} ours {row['ours_s']:7.3f} s   {row['peer']:18} {row['peer_s']:7.3f} s"
            f"   {row['ratio']:5.2f}x   {row['note']}"
        )
