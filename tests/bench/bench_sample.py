"""A step of SVGD against NumPy's, without loops and with float64 matrices of all pairs.

CPU seconds on one thread, the least of interleaved runs. A step is all of it: bandwidth, scores,
direction, step lengths, every tenth with a look at KSD. NumPy's is the step that the method's authors
publish: squared distances, their median, the kernel, two products; without the rule of its steps.
"""

import time
from collections.abc import Callable

import numpy as np

from divmatch.kernels.execution import one_blas_thread
from divmatch.matcher import Watch, task
from divmatch.samples import as_samples

RUNS = 5
FEW, MANY = 10, 30  # steps of two fits, whose difference is the time of those between


def rows() -> list[dict[str, object]]:
    """One row a size."""
    with one_blas_thread():
        return [_svgd(2_000, 50), _svgd(5_000, 10)]


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _step(x: np.ndarray) -> Callable[[], float]:
    """Seconds of one step, from fits of few and of more steps."""
    chosen, samples = task("sample").methods["svgd"], as_samples(x, "x")

    def fit(steps: int) -> float:
        checked = chosen.checked({"target": "gaussian:1,2", "tol": 1e-9, "steps": steps})
        return _seconds(lambda: chosen(samples, None, **checked, watch=Watch()))

    fit(FEW)
    return lambda: (fit(MANY) - fit(FEW)) / (MANY - FEW)


def direction(x: np.ndarray) -> np.ndarray:
    """SVGD's direction by whole matrices."""
    scores = (1.0 - x) / 2.0
    squares = (x * x).sum(axis=1)
    distances = squares[:, None] + squares - 2.0 * x @ x.T
    h = np.median(distances) / np.log(len(x) + 1)
    kernel = np.exp(-distances / h)
    pushed = (x * kernel.sum(axis=1)[:, None] - kernel @ x) * (2.0 / h)
    return (kernel @ scores + pushed) / len(x)


def _svgd(n: int, d: int) -> dict[str, object]:
    x = np.random.default_rng(0).normal(size=(n, d))
    ours = _step(x)
    direction(x)
    found = [(ours(), _seconds(lambda: direction(x))) for _ in range(RUNS)]
    seconds, needed = (min(one[k] for one in found) for k in (0, 1))
    return {
        "work": f"sample svgd, {n:,} particles x {d}: one step",
        "ours_s": seconds,
        "peer": "NumPy's whole matrices",
        "peer_s": needed,
        "ratio": needed / seconds,
        "note": "CPU s",
    }


if __name__ == "__main__":
    for row in rows():
        print(row)
