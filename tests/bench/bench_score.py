"""`score` of many sample sets against as many single commands: python tests/bench/bench_score.py [ROWS SETS]."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.measure import DIVMATCH, run

ROWS, SETS, COLUMNS = 10_000, 20, 64
METRICS = ("energy", "mmd", "prdc")
APART = 4  # sets that the commands are measured on
TARGET = 5.0


def rows(count: int = ROWS, sets: int = SETS) -> list[dict[str, Any]]:
    """CPU seconds of one `score`, and of commands on some of the sets as if on all of them."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        reference, *others = (str(Path(folder) / f"{k}.npy") for k in range(sets + 1))
        np.save(reference, rng.normal(size=(count, COLUMNS)))
        for k, path in enumerate(others):
            np.save(path, rng.normal(size=(count, COLUMNS)) + 0.01 * k)
        for metric in METRICS:  # what is compiled once
            run([DIVMATCH, metric, reference, others[0], "-q"])
        score = [DIVMATCH, "score", reference, *others, "--metrics", ",".join(METRICS), "-q"]
        together, apart = run(score), 0.0
        some = others[:: max(1, sets // APART)][:APART]
        for path in some:
            apart += sum(
                run([DIVMATCH, metric, reference, path, "-q"])["cpu"] for metric in METRICS
            )
        apart *= sets / len(some)
    note = f"CPU seconds; {len(some)} sets by commands, times {sets / len(some):.3g}; target {TARGET:g}"
    return [
        {
            "work": f"score of {sets} sets of {count} x {COLUMNS}: {', '.join(METRICS)}",
            "ours_s": together["cpu"],
            "ours_mb": together["mb"],
            "peer": f"{sets * len(METRICS)} divmatch commands",
            "peer_s": apart,
            "ratio": apart / together["cpu"],
            "note": note,
        }
    ]


if __name__ == "__main__":
    for row in rows(*map(int, sys.argv[1:])):
        print(row)
