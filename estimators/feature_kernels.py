"""HSIC of linear kernels from products of columns: no kernel matrix of the rows is ever made."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.estimator import Array


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of one embedding about their weighted mean, and what the unbiased HSIC asks of them."""

    rows: Array
    squares: Array  # K_ii
    others: Array  # Σ_j≠i K_ij

    @property
    def total(self) -> float:
        """Σ_i≠j K_ij."""
        return float(self.others.sum())


def features(points: Array, w: Array) -> Features:
    """Centre the rows, which changes no HSIC."""
    rows = points - w @ points
    squares = np.einsum("ij,ij->i", rows, rows)
    return Features(rows, squares, rows @ rows.sum(axis=0) - squares)


def covariance(a: Features, b: Features, w: Array) -> Array:
    """Σ wᵢ aᵢ bᵢ', columns of a by columns of b."""
    made: Array = (a.rows * w[:, None]).T @ b.rows
    return made


def hsic(a: Features, b: Features, w: Array) -> tuple[float, Array]:
    """tr(KHLH)/n², the squared norm of the covariance, and every row's influence on it."""
    both = covariance(a, b, w)
    value = float(np.sum(both * both))
    return value, 2.0 * (np.einsum("ij,ij->i", a.rows @ both, b.rows) - value)


def hsic_unbiased(a: Features, b: Features, order: NDArray[np.int64] | None = None) -> float:
    """Σ over different rows alone; with an ``order``, row i of a stands beside row order[i] of b."""
    rows, squares, others = b.rows, b.squares, b.others
    if order is not None:
        rows, squares, others = rows[order], squares[order], others[order]
    both = a.rows.T @ rows
    trace = float(np.sum(both * both)) - float(a.squares @ squares)
    return unbiased(trace, a.total * b.total, float(a.others @ others), len(a.rows))


def unbiased(trace: float, totals: float, chains: float, n: int) -> float:
    """[tr(K̃L̃) + 1'K̃1 1'L̃1/((n − 1)(n − 2)) − 2/(n − 2) 1'K̃L̃1]/(n (n − 3))."""
    return (trace + totals / ((n - 1) * (n - 2)) - 2.0 * chains / (n - 2)) / (n * (n - 3))
