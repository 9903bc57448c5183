"""The likeliest ratio that is a mixture of kernels: max Σ b ln(Φ α) over α ≥ 0 with h·α = 1.

With βₗ = hₗ αₗ these are the proportions of a mixture of the densities φₗ / hₗ. Newton's quadratic model
is minimised over β ≥ 0 by non-negative least squares; the largest slope bounds what is left to gain.
Kim, Carbonetto, Stephens & Anitescu 2020, J. Comput. Graph. Stat. 29 (sequential quadratic programming).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from divmatch.kernels.execution import in_order
from divmatch.kernels.logistic import Rows
from divmatch.matcher import Array

STEPS = 100
HALVINGS = 20
ARMIJO = 0.01
RIDGE = 1e-10  # of the mean curvature: kernels that overlap leave none in some directions


@dataclass(frozen=True, eq=False)
class Proportions:
    """α, how far the mean log-likelihood is below its maximum at most, whether that is little enough."""

    alpha: Array
    gap: float
    converged: bool


def likeliest(rows: Rows, mass: Array, level: Array, tolerance: float) -> Proportions:
    """Proportions for ``rows`` Φ with masses b, ``level`` h; kernels of level 0 get none.

    O(n c²) a step for n rows and c kernels, about ten steps.
    """
    used = level > 0
    if not used.any():
        return Proportions(np.zeros_like(level), np.inf, False)
    scale = np.where(used, 1.0 / np.where(used, level, 1.0), 0.0)
    beta = used / used.sum()
    gap = np.inf
    for _ in range(STEPS):
        values = _products(rows, scale * beta)
        if not (values > 0).all():  # a row that no kernel reaches
            return Proportions(scale * beta, np.inf, False)
        slopes, curvature = _model(rows, mass, values, scale)
        gap = float(np.log(max(slopes.max(), 1.0)))
        if gap <= tolerance:
            return Proportions(scale * beta, gap, True)
        beta = _moved(rows, mass, values, scale, beta, slopes, curvature)
    return Proportions(scale * beta, gap, False)


def _products(rows: Rows, coefficients: Array) -> Array:
    work = 2.0 * rows.count * rows.width
    parts = in_order(lambda at: rows.make(at) @ coefficients, rows.tiles(), work=work)
    return np.concatenate(list(parts))


def _model(rows: Rows, mass: Array, values: Array, scale: Array) -> tuple[Array, Array]:
    """Ψ'(b/u), which is at most 1 at the maximum, and Ψ' diag(b/u²) Ψ."""

    def tile(at: slice) -> tuple[Array, Array]:
        features = rows.make(at) * (np.sqrt(mass[at]) / values[at])[:, None]
        return features.T @ np.sqrt(mass[at]), features.T @ features

    slopes, curvature = np.zeros(rows.width), np.zeros((rows.width, rows.width))
    for slope, part in in_order(tile, rows.tiles(), work=2.0 * rows.count * rows.width**2):
        slopes += slope
        curvature += part
    return scale * slopes, scale[:, None] * curvature * scale


def _moved(
    rows: Rows,
    mass: Array,
    values: Array,
    scale: Array,
    beta: Array,
    slopes: Array,
    curvature: Array,
) -> Array:
    """The model's minimum as far as it lowers the loss; a step of EM where it does not."""
    aim = _nearest(curvature, beta, slopes)
    if aim is not None:
        change = aim - beta
        moved = _products(rows, scale * change)
        fall = float((1.0 - slopes) @ change)
        size, before = 1.0, -float(mass @ np.log(values)) + float(beta.sum())
        for _ in range(HALVINGS):
            at = values + size * moved
            if (at > 0).all():
                made = beta + size * change
                after = -float(mass @ np.log(at)) + float(made.sum())
                if after < before + ARMIJO * size * min(fall, 0.0):
                    made = np.maximum(made, 0.0)
                    return np.asarray(made / made.sum())
            size *= 0.5
    made = beta * slopes
    return np.asarray(made / made.sum())


def _nearest(curvature: Array, beta: Array, slopes: Array) -> Array | None:
    """Min γ'Hγ/2 − (Hβ − g)·γ over γ ≥ 0, g = 1 − slopes, by non-negative least squares."""
    from scipy.linalg import cholesky, solve_triangular
    from scipy.optimize import nnls

    size = np.sqrt(np.maximum(np.diag(curvature), 1e-300))
    scaled: Any = curvature / size[:, None] / size
    scaled[np.diag_indices(len(size))] += RIDGE
    start = size * beta
    right = scaled @ start - (1.0 - slopes) / size
    try:
        factor = cholesky(scaled, check_finite=False)
        aim = solve_triangular(factor, right, trans="T", check_finite=False)
        made: Array = nnls(factor, aim)[0] / size
    except (np.linalg.LinAlgError, RuntimeError):
        return None
    return made if np.isfinite(made).all() else None
