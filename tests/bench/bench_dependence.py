"""Distance correlation of two columns, against dcor's fast methods; the Stein discrepancy alone."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.bench.measure import DIVMATCH, interleaved

DCOR = """
import numpy, sys, dcor
z = numpy.load(sys.argv[1])
x, y = (numpy.ascontiguousarray(z[:, c]) for c in (0, 1))
print(dcor.u_distance_correlation_sqr(x, y, method=sys.argv[2]))
"""
METHODS = ("avl", "mergesort")


def rows() -> list[dict]:
    """Two scalar columns of 1,000,000 rows; KSD of 10,000 rows and 10 columns."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        z = rng.normal(size=(1_000_000, 2))
        z[:, 1] += 0.6 * z[:, 0]
        wide, other = (str(Path(folder, name)) for name in ("z.npy", "x.npy"))
        np.save(wide, z)
        np.save(other, rng.normal(size=(10_000, 10)))
        found = interleaved(
            {
                "ours": [DIVMATCH, "dcor", wide, "-q", "-f", "value"],
                **{m: [sys.executable, "-W", "ignore", "-c", DCOR, wide, m] for m in METHODS},
                "ksd": [DIVMATCH, "ksd", other, "--target", "gaussian:0,1", "-B", "199", "-q"],
            }
        )
    work = "dcor of two columns with interval and p-value, n = 1,000,000"
    made = [
        _row(work, found["ours"], f"dcor {m}, value alone", found[m], "whole processes; bar > 1")
        for m in METHODS
    ]
    return [*made, _row("ksd, 199 wild bootstrap draws, n = 10,000, d = 10", found["ksd"])]


def _row(
    work: str,
    ours: dict[str, float],
    peer: str = "",
    theirs: dict[str, float] | None = None,
    note: str = "whole processes",
) -> dict:
    return {
        "work": work,
        "ours_s": ours["wall"],
        "ours_mb": ours["mb"],
        "peer": peer,
        "peer_s": theirs and theirs["wall"],
        "peer_mb": theirs and theirs["mb"],
        "ratio": theirs and theirs["wall"] / ours["wall"],
        "note": note,
    }


if __name__ == "__main__":
    for row in rows():
        print(row)
