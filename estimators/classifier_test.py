"""Classifier two-sample test: how well rows that a classifier has not seen can be told apart."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.estimator import Estimate, Quantity
from divmatch.estimators.critics import averaging
from divmatch.estimators.folds import Deal, dealt
from divmatch.estimators.invariance import Invariant, represented
from divmatch.estimators.linear_critics import fitted_and_scored
from divmatch.kernels.execution import execution
from divmatch.record import Test
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Classifier = Annotated[
    Literal["logistic", "knn", "mlp", "hist-gradient-boosting"],
    Setting("what tells the samples apart"),
]
LEAST_P = 2.0**-1022  # a p-value is never 0
LEVEL = 0.95  # of the certified lower bound of the total variation
MANY_NUMBERS = 1_000_000  # below, threads of gradient boosting wait for each other

UNITS = {"logistic": "nats", "wgan": "data unit"}  # of the method network, by its mode


def title(settings: Mapping[str, Any]) -> str:
    """What the method computes: only the method network has a mode."""
    if "mode" in settings:
        return f"neural-network divergence ({settings['mode']})"
    return "classifier two-sample test"


C2ST = Quantity(
    "c2st",
    title=title,
    unit=lambda settings: UNITS.get(settings.get("mode", ""), "1"),
    nats=True,
    direction="P||Q",
    default="split",
    examples=(
        "divmatch c2st real.npy gen.npy",
        "divmatch c2st real.npy gen.npy --classifier hist-gradient-boosting -f json",
        "divmatch c2st real.npy gen.npy --method network --mode wgan --critic mlp",
    ),
)


@C2ST.estimator("split", source="Lopez-Paz & Oquab 2017, ICLR (arXiv 1610.06545)")
def c2st(
    x: Samples,
    y: Samples,
    *,
    classifier: Classifier = "logistic",
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """Classifier two-sample test: twice the balanced accuracy on held-out rows, less one.

    A classifier is trained on half of the rows of each sample and judged on the other half;
    the value is the share of P it gets right plus that of Q, less 1: 0 where it does no better than
    chance, 1 where it makes no mistake, below 0 where it does worse than chance. On average it is
    a lower bound of the total variation, equal to it for the best possible classifier; twice the
    value is the proxy A-distance. The interval is for this classifier.

    Use it for a difference that must be found among many columns, and for a bound on the total
    variation that holds for any distributions. The result holds accuracy, AUC (ties count one
    half), the proxy A-distance, a lower bound of the total variation with 95 % confidence
    (Clopper-Pearson for each sample) and the p-value over all permutations of the labels of the
    held-out rows (Fisher's exact test, exact-labels); bound and test are null with weights.
    --permutations trains a classifier for every permutation of all labels; its p-value then is the
    result's. With one column the result also holds the H-divergence for thresholds, 2 sup |F − G|,
    of all rows: exact, and biased upward.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    classifier : str
        logistic has the features of the linear critic; knn votes among the neighbours in the
        training half, as many as the root of their number; mlp has two hidden layers of 64 units;
        hist-gradient-boosting is scikit-learn's, with its defaults.
    invariant : str
        Group under which both distributions are unchanged: perm:COLS, flip:COLS, cyclic:COLS or
        rot90:I,J. The logistic classifier averages its features over each row's orbit, up to 120
        elements; larger groups, and the other classifiers, take one row of each orbit. Under a
        group that does not fit, test and bound stay valid: they are those of the orbits.
    rng : numpy.random.Generator
        Its state decides the halves; it is left as it was.

    Returns
    -------
    Estimate
        Value in [-1, 1], with the influence of every row.

    Raises
    ------
    InconclusiveError
        With fewer than two rows in a sample.

    Notes
    -----
    Cost: one training; logistic about fifteen passes over (n + m) p numbers, p up to 370.

    Source: Lopez-Paz & Oquab 2017 (arXiv 1610.06545); proxy A-distance: Ben-David et al. 2007.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.c2st(x, y).value, 1)
    0.4
    """
    from copy import deepcopy

    rng = deepcopy(rng)
    group = averaging(x, invariant) if classifier == "logistic" else None
    deal = dealt(represented(x, invariant), represented(y, invariant), 2, rng, group)
    scores = trained_scores(deal, classifier, rng)
    right = np.where(deal.sign * scores > 0, 1.0, np.where(scores == 0, 0.5, 0.0))
    found = held_means(x, y, deal, right)
    value = found.p + found.q - 1.0
    held = deal.fold == 1
    test = Held(scores[held], deal.sign[held], deal.mass[held])
    weighted = x.weights is not None or y.weights is not None
    p_value = None if weighted else test.p_value()
    return Estimate(
        value,
        terms_x=found.terms_x,
        terms_y=found.terms_y,
        params={
            "accuracy": test.accuracy(),
            "balanced_accuracy": 0.5 * (1.0 + value),
            "auc": test.auc(),
            "proxy_a_distance": 2.0 * value,
            "tv_lower": None if weighted else test.tv_lower(),
            "h_divergence": h_divergence(x, y) if x.d == 1 else None,
        },
        test=None if p_value is None else Test(p_value, "exact-labels", 0, {}),
    )


@dataclass(frozen=True, eq=False)
class HeldMeans:
    """Means over the held-out rows of either sample, and the influence of every row on each."""

    p: float
    q: float
    terms_x: Array
    terms_y: Array


def held_means(x: Samples, y: Samples, deal: Deal, values: Array) -> HeldMeans:
    """Means of ``values`` (one a row of the deal) over the rows of fold 1 of P and of Q."""
    held = deal.fold == 1
    terms, means = [], []
    for samples, side, numbers in zip((x, y), (deal.p, ~deal.p), deal.rows, strict=True):
        mass = np.where(held, deal.mass, 0.0)[side]
        total = math.fsum(mass)
        mean = math.fsum(mass * values[side]) / total  # exact where all values are one half
        made = np.zeros(samples.n)
        made[numbers] = held[side] * (values[side] - mean) / total
        terms.append(made)
        means.append(mean)
    return HeldMeans(means[0], means[1], terms[0], terms[1])


def h_divergence(x: Samples, y: Samples) -> float:
    """H-divergence of one column for the classifiers z > t: 2 sup over t of |F(t) − G(t)|."""
    values, place = np.unique(np.concatenate([x.points, y.points]), return_inverse=True)
    signed = np.concatenate([x.masses(), -y.masses()])
    gap = np.cumsum(np.bincount(place.reshape(-1), signed, len(values)))
    return 2.0 * float(np.abs(gap).max())


# ---------------------------------------------------------------------------------- judgement


class Held:
    """Scores, labels (+1 for P, −1 for Q) and masses of the held-out rows."""

    def __init__(self, scores: Array, sign: Array, mass: Array) -> None:
        self.scores, self.sign, self.mass = scores, sign, mass
        self.p = sign > 0
        self.called_p = scores > 0  # a score of 0 is called Q

    def accuracy(self) -> float:
        """Share of the rows that are called by their name, every row by its weight in the pool."""
        sizes = np.where(self.p, np.count_nonzero(self.p), np.count_nonzero(~self.p))
        total = np.where(self.p, self.mass[self.p].sum(), self.mass[~self.p].sum())
        weights = self.mass * sizes / total
        return float(weights @ (self.called_p == self.p) / weights.sum())

    def auc(self) -> float:
        """P(score of P above score of Q) + ½ P(equal): ties averaged."""
        values, place = np.unique(self.scores, return_inverse=True)
        of_p, of_q = (
            np.bincount(place[side], self.mass[side], len(values)) for side in (self.p, ~self.p)
        )
        below = np.cumsum(of_q) - 0.5 * of_q
        return float(of_p @ below / (of_p.sum() * of_q.sum()))

    def tv_lower(self) -> float:
        """Lower 95 % bound of P(called P) − Q(called P), which is at most the total variation."""
        from scipy.special import betaincinv

        low = 0.0
        for side, right in ((self.p, self.called_p), (~self.p, ~self.called_p)):
            count, hits = int(np.count_nonzero(side)), int(np.count_nonzero(side & right))
            tail = 0.5 * (1.0 - LEVEL)
            low += float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
        return max(low - 1.0, 0.0)

    def p_value(self) -> float:
        """Probability of as many rows of P called P when the labels are dealt at random."""
        total, called = len(self.p), int(np.count_nonzero(self.called_p))
        of_p, hits = int(np.count_nonzero(self.p)), int(np.count_nonzero(self.p & self.called_p))
        counts = np.arange(hits, min(called, of_p) + 1)
        chances = [
            _log_choose(called, k) + _log_choose(total - called, of_p - k)
            for k in counts.tolist()
            if of_p - k <= total - called
        ]
        base = _log_choose(total, of_p)
        total_chance = math.fsum(math.exp(chance - base) for chance in chances)
        return min(1.0, max(total_chance, LEAST_P))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


# -------------------------------------------------------------------------------- classifiers


def trained_scores(deal: Deal, classifier: str, rng: "np.random.Generator") -> Array:
    """Scores of all rows, above 0 for P, by a classifier of the rows of fold 0."""
    seen = deal.fold == 0
    mass = np.where(seen, deal.mass, 0.0)
    for side in (deal.p, ~deal.p):
        mass[side] *= 0.5 / mass[side].sum()
    if deal.points.shape[1] == 0:  # all rows are equal
        return np.zeros(len(mass))
    if classifier == "logistic":
        return fitted_and_scored(deal, mass, rng)
    if classifier == "mlp":
        from divmatch.estimators.perceptron import trained

        return trained(deal, mass, rng)[0]
    if classifier == "knn":
        return _votes(deal, mass, seen)
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    model = HistGradientBoostingClassifier(random_state=0)
    weights = mass[seen] * np.count_nonzero(seen)
    threads = execution().threads if deal.points.size > MANY_NUMBERS else 1  # else all cores
    with threadpool_limits(limits=threads, user_api="openmp"):
        model.fit(deal.points[seen], deal.p[seen], sample_weight=weights)
        scores: Array = model.decision_function(deal.points)
    return scores


def _votes(deal: Deal, mass: Array, seen: NDArray[np.bool_]) -> Array:
    """Mass of P less mass of Q among the nearest rows of the training half."""
    from divmatch.kernels.neighbours import Neighbours

    training = np.flatnonzero(seen)
    k = max(1, math.isqrt(len(training)))
    _, near = Neighbours(deal.points[training]).nearest(deal.points, k)
    votes = (mass * deal.sign)[training][near].sum(axis=1)
    return np.where(np.abs(votes) < 1e-12 * mass.max(), 0.0, votes)
