"""Gaussian mixtures: fits against scikit-learn's, reductions against loops over pairs of Gaussians."""

import json
import os
import subprocess
import sys
import time

from tests.bench.measure import peak_mb

SKLEARN = "scikit-learn GaussianMixture"
LOOPS = "NumPy, a loop over pairs"
FIT, REDUCE = "fit", "reduce"
CASES = (
    (FIT, SKLEARN, (20_000, 8, 6)),
    (REDUCE, LOOPS, ("kl", 200, 5, 10)),
    (REDUCE, LOOPS, ("w2", 60, 3, 5)),
)


def rows() -> list[dict[str, object]]:
    """One row a case, one thread a side, each in a process of its own."""
    made = []
    for work, peer, case in CASES:
        ours, other = (_measured(side, work, case) for side in ("ours", peer))
        made.append(
            {
                "work": _title(work, case),
                "ours_s": ours["seconds"],
                "ours_mb": ours["mb"],
                "peer": peer,
                "peer_s": other["seconds"],
                "peer_mb": other["mb"],
                "ratio": other["seconds"] / ours["seconds"],
                "note": f"CPU s; reached {ours['reached']:.6g}, the other {other['reached']:.6g}"
                + ("; ours goes on from the likeliest start alone" if work == FIT else ""),
            }
        )
    return made


def _title(work: str, case: tuple[object, ...]) -> str:
    if work == FIT:
        n, d, k = case
        return f"mixture of {k}, n = {n:,}, d = {d}, 3 starts to a gain below 1e-7"
    cost, count, d, k = case
    return f"reduction by {cost}, {count} -> {k}, d = {d}, 50 starts, the loop 10"


def _measured(side: str, work: str, case: tuple[object, ...]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_mixture", side, work, *map(str, case)],
        capture_output=True,
        check=True,
        env=os.environ
        | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _fit(side: str, n: int, d: int, k: int) -> float:
    """Mean log-likelihood of overlapping clusters."""
    import numpy as np

    rng = np.random.default_rng(0)
    centres = 2.0 * rng.normal(size=(k, d))
    x = centres[rng.integers(0, k, n)] + rng.normal(size=(n, d))
    if side == "ours":
        import divmatch

        found = divmatch.match.mixture(x, components=k, starts=3, metric="none")
        return float(found.facts["fit_log_likelihood"])
    from sklearn.mixture import GaussianMixture

    peer = GaussianMixture(k, n_init=3, tol=1e-7, max_iter=1000, random_state=0)
    return float(peer.fit(x).score(x))


def _reduce(side: str, cost: str, count: int, d: int, k: int) -> float:
    """Composite transportation divergence."""
    import numpy as np

    rng = np.random.default_rng(0)
    roots = rng.normal(size=(count, d, d))
    means = 3.0 * rng.normal(size=(k, d))[rng.integers(0, k, count)] + rng.normal(size=(count, d))
    covariances = roots @ roots.transpose(0, 2, 1) + 0.5 * np.eye(d)
    shares = np.full(count, 1.0 / count)
    if side == "ours":
        import divmatch
        from divmatch.mixtures import as_mixture

        given = as_mixture(shares, means, covariances)
        found = divmatch.match.mixture(given, reduce=k, cost=cost).of("divergence")
        assert found is not None
        return found.value
    return min(_looped(shares, means, covariances, cost, k, seed) for seed in range(10))


def _looped(shares, means, covariances, cost, k, seed) -> float:  # type: ignore[no-untyped-def]
    """Assignments and barycentres in turns, from drawn components, one pair at a time."""
    import numpy as np

    from tests.reference.mixtures import COSTS, moments, wasserstein_barycentre

    places = np.random.default_rng(seed).choice(len(shares), k, replace=False)
    centres = [(means[j], covariances[j]) for j in places]
    before = np.inf
    while True:
        to = np.array(
            [
                [COSTS[cost](m, a, *centre) for centre in centres]
                for m, a in zip(means, covariances, strict=True)
            ]
        )
        after = float(shares @ to.min(axis=1))
        if before - after <= 1e-8 * after:
            return after
        before, nearest = after, to.argmin(axis=1)
        for j in set(nearest.tolist()):
            mine = nearest == j
            w = shares[mine] / shares[mine].sum()
            if cost == "kl":
                centres[j] = moments(w, means[mine], covariances[mine])
            else:
                spread = wasserstein_barycentre(w, covariances[mine], rounds=20)
                centres[j] = (w @ means[mine], spread)


def _one(side: str, work: str, *case: str) -> None:
    numbers = [int(one) if one.isdecimal() else one for one in case]
    start = time.process_time()
    reached = (_fit if work == FIT else _reduce)(side, *numbers)  # type: ignore[arg-type]
    seconds = time.process_time() - start
    print(json.dumps({"seconds": seconds, "mb": peak_mb(), "reached": reached}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _one(*sys.argv[1:])
    else:
        for row in rows():
            print(json.dumps(row))
