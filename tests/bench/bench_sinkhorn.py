"""Entropic transport against POT, OTT-JAX and GeomLoss: CPU time to a marginal error, and memory.

OTT-JAX and GeomLoss may live in an environment of their own: its Python is DIVMATCH_PEERS.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import product

SIZES = (2_000, 5_000)
EPS = (0.05, 0.01, 0.001)
TOLERANCES = (1e-6, 1e-9)
LIMIT = 300.0  # CPU seconds that a peer may take
PATIENCE = 6  # times as long by the clock, on a machine with other work
PEERS = ("POT sinkhorn", "OTT-JAX", "GeomLoss")
LOGARITHMIC = "POT sinkhorn_log"
SHAPES = ("clusters", "duplicates", "unequal", "weighted", "2 columns", "64 columns")


def rows() -> Iterator[dict[str, object]]:
    """One row a case; each side runs in a process of its own, so that its peak memory is its own."""
    for n, eps, tol in product(SIZES, EPS, TOLERANCES):
        peers: tuple[str, ...] = PEERS[:1] if eps > 0.001 else ()
        if tol == 1e-6:
            peers = {0.05: PEERS, 0.01: (*PEERS, LOGARITHMIC)}.get(eps, ())
        yield _row(("gaussian", n, eps, tol), peers)
    for shape in SHAPES:
        more = (LOGARITHMIC,) if shape == "clusters" else ()
        yield _row((shape, 3_000, 0.05, 1e-6), (*PEERS[:1], *more))
    for n in (2_000, 10_000):
        yield _row(("divergence", n, 0.05, 1e-6), PEERS)
    yield _row(("gaussian", 50_000, 0.05, 1e-6), ())


def _row(case: tuple[str, int, float, float], peers: tuple[str, ...]) -> dict[str, object]:
    shape, n, eps, tol = case
    ours = _measured("ours", case)
    found = {peer: _measured(peer, case) for peer in peers}
    good = {peer: one for peer, one in found.items() if one["error"] <= 2 * tol}
    best = min(good, key=lambda peer: good[peer]["seconds"], default=None)
    told = [_told(peer, one) for peer, one in found.items()]
    return {
        "work": f"{'S_eps' if shape == 'divergence' else 'OT_eps'}, {shape}, n = {n:,}, eps {eps:g}, "
        f"marginal error {tol:g}",
        "ours_s": ours["seconds"],
        "ours_mb": ours["mb"],
        "peer": best or ("no peer converges" if peers else None),
        "peer_s": good[best]["seconds"] if best else None,
        "peer_mb": good[best]["mb"] if best else None,
        "ratio": good[best]["seconds"] / ours["seconds"] if best else None,
        "note": f"CPU s; our error {ours['error']:.1e}" + "".join(f"; {text}" for text in told),
    }


def _told(peer: str, one: dict[str, float]) -> str:
    if one["seconds"] == float("inf"):
        return f"{peer} no number within {LIMIT:g} s"
    return f"{peer} {one['error']:.1e} in {one['seconds']:.2f} s"


def _measured(side: str, case: tuple[str, int, float, float]) -> dict[str, float]:
    python = sys.executable
    if side in PEERS[1:]:
        python = os.environ.get("DIVMATCH_PEERS", python)
    own = side == "ours" or side.startswith("POT")  # threads that wait for each other cost CPU time
    threads = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} if own else {}
    try:
        done = subprocess.run(
            [python, __file__, side, *map(str, case)],
            capture_output=True,
            check=True,
            env=os.environ | threads,
            timeout=PATIENCE * LIMIT,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return {"seconds": float("inf"), "error": float("inf"), "mb": float("nan")}
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _one(side: str, shape: str, n: int, eps: float, tol: float) -> None:
    x, y, a = _problem(shape, n)
    logarithmic = partial(_pot, method="sinkhorn_log")
    made = {"ours": _ours, "OTT-JAX": _ott, "GeomLoss": _geomloss, LOGARITHMIC: logarithmic}.get(
        side, _pot
    )
    run = made(x, y, a, shape == "divergence", eps, tol)
    seconds, error = [], float("inf")
    for _ in range(1 if n > 10_000 else 3 if side == "ours" else 2):  # the first compiles
        start = time.process_time()
        error = run()
        seconds.append(time.process_time() - start)
        if seconds[-1] > 10.0 and side != "OTT-JAX":
            break
    print(json.dumps({"seconds": min(seconds), "error": error, "mb": _peak_mb()}))


def _problem(shape, n):  # type: ignore[no-untyped-def]
    import numpy as np

    rng = np.random.default_rng(0)
    d = {"2 columns": 2, "64 columns": 64}.get(shape, 10)
    x = rng.standard_normal((n, d))
    y = rng.standard_normal((n // 3 if shape == "unequal" else n, d))
    y = y * np.linspace(0.7, 1.4, d) + 0.5
    if shape == "clusters":
        centres = rng.standard_normal((5, d)) * 20
        x, y = (0.1 * rows + centres[rng.integers(5, size=n)] for rows in (x, y))
    if shape == "duplicates":
        x, y = x[rng.integers(n // 20, size=n)], y[rng.integers(n // 20, size=n)]
    a = rng.random(n) + 0.1 if shape == "weighted" else np.ones(n)
    return x, y, a / a.sum()


def _ours(x, y, a, debiased, eps, tol):  # type: ignore[no-untyped-def]
    from divmatch.budget import available_threads
    from divmatch.kernels.execution import executing
    from divmatch.samples import as_samples
    from divmatch.transport import costs
    from divmatch.transport.entropic import Effort
    from divmatch.transport.problem import Regularised, Support, between, within

    p, q = Support.of(as_samples(x, "x", a)), Support.of(as_samples(y, "y"))

    def run() -> float:
        mean = costs.mean("sqeuclidean", x, y, p.weights, q.weights)
        of = Regularised("sqeuclidean", eps * mean, float("inf"), Effort(tol, 2000))
        with executing(threads=available_threads()):
            terms = [between(p, q, of, mean)]
            terms += [within(p, of), within(q, of)] if debiased else []
        return max(term.error for term in terms)

    return run


def _pot(x, y, a, debiased, eps, tol, method="sinkhorn"):  # type: ignore[no-untyped-def]
    import warnings

    import numpy as np
    import ot

    warnings.simplefilter("ignore")
    b = np.full(len(y), 1 / len(y))

    def solved(x, y, a, b, reg) -> float:  # type: ignore[no-untyped-def]
        """Ten times the sweeps again and again, until it has converged or the time is up."""
        cost, start = ot.dist(x, y), time.process_time()
        threshold = 1.25 * tol / len(y) ** 0.5  # its error is the norm in L2
        most, warm, error = 100, None, float("inf")
        while time.process_time() - start < LIMIT and error > tol:
            before = time.process_time()
            plan, log = ot.sinkhorn(
                a,
                b,
                cost,
                reg,
                method,
                numItermax=most,
                stopThr=threshold,
                log=True,
                warmstart=warm,
            )
            error = float(max(np.abs(plan.sum(1) - a).sum(), np.abs(plan.sum(0) - b).sum()))
            if not np.isfinite(error):
                return float("inf")
            warm = (
                (np.log(log["u"]), np.log(log["v"]))
                if method == "sinkhorn"
                else (log["log_u"], log["log_v"])
            )
            most = max(100, int(most * min(10.0, 10 / (time.process_time() - before))))
        return error

    def run() -> float:
        reg = eps * ot.dist(x, y).mean()
        terms = [(x, y, a, b), (x, x, a, a), (y, y, b, b)][: 3 if debiased else 1]
        return max(solved(*term, reg) for term in terms)

    return run


def _ott(x, y, a, debiased, eps, tol):  # type: ignore[no-untyped-def]
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    from ott.geometry import pointcloud
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn

    size = 1024 if len(x) > 5_000 else None
    solver = sinkhorn.Sinkhorn(threshold=tol, max_iterations=20_000)
    reg = eps * float(_mean_cost(x, y, a))

    @jax.jit
    def solved(x, y, a):  # type: ignore[no-untyped-def]
        cloud = pointcloud.PointCloud(x, y, epsilon=reg, batch_size=size)
        out = solver(linear_problem.LinearProblem(cloud, a=a))
        return out.f, out.errors

    weights = jnp.asarray(a), jnp.full(len(y), 1 / len(y))

    def run() -> float:
        pairs = [(x, y, weights[0]), (x, x, weights[0]), (y, y, weights[1])]
        errors = []
        for one, other, own in pairs[: 3 if debiased else 1]:
            found = solved(jnp.asarray(one), jnp.asarray(other), own)[1]
            errors.append(float(found[found >= 0][-1]))
        return max(errors)

    return run


def _geomloss(x, y, a, debiased, eps, tol):  # type: ignore[no-untyped-def]
    import geomloss
    import numpy as np
    import torch

    blur = (eps * _mean_cost(x, y, a) / 2) ** 0.5  # its cost is half of ours
    loss = geomloss.SamplesLoss(
        "sinkhorn",
        p=2,
        blur=blur,
        scaling=0.9,
        debias=debiased,
        potentials=True,
        backend="tensorized",
    )
    tensors = [torch.from_numpy(array) for array in (a, x, np.full(len(y), 1 / len(y)), y)]

    def run() -> float:
        f, g = (part.reshape(-1).numpy() for part in loss(*tensors))
        if debiased:
            return 0.0  # its potentials are those of the difference and tell no error
        half = 0.5 * ((x[:, None, :] - y[None]) ** 2).sum(-1) if len(x) <= 3_000 else None
        if half is None:
            return float("nan")
        plan = a[:, None] * np.exp((f[:, None] + g - half) / blur**2) / len(y)
        return float(np.abs(plan.sum(0) - 1 / len(y)).sum())

    return run


def _mean_cost(x, y, a):  # type: ignore[no-untyped-def]
    gap = a @ x - y.mean(0)
    return a @ ((x - a @ x) ** 2).sum(1) + ((y - y.mean(0)) ** 2).sum(1).mean() + gap @ gap


def _peak_mb() -> float:
    with open("/proc/self/status") as lines:
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _one(*sys.argv[1:3], int(sys.argv[3]), *map(float, sys.argv[4:]))  # type: ignore[call-arg]
    else:
        for row in rows():
            print(row, flush=True)
