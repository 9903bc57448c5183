"""Sliced Wasserstein distance against POT: time with our standard error, without POT's."""

import json
import os
import subprocess
import sys
import time

from tests.bench.measure import peak_mb

CASES = ((10_000, 10, 200), (100_000, 64, 500))


def rows() -> list[dict[str, object]]:
    """One row a case; each side runs in a process of its own, so that its peak memory is its own."""
    made = []
    for n, d, count in CASES:
        ours, peer = (_measured(side, n, d, count) for side in ("ours", "peer"))
        made.append(
            {
                "work": f"sliced W2, n = m = {n:,}, d = {d}, {count} projections",
                "ours_s": ours["seconds"],
                "peer": "POT sliced_wasserstein_distance",
                "peer_s": peer["seconds"],
                "ratio": peer["seconds"] / ours["seconds"],
                "ours_mb": ours["mb"],
                "note": f"ours with standard error; POT peaks at {peer['mb']:,.0f} MB",
            }
        )
    return made


def _measured(side: str, *case: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_sliced", side, *map(str, case)],
        capture_output=True,
        check=True,
        env=os.environ
        | ({"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} if side == "ours" else {}),
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _one(side: str, n: int, d: int, count: int) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    y += 0.1
    if side == "ours":
        import divmatch
        from divmatch.budget import available_threads
        from divmatch.kernels.execution import executing

        def work() -> None:
            with executing(threads=available_threads()):
                divmatch.sliced(x, y, projections=count)

    else:
        import ot

        def work() -> None:
            ot.sliced_wasserstein_distance(x, y, n_projections=count, seed=0)

    seconds = []
    for _ in range(3 if side == "ours" else 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    peak = peak_mb()
    print(json.dumps({"seconds": min(seconds), "mb": peak}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _one(sys.argv[1], *map(int, sys.argv[2:]))
    else:
        for row in rows():
            print(row)
