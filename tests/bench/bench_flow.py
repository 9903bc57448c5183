"""A step of a flow against the work that it cannot do without: projections and sorts, or kernel sums.

CPU seconds on one thread, the least of interleaved runs. A step is all of it: directions, gradient,
Polyak's step, the bookkeeping. The sorts are NumPy's, of both samples' projections by whole matrix
products; a pass of kernel sums is `cross_sums` of the particles with themselves and with Q's rows.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from divmatch.kernels.directions import directions
from divmatch.kernels.execution import one_blas_thread
from divmatch.kernels.pairwise import Profile, cross_sums
from divmatch.matcher import Watch, task
from divmatch.samples import Samples, as_samples

RUNS = 3
FEW, MANY = 1, 4  # steps of two flows, whose difference is the time of those between


def rows() -> list[dict[str, object]]:
    """One row a divergence."""
    with one_blas_thread():
        return [_sliced(), *(_kernel(name) for name in ("imq", "gaussian"))]


def _samples(n: int, d: int) -> tuple[Samples, Samples]:
    rng = np.random.default_rng(0)
    return as_samples(rng.normal(size=(n, d)), "x"), as_samples(rng.normal(size=(n, d)) + 1, "y")


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _step(method: str, x: Samples, y: Samples, **settings: object) -> Callable[[], float]:
    """Seconds of one step, from flows of few and of more steps that do not reach their goal."""
    chosen = task("flow").methods[method]

    def flow(steps: int) -> float:
        checked = chosen.checked({"tol": 1e-9, "steps": steps, **settings})
        rng = np.random.default_rng(0)
        return _seconds(lambda: chosen(x, y, **checked, rng=rng, watch=Watch()))

    flow(FEW)
    return lambda: (flow(MANY) - flow(FEW)) / (MANY - FEW)


def _against(
    work: str, peer: str, ours: Callable[[], float], base: Callable[[], object]
) -> dict[str, object]:
    base()
    found = [(ours(), _seconds(base)) for _ in range(RUNS)]
    seconds, needed = (min(one[k] for one in found) for k in (0, 1))
    return {
        "work": work,
        "ours_s": seconds,
        "peer": peer,
        "peer_s": needed,
        "ratio": needed / seconds,
        "note": f"CPU s; a step is {seconds / needed:.2f} times that",
    }


def _sliced() -> dict[str, object]:
    x, y = _samples(10_000, 784)
    vectors = directions(784, 100, np.random.default_rng(0)).vectors

    def base() -> object:
        lines = [vectors @ samples.points.T for samples in (x, y)]
        for line in lines:
            line.sort(axis=1)
        return lines

    ours = _step("sliced-riesz", x, y)
    return _against(
        "flow sliced-riesz, n = m = 10,000, d = 784, 100 directions: one step",
        "projections and sorts alone",
        ours,
        base,
    )


def _kernel(name: str) -> dict[str, object]:
    x, y = _samples(5_000, 10)
    each, profile = x.masses(), Profile(name, 4.0)
    sums = partial(cross_sums, profile, a=each, b=each)

    def base() -> object:
        return sums(x=x.points + 0.0, y=x.points), sums(x=x.points, y=y.points)

    ours = _step("mmd", x, y, kernel=name)
    return _against(
        f"flow mmd, {name}, n = m = 5,000, d = 10: one step", "one pass of kernel sums", ours, base
    )


if __name__ == "__main__":
    for row in rows():
        print(row)
