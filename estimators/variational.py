"""KL from a critic's held-out scores."""

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from divmatch.estimator import Estimate
from divmatch.estimators.critics import Critic, Objective, critic_scores
from divmatch.estimators.divergences import KL
from divmatch.estimators.folds import Folds
from divmatch.estimators.invariance import Invariant
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Clip = Annotated[
    float, Setting("bound of the scores of Q in modulus, nats", above=0, infinite=True)
]
FEW_ROWS, LARGE_SHARE = 10, 0.1  # effective rows, and share of one row, that make an average unsafe


@KL.estimator("classifier", source="Sugiyama, Suzuki & Kanamori 2012, Density Ratio Estimation")
def kl_classifier(
    x: Samples,
    y: Samples,
    *,
    critic: Critic = "linear",
    folds: Folds = 5,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """KL(P || Q) as the mean log-ratio that a cross-fitted classifier gives to rows of P.

    Σᵢ aᵢ T(xᵢ), where T is the logit of a classifier of P against Q that was trained on other rows,
    each sample counting one half. No bound: a classifier that is too sure of itself makes it too
    large, one that is too timid too small.

    Use it for many columns, for large divergences and for rounded data; ties do not matter. It
    needs no positive variance of the ratio, unlike dv and nwj. The linear critic has the columns,
    their squares, products (up to 16 columns) and random Fourier features; its penalties are chosen
    for each fold by the likelihood of the other folds.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    critic : str
        linear, or mlp: a network with two hidden layers of 64 units, slower.
    folds : int
        K; every fold is scored by a critic that was fitted to the other K − 1.
    invariant : str
        Group under which both distributions are unchanged, as for the method knn. The linear
        critic averages its features over each row's orbit, up to 120 elements; larger groups, and
        mlp, take one row of each orbit.
    rng : numpy.random.Generator
        Its state decides the folds and the random features; it is left as it was.

    Returns
    -------
    Estimate
        KL in nats, any sign, with the influence of every row. The interval is widened by |ln E_Q exp T|,
        which is 0 for the true log-ratio, unless a few rows of Q make up that mean.

    Raises
    ------
    InconclusiveError
        With fewer than K rows in a sample.

    Notes
    -----
    Cost: about fifteen passes over (n + m) p numbers, p up to 370 features, for all folds at once.

    Source: Sugiyama, Suzuki & Kanamori 2012, Density Ratio Estimation in Machine Learning,
    chapter 4.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.kl(x, y, method="classifier").value, 1)
    0.5
    """
    scores = critic_scores(x, y, critic, folds, rng, invariant)
    ratio, log_mean = ratios(y, scores.y)
    value = float(x.masses() @ scores.x)
    known = not heavy(y, ratio)  # else the mean is a matter of a few rows
    doubt = abs(log_mean) if known else 0.0
    return Estimate(value, scores.x, -ratio, doubt=doubt, notes=scores.notes())


@KL.estimator("dv", source="Donsker & Varadhan 1983; Belghazi et al. 2018, ICML (arXiv 1801.04062)")
def kl_dv(
    x: Samples,
    y: Samples,
    *,
    critic: Critic = "linear",
    objective: Objective = "logistic",
    folds: Folds = 5,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """KL(P || Q) by the Donsker-Varadhan lower bound of a cross-fitted critic.

    Σ aᵢ T(xᵢ) − ln Σ bⱼ exp T(yⱼ), all scores held out. On average at most KL, but for the logarithm
    of the mean, which adds about Var(r)/(2 m); a constant in T does not matter. The critic is
    trained by the logistic loss, whose optimum ln(p/q) is that of the bound; objective dv trains it on
    the bound.

    Use it where a lower bound is wanted: a value above zero by several standard errors is proof of
    a difference. Its error grows like the root of e^(R₂)/m, so it needs exponentially many rows in
    KL; a warning says when a few rows of Q make up the mean.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    critic : str
        linear, or mlp: a network with two hidden layers of 64 units, slower.
    objective : str
        What the critic is trained on: logistic, or dv, the bound itself, for the linear critic.
    folds : int
        K; every fold is scored by a critic that was fitted to the other K − 1.
    invariant : str
        As for the method classifier.
    rng : numpy.random.Generator
        Its state decides the folds and the random features; it is left as it was.

    Returns
    -------
    Estimate
        KL in nats, any sign, with the influence of every row.

    Raises
    ------
    SettingError
        For the objective dv with the critic mlp.
    InconclusiveError
        With fewer than K rows in a sample.

    Notes
    -----
    Cost: as the method classifier; about ten times that with the objective dv.

    Source: Donsker & Varadhan 1983, CPAM 36; Belghazi et al. 2018 (arXiv 1801.04062).

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.kl(x, y, method="dv").value, 1)
    0.5
    """
    scores = critic_scores(x, y, critic, folds, rng, invariant, objective)
    ratio, log_mean = ratios(y, scores.y)
    value = float(x.masses() @ scores.x) - log_mean
    return Estimate(value, scores.x, -ratio, notes=(*scores.notes(), *heavy(y, ratio)))


@KL.estimator("nwj", source="Nguyen, Wainwright & Jordan 2010, IEEE Trans. Inf. Theory 56")
def kl_nwj(
    x: Samples,
    y: Samples,
    *,
    critic: Critic = "linear",
    folds: Folds = 5,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """KL(P || Q) by the bound of Nguyen, Wainwright and Jordan (f-GAN) of a cross-fitted critic.

    1 + Σ aᵢ T(xᵢ) − Σ bⱼ exp T(yⱼ), all scores held out. Its mean over samples is never above KL,
    exactly; never larger than dv for the same critic, and noisier.

    Use it where an unbiased lower bound is needed. The noise grows like the root of e^(R₂)/m, so it
    needs exponentially many rows in KL; a warning says when a few rows of Q make up the mean.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    critic : str
        linear, or mlp: a network with two hidden layers of 64 units, slower.
    folds : int
        K; every fold is scored by a critic that was fitted to the other K − 1.
    invariant : str
        As for the method classifier.
    rng : numpy.random.Generator
        Its state decides the folds and the random features; it is left as it was.

    Returns
    -------
    Estimate
        KL in nats, any sign, with the influence of every row.

    Raises
    ------
    InconclusiveError
        With fewer than K rows in a sample.

    Notes
    -----
    Cost: as the method classifier.

    Source: Nguyen, Wainwright & Jordan 2010, IEEE Trans. Inf. Theory 56; Nowozin, Cseke & Tomioka
    2016 (arXiv 1606.00709).

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.kl(x, y, method="nwj").value, 1)
    0.5
    """
    scores = critic_scores(x, y, critic, folds, rng, invariant)
    ratio, log_mean = ratios(y, scores.y)
    mean = math.exp(min(log_mean, 709.0))
    value = 1.0 + float(x.masses() @ scores.x) - mean
    notes = (*scores.notes(), *heavy(y, ratio))
    return Estimate(value, scores.x, -mean * ratio, notes=notes)


@KL.estimator("smile", source="Song & Ermon 2020, ICLR (arXiv 1910.06222), equation 13")
def kl_smile(
    x: Samples,
    y: Samples,
    *,
    critic: Critic = "linear",
    folds: Folds = 5,
    tau: Clip = 5.0,
    invariant: Invariant = None,
    rng: "np.random.Generator",
) -> Estimate:
    """KL(P || Q) by the Donsker-Varadhan formula with the scores of Q clipped to [−τ, τ].

    Σ aᵢ T(xᵢ) − ln Σ bⱼ exp(clip(T(yⱼ), −τ, τ)), all scores held out. Not a bound: with the true ratio
    it estimates KL − ln E_Q clip(r, e^−τ, e^τ), which is above KL; a warning says when clipping
    moved the value.

    Use it for large KL, where dv and nwj drown in the variance of the ratio: the clipped mean has
    variance at most (e^τ − e^−τ)²/(4m).

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    critic : str
        linear, or mlp: a network with two hidden layers of 64 units, slower.
    folds : int
        K; every fold is scored by a critic that was fitted to the other K − 1.
    tau : float
        Largest score in modulus, above 0; inf gives dv.
    invariant : str
        As for the method classifier.
    rng : numpy.random.Generator
        Its state decides the folds and the random features; it is left as it was.

    Returns
    -------
    Estimate
        KL in nats, any sign, with the influence of every row.

    Raises
    ------
    InconclusiveError
        With fewer than K rows in a sample.

    Notes
    -----
    Cost: as the method classifier.

    Source: Song & Ermon 2020 (arXiv 1910.06222), equation 13.

    Examples
    --------
    >>> import divmatch, numpy as np
    >>> x = np.random.default_rng(0).normal(1.0, 1.0, 1000)
    >>> y = np.random.default_rng(1).normal(0.0, 1.0, 1000)
    >>> round(divmatch.kl(x, y, method="smile", tau=5).value, 1)
    0.5
    """
    scores = critic_scores(x, y, critic, folds, rng, invariant)
    ratio, log_mean = ratios(y, np.clip(scores.y, -tau, tau))
    value = float(x.masses() @ scores.x) - log_mean
    notes = (*scores.notes(), *heavy(y, ratio))
    clipped = float(y.masses()[np.abs(scores.y) > tau].sum())
    if clipped > 0:
        moved = ratios(y, scores.y)[1] - log_mean
        message = (
            f"{clipped:.1%} of Q has scores beyond --tau {tau:g}; clipping them moved the value "
            f"by {moved:+.3g}: no lower bound"
        )
        notes = (*notes, Note("W19", message))
    return Estimate(value, scores.x, -ratio, notes=notes)


# ------------------------------------------------------------------------------------ averages


def powers(masses: Array, exponents: Array) -> tuple[Array, float]:
    """Every exp(exponent) over their weighted mean, and the logarithm of that mean."""
    largest = float(exponents.max())
    powers = np.exp(exponents - largest)
    mean = float(masses @ powers)
    return powers / mean, math.log(mean) + largest


def ratios(y: Samples, scores: Array) -> tuple[Array, float]:
    """Ratios exp T scaled to mean 1 under Q, and the logarithm of their mean."""
    return powers(y.masses(), scores)


def heavy(samples: Samples, ratio: Array) -> tuple[Note, ...]:
    """A warning where a few rows make up the mean of the ratio."""
    share = samples.masses() * ratio
    share = share / share.sum()
    rows, most = 1.0 / float(share @ share), float(share.max())
    if rows >= FEW_ROWS and most <= LARGE_SHARE:
        return ()
    return (
        Note(
            "W08",
            f"{samples.name}: the mean of the ratio rests on {rows:.3g} effective rows, one of them "
            f"{most:.0%} of it; the value is unsafe and needs more rows",
        ),
    )
