"""Divergences from the labels of nearest neighbours: no density, no volume, no trouble with ties."""

from typing import Annotated, Literal

import numpy as np

from divmatch.estimator import Estimate, Pooled
from divmatch.estimators.divergences import (
    FDIV,
    KIND,
    KL,
    ORDER,
    RENYI,
    Kind,
    NeighbourNumber,
    Order,
    Tsallis,
)
from divmatch.estimators.invariance import Invariant, represented
from divmatch.estimators.label_estimates import (
    Reading,
    automatic,
    estimated,
    f_reading,
    planned,
    renyi_reading,
    sizes,
)
from divmatch.estimators.scales import comparable
from divmatch.samples import Samples
from divmatch.settings import Setting

Form = Annotated[
    Literal["gamma", "paper"],
    Setting("unbiased functions of the counts, or plain ones of the ratio as in the paper"),
]
RatioFloor = Annotated[
    float,
    Setting("smallest ratio p/q put into f (not into its unbiased estimates)", least=0),
]
SOURCE = "Noshad, Moon, Sekeh & Hero 2017, arXiv:1702.05222"
ALONE = np.ones(1)


@KL.estimator("nnr", source=SOURCE, assumption=comparable)
def kl_nnr(
    x: Samples,
    y: Samples,
    *,
    k: NeighbourNumber = "auto",
    form: Form = "gamma",
    ratio_floor: RatioFloor = 0.0,
    invariant: Invariant = None,
) -> Estimate:
    """KL(P || Q) from the labels of the nearest neighbours in the pool of both samples.

    (1/n) Σᵢ (ψ(Mᵢ + 1) − ψ(Nᵢ + 1)) + ln(m / (n − 1)), where Mᵢ rows of P and Nᵢ rows of Q are among
    the k nearest other rows of xᵢ. Zero if and only if the distributions agree, without upper bound;
    the estimate can be negative and cannot exceed ψ(k + 1) + γ + ln(m / (n − 1)): rows without any Q
    among their neighbours are counted in `saturated`, and more than 5 % of them raise a warning.

    Use it for discrete, rounded or tied rows, near edges of the support, and where only the order
    of distances means something. Distances that tie with the k-th are all counted, so a ball may
    hold more than k rows and no order of rows decides. For a large divergence take knn-reduced.

    A weighted row counts as its weight times the effective size 1 / Σ wᵢ². So equal weights change
    nothing, but k still counts rows: a weight of 2 is not the same as the row given twice.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    k : int or "auto"
        Number of neighbours; auto is √min(n, m), at least 5. More lower the variance and raise the
        bias from densities that change within a ball.
    form : str
        gamma takes the unbiased functions of the counts; paper puts (m/n) N / (M + 1) at the rows of
        Q into f, which is biased by O(1/k).
    ratio_floor : float
        With the form paper, smaller ratios become this one.
    invariant : str
        As for the method knn.

    Returns
    -------
    Estimate
        KL in nats, any sign, with the influence of every row. The interval allows for the blur of the
        balls: it spans the value and 1 + E_P ln r − E_Q r, which r's error moves only in second order.

    Raises
    ------
    InconclusiveError
        With no more than k rows in both samples, or one row in a sample.

    Notes
    -----
    Cost: one neighbour search for every row in the pool of both samples; O(N k) memory in blocks.

    Source: Noshad, Moon, Sekeh & Hero 2017, arXiv:1702.05222.

    Examples
    --------
    >>> import divmatch
    >>> x, y = [0, 0, 0, 1] * 50, [0, 1, 1, 1] * 50  # the truth is ln(3) / 2 = 0.549
    >>> round(divmatch.kl(x, y, method="nnr").value, 3)
    0.541
    """
    return _nnr(f_reading("kl", form, ratio_floor), x, y, k, invariant)


@RENYI.estimator("nnr", source=SOURCE, assumption=comparable)
def renyi_nnr(
    x: Samples,
    y: Samples,
    *,
    alpha: Order = ORDER,
    tsallis: Tsallis = False,
    k: NeighbourNumber = "auto",
    form: Form = "gamma",
    ratio_floor: RatioFloor = 0.0,
    invariant: Invariant = None,
) -> Estimate:
    """Renyi divergence of order a from the labels of the nearest neighbours in the pool.

    R_a = ln(I_a) / (a − 1), I_a = (m/n)^a (1/m) Σⱼ Γ(N + 1) Γ(M + 1) / (Γ(N + 1 − a) Γ(M + 1 + a)),
    where N rows of P and M rows of Q are among the k nearest other rows of yⱼ. Zero if and only if
    the distributions agree; R_a grows with a. Half of R_½ is the Bhattacharyya distance −ln ∫ √(pq).
    Orders within 0.1 of 1 are taken at the rows of P, where they go over into KL.

    Use it for discrete, rounded or tied rows, and where only the order of distances means something.
    Orders above 1 rest on the few rows where p/q is largest, and small orders suffer where p falls
    to zero within Q. Ties and weights as for `kl --method nnr`.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    alpha : float
        Order a; 1 is KL, inf is refused.
    tsallis : bool
        Report (I_a − 1) / (a − 1).
    k : int or "auto"
        Number of neighbours; auto is √min(n, m), at least 5. More lower the variance and raise the
        bias from densities that change within a ball.
    form : str
        gamma takes the unbiased functions of the counts; paper puts (m/n) N / (M + 1) at the rows of
        Q into f, which is biased by O(1/k).
    ratio_floor : float
        With the form paper, smaller ratios become this one.
    invariant : str
        As for the method knn of kl.

    Returns
    -------
    Estimate
        Nats, any sign; Tsallis' without unit. With the influence of every row and, in the
        interval, the blur of the balls as for KL.

    Raises
    ------
    InconclusiveError
        With no more than k rows in both samples, or one row in a sample,
        or when the mean of the powers is not positive: hardly any overlap, or k below the order.
    SettingError
        For alpha inf, which no sample can estimate.

    Notes
    -----
    Cost: one neighbour search for every row in the pool of both samples; O(N k) memory in blocks.

    Source: Noshad, Moon, Sekeh & Hero 2017, arXiv:1702.05222.

    Examples
    --------
    >>> import divmatch
    >>> x, y = [0, 0, 0, 1] * 50, [0, 1, 1, 1] * 50  # the truth is ln(7/3) = 0.847
    >>> round(divmatch.renyi(x, y, method="nnr", alpha=2).value, 3)
    0.821
    """
    return _nnr(renyi_reading(alpha, tsallis, form, ratio_floor), x, y, k, invariant)


