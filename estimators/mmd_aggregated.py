"""Tests that aggregate many kernels and bandwidths: MMDAgg and MMD-FUSE.

The kernels are laplace and gaussian with ten bandwidths each. All of them are evaluated from one row of
distances, and summed over the pairs of small groups of rows; permutations move groups. Labels of
groups of equal size are exchangeable where the distributions agree, so that the level is exact.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import OwnTest
from divmatch.estimators import quadratic
from divmatch.estimators.row_order import both_shuffled, lexicographic
from divmatch.kernel_names import Form
from divmatch.kernels.bundles import bundle_sums
from divmatch.kernels.pairwise import Profile
from divmatch.randomness import stream
from divmatch.record import Note
from divmatch.samples import Points, Samples

Array = NDArray[np.float64]

WORDS = ("agg", "fuse")
BANDWIDTHS = 10  # of either kernel
SCALE_ROWS = 500  # rows whose distances give the bandwidths
GROUPS = 512  # most groups of rows: up to as many rows, permutations move single rows
FEWEST = 40  # groups of the smaller sample, where it has the rows
AT_ONCE = 1024  # permutations of one product
ENOUGH = 999  # permutations without which clear differences tie at the least rank


def bundle_of(kernel: Any, pool: Points, masses: Array) -> Form:
    """Twenty kernels whose bandwidths follow from the pooled rows, whatever their labels and order."""
    if str(kernel) != "gaussian":
        raise SettingError(
            f"--kernel {kernel}: --bandwidth agg and fuse take laplace and gaussian together; leave it out"
        )
    rows = pool[lexicographic(pool, masses)]
    if len(rows) > SCALE_ROWS:
        picked = stream(0, "aggregated bandwidths").choice(len(rows), SCALE_ROWS, replace=False)
        rows = rows[picked]
    squares, city = _distances(rows)
    if not city.any():
        raise InconclusiveError(
            "all rows are equal, so there are no bandwidths; give --bandwidth X"
        )
    # the published gaussian is exp(−r² / λ²)
    scales = [*(_grid(np.sqrt(squares)) / 2**0.5), *_grid(city)]
    return Form(Profile("bundle", 1.0, tuple(float(s) for s in scales)), -1.0)


def _distances(rows: Points) -> tuple[Array, Array]:
    """Squared and city-block distances of all pairs of rows."""
    first, second = np.triu_indices(len(rows), 1)
    squares, city = np.zeros(len(first)), np.zeros(len(first))
    for c in range(rows.shape[1]):
        gap = rows[first, c] - rows[second, c]
        squares += gap * gap
        city += np.abs(gap)
    return squares, city


def _grid(distances: Array) -> Array:
    """Geometric from half the 5 % quantile of the distances that are not zero to twice the 95 % one."""
    low, high = np.quantile(distances[distances > 0], [0.05, 0.95])
    made: Array = np.geomspace(0.5 * low, 2.0 * high, BANDWIDTHS)
    return made


# --------------------------------------------------------------------------------------- groups


@dataclass(frozen=True, eq=False)
class Groups:
    """The rows of both samples in groups of equal size, with one of the rest of each where there is one.

    ``movable`` groups come first, those of x before those of y.
    """

    points: Points
    weights: Array
    edges: NDArray[np.intp]
    movable: int
    of_x: NDArray[np.bool_]

    def labels(self, rng: "np.random.Generator", count: int) -> NDArray[np.bool_]:
        """Random labels of the groups, (G, count)."""
        made = np.tile(self.of_x, (count, 1))
        made[:, : self.movable] = rng.permuted(made[:, : self.movable], axis=1)
        return made.T


def grouped(x: Samples, y: Samples, seed: int) -> Groups:
    """Deal the rows of either sample into groups at random, whatever the order of the rows."""
    size, groups = _sizes(x.n, y.n)
    rows = _all_shuffled(x, y, seed)
    moved = [own[: g * size] for own, g in zip(rows, groups, strict=True)]
    rests = [own[g * size :] for own, g in zip(rows, groups, strict=True)]
    order = [(x, moved[0]), (y, moved[1]), (x, rests[0]), (y, rests[1])]
    points = np.concatenate([s.points[own] for s, own in order])
    weights = np.concatenate([s.masses()[own] * s.n for s, own in order])
    counts = [size] * sum(groups) + [len(rest) for rest in rests if len(rest)]
    of_x = np.repeat([True, False], groups)
    left = [label for label, rest in zip((True, False), rests, strict=True) if len(rest)]
    edges = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
    return Groups(points, weights, edges, sum(groups), np.concatenate([of_x, left]).astype(bool))


def _sizes(n: int, m: int) -> tuple[int, tuple[int, int]]:
    """Rows of a group and groups of either sample; what is left over keeps its label."""
    size = -(-(n + m) // GROUPS)
    if min(n, m) // size < FEWEST:
        size = max(1, min(size, min(n, m) // FEWEST))
    first, second = n // size, m // size
    if first <= second:
        return size, (first := min(first, GROUPS // 2), min(second, GROUPS - first))
    second = min(second, GROUPS // 2)
    return size, (min(first, GROUPS - second), second)


def _all_shuffled(x: Samples, y: Samples, seed: int) -> list[NDArray[np.intp]]:
    """Every row of both samples in random order; those without weight come last."""
    shuffled = both_shuffled(x, y, stream(seed, "aggregated groups"))
    found = []
    for samples, own in zip((x, y), shuffled, strict=True):
        rest = np.setdiff1d(np.arange(samples.n), own)
        found.append(np.concatenate([own, rest]))
    return found


class Statistics:
    """MMD² of every kernel for labels of groups."""

    def __init__(self, profile: Profile, groups: Groups, *, unbiased: bool) -> None:
        starts, weights = groups.edges[:-1], groups.weights
        self.sums, squares = bundle_sums(groups.points, weights, groups.edges, profile.scales)
        self.masses = np.add.reduceat(weights, starts)
        self.selves = np.add.reduceat(weights**2, starts) * unbiased  # every kernel is 1 at 0
        total, own = float(weights.sum()), float(weights @ weights)
        self.rounding = quadratic.rounding(len(weights), 1.0)
        self.norms = np.sqrt((squares - own) / (total**2 - own))  # of FUSE, the same for all labels

    def of(self, labels: NDArray[np.bool_]) -> Array:
        """Shape (S, B) for labels (G, B)."""
        marked = labels.astype(np.float64)
        mass_x, own_x = self.masses @ marked, self.selves @ marked
        mass_y, own_y = self.masses.sum() - mass_x, self.selves.sum() - own_x
        made = np.empty((len(self.sums), labels.shape[1]))
        for k, sums in enumerate(self.sums):
            within_x = np.einsum("gb,gb->b", marked, sums @ marked)
            cross, total = sums.sum(axis=0) @ marked, float(sums.sum())
            within_y = total - 2.0 * cross + within_x
            made[k] = (within_x - own_x) / (mass_x**2 - own_x)
            made[k] += (within_y - own_y) / (mass_y**2 - own_y)
            made[k] -= 2.0 * (cross - within_x) / (mass_x * mass_y)
        return made


# ---------------------------------------------------------------------------------------- tests


def aggregated_test(
    x: Samples, y: Samples, form: Form, word: str, permutations: int, seed: int, *, unbiased: bool
) -> OwnTest:
    """The p-value of all kernels together, and the mean of their statistics under permutations."""
    groups = grouped(x, y, seed)
    statistics = Statistics(form.profile, groups, unbiased=unbiased)
    draws = (2 if word == "agg" else 1) * permutations
    rng = stream(seed, "aggregated permutations")
    sizes = [min(AT_ONCE, draws - start) for start in range(0, draws, AT_ONCE)]
    values = [statistics.of(groups.of_x[:, None])]
    values += [statistics.of(groups.labels(rng, size)) for size in sizes]
    made = np.concatenate(values, axis=1)
    if word == "fuse":
        fused = fuse(made, statistics.norms, min(x.n, y.n))
        p_value = _share(fused[1:] >= fused[0] - 1e-12 * abs(fused[0]))
    else:
        p_value = aggregated_p_value(made, permutations, statistics.rounding)
    return OwnTest(
        p_value,
        "aggregated-permutation" if word == "agg" else "fused-permutation",
        made[:, 1:].mean(axis=0),
        _few(permutations) if word == "agg" else (),
    )


def aggregated_p_value(values: Array, first: int, rounding: float = 0.0) -> float:
    """Smallest level at which MMDAgg with equal weights rejects; (S, 1 + B₁ + B₂) with B₁ = ``first``.

    At level α it rejects where a kernel's rank among its first 1 + B₁ values (the observed one in
    front) is at most u, the largest u for which at most a share α of the last B₂ would do so: where
    the observed least rank is below all but a share α of theirs. The observed one counts among them.
    """
    reference = np.sort(values[:, : 1 + first], axis=1)
    ranks = np.array(
        [
            1 + first - np.searchsorted(known, own - rounding, side="left")
            for known, own in zip(reference, values, strict=True)
        ]
    ).min(axis=0)
    return _share(ranks[1 + first :] <= ranks[0])


def fuse(values: Array, norms: Array, n: int) -> Array:
    """Ln of the mean over kernels of exp(λ MMD² / norm), over λ = (n (n − 1))^(1/2)."""
    rate = max(n * (n - 1.0), 1.0) ** 0.5
    exponents = rate * values / norms[:, None]
    top = exponents.max(axis=0)
    made: Array = (top + np.log(np.exp(exponents - top).mean(axis=0))) / rate
    return made


def _share(as_large: NDArray[np.bool_]) -> float:
    return (1 + int(np.count_nonzero(as_large))) / (1 + len(as_large))


def _few(permutations: int) -> tuple[Note, ...]:
    if permutations >= ENOUGH:
        return ()
    return (
        Note(
            "W37",
            f"{permutations} permutations are few for the ranks of {2 * BANDWIDTHS} kernels: the test "
            f"is blunt; give --permutations {ENOUGH} or more",
        ),
    )
