"""Fréchet distance: against the least any method pays, and against the roots that FID tools take."""

import json
import os
import subprocess
import sys
import time

from tests.bench.measure import peak_mb

FLOOR = "two covariance products and one eigendecomposition"
ROOTS = "NumPy covariances and scipy.linalg.sqrtm"
CASES = ((FLOOR, 50_000, 2048), (FLOOR, 10_000, 512), (ROOTS, 10_000, 512))


def rows() -> list[dict[str, object]]:
    """One row a case, one thread a side, each in a process of its own."""
    made = []
    for peer, n, d in CASES:
        ours, other = (_measured(side, n, d) for side in ("ours", peer))
        made.append(
            {
                "work": f"frechet, n = m = {n:,}, d = {d}",
                "ours_s": ours["seconds"],
                "ours_mb": ours["mb"],
                "peer": peer,
                "peer_s": other["seconds"],
                "peer_mb": other["mb"],
                "ratio": other["seconds"] / ours["seconds"],
                "note": "CPU s; ours with bias and standard error"
                + ("; bar ratio >= 1 / 1.3" if peer == FLOOR else ""),
            }
        )
    return made


def _measured(side: str, *case: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_frechet", side, *map(str, case)],
        capture_output=True,
        check=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _one(side: str, n: int, d: int) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    scale = 1 / np.sqrt(1 + np.arange(d))  # variances fall as those of image features do
    x = rng.standard_normal((n, d))
    x *= scale
    y = rng.standard_normal((n, d))
    y *= 1.1 * scale

    def ours() -> None:
        import divmatch

        divmatch.frechet(x, y)

    def floor() -> None:
        for rows in (x, y):
            covariance = rows.T @ rows / n
        np.linalg.eigh(covariance)

    def roots() -> None:
        from scipy.linalg import sqrtm

        a, b = (np.cov(rows, rowvar=False) for rows in (x, y))
        np.trace(a + b - 2 * sqrtm(a @ b).real)

    work = {"ours": ours, FLOOR: floor, ROOTS: roots}[side]
    seconds = []
    for _ in range(1 if n * d > 2e7 else 3):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    print(json.dumps({"seconds": min(seconds), "mb": peak_mb()}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _one(sys.argv[1], *map(int, sys.argv[2:]))
    else:
        for row in rows():
            print(row)