@FDIV.estimator("nnr", source=SOURCE, assumption=comparable)
def fdiv_nnr(
    x: Samples,
    y: Samples,
    *,
    kind: Kind = KIND,
    k: NeighbourNumber = "auto",
    form: Form = "gamma",
    ratio_floor: RatioFloor = 0.0,
    invariant: Invariant = None,
) -> Estimate:
    """f-divergence between two samples, from the labels of their nearest neighbours.

    D_f(P || Q) = E_Q f(p/q), with N rows of P and M rows of Q among the k nearest other rows. Powers
    and logarithms of p/q have unbiased functions of N and M (see `renyi` and `kl` --method nnr):
    kl, reverse-kl, jeffreys, hellinger, hellinger-gan, chi2, neyman, alpha:A. The others take
    f(r) − ½ f''(r) var(r) at r = (m/n) N / (M + 1), and P's mass without any Q nearby at the price
    lim f(t)/t: js, js-gan, skew-js:A, le-cam; tv without f'', so it is too large by the order of
    k^(−1/2) where p is close to q.

    Use it for any sort of rows: ties need no noise, and only the order of distances matters. In
    many columns all values shrink towards zero. Ties and weights as for `kl --method nnr`.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Which f-divergence.
    k : int or "auto"
        Number of neighbours; auto is √min(n, m), at least 5. More lower the variance and raise the
        bias from densities that change within a ball.
    form : str
        gamma takes the unbiased functions of the counts; paper puts (m/n) N / (M + 1) at the rows of
        Q into f, which is biased by O(1/k).
    ratio_floor : float
        With the form paper and for kinds without powers, smaller ratios become this one.
    invariant : str
        As for the method knn of kl.

    Returns
    -------
    Estimate
        In the unit of the kind, any sign, with the influence of every row. The interval spans the
        value and E_P f'(r) − E_Q [r f'(r) − f(r)], which r's error moves only in second order.

    Raises
    ------
    InconclusiveError
        With no more than k rows in both samples, or one row in a sample,
        or when powers of the ratio are too large for a number.
    SettingError
        With the form paper and no floor, for kinds that are infinite at ratio 0.

    Notes
    -----
    Cost: one neighbour search for every row in the pool of both samples; O(N k) memory in blocks.

    Source: Noshad, Moon, Sekeh & Hero 2017, arXiv:1702.05222.

    Examples
    --------
    >>> import divmatch
    >>> x, y = [0, 0, 0, 1] * 50, [0, 1, 1, 1] * 50  # the truth is 1/2
    >>> round(divmatch.fdiv(x, y, kind="tv").value, 3)
    0.5
    """
    return _nnr(f_reading(kind, form, ratio_floor), x, y, k, invariant)


def _nnr(reading: Reading, x: Samples, y: Samples, k: int | str, invariant: str | None) -> Estimate:
    x, y = represented(x, invariant), represented(y, invariant)
    number = automatic(k, *sizes(x, y))
    return estimated(reading, x, y, (number,), ALONE, {"k": number})


@kl_nnr.pooled
def _kl_plan(
    pool: Samples, k: int, form: str, ratio_floor: float, invariant: str | None = None
) -> Pooled:
    pool = represented(pool, invariant)
    return planned(f_reading("kl", form, ratio_floor), pool, (k,), ALONE)


@renyi_nnr.pooled
def _renyi_plan(
    pool: Samples,
    alpha: float,
    tsallis: bool,
    k: int,
    form: str,
    ratio_floor: float,
    invariant: str | None = None,
) -> Pooled:
    pool = represented(pool, invariant)
    return planned(renyi_reading(alpha, tsallis, form, ratio_floor), pool, (k,), ALONE)


@fdiv_nnr.pooled
def _fdiv_plan(
    pool: Samples,
    kind: str,
    k: int,
    form: str,
    ratio_floor: float,
    invariant: str | None = None,
) -> Pooled:
    pool = represented(pool, invariant)
    return planned(f_reading(kind, form, ratio_floor), pool, (k,), ALONE)
