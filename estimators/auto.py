"""The automatic method: held-out evidence chooses among Gaussians, neighbours and a classifier."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from divmatch.errors import InconclusiveError
from divmatch.estimator import Estimate, Estimator, Pooled, Quantity, influence_se
from divmatch.estimators.critics import critic_scores
from divmatch.estimators.divergences import FDIV, KIND, KL, ORDER, RENYI, Kind, Order, Tsallis
from divmatch.estimators.evidence import (
    Evidence,
    Rows,
    evidence,
    looks_normal,
    normal_scores,
    of_gaussians,
    of_labels,
    standardised,
    whitened,
)
from divmatch.estimators.label_counts import unseen_x
from divmatch.estimators.label_estimates import (
    automatic,
    counted,
    f_reading,
    planned,
    renyi_reading,
    sizes,
    weighted_rows,
)
from divmatch.record import Note
from divmatch.samples import Samples

FOLDS = 5
ALONE = np.ones(1)
SAME_LOSS = 1e-3  # nats; less is no evidence
UNSEEN = 0.05
CURSED = 10  # columns from which neighbours are too far apart to see where p and q change
SOURCE = "held-out likelihood with the rule of one standard error: Breiman et al. 1984, CART, 3.4.3"


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


@KL.estimator("auto", source=SOURCE)
def kl_auto(x: Samples, y: Samples, *, rng: np.random.Generator) -> Estimate:
    """Kullback-Leibler divergence KL(P || Q), by the method that held-out rows speak for.

    The methods nnr (in standardised and in whitened columns), gaussian (in the columns and in their
    normal scores, which leave KL as it is) and classifier each predict, for rows that they have not
    seen, which sample a row belongs to. Among those whose logistic loss is within one standard error
    of the least, the first in this order gives the value, the influences and the warnings. Where
    skewness and kurtosis do not speak against two Gaussians, gaussian comes first, and three standard
    errors are needed to overrule it. The result says which method was chosen, why, and the losses.

    Losses are compared free of the noise that the estimate itself does not have: the 1 / (2 k) of k
    labels, which averages out, and the overfitting of the moments, which is corrected for.

    Use it unless you know better. It follows correlated, rounded, tied, discrete and skewed columns;
    a warning says when the methods that the evidence cannot tell apart disagree on the value, or when
    neighbours are all there is in many columns. The p-value is that of the method nnr, whose
    permutations are cheap.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    rng : numpy.random.Generator
        Its state decides the folds and the random features; it is left as it was.

    Returns
    -------
    Estimate
        KL in nats, any sign, with the influence of every row by the method chosen.

    Raises
    ------
    InconclusiveError
        When no method has rows enough.

    Notes
    -----
    Cost: two neighbour searches in the pool, six covariances, and a classifier fitted in five folds.

    Source: held-out likelihood with the rule of one standard error: Breiman et al. 1984, CART,
    3.4.3; normality: D'Agostino & Pearson 1973, Mardia 1970.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> found = divmatch.kl(x, y, method="auto")
    >>> round(found.value, 1), found.params["chosen"]
    (0.5, 'gaussian')
    """
    return _auto(KL, x, y, {}, rng)


@RENYI.estimator("auto", source=SOURCE)
def renyi_auto(
    x: Samples,
    y: Samples,
    *,
    alpha: Order = ORDER,
    tsallis: Tsallis = False,
    rng: np.random.Generator,
) -> Estimate:
    """Renyi divergence of order a, by the method that held-out rows speak for.

    The choice among nnr, gaussian and classifier is that of `kl --method auto`: it depends on the rows
    and not on the order. Zero if and only if the distributions agree; R_a grows with a.

    Use it unless you know better. Orders above 1 rest on the few rows where p/q is largest. A warning
    says when methods that the evidence cannot tell apart disagree. The p-value is that of the
    method nnr.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    alpha : float
        Order a; 1 is KL, inf is refused.
    tsallis : bool
        Report (I_a − 1) / (a − 1).
    rng : numpy.random.Generator
        Its state decides the folds and the random features; it is left as it was.

    Returns
    -------
    Estimate
        Nats, any sign; Tsallis' without unit. With the influence of every row.

    Raises
    ------
    InconclusiveError
        When no method has rows enough.
    SettingError
        For alpha inf, which no sample can estimate.

    Notes
    -----
    Cost: as `kl --method auto`; further orders are nearly free.

    Source: held-out likelihood with the rule of one standard error: Breiman et al. 1984, CART,
    3.4.3.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.renyi(x, y, alpha=0.5, method="auto").value, 1)
    0.2
    """
    renyi_reading(alpha, tsallis, "gamma", 0.0)  # refuses inf
    return _auto(RENYI, x, y, {"alpha": alpha, "tsallis": tsallis}, rng)


@FDIV.estimator("auto", source=SOURCE)
def fdiv_auto(x: Samples, y: Samples, *, kind: Kind = KIND, rng: np.random.Generator) -> Estimate:
    """f-divergence between two samples, by the method that held-out rows speak for.

    The choice among nnr, gaussian and classifier is that of `kl --method auto`: it depends on the rows
    and not on the kind, so that several kinds share it.

    Use it unless you know better. A warning says when methods that the evidence cannot tell apart
    disagree. The p-value is that of the method nnr.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Which f-divergence.
    rng : numpy.random.Generator
        Its state decides the folds and the random features; it is left as it was.

    Returns
    -------
    Estimate
        In the unit of the kind, any sign, with the influence of every row.

    Raises
    ------
    InconclusiveError
        When no method has rows enough.

    Notes
    -----
    Cost: as `kl --method auto`; further kinds are nearly free.

    Source: held-out likelihood with the rule of one standard error: Breiman et al. 1984, CART,
    3.4.3.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.fdiv(x, y, kind="js", method="auto").value, 1)
    0.1
    """
    return _auto(FDIV, x, y, {"kind": kind}, rng)


# ----------------------------------------------------------------------------------- choosing


def choice(x: Samples, y: Samples, rng: np.random.Generator) -> Choice:
    """The rival to take, found once for a pair of samples and a state of ``rng``."""
    key = ("auto", id(x), repr(rng.bit_generator.state))
    _, found = y.once(key, lambda: (x, _chosen(x, y, rng)))
    return found


def _chosen(x: Samples, y: Samples, rng: np.random.Generator) -> Choice:
    normal = looks_normal(x) and looks_normal(y)
    rivals = _rivals(x, y, rng)
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


def _rivals(x: Samples, y: Samples, rng: np.random.Generator) -> list[Rival]:
    """All methods that have rows enough, in the order of preference."""
    made: list[Rival] = []
    missing: list[InconclusiveError] = []
    makers: list[Callable[[], list[Rival]]] = [
        partial(_neighbours, "nnr", *standardised(x, y)),
        partial(_neighbours, "nnr, whitened", *whitened(x, y)),
        partial(_gaussians, "gaussian", x, y, rng),
        partial(_classifier, x, y, rng),
        partial(_gaussians, "gaussian, normal scores", *normal_scores(x, y), rng),
    ]
    for maker in makers:
        try:
            made += maker()
        except InconclusiveError as error:
            missing.append(error)
    if not made:
        raise missing[0]
    return made


def _neighbours(name: str, x: Samples, y: Samples) -> list[Rival]:
    """Twice the usual number of neighbours, then the usual one."""
    usual = automatic("auto", *sizes(x, y))
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
        for k, counts in reversed(list(zip(ks, counted(x, y, ks), strict=True)))
    ]


def _gaussians(name: str, x: Samples, y: Samples, rng: np.random.Generator) -> list[Rival]:
    found = of_gaussians(x, y, FOLDS, deepcopy(rng))
    return [Rival(name, "gaussian", x, y, {}, found)]


def _classifier(x: Samples, y: Samples, rng: np.random.Generator) -> list[Rival]:
    scores = critic_scores(x, y, "linear", FOLDS, rng)
    found = evidence(x, y, scores.x, scores.y)
    return [Rival("classifier", "classifier", x, y, {"rng": rng}, found)]


# ----------------------------------------------------------------------------------- estimates


def _auto(
    of: Quantity, x: Samples, y: Samples, settings: dict[str, object], rng: np.random.Generator
) -> Estimate:
    found = choice(x, y, rng)
    taken = _estimate(of, found.taken, settings)
    others = {rival.name: _value(of, rival, settings) for rival in found.others}
    losses = {r.name: round(r.evidence.loss, 6) for r in (found.taken, *found.others)}
    params = {"chosen": found.taken.name, "reason": found.reason, "losses": losses}
    notes = (*taken.notes, *_doubts(taken, found, others))
    return replace(taken, params=params | ({"others": others} if others else {}), notes=notes)


def _estimate(of: Quantity, rival: Rival, settings: dict[str, object]) -> Estimate:
    estimator: Estimator = of.methods[rival.method]
    given = {name: value for name, value in rival.settings.items() if name != "rng"}
    hidden = {"rng": rival.settings["rng"]} if "rng" in rival.settings else {}
    return estimator(rival.x, rival.y, **estimator.checked({**settings, **given}), **hidden)


def _value(of: Quantity, rival: Rival, settings: dict[str, object]) -> float | None:
    try:
        value = _estimate(of, rival, settings).value
    except InconclusiveError:
        return None
    return value if math.isfinite(value) else None


def _doubts(taken: Estimate, found: Choice, others: dict[str, float | None]) -> tuple[Note, ...]:
    """Warnings that no method may be right."""
    return (
        *_far_apart(taken, found),
        *_cursed(found.taken),
        *_disagreeing(taken, found.taken, others),
    )


def _far_apart(taken: Estimate, found: Choice) -> tuple[Note, ...]:
    """Rows of P without Q around them: only a model of the tails knows the ratio there."""
    said = {note.code for note in taken.notes}
    if found.unseen <= UNSEEN or found.taken.name == "gaussian" or "W07" in said:
        return ()
    return (
        Note(
            "W07",
            f"{found.unseen:.0%} of the rows of P have no row of Q among their neighbours: the value "
            f"there rests on {found.taken.name} alone, and the divergence may be inf",
        ),
    )


def _cursed(rival: Rival) -> tuple[Note, ...]:
    """Neighbours in many columns."""
    if rival.method != "nnr" or rival.x.d <= CURSED:
        return ()
    return (
        Note(
            "W24",
            f"neighbours predict best in {rival.x.d} columns, where they are biased towards zero: "
            "the value is not reliable; give more rows or fewer columns",
        ),
    )


def _disagreeing(
    taken: Estimate, rival: Rival, others: dict[str, float | None]
) -> tuple[Note, ...]:
    """Methods that the evidence cannot tell apart, with other values."""
    known = {name: value for name, value in others.items() if value is not None}
    if not known:
        return ()
    name = max(known, key=lambda name: abs(known[name] - taken.value))
    gap = abs(known[name] - taken.value)
    if gap <= 3.0 * _error(taken, rival):
        return ()
    return (
        Note(
            "W24",
            f"{rival.name} and {name} predict equally well, but differ by {gap:.3g}: the value is not "
            "reliable; give more rows or choose with --method",
        ),
    )


def _error(taken: Estimate, rival: Rival) -> float:
    return influence_se(taken, rival.x, rival.y) or math.inf


# ----------------------------------------------------------------------------------- p-values


def _usual(pool: Samples) -> int:
    return automatic("auto", pool.n // 2, pool.n - pool.n // 2)


@kl_auto.pooled
def _kl_plan(pool: Samples, **_: object) -> Pooled:
    return planned(f_reading("kl", "gamma", 0.0), pool, (_usual(pool),), ALONE)


@renyi_auto.pooled
def _renyi_plan(pool: Samples, alpha: float, tsallis: bool, **_: object) -> Pooled:
    return planned(renyi_reading(alpha, tsallis, "gamma", 0.0), pool, (_usual(pool),), ALONE)


@fdiv_auto.pooled
def _fdiv_plan(pool: Samples, kind: str, **_: object) -> Pooled:
    return planned(f_reading(kind, "gamma", 0.0), pool, (_usual(pool),), ALONE)
