"""Renyi and f-divergences that are powers of the density ratio, from nearest-neighbour distances."""

import math

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimate
from divmatch.estimators.divergences import (
    FDIV,
    KIND,
    ORDER,
    RENYI,
    Kind,
    NeighbourNumber,
    Order,
    Tsallis,
)
from divmatch.estimators.invariance import Invariant, represented
from divmatch.estimators.neighbour_distance import Densities, Ties, densities, kth
from divmatch.estimators.powers import kinds, powers_of
from divmatch.estimators.scales import comparable
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]

SOURCE = "Póczos & Schneider 2011, AISTATS, PMLR 15:609"
LARGEST = 700.0  # logarithms up to which exp is finite


@RENYI.estimator("knn", source=SOURCE, interval="subsampling", assumption=comparable)
def renyi_knn(
    x: Samples,
    y: Samples,
    *,
    alpha: Order = ORDER,
    tsallis: Tsallis = False,
    k: NeighbourNumber = "auto",
    ties: Ties = "error",
    invariant: Invariant = None,
) -> Estimate:
    """Renyi divergence of order a from P to Q, from nearest-neighbour distances.

    R_a = ln(I_a) / (a − 1), I_a = B ((n − 1) / m)^(1−a) (1/n) Σᵢ (ρₖ(i) / νₖ(i))^(d(1−a)), with the
    distances ρₖ and νₖ of `kl --method knn` and B = Γ(k)² / (Γ(k − a + 1) Γ(k + a − 1)), which makes
    the powers unbiased. At a = 1 it is that estimate of KL. Zero if and only if the distributions
    agree; R_a grows with a, and half of R_½ is the Bhattacharyya distance −ln ∫ √(pq). The estimate
    can be negative and is biased towards zero, more so in high dimension and for large divergences.

    Use it for continuous data of up to about ten columns. Orders above 1 rest on the few rows where
    p/q is largest; k must be above |a − 1|. For tied or discrete rows take nnr.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    alpha : float
        Order a; 1 is KL, inf is refused.
    tsallis : bool
        Report (I_a − 1) / (a − 1).
    k : int or "auto"
        Number of the neighbour, above |a − 1|; auto is 5, or the smallest number above |a − 1| + 1.
    ties : str
        error refuses rows at distance zero; jitter adds uniform noise of 1e-10 of each column's
        range; drop leaves such rows out of the mean.
    invariant : str
        As for the method knn of kl.

    Returns
    -------
    Estimate
        Nats, any sign; Tsallis' without unit.

    Raises
    ------
    SettingError
        For k not above |a − 1|, or alpha inf, which no sample can estimate.
    SampleError
        With tied rows.
    InconclusiveError
        With fewer than k + 1 rows in P or k in Q.

    Notes
    -----
    Cost: two neighbour searches, shared by all orders, O((n + m) log(n + m)) for few columns,
    O(n (n + m) d) for many.

    Source: Póczos & Schneider 2011, AISTATS, PMLR 15:609.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.renyi([0.0, 1.0, 3.0], [0.4, 2.0], alpha=1, k=1).value, 6)
    -0.706755
    """
    if math.isinf(alpha):
        raise SettingError(
            "--alpha inf: the largest ratio cannot be estimated from samples; every --alpha 2,4,8,16 "
            "is a lower bound, the larger the nearer"
        )
    number = _enough_neighbours(k, alpha, f"--alpha {alpha:g}")
    x, y = represented(x, invariant), represented(y, invariant)
    found = densities(x, y, number, ties)
    params = {"k": number}
    if alpha == 1:
        return Estimate(float(found.weights @ found.log_ratios), params=params, notes=found.notes)
    log = log_power(found, alpha, number)
    value = log / (alpha - 1.0)
    if tsallis:
        value = _finite(log) / (alpha - 1.0)
    return Estimate(value, params=params, notes=found.notes)


