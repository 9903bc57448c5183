"""`score` of many sample sets against as many single commands: python tests/bench/bench_score.py [ROWS SETS]."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.bench.measure import DIVMATCH, run

ROWS, SETS, COLUMNS = 10_000, 20, 64
METRICS = ("energy", "mmd", "prdc")
TARGET = 5.0


def sums(found: list[dict[str, float]]) -> dict[str, float]:
    """Seconds of all runs, one after another."""
    return {key: sum(one[key] for one in found) for key in ("wall", "cpu")}


def main(rows: int = ROWS, sets: int = SETS) -> list[str]:
    """One line for RESULTS.md."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        reference, *others = (str(Path(folder) / f"{k}.npy") for k in range(sets + 1))
        np.save(reference, rng.normal(size=(rows, COLUMNS)))
        for k, path in enumerate(others):
            np.save(path, rng.normal(size=(rows, COLUMNS)) + 0.01 * k)
        for metric in METRICS:  # what is compiled once
            run([DIVMATCH, metric, reference, others[0], "-q"])
        together = run(
            [DIVMATCH, "score", reference, *others, "--metrics", ",".join(METRICS), "-q"]
        )
        apart = sums(
            [run([DIVMATCH, m, reference, path, "-q"]) for path in others for m in METRICS]
        )
    ratios = {key: apart[key] / together[key] for key in apart}
    return [
        f"score of {sets} sets of {rows} x {COLUMNS}, {', '.join(METRICS)}: {together['cpu']:.1f} s CPU, "
        f"{together['wall']:.1f} s wall; {sets * len(METRICS)} commands: {apart['cpu']:.1f} s CPU, "
        f"{apart['wall']:.1f} s wall; {ratios['cpu']:.1f} and {ratios['wall']:.1f} times as long "
        f"(wanted: {TARGET:g})"
    ]


if __name__ == "__main__":
    print("\n".join(main(*map(int, sys.argv[1:]))))
