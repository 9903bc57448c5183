"""Critics: KL from cross-fitted critics, against densratio (uLSIF) where it is installed."""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.bench.measure import DIVMATCH, interleaved, run

DENSRATIO = """
import numpy, sys
from densratio import densratio
x, y = (numpy.load(f) for f in sys.argv[1:])
found = densratio(x, y, kernel_num=200, verbose=False)
numpy.log(numpy.maximum(found.compute_density_ratio(x), 1e-12)).mean()
"""
MANY, FEW = 20_000, 2_000  # densratio takes many minutes for many rows
WORK = (("classifier", MANY), ("dv", MANY), ("infonce", MANY), ("ulsif", MANY), ("ulsif", FEW))


def rows() -> list[dict]:
    """d = 10: one critic, cross-fitted with standard error; the peer fits once, to few rows."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        pairs = {n: [str(Path(folder, f"{name}{n}.npy")) for name in "pq"] for n in (MANY, FEW)}
        for side, shift in enumerate((0.3, 0.0)):
            drawn = rng.normal(shift, 1.0, size=(MANY, 10))
            for n, paths in pairs.items():
                np.save(paths[side], drawn[:n])
        commands = {
            (method, n): [DIVMATCH, "kl", *pairs[n], "--method", method, "-q"] for method, n in WORK
        }
        found = interleaved(commands)
        if find_spec("densratio") is not None:
            peer = [sys.executable, "-W", "ignore", "-c", DENSRATIO, *pairs[FEW]]
            found["densratio"] = run(peer)
    made = []
    for method, n in WORK:
        row = {
            "work": f"kl --method {method}, n = m = {n:,}, d = 10",
            "ours_s": found[method, n]["wall"],
            "ours_mb": found[method, n]["mb"],
            "note": "bar <= 5 s",
        }
        if "densratio" in found:
            seconds = found["densratio"]["wall"]
            row |= {
                "peer": "densratio uLSIF, 2,000 rows",
                "peer_s": seconds,
                "peer_mb": found["densratio"]["mb"],
                "ratio": seconds / row["ours_s"],
            }
        made.append(row)
    return made


if __name__ == "__main__":
    for row in rows():
        print(row)
