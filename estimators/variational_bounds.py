"""Rényi and f-divergences from a critic's held-out scores: bounds that any ratio gives."""

import math

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimate
from divmatch.estimators.critics import Critic, Scores, critic_scores
from divmatch.estimators.divergences import FDIV, KIND, ORDER, RENYI, Kind, Order, Tsallis
from divmatch.estimators.folds import Folds
from divmatch.estimators.generators import Generator, from_slope, generator
from divmatch.estimators.invariance import Invariant
from divmatch.estimators.variational import heavy, kl_classifier, kl_dv, powers, ratios
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]


# --------------------------------------------------------------------------- Rényi divergences


@RENYI.estimator("classifier", source="Sugiyama, Suzuki & Kanamori 2012, Density Ratio Estimation")
def renyi_classifier(
    x: Samples,
    y: Samples,
    *,
    alpha: Order = ORDER,
    tsallis: Tsallis = False,
    critic: Critic = "linear",
    folds: Folds = 5,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """Rényi divergence of order α from the powers of a cross-fitted classifier's ratio.

    ln(E_P r^(α−1)) / (α − 1), r = exp T held out. No bound: a classifier that is too sure of itself
    makes it too large, one that is too timid too small. At α = 1 it is the method classifier of KL.

    Use it where nearest neighbours fail: many columns, rounded data. Orders above 1 need moments of
    the ratio, which the samples may not hold; a warning says when a few rows make up the mean.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    alpha : float
        Order, above 0 and finite.
    tsallis : bool
        Report (I − 1)/(α − 1) instead.
    critic : str
        linear, or mlp: a network with two hidden layers of 64 units, slower.
    folds : int
        K; every fold is scored by a critic that was fitted to the other K − 1.
    invariant : str
        As for the method classifier of kl.
    rng : numpy.random.Generator
        Its state decides the folds and the random features; it is left as it was.

    Returns
    -------
    Estimate
        Divergence in nats (Tsallis: no unit), any sign, with the influence of every row.

    Raises
    ------
    SettingError
        For the order inf.
    InconclusiveError
        With fewer than K rows in a sample.

    Notes
    -----
    Cost: as the method classifier of kl; all orders share the critics.

    Source: Sugiyama, Suzuki & Kanamori 2012, Density Ratio Estimation in Machine Learning,
    chapter 4, with the powers of the ratio.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.renyi(x, y, alpha=0.5, method="classifier").value, 2)
    0.25
    """
    finite_order(alpha)
    if alpha == 1.0:
        return kl_classifier(x, y, critic=critic, folds=folds, invariant=invariant, rng=rng)
    scores = critic_scores(x, y, critic, folds, rng, invariant)
    of_x, log_x = powers(x.masses(), (alpha - 1.0) * scores.x)
    of_y, _ = powers(y.masses(), alpha * scores.y)
    notes = (*scores.notes(), *heavy(x, of_x))
    value, factor = log_x / (alpha - 1.0), alpha / (alpha - 1.0)
    return of_renyi(value, factor * of_x, -of_y, alpha, tsallis, notes)


@RENYI.estimator("dv", source="Birrell, Dupuis, Katsoulakis, Rey-Bellet & Wang 2021, SIMODS 3")
def renyi_dv(
    x: Samples,
    y: Samples,
    *,
    alpha: Order = ORDER,
    tsallis: Tsallis = False,
    critic: Critic = "linear",
    folds: Folds = 5,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """Rényi divergence of order α by the Rényi-Donsker-Varadhan bound of a cross-fitted critic.

    α/(α − 1) ln E_P exp((α − 1) T) − ln E_Q exp(α T), all scores held out. A lower bound but for the
    logarithms of means; a constant in T does not matter. At α = 1 it is the bound dv of KL.

    Use it where a lower bound is wanted. Like the method classifier it needs moments of the ratio,
    of order α under Q.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    alpha : float
        Order, above 0 and finite.
    tsallis : bool
        Report (I − 1)/(α − 1), I = exp((α − 1) D), instead.
    critic : str
        linear, or mlp: a network with two hidden layers of 64 units, slower.
    folds : int
        K; every fold is scored by a critic that was fitted to the other K − 1.
    invariant : str
        As for the method classifier of kl.
    rng : numpy.random.Generator
        Its state decides the folds and the random features; it is left as it was.

    Returns
    -------
    Estimate
        Divergence in nats (Tsallis: no unit), any sign, with the influence of every row.

    Raises
    ------
    SettingError
        For the order inf.
    InconclusiveError
        With fewer than K rows in a sample.

    Notes
    -----
    Cost: as the method classifier of kl; all orders share the critics.

    Source: Birrell, Dupuis, Katsoulakis, Rey-Bellet & Wang 2021, SIAM J. Math. Data Science 3
    (arXiv 2007.03814), theorem 3.1.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.renyi(x, y, alpha=0.5, method="dv").value, 2)
    0.26
    """
    finite_order(alpha)
    if alpha == 1.0:
        return kl_dv(x, y, critic=critic, folds=folds, invariant=invariant, rng=rng)
    scores = critic_scores(x, y, critic, folds, rng, invariant)
    of_x, log_x = powers(x.masses(), (alpha - 1.0) * scores.x)
    of_y, log_y = powers(y.masses(), alpha * scores.y)
    factor = alpha / (alpha - 1.0)
    notes = (*scores.notes(), *heavy(y, of_y))
    return of_renyi(factor * log_x - log_y, factor * of_x, -of_y, alpha, tsallis, notes)


def finite_order(alpha: float) -> None:
    """Refuse the order infinity."""
    if not math.isfinite(alpha):
        raise SettingError(
            "renyi --alpha inf: a critic cannot know the largest ratio; give a finite order"
        )


def of_renyi(
    value: float,
    terms_x: Array,
    terms_y: Array,
    alpha: float,
    tsallis: bool,
    notes: tuple[Note, ...],
) -> Estimate:
    """A Rényi divergence with its influences, or Tsallis' of the same order."""
    if not tsallis:
        return Estimate(value, terms_x, terms_y, notes=notes)
    integral = math.exp(min((alpha - 1.0) * value, 709.0))
    made = math.expm1(min((alpha - 1.0) * value, 709.0)) / (alpha - 1.0)
    return Estimate(made, integral * terms_x, integral * terms_y, notes=notes)


# ------------------------------------------------------------------------------ f-divergences


@FDIV.estimator("classifier", source="Nguyen, Wainwright & Jordan 2010; Nowozin et al. 2016")
def fdiv_classifier(
    x: Samples,
    y: Samples,
    *,
    kind: Kind = KIND,
    critic: Critic = "linear",
    folds: Folds = 5,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """Any f-divergence D_f(P || Q) by the variational bound of a cross-fitted classifier.

    E_P f'(r) − E_Q [r f'(r) − f(r)] with r = exp T held out: never above D_f on average, equal to it
    for the true ratio, and errors of the critic count only squared. For js it is
    ln 2 − the logistic loss, for tv the accuracy of the sign of T, doubled, less one.

    Use it for many columns, rounded data and wherever a lower bound is wanted. Kinds that grow fast
    in r (chi2, alpha above 1) need moments of the ratio, which the samples may not hold; a warning
    says when a few rows of Q make up the mean.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Which f; `divmatch help divergences` has the table.
    critic : str
        linear, or mlp: a network with two hidden layers of 64 units, slower.
    folds : int
        K; every fold is scored by a critic that was fitted to the other K − 1.
    invariant : str
        As for the method classifier of kl.
    rng : numpy.random.Generator
        Its state decides the folds and the random features; it is left as it was.

    Returns
    -------
    Estimate
        D_f in the unit of its kind, any sign, with the influence of every row.

    Raises
    ------
    InconclusiveError
        With fewer than K rows in a sample, or when a ratio overflows.

    Notes
    -----
    Cost: as the method classifier of kl; all kinds share the critics.

    Source: Nguyen, Wainwright & Jordan 2010, IEEE Trans. Inf. Theory 56; Nowozin, Cseke & Tomioka
    2016 (arXiv 1606.00709).

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.fdiv(x, y, kind="tv", method="classifier").value, 1)
    0.4
    """
    scores = critic_scores(x, y, critic, folds, rng, invariant)
    return variational_bound(x, y, scores, generator(kind), 0.0, kind)


@FDIV.estimator("dv", source="Ruderman, Reid, García-García & Petterson 2012, ICML")
def fdiv_dv(
    x: Samples,
    y: Samples,
    *,
    kind: Kind = KIND,
    critic: Critic = "linear",
    folds: Folds = 5,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """Any smooth f-divergence by the variational bound, maximal over a constant factor of the ratio.

    sup over c of E_P f'(c r) − E_Q [c r f'(c r) − f(c r)], r = exp T held out. For kl this is the
    Donsker-Varadhan bound, for alpha:A Rényi's; it forgives a critic that is off by a constant. A
    lower bound but for the choice of one number, which adds about 1/m.

    Use it as the method classifier, with critics that may be badly centred. tv has no such form.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Which f, not tv; `divmatch help divergences` has the table.
    critic : str
        linear, or mlp: a network with two hidden layers of 64 units, slower.
    folds : int
        K; every fold is scored by a critic that was fitted to the other K − 1.
    invariant : str
        As for the method classifier of kl.
    rng : numpy.random.Generator
        Its state decides the folds and the random features; it is left as it was.

    Returns
    -------
    Estimate
        D_f in the unit of its kind, any sign, with the influence of every row.

    Raises
    ------
    SettingError
        For the kind tv, whose bound steps with the factor.
    InconclusiveError
        With fewer than K rows in a sample, or when a ratio overflows.

    Notes
    -----
    Cost: as the method classifier of kl; all kinds share the critics.

    Source: Ruderman, Reid, García-García & Petterson 2012 (ICML, arXiv 1206.4664); Birrell,
    Katsoulakis & Pantazis 2022, IEEE Trans. Inf. Theory 68.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.fdiv(x, y, kind="kl", method="dv").value, 1)
    0.5
    """
    f = generator(kind)
    if not f.curvature(np.ones(1))[0] > 0:
        raise SettingError(f"--kind {kind}: has no smooth bound; use --method classifier")
    scores = critic_scores(x, y, critic, folds, rng, invariant)
    return variational_bound(x, y, scores, f, _best_shift(x, y, scores, f), kind)


def variational_bound(
    x: Samples, y: Samples, scores: Scores, f: Generator, shift: float, kind: str
) -> Estimate:
    """E_P f'(r) − E_Q f*(f'(r)) for r = exp(T + shift)."""
    ratio_x, ratio_y = np.exp(scores.x + shift), np.exp(scores.y + shift)
    terms_x, terms_y = f.slope(ratio_x), -from_slope(f, ratio_y)
    value = float(x.masses() @ terms_x + y.masses() @ terms_y)
    if not math.isfinite(value):
        raise InconclusiveError(
            f"fdiv --kind {kind}: the ratios of {x.name} and {y.name} overflow; the samples do not "
            "overlap"
        )
    notes = scores.notes()
    if math.isinf(f.at_infinity):  # the others hardly see large ratios
        notes = (*notes, *heavy(y, ratio_y))
    return Estimate(value, terms_x, terms_y, notes=notes)


def _best_shift(x: Samples, y: Samples, scores: Scores, f: Generator) -> float:
    """The logarithm of the factor of all ratios with the largest bound."""
    from scipy.optimize import minimize_scalar

    a, b = x.masses(), y.masses()

    def loss(shift: float) -> float:
        made = a @ f.slope(np.exp(scores.x + shift)) - b @ from_slope(f, np.exp(scores.y + shift))
        return -float(made) if math.isfinite(made) else math.inf

    around = -ratios(y, scores.y)[1]  # where the ratios have mean 1 under Q
    low, high = min(around, 0.0) - 3.0, max(around, 0.0) + 3.0
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-9})
    return float(found.x) if found.fun < loss(0.0) else 0.0
