"""Entropic transport against POT: time to a marginal error, memory, and what converges at all."""

import json
import os
import subprocess
import sys
import time
from itertools import product

from tests.bench.measure import peak_mb

SIZES = (2_000, 5_000)
EPS = (0.05, 0.01, 0.001)
TOLERANCES = (1e-6, 1e-9)
LIMIT = 60.0  # seconds that a peer may take
PEERS = ("POT sinkhorn", "POT sinkhorn_log", "POT sinkhorn_stabilized")


def rows() -> list[dict[str, object]]:
    """One row a case; each side runs in a process of its own, so that its peak memory is its own."""
    made = []
    for n, eps, tol in product(SIZES, EPS, TOLERANCES):
        ours = _measured("ours", n, eps, tol)
        peers = {peer: _measured(peer, n, eps, tol) for peer in PEERS}
        good = {name: found for name, found in peers.items() if found["error"] <= 2 * tol}
        best = min(good, key=lambda name: good[name]["seconds"], default=None)
        made.append(
            {
                "work": f"OT_eps, n = m = {n:,}, d = 10, eps {eps:g}, marginal error {tol:g}",
                "ours_s": ours["seconds"],
                "peer": best or "no peer converges",
                "peer_s": good[best]["seconds"] if best else LIMIT,
                "ratio": (good[best]["seconds"] if best else LIMIT) / ours["seconds"],
                "ours_mb": ours["mb"],
                "note": f"our marginal error {ours['error']:.1e}; others: "
                + ", ".join(
                    f"{name} {found['error']:.1e} in {found['seconds']:.1f} s"
                    for name, found in peers.items()
                ),
            }
        )
    return made


def _measured(side: str, n: int, eps: float, tol: float) -> dict[str, float]:
    threads = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} if side == "ours" else {}
    command = [sys.executable, "-m", "tests.bench.bench_sinkhorn", side, str(n), str(eps), str(tol)]
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, env=os.environ | threads, timeout=3 * LIMIT
        )
    except subprocess.TimeoutExpired:
        return {"seconds": 3 * LIMIT, "error": float("inf"), "mb": float("nan")}
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _one(side: str, n: int, eps: float, tol: float) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 10))
    y = rng.standard_normal((n, 10)) * np.linspace(0.7, 1.4, 10) + 0.5
    run = _ours(x, y, eps, tol) if side == "ours" else _peer(side, x, y, eps, tol)
    if side == "ours":
        run()  # compiles
    start, cpu = time.perf_counter(), time.process_time()
    error = run()
    found = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    print(json.dumps({**found, "error": error, "mb": peak_mb()}))


def _ours(x, y, eps, tol):  # type: ignore[no-untyped-def]
    from divmatch.budget import available_threads
    from divmatch.kernels.execution import executing
    from divmatch.samples import as_samples
    from divmatch.transport import costs
    from divmatch.transport.entropic import Effort
    from divmatch.transport.problem import Regularised, Support, between

    p, q = (Support.of(as_samples(rows, "x")) for rows in (x, y))

    def run() -> float:
        mean = costs.mean("sqeuclidean", x, y, p.weights, q.weights)
        of = Regularised("sqeuclidean", eps * mean, float("inf"), Effort(tol, 2000))
        with executing(threads=available_threads()):
            return between(p, q, of, mean).error

    return run


def _peer(side, x, y, eps, tol):  # type: ignore[no-untyped-def]
    import warnings

    import numpy as np
    import ot

    warnings.simplefilter("ignore")
    method = side.removeprefix("POT ")

    def run() -> float:
        """Ten times the sweeps again and again, until it has converged or the time is up."""
        cost = ot.dist(x, y)
        a, reg, start = np.full(len(x), 1 / len(x)), eps * cost.mean(), time.perf_counter()
        most, warm, error = 100, None, float("inf")
        while time.perf_counter() - start < LIMIT and error > tol:
            before = time.perf_counter()
            plan, log = ot.sinkhorn(
                a,
                a,
                cost,
                reg,
                method=method,
                numItermax=most,
                stopThr=tol,
                log=True,
                warmstart=warm,
            )
            error = float(max(np.abs(plan.sum(1) - a).sum(), np.abs(plan.sum(0) - a).sum()))
            if not np.isfinite(error):
                return float("inf")
            warm = _potentials(log)
            most = max(100, int(most * min(10.0, 10 / (time.perf_counter() - before))))
        return error

    return run


def _potentials(log):  # type: ignore[no-untyped-def]
    import numpy as np

    if "u" in log:
        return np.log(log["u"]), np.log(log["v"])
    return (log["log_u"], log["log_v"]) if "log_u" in log else None


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _one(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
    else:
        for row in rows():
            print(row, flush=True)
