"""Exact Wasserstein distance against POT's network simplex; one column against sorting and SciPy.

CPU seconds, each side in a process of its own, so that its peak memory is its own. POT's include the
n × m matrix of costs. Above MOST rows POT does not run here: it needs 40 bytes for each pair.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.measure import DIVMATCH, interleaved, peak_mb

MOST = 8000
CASES = (
    ("gaussian", 5_000, 10),
    ("gaussian", 20_000, 10),
    ("clusters", 3_000, 10),
    ("tied", 3_000, 2),
    ("gaussian", 3_000, 2),
    ("weighted", 3_000, 5),
)
LINE = 1_000_000
FEW = 200
OTHERS = {"assignment": (4_000, 5_000, 10), "orlicz": (1_500, 1_500, 3)}
PEERS = ("numpy.sort of both", "scipy.stats.wasserstein_distance", "ot.wasserstein_1d")


def rows() -> list[dict[str, object]]:
    """One row a case."""
    made = [_against_pot(*case) for case in CASES]
    return [*made, *(_against(peer) for peer in PEERS), *others()]


def others() -> list[dict[str, object]]:
    """A whole command of few rows, a partial assignment, an Orlicz distance."""
    return [_command(), _against_other("assignment"), _against_other("orlicz")]


def _command() -> dict[str, object]:
    """From the shell to the number, against the same with POT."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        p, q = str(Path(folder, "p.npy")), str(Path(folder, "q.npy"))
        np.save(p, rng.normal(size=(FEW, 3)))
        np.save(q, rng.normal(size=(FEW, 3)) + 0.5)
        pot = f"import numpy as np, ot; print(ot.emd2([], [], ot.dist(np.load({p!r}), np.load({q!r}))))"
        found = interleaved(
            {"ours": [DIVMATCH, "ot", p, q], "peer": [sys.executable, "-c", pot]}, runs=5
        )
    return {
        "work": f"divmatch ot, the whole command, n = m = {FEW}, d = 3",
        "ours_s": found["ours"]["cpu"],
        "ours_mb": found["ours"]["mb"],
        "peer": "python with POT emd2",
        "peer_s": found["peer"]["cpu"],
        "peer_mb": found["peer"]["mb"],
        "ratio": found["peer"]["cpu"] / found["ours"]["cpu"],
        "note": "CPU s; bar 1.5 s",
    }


def _against_other(kind: str) -> dict[str, object]:
    n, m, d = OTHERS[kind]
    found = {side: _measured(side, kind, n, d) for side in ("ours", "peer")}
    apart = abs(found["ours"]["value"] / found["peer"]["value"] - 1)
    what, peer = {
        "assignment": ("one-to-one plan", "SciPy linear_sum_assignment"),
        "orlicz": ("ot --orlicz exp2", "POT emd2, costs capped, Brent to 1e-8"),
    }[kind]
    return {
        "work": f"{what}, n = {n:,}, m = {m:,}, d = {d}",
        "ours_s": found["ours"]["seconds"],
        "ours_mb": found["ours"]["mb"],
        "peer": peer,
        "peer_s": found["peer"]["seconds"],
        "peer_mb": found["peer"]["mb"],
        "ratio": found["peer"]["seconds"] / found["ours"]["seconds"],
        "note": f"CPU s; values {apart:.1g} apart",
    }


def _against_pot(kind: str, n: int, d: int) -> dict[str, object]:
    ours = _measured("ours", kind, n, d)
    row: dict[str, object] = {
        "work": f"W2, {kind}, n = m = {n:,}, d = {d}",
        "ours_s": ours["seconds"],
        "ours_mb": ours["mb"],
        "note": f"CPU s; gap {ours['gap']:.1g}",
    }
    if n <= MOST:
        peer = _measured("peer", kind, n, d)
        apart = abs(ours["value"] / peer["value"] - 1)
        row |= {
            "peer": "POT emd2",
            "peer_s": peer["seconds"],
            "ratio": peer["seconds"] / ours["seconds"],
            "note": f"{row['note']}; values {apart:.1g} apart; POT peaks at {peer['mb']:,.0f} MB",
        }
    return row


def _against(peer: str) -> dict[str, object]:
    found = _measured(peer, "line", LINE, 1)
    return {
        "work": f"1-D W1 with interval, n = m = {LINE:,}",
        "ours_s": found["ours"],
        "peer": peer,
        "peer_s": found["peer"],
        "ratio": found["peer"] / found["ours"],
        "ours_mb": found["mb"],
        "note": f"CPU s, one thread; wall on two: {found['wall']:.3g} s against {found['peer_wall']:.3g} s",
    }


