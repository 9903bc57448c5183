"""Coverage of the intervals of `kl`, by its automatic method: python tests/bench/bench_coverage.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.optimize import brentq

import divmatch

RUNS = 100
TRUTH = 0.5  # nats, in every case


def normal(rng: np.random.Generator, n: int, d: int) -> tuple[Any, Any]:
    """N(0, I) and N(s, I) with |s| = 1."""
    return rng.normal(size=(n, d)), rng.normal(size=(n, d)) + d**-0.5


def exponential(rng: np.random.Generator, n: int, d: int) -> tuple[Any, Any]:
    """Columns with means 1 and t: KL = d (1/t - 1 + ln t)."""
    mean = brentq(lambda t: d * (1 / t - 1 + np.log(t)) - TRUTH, 1.0001, 100.0)
    return rng.exponential(size=(n, d)), rng.exponential(mean, size=(n, d))


def rows() -> Iterator[dict[str, Any]]:
    """One row a family, a number of columns and a sample size."""
    for family in (normal, exponential):
        for d in (1, 5, 20):
            for n in (500, 2000):
                made = [_result(family, n, d, run) for run in range(RUNS)]
                held = np.mean([r.ci.low <= TRUTH <= r.ci.high for r in made])
                half = np.mean([(r.ci.high - r.ci.low) / 2 for r in made])
                yield {
                    "work": f"coverage of 95 % intervals of kl, {family.__name__} columns, d = {d}, n = {n}",
                    "ours_s": float(held),
                    "note": f"a share, not seconds; {RUNS} runs; mean half width {half:.3f}, "
                    f"sd of the values {np.std([r.value for r in made]):.3f}",
                }


def _result(family: Any, n: int, d: int, run: int) -> Any:
    x, y = family(np.random.default_rng([run, d, n]), n, d)
    return divmatch.kl(x, y, seed=run)


if __name__ == "__main__":
    for row in rows():
        print(f"{row['work']:70} {row['ours_s']:.2f}   {row['note']}")
