"""Precision, recall, density, coverage against the authors' prdc: python tests/bench/bench_prdc.py."""

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from tests.bench.measure import clean

RUNS = 3
SIZES = (10_000, 50_000)
PEER_UP_TO = 10_000  # its matrices of 50,000 rows: 40 GB and more

OURS = """
from divmatch.estimator import quantity
from divmatch.kernels.execution import executing, one_blas_thread
from divmatch.samples import as_samples

def figures(x, y):
    estimator = quantity("prdc").chosen(None)
    p, q = as_samples(x, "p"), as_samples(y, "q")
    with one_blas_thread(), executing(threads=2, device="cpu"):
        kinds = ("precision", "recall", "density", "coverage")
        return {kind: float(estimator(p, q, kind=kind, k=5).value) for kind in kinds}
"""

INTERVALS = """
from divmatch.estimator import quantity
from divmatch.inference import infer_all
from divmatch.kernels.execution import executing
from divmatch.samples import as_samples

def figures(x, y):
    estimator = quantity("prdc").chosen(None)
    kinds = ("precision", "recall", "density", "coverage")
    several = [estimator.checked({"kind": kind}) for kind in kinds]
    with executing(threads=2, device="cpu"):
        found = infer_all(estimator, as_samples(x, "p"), as_samples(y, "q"), several)
    return {kind: float(r.value) for kind, r in zip(kinds, found)}
"""

PEER = """
from prdc import compute_prdc

def figures(x, y):
    return {key: float(value) for key, value in compute_prdc(x, y, 5).items()}
"""

MEASURED = """
import json, sys, time
import numpy as np
sys.path.insert(0, ".")
from tests.bench.measure import peak_mb

n = int(sys.argv[1])
rng = np.random.default_rng(0)
x, y = rng.normal(size=(n, 64)), rng.normal(size=(n, 64)) + 0.1
few = x[:3000].copy(), y[:3000].copy()
figures(*few)  # imports, compiled kernels: not measured on either side
before = peak_mb()
wall, cpu = time.perf_counter(), time.process_time()
found = figures(x, y)
print(json.dumps({
    "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu,
    "mb": peak_mb(), "more": peak_mb() - before, "figures": found,
}))
"""


def measured(program: str, n: int) -> dict[str, Any]:
    """One run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program + MEASURED, str(n)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=clean(),
    )
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


def rows() -> list[dict[str, Any]]:
    """The figures alone, then with intervals; the peer has none."""
    table = []
    for n in SIZES:
        peer = n <= PEER_UP_TO and find_spec("prdc") is not None
        programs = {"ours": OURS, "intervals": INTERVALS} | ({"peer": PEER} if peer else {})
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in programs}
        for _ in range(RUNS if n <= PEER_UP_TO else 1):
            for name, program in programs.items():
                found[name].append(measured(program, n))
        best = {
            name: sorted(runs, key=lambda r: r["wall"])[len(runs) // 2]
            for name, runs in found.items()
        }
        for name, work in (("ours", "figures"), ("intervals", "figures, intervals")):
            table.append(_row(f"prdc {work} of {n} x 64", best[name], best.get("peer")))
    return table


def _row(work: str, ours: dict[str, Any], peer: dict[str, Any] | None) -> dict[str, Any]:
    note = f"CPU seconds {ours['cpu']:.2f}; {ours['more']:.0f} MB above a small run"
    made = {"work": work, "ours_s": ours["wall"], "ours_mb": ours["mb"], "peer": "prdc"}
    if peer is None:
        return made | {"note": f"{note}; the peer's matrices do not fit"}
    pairs = [(ours["figures"][key], value) for key, value in peer["figures"].items()]
    same = all(abs(a - b) < 1e-9 for a, b in pairs)
    note += f" (peer {peer['cpu']:.2f}, {peer['more']:.0f}); {'same' if same else 'OTHER'} values"
    return made | {
        "peer_s": peer["wall"],
        "peer_mb": peer["mb"],
        "ratio": peer["wall"] / ours["wall"],
        "note": note,
    }


if __name__ == "__main__":
    for row in rows():
        print(row)
