"""Methods as rivals: which of them predicts best, from held-out rows, which sample a row belongs to."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np

from divmatch.errors import InconclusiveError, counted
from divmatch.estimators.critics import critic_scores
from divmatch.estimators.evidence import (
    Evidence,
    Rows,
    correlated,
    evidence,
    normal_scores,
    of_gaussians,
    of_labels,
    standardised,
    whitened,
)
from divmatch.estimators.invariance import represented
from divmatch.estimators.label_counts import unseen_x
from divmatch.estimators.label_estimates import automatic, sizes, weighted_rows
from divmatch.estimators.label_estimates import counted as counted_labels
from divmatch.estimators.normality import looks_normal
from divmatch.samples import Samples

FOLDS = 5
LEAST_ROWS = 10  # fewer say nothing about which method predicts
SAME_LOSS = 1e-3  # nats; less is no evidence
FEW_COLUMNS = 2  # in more, a ball of k rows is too wide to be preferred
MOST_NEIGHBOURS = 32  # more cost time and blur; the mean over the rows averages out their noise


@dataclass(frozen=True, eq=False)
class Rival:
    """A method in coordinates of its own, and how well it predicts the labels of held-out rows."""

    name: str
    method: str
    x: Samples
    y: Samples
    settings: dict[str, object]
    evidence: Evidence
    unseen: float = 0.0  # share of P with no row of Q among its neighbours


@dataclass(frozen=True, eq=False)
class Choice:
    """The rival that was taken, those that predict as well, and why."""

    taken: Rival
    others: tuple[Rival, ...]
    reason: str
    unseen: float


def choice(x: Samples, y: Samples, invariant: str | None, rng: "np.random.Generator") -> Choice:
    """The rival to take, found once for a pair of samples, a group and a state of ``rng``."""
    key = ("auto", id(x), invariant, repr(rng.bit_generator.state))
    _, found = y.once(key, lambda: (x, _chosen(x, y, invariant, rng)))
    return found


def enough(x: Samples, y: Samples) -> None:
    """Refuse samples that are too small to choose a method by."""
    for samples, size in zip((x, y), sizes(x, y), strict=True):
        if size < LEAST_ROWS:
            raise InconclusiveError(
                f"{samples.name}: {counted(size, 'row')} with weight, at least {LEAST_ROWS} are needed to "
                "choose a method; give more rows or name one with --method"
            )


def _chosen(x: Samples, y: Samples, invariant: str | None, rng: "np.random.Generator") -> Choice:
    normal = looks_normal(x) and looks_normal(y)
    rivals = _rivals(x, y, invariant, rng)
    if normal:
        rivals.sort(key=lambda rival: rival.name != "gaussian")
    skilled = [rival for rival in rivals if not rival.evidence.without_skill()] or rivals
    best = min(skilled, key=lambda rival: rival.evidence.loss)
    near = [rival for rival in skilled if _within(rival, best, 1.0)]
    taken = near[0]
    reason = "its held-out loss is the least"
    if normal and skilled[0].name == "gaussian" and _within(skilled[0], best, 3.0):
        taken, reason = skilled[0], "skewness and kurtosis fit two Gaussians"
    elif taken is not best:
        reason = f"its held-out loss is within one standard error of the least, {best.name}"
    others = tuple(rival for rival in near if rival is not taken)
    unseen = min((rival.unseen for rival in rivals if rival.method == "nnr"), default=0.0)
    return Choice(taken, others, reason, unseen)


def _within(rival: Rival, best: Rival, errors: float) -> bool:
    more, error = rival.evidence.excess(best.evidence)
    return more <= errors * error + SAME_LOSS


def _rivals(
    x: Samples, y: Samples, invariant: str | None, rng: "np.random.Generator"
) -> list[Rival]:
    """All methods that have rows enough, in the order of preference.

    Of a Gaussian that a group leaves as it is, the rows are Gaussian and their representatives not.
    """
    made: list[Rival] = []
    missing: list[InconclusiveError] = []
    models: list[Callable[[], list[Rival]]] = [
        partial(_gaussians, "gaussian", x, y, rng),
        partial(_classifier, x, y, invariant, rng),
        partial(_gaussians, "gaussian, normal scores", *normal_scores(x, y), rng),
    ]
    u, v = represented(x, invariant), represented(y, invariant)
    neighbours: list[Callable[[], list[Rival]]] = [partial(_neighbours, "nnr", *standardised(u, v))]
    if correlated(u, v):
        neighbours.append(partial(_neighbours, "nnr, whitened", *whitened(u, v)))
    few = x.d <= FEW_COLUMNS
    for maker in [*neighbours, *models] if few else [*models, *neighbours]:
        try:
            made += maker()
        except InconclusiveError as error:
            missing.append(error)
    if not made:
        raise missing[0]
    return made


def _neighbours(name: str, x: Samples, y: Samples) -> list[Rival]:
    """Twice the usual number of neighbours, then the usual one."""
    usual = min(automatic("auto", *sizes(x, y)), MOST_NEIGHBOURS)
    ks = (usual, 2 * usual)
    kept: list[Rows] = [
        slice(None) if mask is None else mask for mask in map(weighted_rows, (x, y))
    ]
    return [
        Rival(
            f"{name}, k={k}",
            "nnr",
            x,
            y,
            {"k": k},
            of_labels(x, y, counts, (kept[0], kept[1])),
            unseen_x(counts),
        )
        for k, counts in reversed(list(zip(ks, counted_labels(x, y, ks), strict=True)))
    ]


def _gaussians(name: str, x: Samples, y: Samples, rng: "np.random.Generator") -> list[Rival]:
    found = of_gaussians(x, y, FOLDS, deepcopy(rng))
    return [Rival(name, "gaussian", x, y, {}, found)]


def _classifier(
    x: Samples, y: Samples, invariant: str | None, rng: "np.random.Generator"
) -> list[Rival]:
    scores = critic_scores(x, y, "linear", FOLDS, rng, invariant)
    found = evidence(x, y, scores.x, scores.y)
    return [Rival("classifier", "classifier", x, y, {"invariant": invariant}, found)]