@FDIV.estimator("knn", source=SOURCE, interval="subsampling", assumption=comparable)
def fdiv_knn(
    x: Samples,
    y: Samples,
    *,
    kind: Kind = KIND,
    k: NeighbourNumber = "auto",
    ties: Ties = "error",
    invariant: Invariant = None,
) -> Estimate:
    """f-divergence that is a power of p/q, from nearest-neighbour distances.

    Functions of I_a = ∫ p^a q^(1−a), estimated as in `renyi --method knn`: hellinger is 1 − I_½,
    hellinger-gan twice that, chi2 is I₂ − 1, neyman the same with P and Q exchanged, alpha:A is
    (I_A − 1) / (A (A − 1)); kl, reverse-kl and jeffreys are means of logarithms. The other kinds are
    no powers and are refused: js, tv and le-cam are for nnr.

    Use it for continuous data of up to about ten columns; chi2 and neyman only for samples that
    overlap well. The estimates can be negative. For tied or discrete rows take nnr.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    kind : str
        Which f-divergence.
    k : int or "auto"
        Number of the neighbour, above |a − 1|; auto is 5, or the smallest number above |a − 1| + 1.
    ties : str
        As for the method knn of renyi.
    invariant : str
        As for the method knn of kl.

    Returns
    -------
    Estimate
        In the unit of the kind, any sign.

    Raises
    ------
    SettingError
        For a kind that is no power of p/q, or k not above |a − 1|.
    SampleError
        With tied rows.
    InconclusiveError
        With fewer than k + 1 rows in P or k in Q.

    Notes
    -----
    Cost: as for renyi; neyman, reverse-kl and jeffreys search around the rows of Q as well.

    Source: Póczos & Schneider 2011, AISTATS, PMLR 15:609.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.fdiv([0.0, 1.0, 3.0], [0.4, 2.0], method="knn", kind="kl", k=1).value, 6)
    -0.706755
    """
    powers = powers_of(kind)
    if powers is None:
        raise SettingError(
            f"--kind {kind}: distances of neighbours give {kinds()} only; take --method nnr"
        )
    orders = [max(s, 1.0 - s) if s < 0 else s for s, _ in powers.terms]
    number = max([_enough_neighbours(k, a, f"--kind {kind}") for a in orders] or [kth(k)])
    x, y = represented(x, invariant), represented(y, invariant)
    value = powers.constant
    notes: list[Note] = []
    if powers.forward:
        found = densities(x, y, number, ties)
        value += powers.forward * float(found.weights @ found.log_ratios)
        notes += found.notes
    if powers.backward:
        found = densities(y, x, number, ties)
        value += powers.backward * float(found.weights @ found.log_ratios)
        notes += found.notes
    for (s, scale), a in zip(powers.terms, orders, strict=True):
        found = densities(y, x, number, ties) if s < 0 else densities(x, y, number, ties)
        value += scale * (1.0 + _finite(log_power(found, a, number)))
        notes += found.notes
    return Estimate(value, params={"k": number}, notes=_distinct(notes))


def log_power(found: Densities, a: float, k: int) -> float:
    """Ln of I_a = B Σ wᵢ (p/q)^(a−1)."""
    order = a - 1.0
    z = order * found.log_ratios
    top = float(z.max())
    if np.abs(z).max() < 1.0:  # keeps the digits of I_a − 1 near a = 1
        mean = math.log1p(float(found.weights @ np.expm1(z)))
    else:
        mean = top + math.log(float(found.weights @ np.exp(z - top)))
    return 2.0 * math.lgamma(k) - math.lgamma(k - order) - math.lgamma(k + order) + mean


def _finite(log: float) -> float:
    """exp(log) − 1, or no number."""
    if log > LARGEST:
        raise InconclusiveError(
            "the mean power of the ratio is too large for a number; take a smaller order, or the "
            "logarithm (renyi)"
        )
    return math.expm1(log)


def _enough_neighbours(k: int | str, a: float, what: str) -> int:
    """The number of the neighbour, if it is above |a − 1|, where the powers have a mean."""
    number = max(kth(k), math.floor(abs(a - 1.0)) + 2) if k == "auto" else int(k)
    if not number > abs(a - 1.0):
        raise SettingError(
            f"-k {number}: {what} needs more than {abs(a - 1.0):g} neighbours, or the powers of "
            "their distances have no mean"
        )
    return number


def _distinct(notes: list[Note]) -> tuple[Note, ...]:
    """Each code once: both directions may say the same."""
    return tuple({note.code: note for note in notes}.values())
