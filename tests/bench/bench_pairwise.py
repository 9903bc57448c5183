"""MMD and energy: permutation tests and large statistics, against hyppo and dcor."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.bench.measure import DIVMATCH, interleaved, run

HYPPO = """
import numpy, sys
from hyppo.ksample import {name}
x, y = (numpy.load(f) for f in sys.argv[1:])
{name}().test(x, y, reps=19, workers=2, auto=False)
"""
DCOR = """
import numpy, sys, dcor
x, y = (numpy.load(f) for f in sys.argv[1:])
dcor.homogeneity.energy_test(x, y, num_resamples=199, random_state=0)
"""
# MMDAgg (Schrab et al. 2023) with whole matrices: permutations, equal weights, bisection at one level
MMDAGG = """
import numpy as np, sys
from scipy.spatial.distance import cdist
x, y = (np.load(f) for f in sys.argv[1:])
n, m, first, second, rng = len(x), len(y), 1000, 1000, np.random.default_rng(0)
z = np.concatenate([x, y])
labels = np.zeros((n + m, first + second + 1))
for b in range(labels.shape[1]):
    order = rng.permutation(n + m) if b else np.arange(n + m)
    labels[order[:n], b] = 1
statistics = []
for metric, kernel in (("cityblock", lambda r, s: np.exp(-r / s)), ("euclidean", lambda r, s: np.exp(-((r / s) ** 2)))):
    r = cdist(z, z, metric)
    across = r[:500, n:n + 500]
    for s in np.geomspace(across.min() / 2, 2 * across.max(), 10):
        K = kernel(r, s)
        np.fill_diagonal(K, 0)
        left = K @ labels
        xx = (labels * left).sum(0)
        xy = ((1 - labels) * left).sum(0)
        yy = K.sum() - xx - 2 * xy
        statistics.append(xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m))
M = np.array(statistics)
known = np.sort(M[:, :first + 1], axis=1)
low, high = 0.0, 20.0
for _ in range(50):
    u = (low + high) / 2
    at = np.maximum(np.ceil((first + 1) * (1 - u / 20)).astype(int) - 1, 0)
    bar = known[np.arange(20), at]
    if ((M[:, first + 1:] - bar[:, None]).max(0) > 0).mean() <= 0.05:
        low = u
    else:
        high = u
at = np.maximum(np.ceil((first + 1) * (1 - low / 20)).astype(int) - 1, 0)
print((M[:, 0] > known[np.arange(20), at]).any())
"""
SORT = """
import numpy, sys
x, y = (numpy.load(f) for f in sys.argv[1:])
numpy.sort(x, axis=0), numpy.sort(y, axis=0)
"""


def rows() -> list[dict]:
    """199 permutations at n = 10,000 (ours) and n = 2,000 (all), the statistic at n = 100,000.

    Peers run once, and hyppo with 19 permutations only: with 199 it takes many minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        return [*_permutations(folder), *_large(folder), *_aggregated(folder), *_line(folder)]


def _pair(folder: str, n: int, d: int) -> list[str]:
    rng = np.random.default_rng(0)
    paths = [str(Path(folder, f"{name}{n}.npy")) for name in "pq"]
    for path, shift in zip(paths, (0.0, 0.1), strict=True):
        np.save(path, rng.normal(shift, 1.0, size=(n, d)))
    return paths


def _permutations(folder: str) -> list[dict]:
    small, large, huge = (_pair(folder, n, 5) for n in (2000, 10_000, 20_000))
    code = {
        "hyppo Energy": HYPPO.format(name="Energy"),
        "hyppo MMD": HYPPO.format(name="MMD"),
        "dcor": DCOR,
    }
    found = interleaved(
        {
            "energy": [DIVMATCH, "energy", *small, "-B", "199", "-q"],
            "mmd": [DIVMATCH, "mmd", *small, "-B", "199", "-q"],
            "energy 10k": [DIVMATCH, "energy", *large, "-B", "199", "-q"],
            "mmd 10k": [DIVMATCH, "mmd", *large, "-B", "199", "-q"],
        }
    )
    for name, text in code.items():
        found[name] = run([sys.executable, "-W", "ignore", "-c", text, *small])
    made = [
        _row(
            f"{ours}, 199 permutations, n = m = 2,000, d = 5",
            found[ours],
            peer,
            found[peer],
            "whole processes; the peer with 19 permutations" if "hyppo" in peer else "",
        )
        for ours, peer in (("energy", "hyppo Energy"), ("energy", "dcor"), ("mmd", "hyppo MMD"))
    ]
    for name in ("energy", "mmd"):
        work = f"{name}, 199 permutations, n = m = 10,000, d = 5"
        made.append(_row(work, found[f"{name} 10k"], note="bar <= 4 s, <= 300 MB"))
    for name in ("energy", "mmd"):
        work = f"{name}, 199 permutations, n = m = 20,000, d = 5"
        one = run([DIVMATCH, name, *huge, "-B", "199", "-q"])
        made.append(_row(work, one, note="bar <= 6 s, <= 300 MB"))
    return made


def _large(folder: str) -> list[dict]:
    one = run([DIVMATCH, "mmd", *_pair(folder, 100_000, 16), "-q"])
    return [_row("mmd statistic and interval, n = m = 100,000, d = 16", one, note="bar <= 600 MB")]


def _aggregated(folder: str) -> list[dict]:
    pair = _pair(folder, 2000, 5)
    found = interleaved(
        {
            "one": [DIVMATCH, "mmd", *pair, "-B", "1000", "-q"],
            "agg": [DIVMATCH, "mmd", *pair, "-B", "1000", "--bandwidth", "agg", "-q"],
        }
    )
    found["numpy"] = run([sys.executable, "-c", MMDAGG, *pair])
    work = "mmd, 1,000 permutations, n = m = 2,000, d = 5"
    ratio = found["agg"]["wall"] / found["one"]["wall"]
    return [
        _row(f"{work}, one kernel", found["one"]),
        _row(
            f"{work}, 20 kernels aggregated",
            found["agg"],
            "MMDAgg in NumPy",
            found["numpy"],
            f"{ratio:.2f} x one kernel, bar <= 3; bar >= 10 x the peer",
        ),
    ]


def _line(folder: str) -> list[dict]:
    pair = _pair(folder, 1_000_000, 1)
    found = interleaved(
        {
            "energy": [DIVMATCH, "energy", *pair, "-q"],
            "sort": [sys.executable, "-c", SORT, *pair],
        }
    )
    work = "energy, one column, n = m = 1,000,000"
    return [_row(work, found["energy"], "NumPy's sort", found["sort"], "bar <= 1.5 x the sort")]


def _row(
    work: str,
    ours: dict[str, float],
    peer: str = "",
    theirs: dict[str, float] | None = None,
    note: str = "",
) -> dict:
    return {
        "work": work,
        "ours_s": ours["wall"],
        "ours_mb": ours["mb"],
        "peer": peer,
        "peer_s": theirs and theirs["wall"],
        "peer_mb": theirs and theirs["mb"],
        "ratio": theirs and theirs["wall"] / ours["wall"],
        "note": note or "whole processes",
    }


if __name__ == "__main__":
    for row in rows():
        print(row)
