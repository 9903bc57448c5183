"""Weighted ensembles of label estimates: many numbers of neighbours, mixed to cancel the bias."""

import math
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError, counted
from divmatch.estimator import Estimate, Labels, Pooled
from divmatch.estimators.divergences import FDIV, KIND, KL, ORDER, RENYI, Kind, Order, Tsallis
from divmatch.estimators.invariance import Invariant, represented
from divmatch.estimators.label_estimates import (
    SMALLEST_K,
    Reading,
    estimated,
    f_reading,
    planned,
    renyi_reading,
    sizes,
)
from divmatch.estimators.neighbour_ratio import SOURCE, RatioFloor
from divmatch.estimators.scales import comparable
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

Ensemble = Annotated[
    Literal["reduced", "paper"],
    Setting(
        "cancel the bias in k^(2/d) of the gamma form, or k^(i/d), i = 1 ... d, of the paper's"
    ),
]
SHORTEST, LONGEST, MEMBERS = 0.3, 3.0, 10
LARGEST_NORM = 5.0  # of the weights: beyond it they multiply noise more than they cancel bias
FORMS = {"reduced": "gamma", "paper": "paper"}


@KL.estimator("nnr-ensemble", source=SOURCE, assumption=comparable)
def kl_nnr_ensemble(
    x: Samples,
    y: Samples,
    *,
    ensemble: Ensemble = "reduced",
    ratio_floor: RatioFloor = 0.0,
    invariant: Invariant = None,
) -> Estimate:
    """KL(P || Q) from labels of neighbours, a weighted mean over many numbers of neighbours.

    Σ w(l) D(k(l)), k(l) = max(5, ⌊l √min(n, m)⌋) for ten l from 0.3 to 3, D(k) the estimate of
    `--method nnr`. The weights sum to 1, cancel the bias that grows like k^(2/d), and are the
    smallest that do; their norm is in `weight_norm`, and beyond 5 they are refused.

    Use it in two to six columns, where densities change within a ball. The weights of the paper
    cancel the powers k^(i/d), i = 1 ... d, of its own form, whose larger O(1/k) bias they multiply:
    take them to compare with published numbers only.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    ensemble : str
        reduced mixes gamma forms with one constraint; paper mixes the paper's form with d.
    ratio_floor : float
        With the ensemble of the paper, smaller ratios become this one.
    invariant : str
        As for the method knn.

    Returns
    -------
    Estimate
        KL in nats, any sign, with the influence of every row and the blur that is left as doubt.

    Raises
    ------
    InconclusiveError
        With no more than k rows in both samples, or one row in a sample.
    SettingError
        When the weights are too large: in more than about twenty columns.

    Notes
    -----
    Cost: one neighbour search with the largest k, 3 √min(n, m), then as `--method nnr` ten times.

    Source: Noshad, Moon, Sekeh & Hero 2017, arXiv:1702.05222.

    Examples
    --------
    >>> import divmatch
    >>> x, y = [0, 0, 0, 1] * 50, [0, 1, 1, 1] * 50  # the truth is ln(3) / 2 = 0.549
    >>> round(divmatch.kl(x, y, method="nnr-ensemble").value, 3)
    0.541
    """
    return _ensemble(f_reading("kl", FORMS[ensemble], ratio_floor), x, y, ensemble, invariant)


@RENYI.estimator("nnr-ensemble", source=SOURCE, assumption=comparable)
def renyi_nnr_ensemble(
    x: Samples,
    y: Samples,
    *,
    alpha: Order = ORDER,
    tsallis: Tsallis = False,
    ensemble: Ensemble = "reduced",
    ratio_floor: RatioFloor = 0.0,
    invariant: Invariant = None,
) -> Estimate:
    """Renyi divergence of order a, a weighted mean over many numbers of neighbours.

    Σ w(l) R_a(k(l)), with the estimates of `renyi --method nnr` and numbers of neighbours and
    weights as for `kl --method nnr-ensemble`.

    Use it in two to six columns, where densities change within a ball, above all for orders below 1.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    alpha : float
        Order a; 1 is KL, inf is refused.
    tsallis : bool
        Report (I_a − 1) / (a − 1).
    ensemble : str
        reduced mixes gamma forms with one constraint; paper mixes the paper's form with d.
    ratio_floor : float
        With the ensemble of the paper, smaller ratios become this one.
    invariant : str
        As for the method knn of kl.

    Returns
    -------
    Estimate
        Nats, any sign; Tsallis' without unit. With the influence of every row and the blur
        that is left as doubt.

    Raises
    ------
    InconclusiveError
        With no more than k rows in both samples, or one row in a sample,
        or when the mean of the powers is not positive for some k.
    SettingError
        For alpha inf, or when the weights are too large: in more than about twenty columns.

    Notes
    -----
    Cost: one neighbour search with the largest k, 3 √min(n, m), then as `--method nnr` ten times.

    Source: Noshad, Moon, Sekeh & Hero 2017, arXiv:1702.05222.

    Examples
    --------
    >>> import divmatch
    >>> x, y = [0, 0, 0, 1] * 50, [0, 1, 1, 1] * 50  # the truth is ln(7/3) = 0.847
    >>> round(divmatch.renyi(x, y, method="nnr-ensemble", alpha=2).value, 3)
    0.821
    """
    reading = renyi_reading(alpha, tsallis, FORMS[ensemble], ratio_floor)
    return _ensemble(reading, x, y, ensemble, invariant)


