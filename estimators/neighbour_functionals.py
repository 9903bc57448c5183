"""Functionals of two densities from neighbour distances that are no divergence of two samples.

Functions for programs: products of powers of the densities, and their squared L2 distance.
"""

import math

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimators.neighbour_distance import densities
from divmatch.samples import Samples

Array = NDArray[np.float64]
LARGEST = 700.0  # logarithms up to which exp is finite


def monomial(
    x: Samples, y: Samples, s: float, t: float, *, k: int = 5, ties: str = "error"
) -> float:
    """E_P[p^s q^t], the mean of powers of both densities, in the unit of the data^(−d (s + t)).

    Σ aᵢ ((n − 1) c ρₖ(i)^d)^(−s) (m c νₖ(i)^d)^(−t) Γ(k)² / (Γ(k − s) Γ(k − t)), c the volume of the unit
    ball in d dimensions; unbiased up to the change of the densities within a ball. ``k`` must be
    above s and t. Póczos & Schneider 2011, AISTATS, PMLR 15:609.
    """
    if not k > max(s, t, 0.0):
        raise SettingError(f"-k {k}: powers {s:g} and {t:g} need a k above both")
    found = densities(x, y, k, ties)
    logs = s * found.log_p + t * found.log_q
    gammas = 2 * math.lgamma(k) - math.lgamma(k - s) - math.lgamma(k - t)
    top = float(logs.max())
    log = top + math.log(float(found.weights @ np.exp(logs - top))) + gammas
    log -= (s + t) * log_ball(x.d)
    if log > LARGEST:
        raise InconclusiveError(f"{x.name}: the density of {x.d} columns is too large for a number")
    return math.exp(log)


def squared_l2(x: Samples, y: Samples, *, k: int = 5, ties: str = "error") -> float:
    """∫ (p − q)², the squared L2 distance of two densities, in the unit of the data^(−d).

    E_P p + E_Q q − E_P q − E_Q p, each by `monomial`. Symmetric, zero if and only if the densities
    agree; the estimate can be negative. ``k`` from 3 upwards gives it a finite variance.
    """
    return (
        monomial(x, y, 1, 0, k=k, ties=ties)
        + monomial(y, x, 1, 0, k=k, ties=ties)
        - monomial(x, y, 0, 1, k=k, ties=ties)
        - monomial(y, x, 0, 1, k=k, ties=ties)
    )


def log_ball(d: int) -> float:
    """Ln of the volume of the unit ball, π^(d/2) / Γ(d/2 + 1)."""
    return 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1.0)
