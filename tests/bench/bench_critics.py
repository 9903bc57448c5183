"""Critics: KL from a cross-fitted classifier, against densratio (uLSIF) where it is installed."""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.bench.measure import DIVMATCH, interleaved, run

DENSRATIO = """
import numpy, sys
from densratio import densratio
x, y = (numpy.load(f)[:2000] for f in sys.argv[1:])
found = densratio(x, y, kernel_num=200, verbose=False)
numpy.log(numpy.maximum(found.compute_density_ratio(x), 1e-12)).mean()
"""


def rows() -> list[dict]:
    """n = m = 20,000, d = 10: one critic, cross-fitted with standard error; the peer fits once."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        paths = [str(Path(folder, f"{name}.npy")) for name in "pq"]
        for path, shift in zip(paths, (0.3, 0.0), strict=True):
            np.save(path, rng.normal(shift, 1.0, size=(20_000, 10)))
        commands = {
            method: [DIVMATCH, "kl", *paths, "--method", method, "-q"]
            for method in ("classifier", "dv")
        }
        found = interleaved(commands)
        if find_spec("densratio") is not None:  # it takes many minutes for all rows
            found["densratio"] = run([sys.executable, "-W", "ignore", "-c", DENSRATIO, *paths])
    made = []
    for method in ("classifier", "dv"):
        row = {
            "work": f"kl --method {method}, n = m = 20,000, d = 10",
            "ours_s": found[method]["wall"],
            "ours_mb": found[method]["mb"],
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
