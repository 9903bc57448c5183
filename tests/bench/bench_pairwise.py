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


def rows() -> list[dict]:
    """199 permutations at n = 10,000 (ours) and n = 2,000 (all), the statistic at n = 100,000.

    Peers run once, and hyppo with 19 permutations only: with 199 it takes many minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        return [*_permutations(folder), *_large(folder)]


def _pair(folder: str, n: int, d: int) -> list[str]:
    rng = np.random.default_rng(0)
    paths = [str(Path(folder, f"{name}{n}.npy")) for name in "pq"]
    for path, shift in zip(paths, (0.0, 0.1), strict=True):
        np.save(path, rng.normal(shift, 1.0, size=(n, d)))
    return paths


def _permutations(folder: str) -> list[dict]:
    small, large = _pair(folder, 2000, 5), _pair(folder, 10_000, 5)
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
    return made


def _large(folder: str) -> list[dict]:
    one = run([DIVMATCH, "mmd", *_pair(folder, 100_000, 16), "-q"])
    return [_row("mmd statistic and interval, n = m = 100,000, d = 16", one, note="bar <= 600 MB")]


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
