"""SinKD: how far the rows of two batches are apart when each may be matched with any other."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sinkd:
    """Settings of the batch-wise Sinkhorn distance of SinKD (arXiv 2402.17110).

    ``eps`` smooths the plan, in units of the L1 distance; ``rounds`` are its normalisations;
    ``debiased`` takes off half of each batch's distance to itself.
    """

    eps: float = 0.1
    rounds: int = 20
    debiased: bool = False


def sinkd_terms(p: Array, q: Array, settings: Sinkd) -> Array:
    """What each row of P adds to Σᵢⱼ Kᵢⱼ Cᵢⱼ of one batch; p, q of shape (b, K) hold distributions.

    Cᵢⱼ = |qᵢ − pⱼ|₁ and K = exp(−C/eps), its rows and then its columns made to sum to 1, ``rounds``
    times. The total mass is b. Rows are matched freely: the order of one batch does not matter.
    Time O(b² (K + rounds)), memory O(b K + b²).
    """
    terms = _matched(q, p, settings)
    if settings.debiased:
        terms = terms - 0.5 * (_matched(p, p, settings) + _matched(q, q, settings))
    return terms


def _matched(rows: Array, columns: Array, settings: Sinkd) -> Array:
    cost = np.array([np.abs(row - columns).sum(axis=1) for row in rows])
    logs = cost / -settings.eps  # on the log scale nothing vanishes for a small eps
    for _ in range(settings.rounds):
        logs -= _log_sums(logs, 1)
        logs -= _log_sums(logs, 0)
    return np.asarray((np.exp(logs) * cost).sum(axis=0))


def _log_sums(logs: Array, axis: int) -> Array:
    top = logs.max(axis=axis, keepdims=True)
    return np.asarray(top + np.log(np.exp(logs - top).sum(axis=axis, keepdims=True)))


def sinkd_eps(text: str) -> float | None:
    """The eps of a kind `sinkd` or `sinkd:EPS`; None for other kinds."""
    name, colon, rest = text.strip().partition(":")
    if name != "sinkd":
        return None
    try:
        eps = float(rest) if colon else Sinkd.eps
    except ValueError:
        eps = math.nan
    if not 0 < eps < math.inf:
        raise SettingError(f"--kind {text}: expected a number above 0 after 'sinkd:'")
    return eps
