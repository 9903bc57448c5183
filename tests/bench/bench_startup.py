"""Start-up: CPU time of whole commands against `python -c "import numpy"`."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.bench.measure import DIVMATCH, interleaved, run

RUNS = 11


def rows() -> list[dict]:
    """CPU seconds of small commands, and their ratio to importing NumPy."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        p, q = str(Path(folder, "p.npy")), str(Path(folder, "q.npy"))
        np.save(p, rng.normal(size=(500, 4)))
        np.save(q, rng.normal(0.2, 1.0, size=(500, 4)))
        commands = {
            "import numpy": [sys.executable, "-c", "import numpy"],
            "divmatch --help": [DIVMATCH, "--help"],
            "divmatch --version": [DIVMATCH, "--version"],
            "divmatch energy, 500 x 4": [DIVMATCH, "energy", p, q],
            "divmatch mmd, 500 x 4": [DIVMATCH, "mmd", p, q],
            "divmatch sliced, 500 x 4": [DIVMATCH, "sliced", p, q],
            "1-D W1 (sliced -p 1), 500": [DIVMATCH, "sliced", p, q, "-p", "1", "--columns", "0"],
        }
        for command in commands.values():
            run(command)  # byte code, once
        found = interleaved(commands, RUNS)
    numpy = found.pop("import numpy")["cpu"]
    return [
        {
            "work": name,
            "ours_s": one["cpu"],
            "peer": "import numpy",
            "peer_s": numpy,
            "ratio": one["cpu"] / numpy,
            "ours_mb": one["mb"],
            "note": "CPU s; bar 0.080 s" if "--" in name else "CPU s; bar ratio <= 1.6",
        }
        for name, one in found.items()
    ]


if __name__ == "__main__":
    for row in rows():
        print(row)
