"""Linear critics: candidates of features and their scales, fitted side by side and chosen by folds."""

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.donsker_varadhan import Bounds
from divmatch.estimators.folds import Deal, median_distance
from divmatch.kernels.logistic import Problems, Rows, fit

Array = NDArray[np.float64]

FOURIER = 200  # random Fourier features, fewer for small samples
PRODUCTS_UP_TO = 16  # columns up to which all pairwise products are features
RIDGE, RIDGE_FROM = 1e-4, 2000  # penalty, larger in inverse proportion below this many rows
NEAR = 0.25  # standard errors by which a simpler candidate may be worse than the best
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


def linear_scores(deal: Deal, mass: Array, rng: "np.random.Generator") -> tuple[Array, float, bool]:
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
    deal: Deal, mass: Array, rng: "np.random.Generator"
) -> tuple[Array, float, float, bool]:
    """As `linear_scores` by the bound of dv: scores, bound on held-out rows and rows seen, converged."""
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


def fitted_and_scored(deal: Deal, mass: Array, rng: "np.random.Generator") -> Array:
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
    """The first candidate whose loss is next to the best one's, in standard errors of the difference.

    A whole standard error is the usual rule; here it would take timid critics, whose values are low.
    """
    best = losses.sum(axis=0).argmin()
    more = losses - losses[:, [best]]
    return int(np.argmax(more.sum(axis=0) <= NEAR * np.sqrt((more**2).sum(axis=0))))


def _features(deal: Deal, rng: "np.random.Generator") -> tuple[Rows, Array]:
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
