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
    """Seconds of one `score`, and of commands on some of the sets, before and after it."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        reference, *others = (str(Path(folder) / f"{k}.npy") for k in range(sets + 1))
        np.save(reference, rng.normal(size=(count, COLUMNS)))
        for k, path in enumerate(others):
            np.save(path, rng.normal(size=(count, COLUMNS)) + 0.01 * k)
        for metric in METRICS:  # what is compiled once
            run([DIVMATCH, metric, reference, others[0], "-q"])
        some = others[:: max(1, sets // APART)][:APART]

        def commands(paths: list[str]) -> list[dict[str, float]]:
            return [run([DIVMATCH, m, reference, path, "-q"]) for path in paths for m in METRICS]

        before = commands(some[: len(some) // 2])
        score = [DIVMATCH, "score", reference, *others, "--metrics", ",".join(METRICS), "-q"]
        together = run(score)
        single = before + commands(some[len(some) // 2 :])
    apart = {kind: sets / len(some) * sum(one[kind] for one in single) for kind in ("wall", "cpu")}
    note = (
        f"{len(some)} sets by commands, times {sets / len(some):.3g}; target {TARGET:g}; "
        f"CPU seconds {together['cpu']:.1f} (peer {apart['cpu']:.1f})"
    )
    return [
        {
            "work": f"score of {sets} sets of {count} x {COLUMNS}: {', '.join(METRICS)}",
            "ours_s": together["wall"],
            "ours_mb": together["mb"],
            "peer": f"{sets * len(METRICS)} divmatch commands",
            "peer_s": apart["wall"],
            "ratio": apart["wall"] / together["wall"],
            "note": note,
        }
    ]


if __name__ == "__main__":
    for row in rows(*map(int, sys.argv[1:])):
        print(row)