def _measured(side: str, *case: object) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_ot", side, *map(str, case)],
        capture_output=True,
        check=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def samples(kind: str, n: int, d: int) -> tuple[Any, Any, dict[str, Any]]:
    """Rows, and weights where there are some."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    if kind == "clusters":
        centres = 20 * rng.normal(size=(20, d))
        x, y = (centres[rng.integers(0, 20, n)] + 0.05 * z for z in (x, y))
        return x, y, {}
    y = y * np.linspace(0.7, 1.4, d) + 0.5
    if kind == "tied":
        return np.round(x, 1), np.round(y, 1), {}
    weights = {f"weights_{one}": rng.exponential(size=n) ** 2 for one in "xy"}
    return x, y, weights if kind == "weighted" else {}


def _timed(work: Callable[[], Any], runs: int = 1) -> tuple[float, float, Any]:
    """Least CPU and wall seconds."""
    found = []
    for _ in range(runs):
        cpu, wall = time.process_time(), time.perf_counter()
        value = work()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(one[0] for one in found), min(one[1] for one in found), value


def _plane(side: str, kind: str, n: int, d: int) -> dict[str, float]:
    x, y, weights = samples(kind, n, d)
    if side == "peer":
        import ot

        a, b = (weights.get(f"weights_{one}", np.ones(n)) for one in "xy")

        def peer() -> float:
            return float(ot.emd2(a / a.sum(), b / b.sum(), ot.dist(x, y), numItermax=10**9)) ** 0.5

        seconds, _, value = _timed(peer)
        return {"seconds": seconds, "mb": peak_mb(), "value": value}
    import divmatch
    from divmatch.budget import available_threads
    from divmatch.kernels.execution import executing

    divmatch.ot(x[:700], y[:700])  # the compiled parts are loaded
    with executing(threads=available_threads()):
        seconds, _, found = _timed(lambda: divmatch.ot(x, y, **weights), 1 + (n <= MOST))
    gap = found.params["gap"]
    return {"seconds": seconds, "mb": peak_mb(), "value": found.value, "gap": gap}


def _other(side: str, kind: str) -> dict[str, float]:
    n, m, d = OTHERS[kind]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, d)), 1.2 * rng.normal(size=(m, d)) + 0.5
    work = {
        ("ours", "assignment"): lambda: _ours_assigned(x, y),
        ("ours", "orlicz"): lambda: _ours_orlicz(x, y),
        ("peer", "assignment"): lambda: _scipy_assigned(x, y),
        ("peer", "orlicz"): lambda: _pot_orlicz(x, y),
    }[side, kind]
    seconds, _, value = _timed(work, 2 if side == "ours" else 1)  # the first compiles
    return {"seconds": seconds, "mb": peak_mb(), "value": value}


def _ours_assigned(x: Any, y: Any) -> float:
    import divmatch

    return float(divmatch.match.plan(x, y, one_to_one=True).after.value)


def _scipy_assigned(x: Any, y: Any) -> float:
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    costs = cdist(x, y, "sqeuclidean")
    return float(costs[linear_sum_assignment(costs)].mean())


def _ours_orlicz(x: Any, y: Any) -> float:
    import divmatch

    return float(divmatch.ot(x, y, orlicz="exp2").value)


def _pot_orlicz(x: Any, y: Any) -> float:
    import ot
    from scipy.optimize import brentq

    distances = ot.dist(x, y, metric="euclidean")
    even = np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y))

    def excess(k: float) -> float:
        """Costs that no plan of mean cost 1 can use are capped: POT loses all digits otherwise."""
        costs = np.minimum(np.expm1(np.minimum((distances / k) ** 2, 700)), 2.0 * len(x))
        return float(ot.emd2(*even, costs, numItermax=10**9)) - 1.0

    mean = float(distances.mean())
    return float(brentq(excess, 0.3 * mean, mean, xtol=1e-8, rtol=1e-8))


def _line(peer: str, n: int) -> dict[str, float]:
    import divmatch
    from divmatch.kernels.execution import executing

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=n), rng.normal(size=n) + 0.01
    if peer == PEERS[0]:

        def work() -> Any:
            return np.sort(x), np.sort(y)

    elif peer == PEERS[1]:
        from scipy.stats import wasserstein_distance

        def work() -> Any:
            return wasserstein_distance(x, y)

    else:
        from ot import wasserstein_1d

        def work() -> Any:
            return wasserstein_1d(x, y)

    def ours(threads: int) -> Any:
        with executing(threads=threads):
            return divmatch.ot(x, y, p=1)

    for _ in range(6):  # the compiled parts are loaded once they have paid
        ours(1)
    alone, _, _ = _timed(lambda: ours(1), 5)
    _, wall, _ = _timed(lambda: ours(2), 5)
    seconds, peer_wall, _ = _timed(work, 5)
    return {"ours": alone, "peer": seconds, "wall": wall, "peer_wall": peer_wall, "mb": peak_mb()}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        side, kind, *sizes = sys.argv[1:]
        n, d = map(int, sizes)
        if kind in OTHERS:
            print(json.dumps(_other(side, kind)))
        else:
            print(json.dumps(_line(side, n) if kind == "line" else _plane(side, kind, n, d)))
    else:
        for row in rows():
            print(row)
