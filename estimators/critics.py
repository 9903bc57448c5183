"""Critics: functions T that tell rows of P from rows of Q, scored on rows they have not seen.

A critic trained by logistic loss, each sample counting one half, estimates ln(p/q). The rows are
dealt into folds; each fold is scored by a critic that was fitted to the others.

Of distributions that a group leaves as they are, every row is replaced by one row of its orbit, and
the linear critic averages its features over the orbit: that is better than the row alone for smooth
ratios (measured: a tenth to a third less error), and than the representative alone.
"""

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError, counted
from divmatch.estimators.invariance import Group, group_of, represented
from divmatch.estimators.logistic import Problems, Rows, fit
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Critic = Annotated[
    Literal["linear", "mlp"],
    Setting("what tells the samples apart: linear in features, or a small neural network"),
]
Objective = Annotated[
    Literal["logistic", "dv"],
    Setting("what the linear critic is trained on: the logistic loss, or the bound of dv itself"),
]
Folds = Annotated[int, Setting("folds of the cross-fitting", least=2, most=100)]

AVERAGED = 120  # elements of a group over which features are averaged: five columns permuted
FOURIER = 200  # random Fourier features, fewer for small samples
PRODUCTS_UP_TO = 16  # columns up to which all pairwise products are features
MEDIAN_ROWS = 1000  # rows whose distances give the scale of the Fourier features
RIDGE, RIDGE_FROM = 1e-4, 2000  # penalty, larger in inverse proportion below this many rows
# candidates: scales of columns, squares, products and Fourier features; the simplest comes first
CANDIDATES = (
    (0.03, 0.03, 0.0, 0.0),
    (1.0, 0.0, 0.0, 0.0),
    (0.3, 0.3, 0.0, 0.0),
    (0.3, 0.3, 0.3, 0.0),
    (10.0, 3.0, 3.0, 0.0),
    (1.0, 0.3, 0.3, 0.3),
    (3.0, 1.0, 1.0, 3.0),
)


@dataclass(frozen=True, eq=False)
class Scores:
    """Held-out scores ln(p̂/q̂) of every row, with what the fit says about their worth.

    ``x`` and ``y`` are finite where rows carry weight and 0 elsewhere. ``gain`` is ln 2 less the
    logistic loss on held-out rows, a lower bound of the Jensen-Shannon divergence; ``gain_seen`` the same
    on the rows that the critics were fitted to.
    """

    x: Array
    y: Array
    gain: float
    gain_seen: float
    accuracy: float
    converged: bool

    def notes(self) -> tuple[Note, ...]:
        """Warnings about the critic."""
        made = []
        if self.accuracy > 0.99:
            made.append(
                Note(
                    "W07",
                    f"the critic separates {self.accuracy:.1%} of the held-out rows: the samples "
                    "hardly overlap, and how far they are apart depends on its penalty",
                )
            )
        if self.gain_seen > 0.05 + 2.0 * max(self.gain, 0.0):
            made.append(
                Note(
                    "W17",
                    f"the critic gains {self.gain_seen:.3g} nats on the rows it was fitted to and "
                    f"{self.gain:.3g} on held-out ones; give more rows or fewer columns",
                )
            )
        if not self.converged:
            made.append(Note("W18", "the critic did not converge; its scores are not its best"))
        return tuple(made)


def critic_scores(
    x: Samples,
    y: Samples,
    critic: str,
    folds: int,
    rng: np.random.Generator,
    invariant: str | None = None,
    objective: str = "logistic",
) -> Scores:
    """Held-out scores of both samples, computed once for a pair of samples and a state of ``rng``."""
    group = averaging(x, invariant) if critic == "linear" else None
    x, y = represented(x, invariant), represented(y, invariant)
    key = ("critic", id(x), critic, objective, folds, repr(rng.bit_generator.state))
    fitted = _cross_fitted if objective == "logistic" else _cross_fitted_bound
    _, scores = y.once(key, lambda: (x, fitted(x, y, critic, folds, deepcopy(rng), group)))
    return scores


def averaging(samples: Samples, invariant: str | None) -> Group | None:
    """The group over which a linear critic averages its features; none if there are too many."""
    group = None if invariant is None else group_of(samples, invariant)
    return group if group is not None and group.size <= AVERAGED else None


