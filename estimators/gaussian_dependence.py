"""Wasserstein dependence of Gaussians: a closed form of the covariance."""

import numpy as np

from divmatch.errors import InconclusiveError
from divmatch.estimator import Array, Estimate, Pooled
from divmatch.estimators.column_groups import X, Y, constant_columns, groups_of
from divmatch.estimators.mutual_information import MI
from divmatch.estimators.quadratic import rounding
from divmatch.estimators.wasserstein_dependence import Orders, Rows, nothing, prepared
from divmatch.samples import Samples


@MI.estimator(
    "wasserstein-gaussian",
    source="Ozair et al. 2019, arXiv 1903.11780; Dowson & Landau 1982, J. Multivar. Anal. 12",
    title="Gaussian Wasserstein dependence",
    unit="data unit^2",
    biased=1.0,
)
def wasserstein_gaussian(sample: Samples, *, x: X = None, y: Y = None) -> Estimate:
    """Squared W₂ between a Gaussian and the product of its groups of columns, in closed form.

    2 tr S − 2 tr (D^½ S D^½)^½, with S the covariance of the rows and D what is left of it without the
    covariances of x with y. Zero if and only if x and y are uncorrelated. For two columns of
    variance 1 and correlation ρ it is 4 − 2 (√(1 + ρ) + √(1 − ρ)).

    Use it for many columns or many rows, where linear dependence is what matters. It is biased upward
    by about what a permutation of the rows of y gives, and at independence its interval is not
    valid (W04): use --permutations.

    Parameters
    ----------
    sample : Samples
        Rows of shape (n, d), weighted or not.
    x : str
        Columns of the first group, as for the method ksg.
    y : str or list of str
        Columns of the other group, as for the method ksg.

    Returns
    -------
    Estimate
        Value in squared units of the columns, at least 0, with the influence of every row.

    Raises
    ------
    InconclusiveError
        With fewer than 2 rows that carry weight.

    Notes
    -----
    Cost: O(n d² + d³) time, O(n d) memory; B permutations B times that.

    Source: Dowson & Landau 1982 (J. Multivar. Anal. 12); as a measure of dependence: Ozair et al. 2019
    (arXiv 1903.11780).

    Examples
    --------
    >>> import divmatch
    >>> rows = [[1.0, 1.0], [1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [-1.0, -1.0]]
    >>> round(divmatch.mi(rows, method="wasserstein-gaussian").value, 4)
    0.0691
    """
    groups = groups_of(sample, x, y, command="mi")
    rows = Rows(sample, groups)
    params = {"x": groups.x, "y": groups.y}
    notes = constant_columns(sample, groups, [rows.x, rows.y])
    if notes:
        return Estimate(0.0, np.zeros(sample.n), params=params, notes=notes)
    if rows.n < 2:
        raise InconclusiveError(f"{sample.name}: one row carries weight, at least 2 are needed")
    centred = _Centred(rows)
    value, influence = centred.apart(np.arange(rows.n))
    return Estimate(value, rows.spread(influence, sample.n), params=params)


class _Centred:
    """Rows less their mean, with what makes the covariance of each group."""

    def __init__(self, rows: Rows) -> None:
        left = 1.0 - float(rows.masses @ rows.masses)
        if not left > 0:
            raise InconclusiveError("mi: one row carries all the weight and has no covariance")
        self.masses, self.left = rows.masses, left
        self.scale = np.sqrt(rows.masses / left)
        self.x, self.y = (part - rows.masses @ part for part in (rows.x, rows.y))
        self.roots = [_root(part * self.scale[:, None]) for part in (self.x, self.y)]

    def apart(self, order: Orders) -> tuple[float, Array]:
        """The squared distance for an order of the rows of y, and the influence of every row.

        With S = R'R and D^½ block by block, tr (D^½ S D^½)^½ is the sum of the singular values of
        R D^½ = U diag(s) V'. The maps are T_SD = D^½ V U' R⁺' and T_DS = R' U V' D^-½.
        """
        z = np.concatenate([self.x, self.y[order]], axis=1)
        factor = _triangle(z * self.scale[:, None])
        half, inverse = (_blocks([pair[k] for pair in self.roots]) for k in (0, 1))
        left, strengths, right = np.linalg.svd(factor @ half)
        value = 2.0 * float(np.sum(factor**2)) - 2.0 * float(strengths.sum())
        turned = (
            right.T @ left[:, : len(right)].T
            if len(left) >= len(right)
            else right[: len(left)].T @ left.T
        )
        onto = half @ turned @ np.linalg.pinv(factor.T, rcond=1e-10)
        back = _diagonal(factor.T @ turned.T @ inverse, self.x.shape[1])
        gains = 2.0 * np.sum(z * z, axis=1) - np.einsum("ij,ij->i", z @ (onto + back), z)
        return max(value, 0.0), (gains - self.masses @ gains) / self.left


def _triangle(rows: Array) -> Array:
    """R with R'R = rows' rows, no taller than it is wide."""
    return rows if len(rows) <= rows.shape[1] else np.asarray(np.linalg.qr(rows, mode="r"))


def _root(rows: Array) -> tuple[Array, Array]:
    """The symmetric root of rows' rows, and its inverse where there is one."""
    _, lengths, vectors = np.linalg.svd(_triangle(rows), full_matrices=False)
    kept = lengths > 1e-12 * lengths[0]
    lengths, vectors = lengths[kept], vectors[kept]
    return (vectors.T * lengths) @ vectors, (vectors.T / lengths) @ vectors


def _blocks(parts: list[Array]) -> Array:
    first, second = parts
    made = np.zeros((len(first) + len(second),) * 2)
    made[: len(first), : len(first)] = first
    made[len(first) :, len(first) :] = second
    return made


def _diagonal(matrix: Array, width: int) -> Array:
    """The blocks of each group, symmetric."""
    made = np.zeros_like(matrix)
    for group in (slice(0, width), slice(width, None)):
        made[group, group] = matrix[group, group]
    return np.asarray(0.5 * (made + made.T))


@wasserstein_gaussian.pooled
def wasserstein_gaussian_plan(pool: Samples, *, x: str | None, y: str | None) -> Pooled:
    """The covariance of every order."""
    rows = prepared(pool, x, y)
    if rows is None:
        return nothing()
    centred = _Centred(rows)

    def statistic(orders: Orders) -> Array:
        return np.array([centred.apart(order)[0] for order in orders.T])

    size = float(np.sum(centred.x**2) + np.sum(centred.y**2)) / rows.n
    return Pooled(statistic, lambda: rounding(rows.n, size), draws="orders")
