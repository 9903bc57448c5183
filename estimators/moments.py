"""Mean and covariance of a sample, refused where the covariance is singular."""

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.samples import Samples

Array = NDArray[np.float64]

CONSTANT = 1e-13  # rounding alone makes a constant vary
REGULAR = 1e-7  # rounding alone makes a singular matrix look regular


def moments(samples: Samples) -> tuple[Array, Array, Array]:
    """Mean, unbiased covariance and its Cholesky factor; a singular one is refused."""
    weights = samples.masses()
    mean = weights @ samples.points
    centred = samples.points - mean
    left = 1.0 - float(weights @ weights)
    if not left > 0:
        raise InconclusiveError(f"{samples.name}: one row has no covariance; more rows are needed")
    covariance = (centred * weights[:, None]).T @ centred / left
    spread = np.sqrt(np.diag(covariance))
    constant = np.flatnonzero(~(spread > CONSTANT * np.abs(mean)))
    if len(constant):
        raise InconclusiveError(_singular(samples, f"{_column(samples, constant[0])} is constant"))
    correlation = covariance / np.outer(spread, spread)
    factor = _factor(correlation)
    if factor is None:
        why = f"{_column(samples, _determined(correlation))} is a sum of multiples of others"
        if np.count_nonzero(weights) <= samples.d:
            why = "there are no more rows than columns"
        raise InconclusiveError(_singular(samples, why))
    return mean, covariance, factor * spread[:, None]


def _singular(samples: Samples, why: str) -> str:
    return (
        f"{samples.name}: the covariance of {samples.d} columns from {samples.n} rows is singular, "
        f"{why}; leave out constant or repeated columns, or give more rows"
    )


def _column(samples: Samples, place: np.integer | int) -> str:
    return f"column '{samples.columns[place] if samples.columns else place}'"


def _factor(correlation: Array) -> Array | None:
    """The Cholesky factor, None where rounding cannot tell it from that of a singular matrix."""
    try:
        factor: Array = np.linalg.cholesky(correlation).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        return None
    return factor if np.diag(factor).min() >= REGULAR else None


def _determined(correlation: Array) -> int:
    """The first column that those before it determine."""
    low, high = 1, len(correlation)  # the first `low` columns are regular, the first `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        if _factor(correlation[:middle, :middle]) is None:
            high = middle
        else:
            low = middle
    return high - 1
