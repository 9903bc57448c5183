"""Which of 20 columns differ, and where: python tests/bench/bench_explain.py."""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.measure import DIVMATCH, run

SIZES = ((20_000, 20), (100_000, 20))
# A classifier that tells the samples apart on half of the rows, and its loss on the other half when a
# column is shuffled: the usual way to name the columns behind a shift. No intervals, no rules.
PEER = """
import sys
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
x, y = (np.load(path) for path in sys.argv[1:])
rows = np.concatenate([x, y])
labels = np.repeat([0, 1], [len(x), len(y)])
half = np.random.default_rng(0).random(len(rows)) < 0.5
found = HistGradientBoostingClassifier(random_state=0).fit(rows[half], labels[half])
permutation_importance(found, rows[~half], labels[~half], n_repeats=5, random_state=0)
"""


def rows(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[dict[str, Any]]:
    """One row a size: test, shares with intervals, pairs and rules."""
    table = []
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for n, d in sizes:
            paths = [str(Path(folder) / f"{name}.npy") for name in "pq"]
            for path, shift in zip(paths, (0.0, 0.1), strict=True):
                block = rng.normal(size=(n, d))
                block[:, 0] += shift
                np.save(path, block)
            ours = run([DIVMATCH, "explain", *paths, "-q"])
            made = {"ours_s": ours["wall"], "ours_mb": ours["mb"]}
            note = f"CPU seconds {ours['cpu']:.1f}"
            if find_spec("sklearn") is not None:
                peer = run([sys.executable, "-c", PEER, *paths])
                made |= {
                    "peer": "scikit-learn, gradient boosting and permutation importance",
                    "peer_s": peer["wall"],
                    "peer_mb": peer["mb"],
                    "ratio": peer["wall"] / ours["wall"],
                }
                note += f"; of the peer {peer['cpu']:.1f}"
            table.append({"work": f"explain {n} x {d}", **made, "note": note})
    return table


if __name__ == "__main__":
    for row in rows():
        print(row)
