"""Energy distance and W1 of one column against sorting both samples: python tests/bench/bench_line.py."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.measure import DIVMATCH, clean, interleaved

ROWS = 1_000_000

FUNCTION = """
import json, statistics, sys, time
import numpy as np
import divmatch
from divmatch.kernels.execution import executing

x, y = (np.load(path) for path in sys.argv[3:])
settings = {"p": 1} if sys.argv[1] == "ot" else {}

def sort():
    return np.sort(x), np.sort(y)

def ours():
    with executing(threads=int(sys.argv[2])):
        return getattr(divmatch, sys.argv[1])(x, y, **settings)

start = time.process_time()
ours()
first = time.process_time() - start
for _ in range(5):  # the compiled twin is loaded once it has paid
    ours()
peers = {"ours": ours, "peer": sort}
if sys.argv[1] == "ot":
    from ot import wasserstein_1d
    from scipy.stats import wasserstein_distance

    peers |= {
        "POT": lambda: wasserstein_1d(x, y, p=1),
        "SciPy": lambda: wasserstein_distance(x, y),
    }
found = {name: [] for name in peers}
for turn in range(15):
    for name, work in peers.items():
        if turn >= 5 and name not in ("ours", "peer"):
            continue
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found[name].append((time.perf_counter() - wall, time.process_time() - cpu))
medians = {name: list(map(statistics.median, zip(*runs))) for name, runs in found.items()}
print(json.dumps({"first": first, **medians}))
"""
SORTING = "import sys, numpy as np; [np.sort(np.load(path)) for path in sys.argv[1:]]"


def rows(count: int = ROWS) -> list[dict[str, Any]]:
    """Value with interval by the function, on one thread and two, and by the command."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"{name}.npy") for name in "pq"]
        for path, shift in zip(files, (0.0, 0.01), strict=True):
            np.save(path, rng.normal(size=count) + shift)
        table = [
            function(name, bar, threads, count, files)
            for name, bar in (("energy", 1.5), ("ot", 1.3))
            for threads in (1, 2)
        ]
        commands = {
            "ours": [DIVMATCH, "energy", *files, "-q"],
            "peer": [sys.executable, "-c", SORTING, *files],
        }
        found = interleaved(commands)
    ours, peer = found["ours"], found["peer"]
    note = f"CPU seconds {ours['cpu']:.2f} (peer {peer['cpu']:.2f})"
    made = {"work": f"command energy, {count} + {count} numbers", "peer": "Python, np.sort of both"}
    made |= {"ours_s": ours["wall"], "ours_mb": ours["mb"]}
    made |= {"peer_s": peer["wall"], "peer_mb": peer["mb"]}
    return [*table, made | {"ratio": peer["wall"] / ours["wall"], "note": note}]


def function(name: str, bar: float, threads: int, count: int, files: list[str]) -> dict[str, Any]:
    """Medians of interleaved calls in one process; W1 has peers beside the sorting."""
    done = subprocess.run(
        [sys.executable, "-c", FUNCTION, name, str(threads), *files],
        stdout=subprocess.PIPE,
        check=True,
        env=clean()
        | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},  # as the command has it
    )
    found = json.loads(done.stdout)
    (wall, cpu), (peer, peer_cpu) = found["ours"], found["peer"]
    note = (
        f"bar ratio >= {1 / bar:.2f}; CPU {cpu:.4f} s (peer {peer_cpu:.4f}), "
        f"ratio {peer_cpu / cpu:.2f}; first call {found['first']:.2f}"
    )
    for other in ("POT", "SciPy"):
        if other in found:
            note += f"; {other} {found[other][0] / wall:.1f} times as long"
    shown = "ot, p = 1" if name == "ot" else name
    work = f"divmatch.{shown}, {count} + {count} numbers, threads {threads}"
    return {
        "work": work, "ours_s": wall, "peer": "np.sort of both", "peer_s": peer,
        "ratio": peer / wall, "note": note,
    }  # fmt: skip


if __name__ == "__main__":
    for row in rows():
        print(row)
