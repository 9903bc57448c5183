"""Sliced Wasserstein distance against POT: time with our standard error, without POT's.

And permutation tests on the sorted pool: against SciPy's test of one column, and compiled walks against
the array-module twin.
"""

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.bench.measure import peak_mb

if TYPE_CHECKING:
    import numpy as np

# rows, columns, projections, and in how many parts POT, whose memory grows with them, computes these
CASES = ((10_000, 10, 200, 1), (100_000, 64, 1000, 4))
TESTS = ((1000, 5), (20_000, 5))


def rows() -> list[dict[str, object]]:
    """One row a case; each side runs in a process of its own, so that its peak memory is its own."""
    made = []
    for n, d, count, parts in CASES:
        ours, peer = _measured("ours", n, d, count), _measured("peer", n, d, count // parts)
        peer["seconds"] *= parts
        made.append(
            {
                "work": f"sliced W2, n = m = {n:,}, d = {d}, {count} projections",
                "ours_s": ours["seconds"],
                "peer": "POT sliced_wasserstein_distance",
                "peer_s": peer["seconds"],
                "ratio": peer["seconds"] / ours["seconds"],
                "ours_mb": ours["mb"],
                "note": "CPU s; ours with standard error; bar ratio >= 25, <= 400 MB; POT "
                + (f"with 1 of {parts} parts of the projections " if parts > 1 else "")
                + f"peaks at {peer['mb']:,.0f} MB",
            }
        )
    return [*made, _line(), *(_splits(*case) for case in TESTS)]


def _line() -> dict[str, object]:
    """The test of one column, whole processes."""
    ours, peer = (_measured(side, 1000, 1, 999) for side in ("line", "scipy"))
    return {
        "work": "divmatch.ot -p 1, 999 permutations, n = m = 1,000, d = 1",
        "ours_s": ours["seconds"],
        "peer": "scipy.stats.permutation_test of wasserstein_distance",
        "peer_s": peer["seconds"],
        "ratio": peer["seconds"] / ours["seconds"],
        "note": f"CPU s; p-values {ours['p']:.3g} and {peer['p']:.3g}",
    }


def _splits(n: int, d: int) -> dict[str, object]:
    """Walks along the sorted pool, both twins in one process."""
    found = _measured("splits", n, d, 100)
    return {
        "work": f"sliced W2 of {found['splits']:.0f} splits, n = m = {n:,}, d = {d}, 100 projections",
        "ours_s": found["seconds"],
        "peer": "array-module twin",
        "peer_s": found["peer"],
        "ratio": found["peer"] / found["seconds"],
        "note": f"CPU s; values {found['apart']:.0e} apart",
    }


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
    if side == "splits":
        print(json.dumps(_twins(x, y, count)))
        return
    p_values = []
    if side == "line":
        import divmatch

        def work() -> None:
            test = divmatch.ot(x, y, p=1, permutations=count).test
            p_values.append(test.p_value)

    elif side == "scipy":
        from scipy.stats import permutation_test, wasserstein_distance

        def work() -> None:
            test = permutation_test(
                (x[:, 0], y[:, 0]), wasserstein_distance, n_resamples=count,
                alternative="greater", rng=0,
            )  # fmt: skip
            p_values.append(test.pvalue)

    elif side == "ours":
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
    for _ in range(3 if side in ("ours", "line") else 1):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    found = {"seconds": min(seconds), "mb": peak_mb()}
    print(json.dumps(found | ({"p": p_values[0]} if p_values else {})))


def _twins(x: "np.ndarray", y: "np.ndarray", count: int) -> dict[str, float]:
    """The same splits by both twins, compiled before."""
    import numpy as np

    from divmatch.kernels import cpu, gpu
    from divmatch.kernels.directions import directions
    from divmatch.kernels.slices import Pool

    rng, points = np.random.default_rng(1), np.concatenate([x, y])
    many = max(20, 500_000 // len(points))
    labels = np.stack([rng.permutation(len(points)) < len(x) for _ in range(many)], axis=1)
    drawn = directions(x.shape[1], count, rng)
    seconds, values = {}, {}
    for name, twin in (("ours", cpu), ("peer", gpu)):
        pool = Pool(points, None, drawn.vectors, drawn.weights, 2)
        pool.engine = twin
        pool.costs(labels[:, :1])
        runs = []
        for _ in range(3):
            start = time.process_time()
            values[name] = pool.costs(labels)
            runs.append(time.process_time() - start)
        seconds[name] = min(runs)
    apart = float(np.abs(values["ours"] / values["peer"] - 1).max())
    return {"seconds": seconds["ours"], "peer": seconds["peer"], "apart": apart, "splits": many}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _one(sys.argv[1], *map(int, sys.argv[2:]))
    else:
        for row in rows():
            print(row)
