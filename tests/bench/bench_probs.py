"""Row-wise divergences of 100,000 x 1,000 float32 against reading and summing both files once."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.measure import peak_mb

ROWS, CLASSES = 100_000, 1_000
CASES = (("probabilities", "kl"), ("probabilities", "kl,js,tv"), ("logits", "kl"))


def rows() -> list[dict[str, object]]:
    """One row a case; compiled kernels are warm, and the files are in the page cache."""
    with tempfile.TemporaryDirectory() as folder:
        # in a process of its own: children count their parent's memory as theirs
        subprocess.run([sys.executable, "-m", "tests.bench.bench_probs", folder], check=True)
        made = []
        for source, kinds in CASES:
            found = measured(folder, source, kinds)
            made.append(
                {
                    "work": f"probs --kind {kinds}, {ROWS:,} x {CLASSES:,} float32 {source}",
                    "ours_s": found["ours"],
                    "peer": "NumPy: sum of both mapped files",
                    "peer_s": found["peer"],
                    "ratio": found["peer"] / found["ours"],
                    "ours_mb": found["mb"],
                    "note": f"bar ratio >= 0.5; np.load and sum take {found['load']:.3g} s",
                }
            )
        return made


def write(folder: Path) -> None:
    """Probabilities and logits of two sides."""
    import numpy as np

    base = np.random.default_rng(0).normal(0.0, 2.0, size=(1000, CLASSES)).astype(np.float32)
    for name, shift in (("p", 0.0), ("q", 0.5)):
        z = base + np.float32(shift) * base[:, ::-1]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        for kind, block in (("logits", z), ("probabilities", e / e.sum(axis=1, keepdims=True))):
            np.save(folder / f"{kind}-{name}.npy", np.tile(block, (ROWS // 1000, 1)))


def measured(folder: str, source: str, kinds: str) -> dict[str, float]:
    """A process of its own: least of interleaved runs, and its peak memory before the peer's."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_probs", folder, source, kinds],
        capture_output=True,
        check=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _one(folder: str, source: str, kinds: str) -> None:
    import numpy as np

    from divmatch.budget import available_threads
    from divmatch.estimators.row_means import Job, row_means
    from divmatch.estimators.rows import row_kind
    from divmatch.kernels.execution import executing
    from divmatch.kernels.rows import Rows
    from divmatch.matrices import open_matrix

    paths = [f"{folder}/{source}-{name}.npy" for name in "pq"]
    own = [row_kind(kind) for kind in kinds.split(",")]
    job = Job(own, np.ones(len(own)), Rows(source, 1.0, 1e-4))  # type: ignore[arg-type]

    def ours() -> None:
        with executing(threads=available_threads(), device="cpu"):
            row_means(open_matrix(paths[0]), open_matrix(paths[1]), job)

    def peer() -> None:
        sum(float(np.load(path, mmap_mode="r").sum()) for path in paths)

    def load() -> None:
        sum(float(np.load(path).sum()) for path in paths)

    def timed(work: object) -> float:
        start = time.perf_counter()
        work()  # type: ignore[operator]
        return time.perf_counter() - start

    ours()
    peak = peak_mb()
    runs = [(timed(ours), timed(peer), timed(load)) for _ in range(3)]
    best = [min(run[k] for run in runs) for k in range(3)]
    print(json.dumps({"ours": best[0], "peer": best[1], "load": best[2], "mb": peak}))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write(Path(sys.argv[1]))
    elif len(sys.argv) > 1:
        _one(*sys.argv[1:])
    else:
        for row in rows():
            print(row)
