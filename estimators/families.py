"""Loads every family of methods of the divergences with a density ratio, and so declares them."""

from divmatch.estimators import (
    auto,
    discrete,
    gaussian,
    histogram,
    kernel_density,
    lipschitz,
    neighbour_distance,
    neighbour_powers,
    neighbour_ratio,
    neighbour_ratio_ensemble,
    variational,
    variational_bounds,
)
from divmatch.estimators.divergences import FDIV, KL, RENYI

__all__ = [
    "FDIV",
    "KL",
    "RENYI",
    "auto",
    "discrete",
    "gaussian",
    "histogram",
    "kernel_density",
    "lipschitz",
    "neighbour_distance",
    "neighbour_powers",
    "neighbour_ratio",
    "neighbour_ratio_ensemble",
    "variational",
    "variational_bounds",
]