@dataclass(frozen=True, eq=False)
class Deal:
    """The pooled rows that carry weight, dealt into folds.

    Columns are scaled to mean 0 and sd 1 where each sample counts one half, and constant ones left
    out. Rows and columns are put in an order of their own, so that the order in which they came
    moves no digit. ``mass`` sums to 1 in each sample. ``group`` acts on these columns.
    """

    points: Array
    sign: Array
    mass: Array
    fold: NDArray[np.intp]
    rows: tuple[NDArray[np.intp], NDArray[np.intp]]
    group: Group | None = None

    @property
    def p(self) -> NDArray[np.bool_]:
        """Which rows are of P."""
        return self.sign > 0

    def images(self) -> Iterator[Array]:
        """The rows moved by every element of the group."""
        if self.group is None:
            yield self.points
        else:
            yield from (self.group.moved(self.points, move) for move in self.group.moves)


def dealt(
    x: Samples, y: Samples, folds: int, rng: np.random.Generator, group: Group | None = None
) -> Deal:
    """Both samples, standardised and dealt: every fold gets its share of either.

    Scales that are the group's own leave it a group of signed permutations.
    """
    columns = np.lexsort(_moments(x.points, x.masses(), y.points, y.masses(), group))
    parts = [_sorted(samples, columns, folds) for samples in (x, y)]
    (u, a, of_x), (v, b, of_y) = parts
    group = group and group.among(columns)
    spread, mean = _moments(u, a, v, b, group)
    varies = spread > 1e-13 * np.abs(mean)
    points = (np.concatenate([u, v])[:, varies] - mean[varies]) / spread[varies]
    fold = [rng.permutation(np.arange(len(mass)) % folds) for mass in (a, b)]
    return Deal(
        points=points,
        sign=np.repeat([1.0, -1.0], [len(u), len(v)]),
        mass=np.concatenate([a, b]),
        fold=np.concatenate(fold),
        rows=(of_x, of_y),
        group=group and group.among(np.flatnonzero(varies)),
    )


