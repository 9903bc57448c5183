"""Energy distance of one column against sorting both samples: python tests/bench/bench_line.py."""

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

x, y = (np.load(path) for path in sys.argv[2:])

def sort():
    return np.sort(x), np.sort(y)

def energy():
    with executing(threads=int(sys.argv[1])):
        return divmatch.energy(x, y)

start = time.process_time()
energy()
first = time.process_time() - start
for _ in range(5):  # the compiled twin is loaded once it has paid
    energy()
found = {"ours": [], "peer": []}
for _ in range(15):
    for name, work in (("ours", energy), ("peer", sort)):
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
        table = [function(threads, count, files) for threads in (1, 2)]
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


def function(threads: int, count: int, files: list[str]) -> dict[str, Any]:
    """Medians of interleaved calls in one process."""
    done = subprocess.run(
        [sys.executable, "-c", FUNCTION, str(threads), *files],
        stdout=subprocess.PIPE,
        check=True,
        env=clean(),
    )
    found = json.loads(done.stdout)
    (wall, cpu), (peer, peer_cpu) = found["ours"], found["peer"]
    note = (
        f"bar ratio >= 0.67; CPU {cpu:.4f} s (peer {peer_cpu:.4f}), ratio {peer_cpu / cpu:.2f}; "
        f"first call {found['first']:.2f}"
    )
    work = f"divmatch.energy, {count} + {count} numbers, threads {threads}"
    return {
        "work": work, "ours_s": wall, "peer": "np.sort of both", "peer_s": peer,
        "ratio": peer / wall, "note": note,
    }  # fmt: skip


if __name__ == "__main__":
    for row in rows():
        print(row)
