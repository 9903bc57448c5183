"""The automatic method: held-out evidence chooses among Gaussians, neighbours and a classifier."""

import math
from dataclasses import replace

import numpy as np

from divmatch.errors import InconclusiveError
from divmatch.estimator import Estimate, Estimator, Pooled, Quantity, influence_se
from divmatch.estimators.balls import places
from divmatch.estimators.categories import countable
from divmatch.estimators.divergences import FDIV, KIND, KL, ORDER, RENYI, Kind, Order, Tsallis
from divmatch.estimators.invariance import Invariant, represented
from divmatch.estimators.label_estimates import (
    Reading,
    automatic,
    f_reading,
    planned,
    renyi_reading,
)
from divmatch.estimators.planes import on_a_plane
from divmatch.estimators.rivals import Choice, Rival, choice, enough
from divmatch.record import Note
from divmatch.samples import Samples

ALONE = np.ones(1)
UNSEEN = 0.05
SAME_VALUE = 0.01
CURSED = 10  # columns from which neighbours are too far apart to see where p and q change
SOURCE = "held-out likelihood with the rule of one standard error: Breiman et al. 1984, CART, 3.4.3"


@KL.estimator("auto", source=SOURCE)
def kl_auto(
    x: Samples, y: Samples, *, invariant: Invariant = None, rng: "np.random.Generator"
) -> Estimate:
    """Kullback-Leibler divergence KL(P || Q), by the method that held-out rows speak for.

    The methods nnr (in standardised and, where columns are correlated, in whitened columns),
    gaussian (in the columns and in their normal scores, which leave KL as it is) and classifier each
    predict, for rows that they have not seen, which sample a row belongs to. Among those whose
    logistic loss is within one standard error of the least, the first in this order gives the value,
    the influences and the warnings; in more than two columns nnr comes last. Where skewness and
    kurtosis do not speak against two Gaussians, gaussian comes first, and three standard errors are
    needed to overrule it. The result says which method was chosen, why, and the losses.

    Losses are compared free of the noise that the estimate itself does not have: the 1 / (2 k) of k
    labels, which averages out, and the overfitting of the moments, which is corrected for.

    Columns of few values (at most 10, as the columns of a category have) whose distinct rows are well
    filled are counted: the method discrete gives the value, inf where Q lacks a category of P.

    Use it unless you know better. It follows correlated, rounded, tied, discrete and skewed columns;
    a warning says when the methods that the evidence cannot tell apart disagree on the value, or when
    neighbours are all there is in many columns. The p-value is that of the method nnr, whose
    permutations are cheap.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    invariant : str
        Group under which both distributions are unchanged, as for the method knn: nnr takes one row
        of each orbit, classifier averages its features over the orbit, gaussian is left as it is.
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
    return _auto(KL, x, y, {}, invariant, rng)


@RENYI.estimator("auto", source=SOURCE)
def renyi_auto(
    x: Samples,
    y: Samples,
    *,
    alpha: Order = ORDER,
    tsallis: Tsallis = False,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """Renyi divergence of order a, by the method that held-out rows speak for.

    The choice among nnr, gaussian and classifier is made as by `kl --method auto`, on the rows and
    not on the order; rows of few values are counted. Zero if and only if the distributions agree; R_a
    grows with a.

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
    invariant : str
        As for the method auto of kl.
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
    >>> round(divmatch.renyi(x, y, alpha=2, method="auto").value, 1)
    1.0
    """
    renyi_reading(alpha, tsallis, "gamma", 0.0)  # refuses inf
    return _auto(RENYI, x, y, {"alpha": alpha, "tsallis": tsallis}, invariant, rng)


@FDIV.estimator("auto", source=SOURCE)
def fdiv_auto(
    x: Samples,
    y: Samples,
    *,
    kind: Kind = KIND,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """f-divergence between two samples, by the method that held-out rows speak for.

    The choice among nnr, gaussian and classifier is made as by `kl --method auto`, on the rows and
    not on the kind, so that several kinds share it; rows of few values are counted.

    Use it unless you know better. A warning says when methods that the evidence cannot tell apart
    disagree. The p-value is that of the method nnr.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Which f-divergence.
    invariant : str
        As for the method auto of kl.
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
    return _auto(FDIV, x, y, {"kind": kind}, invariant, rng)


# ----------------------------------------------------------------------------------- estimates


def _auto(
    of: Quantity,
    x: Samples,
    y: Samples,
    settings: dict[str, object],
    invariant: str | None,
    rng: "np.random.Generator",
) -> Estimate:
    enough(x, y)
    counted = countable(x, y) if invariant is None else None
    if counted is not None:
        return _of_counts(of, x, y, settings, counted)
    found = choice(x, y, invariant, rng)
    taken = _estimate(of, found.taken, settings, rng)
    near = {rival.name: _known(of, rival, settings, rng) for rival in found.others}
    others = {name: other and other[0] for name, other in near.items()}
    losses = {r.name: round(r.evidence.loss, 6) for r in (found.taken, *found.others)}
    params = {"chosen": found.taken.name, "reason": found.reason, "losses": losses}
    notes = (
        *taken.notes,
        *_far_apart(taken, found),
        *_atoms(taken, x, y),
        *on_a_plane(x, y),
        *_cursed(found.taken),
        *_disagreeing(taken, found.taken, near),
    )
    return replace(taken, params=params | ({"others": others} if others else {}), notes=notes)


