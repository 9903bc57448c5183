"""`make demo`: which synthetic digits are closest to real ones?

The reference is half of scikit-learn's bundled handwritten digits (898 images of 8 x 8 pixels); the
candidates are the other half, samples of a Gaussian and of a Gaussian mixture fitted to the
reference, the reference with every pixel shuffled on its own, and copies of 30 memorised images.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture

FOLDER = Path("demo")


def sample_sets() -> dict[str, np.ndarray]:
    """The reference and its candidates, (n, 64) each."""
    rng = np.random.default_rng(0)
    digits = load_digits().data
    digits = digits[rng.permutation(len(digits))]
    real, held_out = digits[:898], digits[898:]
    mixture = GaussianMixture(10, covariance_type="diag", reg_covar=0.1, random_state=0).fit(real)
    return {
        "real": real,
        "held-out": held_out,
        "mixture": mixture.sample(898)[0],
        "gaussian": rng.multivariate_normal(real.mean(0), np.cov(real.T), 898),
        "shuffled": np.column_stack([rng.permutation(column) for column in real.T]),
        "memorised": real[rng.integers(0, 30, 898)],
    }


def show(divmatch: str, *arguments: str) -> None:
    """Print a command line and run it."""
    print(f"\n$ divmatch {' '.join(arguments)}", flush=True)
    subprocess.run([divmatch, *arguments], check=True)


def main() -> None:
    """Write the sample sets and run the three commands on them."""
    divmatch = sys.argv[1]
    FOLDER.mkdir(exist_ok=True)
    sets = sample_sets()
    for name, rows in sets.items():
        np.save(FOLDER / f"{name}.npy", rows)
    real = str(FOLDER / "real.npy")
    candidates = [str(FOLDER / f"{name}.npy") for name in sets if name != "real"]
    print(__doc__)
    show(divmatch, "score", real, *sorted(candidates), "--metrics", "energy,mmd,sliced", "-q")
    show(divmatch, "test", real, str(FOLDER / "held-out.npy"))
    show(divmatch, "kl", real, str(FOLDER / "held-out.npy"))


if __name__ == "__main__":
    main()
