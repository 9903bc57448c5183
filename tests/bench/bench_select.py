"""Rows chosen of 100,000 against random ones, and top-k of 10,000 x 32,000 against partial sorting."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.measure import DIVMATCH, peak_mb, run

ROWS, CLASSES, KEPT = 10_000, 32_000, 50
BLOCK = 32  # rows at a time, as the command takes them
GENERATORS = ("kl", "alpha:1.5")


def rows() -> list[dict[str, object]]:
    """One row a case; compiled kernels are warm, and the files are in the page cache."""
    with tempfile.TemporaryDirectory() as folder:
        # in a process of its own: children count their parent's memory as theirs
        subprocess.run([sys.executable, "-m", "tests.bench.bench_select", folder], check=True)
        return [selected(folder), *(projected(folder, name) for name in GENERATORS)]


def write(folder: Path) -> None:
    """Normal rows, and probabilities of a few hundred likely classes."""
    import numpy as np

    rng = np.random.default_rng(0)
    np.save(folder / "p.npy", rng.normal(size=(100_000, 10)))
    e = np.exp(rng.normal(0.0, 3.0, size=(250, CLASSES))).astype(np.float32)
    e /= e.sum(axis=1, keepdims=True)
    np.save(folder / "rows.npy", np.tile(e, (ROWS // 250, 1)))


def selected(folder: str) -> dict[str, object]:
    """1,000 of 100,000 rows; the factor says how much nearer than random ones."""
    command = [DIVMATCH, "match", "select", f"{folder}/p.npy", "--n", "1000"]
    run(command)
    found = run([*command, "-o", f"{folder}/report.json"])
    record = json.loads(Path(folder, "report.json").read_text())
    factor = record["settings"]["fit"]["factor"]
    return {
        "work": "match select --n 1000, 100,000 x 10",
        "ours_s": found["wall"],
        "ours_mb": found["mb"],
        "peer": "MMD of random rows over ours",
        "ratio": factor,
        "note": f"bars 60 s, 1 GB, ratio >= 5; CPU seconds {found['cpu']:.3g}",
    }


def projected(folder: str, generator: str) -> dict[str, object]:
    """The rows themselves, no files; a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_select", folder, generator],
        capture_output=True,
        check=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "work": f"match project --top-k {KEPT} --generator {generator}, 10,000 x 32,000 float32",
        "ours_s": found["ours"],
        "ours_mb": found["mb"],
        "peer": "numpy.partition, the same blocks",
        "peer_s": found["peer"],
        "ratio": found["peer"] / found["ours"],
        "note": "bar ratio >= 0.33; CPU seconds of one thread, least of interleaved runs",
    }


def _one(folder: str, generator: str) -> None:
    import numpy as np

    from divmatch.kernels.rows import Rows
    from divmatch.matrices import open_matrix
    from divmatch.projection import Projection, applied
    from divmatch.transport.bregman import generator_named

    matrix = open_matrix(f"{folder}/rows.npy")
    wanted = Projection(
        top_k=KEPT,
        generator=generator_named(generator),
        rows=Rows("probabilities", 1.0, 1e-4),
    )

    def ours() -> None:
        for load in matrix.blocks(BLOCK):
            applied(load(), wanted, "rows", 0, lambda row, rows: "")

    def peer() -> None:
        for load in matrix.blocks(BLOCK):
            np.partition(load(), CLASSES - KEPT, axis=1)

    def timed(work: object) -> float:
        start = time.process_time()
        work()  # type: ignore[operator]
        return time.process_time() - start

    runs = [(timed(ours), timed(peer)) for _ in range(3)]
    best = [min(run[k] for run in runs) for k in range(2)]
    print(json.dumps({"ours": best[0], "peer": best[1], "mb": peak_mb()}))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write(Path(sys.argv[1]))
    elif len(sys.argv) > 1:
        _one(*sys.argv[1:])
    else:
        for row in rows():
            print(row)