def folds_of_rows(
    x: Samples, y: Samples, folds: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The fold of every row of either sample as `dealt`, -1 for those without weight."""
    deal = dealt(x, y, folds, rng)
    made = np.full(x.n, -1), np.full(y.n, -1)
    made[0][deal.rows[0]] = deal.fold[deal.p]
    made[1][deal.rows[1]] = deal.fold[~deal.p]
    return made


def _moments(
    u: Array, a: Array, v: Array, b: Array, group: Group | None = None
) -> tuple[Array, Array]:
    """Sd and mean of every column, each sample counting one half, and each image alike."""
    mean = 0.5 * (a @ u + b @ v)
    if group is not None:
        mean = group.mean(mean)
    squares = 0.5 * (a @ (u - mean) ** 2 + b @ (v - mean) ** 2)
    return np.sqrt(squares if group is None else group.mean_square(squares)), mean


def _sorted(
    samples: Samples, columns: NDArray[np.intp], folds: int
) -> tuple[Array, Array, NDArray[np.intp]]:
    """Rows that carry weight in lexicographic order, their masses and their numbers."""
    masses = _rounded(samples.masses())
    kept = np.flatnonzero(masses > 0)
    if len(kept) < folds:
        verb = "carries" if len(kept) == 1 else "carry"
        raise InconclusiveError(
            f"{samples.name}: {counted(len(kept), 'row')} {verb} weight, at least {folds} are needed, one "
            "for every fold; give more rows"
        )
    points = samples.points[np.ix_(kept, columns)]
    order = np.lexsort((masses[kept], *points.T[::-1]))
    kept = kept[order]
    return points[order], masses[kept] / masses[kept].sum(), kept


def _rounded(masses: Array) -> Array:
    """Masses with 40 bits: weights that differ by the rounding of their sum give the same fit."""
    fraction, exponent = np.frexp(masses)
    return np.ldexp(np.round(np.ldexp(fraction, 40)), exponent - 40)


def shares(deal: Deal, folds: int) -> Array:
    """Share of every row in the loss of every fold's critic, (N, K): one half for each sample."""
    outside = deal.fold[:, None] != np.arange(folds)
    mass = np.where(outside, deal.mass[:, None], 0.0)
    for rows in (deal.p, ~deal.p):
        mass[rows] *= 0.5 / mass[rows].sum(axis=0)
    return mass


def _cross_fitted(
    x: Samples,
    y: Samples,
    critic: str,
    folds: int,
    rng: np.random.Generator,
    group: Group | None,
) -> Scores:
    deal = dealt(x, y, folds, rng, group)
    if critic == "mlp":
        from divmatch.estimators.perceptron import held_out
    else:
        held_out = linear_scores
    scores, gain_seen, converged = held_out(deal, shares(deal, folds), rng)
    accuracy = accurate(deal, scores)
    of_rows = placed_rows(x, y, deal, scores)
    return Scores(*of_rows, gains(deal, scores), gain_seen, accuracy, converged)


def _cross_fitted_bound(
    x: Samples,
    y: Samples,
    critic: str,
    folds: int,
    rng: np.random.Generator,
    group: Group | None,
) -> Scores:
    """As `_cross_fitted`, on the bound of dv; both gains are values of that bound."""
    if critic == "mlp":
        raise SettingError(
            "--objective dv: the mlp is trained on the logistic loss; use --critic linear"
        )
    deal = dealt(x, y, folds, rng, group)
    scores, gain, gain_seen, converged = bound_scores(deal, shares(deal, folds), rng)
    accuracy = accurate(deal, middled(deal, scores))
    return Scores(*placed_rows(x, y, deal, scores), gain, gain_seen, accuracy, converged)


def placed_rows(x: Samples, y: Samples, deal: Deal, values: Array) -> tuple[Array, Array]:
    """Values of the dealt rows at the places that the rows came from, 0 for rows without weight."""
    made = np.zeros(x.n), np.zeros(y.n)
    made[0][deal.rows[0]] = values[deal.p]
    made[1][deal.rows[1]] = values[~deal.p]
    return made


def accurate(deal: Deal, scores: Array) -> float:
    """Share of rows whose score has the right sign, each sample counting one half."""
    right = np.where(deal.sign * scores > 0, 1.0, np.where(scores == 0, 0.5, 0.0))
    return 0.5 * float(deal.mass @ right)


def middled(deal: Deal, scores: Array) -> Array:
    """Scores less the middle of both samples' means, where samples without overlap leave it free."""
    return scores - 0.5 * float(deal.mass @ scores)


def gains(deal: Deal, scores: Array) -> float:
    """Ln 2 less the logistic loss of the scores, each sample counting one half."""
    return math.log(2.0) - 0.5 * float(deal.mass @ np.logaddexp(0.0, -deal.sign * scores))


# ------------------------------------------------------------------------------ linear critics


def linear_scores(deal: Deal, mass: Array, rng: np.random.Generator) -> tuple[Array, float, bool]:
    """Held-out scores, each fold's from the candidate that the other folds speak for.

    A candidate is a set of features with a scale for each kind; all are fitted side by side.
    """
    folds = np.arange(mass.shape[1])
    rows, scales = _features(deal, rng)
    ridge = RIDGE * max(1.0, RIDGE_FROM / rows.count)
    problems = Problems(rows.kept(), deal.sign, mass, scales, ridge)
    v, converged = fit(problems)
    seen = problems.loss(v)[0] - 0.5 * ridge * np.einsum("pkr,pkr->kr", v, v)
    scores = problems.scores(v, deal.fold)
    losses = deal.mass[:, None] * np.logaddexp(0.0, -deal.sign[:, None] * scores)
    best = np.array([_simplest(losses[deal.fold != k]) for k in folds])
    gain_seen = math.log(2.0) - float(seen[folds, best].mean())
    return scores[np.arange(len(scores)), best[deal.fold]], gain_seen, converged


def bound_scores(
    deal: Deal, mass: Array, rng: np.random.Generator
) -> tuple[Array, float, float, bool]:
    """As `linear_scores` by the bound of dv: scores, bound on held-out rows and rows seen, converged."""
    from divmatch.estimators.donsker_varadhan import Bounds

    folds = np.arange(mass.shape[1])
    rows, scales = _features(deal, rng)
    ridge = RIDGE * max(1.0, RIDGE_FROM / rows.count)
    problems = Bounds(rows.kept(), deal.sign, mass, scales, ridge)
    v, converged = fit(problems)
    seen, log_means = problems.unpenalised(v)
    scores = problems.scores(v, deal.fold) - log_means[deal.fold]
    means = np.log(deal.mass[~deal.p] @ np.exp(scores[~deal.p] - scores.max(axis=0)))
    centred = scores - (means + scores.max(axis=0))
    # the bound of scores whose exponentials have mean 1 is a sum over rows
    losses = deal.mass[:, None] * np.where(deal.p[:, None], -centred, np.exp(centred))
    best = np.array([_simplest(losses[deal.fold != k]) for k in folds])
    taken = scores[np.arange(len(scores)), best[deal.fold]]
    largest = taken.max()
    log_mean = float(np.log(deal.mass[~deal.p] @ np.exp(taken[~deal.p] - largest)) + largest)
    bound = float(deal.mass[deal.p] @ taken[deal.p]) - log_mean
    return taken, bound, -float(seen[folds, best].mean()), converged


def fitted_and_scored(deal: Deal, mass: Array, rng: np.random.Generator) -> Array:
    """Scores of all rows by one critic fitted to the rows that have mass, itself chosen by folds."""
    inner = 4
    seen = mass > 0
    fold = np.full(len(mass), inner)
    for side in (deal.p & seen, ~deal.p & seen):
        count = np.count_nonzero(side)
        fold[side] = rng.permutation(np.arange(count) % inner)
    shares = np.where(fold[:, None] == np.arange(inner + 1), 0.0, mass[:, None])
    rows, scales = _features(deal, rng)
    ridge = RIDGE * max(1.0, RIDGE_FROM / rows.count)
    problems = Problems(rows.kept(), deal.sign, shares, scales, ridge)
    scores = problems.scores(fit(problems)[0], fold)
    losses = mass[:, None] * np.logaddexp(0.0, -deal.sign[:, None] * scores)
    return scores[:, _simplest(losses)]


def _simplest(losses: Array) -> int:
    """The first candidate whose loss is within one standard error of the best one's."""
    best = losses.sum(axis=0).argmin()
    more = losses - losses[:, [best]]
    return int(np.argmax(more.sum(axis=0) <= np.sqrt((more**2).sum(axis=0))))


def _features(deal: Deal, rng: np.random.Generator) -> tuple[Rows, Array]:
    """1, columns, their squares and products, random Fourier features; and their scales (R, p)."""
    points = deal.points
    count, d = points.shape
    pairs = list(combinations(range(d), 2)) if d <= PRODUCTS_UP_TO else []
    left, right = (np.array([pair[side] for pair in pairs], dtype=int) for side in (0, 1))
    waves = min(FOURIER, 10 + count // 20) if d else 0
    frequencies = rng.standard_normal((d, waves)) / median_distance(deal, rng) if d else None
    phases = rng.uniform(0.0, 2.0 * math.pi, waves)
    centre, spread = _quadratic_moments(deal, left, right)

    def features(z: Array) -> Array:
        made = np.empty((len(z), 1 + 2 * d + len(pairs) + waves))
        made[:, 0] = 1.0
        made[:, 1 : 1 + d] = z
        quadratic = made[:, 1 + d : 1 + 2 * d + len(pairs)]
        quadratic[:, :d] = z * z
        quadratic[:, d:] = z[:, left] * z[:, right]
        quadratic -= centre
        quadratic /= spread
        if frequencies is not None:
            waved = made[:, 1 + 2 * d + len(pairs) :]
            np.cos(z @ frequencies + phases, out=waved)
            waved *= math.sqrt(2.0 / waves)
        return made

    average = features if deal.group is None else deal.group.averaged(features)
    kinds = np.repeat([0, 0, 1, 2, 3], [1, d, d, len(pairs), waves])
    scales = np.array(CANDIDATES)[:, kinds]
    scales[:, 0] = 10.0
    return Rows(count, len(kinds), lambda at: average(points[at])), scales


def _quadratic_moments(
    deal: Deal, left: NDArray[np.intp], right: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Mean and sd of squares and products, 1 where one does not vary."""
    mass = 0.5 * deal.mass
    count = 1 if deal.group is None else deal.group.size
    cross = of_squares = np.zeros((deal.points.shape[1],) * 2)
    for z in deal.images():
        squares = z * z
        cross = cross + (z * mass[:, None]).T @ z
        of_squares = of_squares + (squares * mass[:, None]).T @ squares
    cross, of_squares = cross / count, of_squares / count
    mean = np.concatenate([np.diag(cross), cross[left, right]])
    second = np.concatenate([np.diag(of_squares), of_squares[left, right]])
    spread = np.sqrt(np.maximum(second - mean**2, 0.0))
    return mean, np.where(spread > 1e-6, spread, 1.0)


def median_distance(deal: Deal, rng: np.random.Generator) -> float:
    """Median distance of pairs of rows drawn by weight; 1 where most coincide."""
    probability = 0.5 * deal.mass
    pairs = rng.choice(len(probability), (2, MEDIAN_ROWS), p=probability / probability.sum())
    left, right = deal.points[pairs[0]], deal.points[pairs[1]]
    if deal.group is not None:
        left, right = deal.group.scattered(left, rng), deal.group.scattered(right, rng)
    gaps = left - right
    median = float(np.median(np.sqrt(np.einsum("ij,ij->i", gaps, gaps))))
    return median if median > 0 else 1.0