@FDIV.estimator("nnr-ensemble", source=SOURCE, assumption=comparable)
def fdiv_nnr_ensemble(
    x: Samples,
    y: Samples,
    *,
    kind: Kind = KIND,
    ensemble: Ensemble = "reduced",
    ratio_floor: RatioFloor = 0.0,
    invariant: Invariant = None,
) -> Estimate:
    """f-divergence from labels of neighbours, a weighted mean over many numbers of neighbours.

    Σ w(l) D_f(k(l)), with the estimates of `fdiv --method nnr` and numbers of neighbours and weights
    as for `kl --method nnr-ensemble`.

    Use it in two to six columns, where densities change within a ball; not for tv, whose bias at
    p = q is of another kind.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Which f-divergence.
    ensemble : str
        reduced mixes gamma forms with one constraint; paper mixes the paper's form with d.
    ratio_floor : float
        With the ensemble of the paper and for kinds without powers, smaller ratios become this one.
    invariant : str
        As for the method knn of kl.

    Returns
    -------
    Estimate
        In the unit of the kind, any sign, with the influence of every row and the blur that is left as doubt.

    Raises
    ------
    InconclusiveError
        With no more than k rows in both samples, or one row in a sample,
        or when powers of the ratio are too large for a number.
    SettingError
        For kinds infinite at ratio 0 with the ensemble of the paper and no floor, or when the weights
        are too large: in more than about twenty columns.

    Notes
    -----
    Cost: one neighbour search with the largest k, 3 √min(n, m), then as `--method nnr` ten times.

    Source: Noshad, Moon, Sekeh & Hero 2017, arXiv:1702.05222.

    Examples
    --------
    >>> import divmatch
    >>> x, y = [0, 0, 0, 1] * 50, [0, 1, 1, 1] * 50  # the truth is 0.1308
    >>> round(divmatch.fdiv(x, y, kind="js", method="nnr-ensemble").value, 3)
    0.128
    """
    return _ensemble(f_reading(kind, FORMS[ensemble], ratio_floor), x, y, ensemble, invariant)


def _ensemble(
    reading: Reading, x: Samples, y: Samples, ensemble: str, invariant: str | None
) -> Estimate:
    x, y = represented(x, invariant), represented(y, invariant)
    ks, mixture = members(min(sizes(x, y)), x.d, ensemble)
    norm = math.sqrt(float(mixture @ mixture))
    params = {"neighbours": list(ks), "weight_norm": norm}
    return estimated(reading, x, y, ks, mixture, params)


def members(rows: int, d: int, ensemble: str) -> tuple[tuple[int, ...], Array]:
    """The numbers of neighbours and their weights A'(A A')⁻¹ e₁, which sum to 1 and cancel biases.

    A has a row of ones and a row l^(i/d) for every cancelled power i, with l = k / √rows.
    """
    powers = [2] if ensemble == "reduced" else list(range(1, d + 1))
    lengths = np.linspace(SHORTEST, LONGEST, max(MEMBERS, 2 * len(powers)))
    ks = np.unique(np.maximum(SMALLEST_K, np.floor(lengths * math.sqrt(rows)))).astype(int)
    if len(ks) <= len(powers):
        raise InconclusiveError(
            f"{counted(rows, 'row')} in the smaller sample: too few for several numbers of neighbours; give "
            "more rows or take --method nnr"
        )
    lengths = ks / math.sqrt(rows)
    system = np.array([np.ones(len(ks)), *(lengths ** (i / d) for i in powers)])
    target = np.eye(len(system))[0]
    weights: Array = np.linalg.lstsq(system, target, rcond=None)[0]
    norm = float(np.linalg.norm(weights))
    missed = float(np.abs(system @ weights - target).max())
    if not (norm <= LARGEST_NORM and missed < 1e-6):
        raise SettingError(
            f"--ensemble {ensemble}: {len(ks)} numbers of neighbours in {d} columns need weights of norm "
            f"{norm:.3g}, above {LARGEST_NORM:g}, which multiply noise; take --method nnr"
        )
    return tuple(int(k) for k in ks), weights


# --------------------------------------------------------------------------------------- plans


@kl_nnr_ensemble.pooled
def _kl_plan(
    pool: Samples, ensemble: str, ratio_floor: float, invariant: str | None = None
) -> Pooled:
    pool = represented(pool, invariant)
    return _planned(f_reading("kl", FORMS[ensemble], ratio_floor), pool, ensemble)


@renyi_nnr_ensemble.pooled
def _renyi_plan(
    pool: Samples,
    alpha: float,
    tsallis: bool,
    ensemble: str,
    ratio_floor: float,
    invariant: str | None = None,
) -> Pooled:
    pool = represented(pool, invariant)
    return _planned(renyi_reading(alpha, tsallis, FORMS[ensemble], ratio_floor), pool, ensemble)


@fdiv_nnr_ensemble.pooled
def _fdiv_plan(
    pool: Samples, kind: str, ensemble: str, ratio_floor: float, invariant: str | None = None
) -> Pooled:
    pool = represented(pool, invariant)
    return _planned(f_reading(kind, FORMS[ensemble], ratio_floor), pool, ensemble)


def _planned(reading: Reading, pool: Samples, ensemble: str) -> Pooled:
    """The plan for the sizes of the splits, which are known when the first one comes."""
    weighted = pool.masses() > 0
    plans: dict[int, Pooled] = {}

    def statistic(labels: Labels) -> Array:
        found = np.empty(labels.shape[1])
        count = np.count_nonzero(labels[weighted], axis=0)
        smaller = np.minimum(count, np.count_nonzero(weighted) - count)
        for rows in np.unique(smaller):
            if int(rows) not in plans:
                ks, mixture = members(int(rows), pool.d, ensemble)
                plans[int(rows)] = planned(reading, pool, ks, mixture)
            here = smaller == rows
            found[here] = plans[int(rows)].statistic(labels[:, here])
        return found

    return Pooled(statistic, lambda: 1024 * float(np.finfo(float).eps))