def _of_counts(
    of: Quantity, x: Samples, y: Samples, settings: dict[str, object], reason: str
) -> Estimate:
    """Rows of few values need no model: their shares are the probabilities."""
    estimator = of.methods["discrete"]
    found = estimator(x, y, **estimator.checked(settings))
    chosen = {"chosen": "discrete", "reason": reason, "losses": {}}
    return replace(found, params=chosen | dict(found.params))


def _estimate(
    of: Quantity, rival: Rival, settings: dict[str, object], rng: "np.random.Generator"
) -> Estimate:
    estimator: Estimator = of.methods[rival.method]
    hidden = {"rng": rng} if estimator.random else {}
    return estimator(rival.x, rival.y, **estimator.checked(settings | rival.settings), **hidden)


def _known(
    of: Quantity, rival: Rival, settings: dict[str, object], rng: "np.random.Generator"
) -> tuple[float, float] | None:
    """The value of a rival and its standard error, where it has both."""
    try:
        found = _estimate(of, rival, settings, rng)
    except InconclusiveError:
        return None
    error = _error(found, rival)
    return (found.value, error) if math.isfinite(found.value + error) else None


def _error(found: Estimate, rival: Rival) -> float:
    error = influence_se(found, rival.x, rival.y)
    return math.inf if error is None else math.hypot(error, found.error or 0.0)


def _far_apart(taken: Estimate, found: Choice) -> tuple[Note, ...]:
    """Rows of P without Q around them: only a model of the tails knows the ratio there."""
    said = {note.code for note in taken.notes}
    if found.unseen <= UNSEEN or found.taken.name == "gaussian" or "W07" in said:
        return ()
    return (
        Note(
            "W07",
            f"{found.unseen:.0%} of the rows of P have no row of Q among their neighbours: the value "
            f"there rests on {found.taken.name} alone, and the divergence may be far larger",
        ),
    )


def _atoms(taken: Estimate, x: Samples, y: Samples) -> tuple[Note, ...]:
    """Values that one sample repeats and the other, which repeats none, does not have.

    A density hides them, though the distributions share no mass there.
    """
    if "W07" in {note.code for note in taken.notes}:
        return ()
    place = places(np.concatenate([x.points, y.points]))
    of_x, of_y = place.of_row[: x.n], place.of_row[x.n :]
    in_x, in_y = (np.bincount(of, minlength=len(place.points)) for of in (of_x, of_y))
    for samples, of, own, other, masses, others in (
        ("P", of_x, in_x, in_y, x.masses(), y.masses() @ (in_y[of_y] > 1)),
        ("Q", of_y, in_y, in_x, y.masses(), x.masses() @ (in_x[of_x] > 1)),
    ):
        alone = float(masses @ ((own[of] > 1) & (other[of] == 0)))
        if alone > UNSEEN and others <= UNSEEN:
            message = (
                f"{alone:.0%} of the rows of {samples} are repeated values that the other sample, whose "
                "rows differ, does not have: if they are no matter of rounding, the divergence is far "
                "larger, or inf"
            )
            return (Note("W07", message),)
    return ()


def _cursed(rival: Rival) -> tuple[Note, ...]:
    """Neighbours in many columns."""
    if rival.method != "nnr" or rival.x.d <= CURSED:
        return ()
    return (
        Note(
            "W24",
            f"neighbours predict best, but in {rival.x.d} columns their balls are too wide to see where "
            "the ratio changes: the value is not reliable; give more rows or fewer columns",
        ),
    )


def _disagreeing(
    taken: Estimate, rival: Rival, near: dict[str, tuple[float, float] | None]
) -> tuple[Note, ...]:
    """Methods that the evidence cannot tell apart, with other values: beyond the errors of both."""
    error = _error(taken, rival)
    least = SAME_VALUE * max(1.0, abs(taken.value))  # less is the methods' rounding
    gaps = {
        name: abs(other[0] - taken.value)
        for name, other in near.items()
        if other is not None
        and abs(other[0] - taken.value) > max(3.0 * math.hypot(error, other[1]), least)
    }
    if not gaps:
        return ()
    name = max(gaps, key=lambda name: gaps[name])
    return (
        Note(
            "W24",
            f"{rival.name} and {name} predict equally well, but differ by {gaps[name]:.3g}: the value "
            "is not reliable; give more rows or choose with --method",
        ),
    )


# ----------------------------------------------------------------------------------- p-values


def _planned(reading: Reading, pool: Samples, invariant: str | None) -> Pooled:
    """The plan of the method nnr."""
    rows = int(np.count_nonzero(pool.masses()))
    k = automatic("auto", rows // 2, rows - rows // 2)
    return planned(reading, represented(pool, invariant), (k,), ALONE)


@kl_auto.pooled
def _kl_plan(pool: Samples, invariant: str | None = None, **_: object) -> Pooled:
    return _planned(f_reading("kl", "gamma", 0.0), pool, invariant)


@renyi_auto.pooled
def _renyi_plan(
    pool: Samples, alpha: float, tsallis: bool, invariant: str | None = None, **_: object
) -> Pooled:
    return _planned(renyi_reading(alpha, tsallis, "gamma", 0.0), pool, invariant)


@fdiv_auto.pooled
def _fdiv_plan(pool: Samples, kind: str, invariant: str | None = None, **_: object) -> Pooled:
    return _planned(f_reading(kind, "gamma", 0.0), pool, invariant)
