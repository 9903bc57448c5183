"""Loads every family of methods of the divergences with a density ratio, and so declares them."""

from divmatch.estimators import (
    auto,
    discrete,
    gaussian,
    histogram,
    importance_fitting,
    kernel_density,
    known_density,
    lipschitz,
    multi_sample,
    neighbour_distance,
    neighbour_powers,
    neighbour_ratio,
    neighbour_ratio_ensemble,
    variational,
    variational_bounds,
)
from divmatch.estimators.divergences import FDIV, KL, RENYI

# the first method that has a setting is meant by it; neither that nor any list follows the imports
METHODS = (
    "auto",
    "gaussian",
    "knn",
    "knn-reduced",
    "nnr",
    "nnr-ensemble",
    "kde",
    "discrete",
    "hist",
    "classifier",
    "dv",
    "nwj",
    "smile",
    "infonce",
    "ulsif",
    "lipschitz",
)

for _of in (KL, RENYI, FDIV):
    _of.arrange(METHODS)

__all__ = [
    "FDIV",
    "KL",
    "RENYI",
    "auto",
    "discrete",
    "gaussian",
    "histogram",
    "importance_fitting",
    "kernel_density",
    "known_density",
    "lipschitz",
    "multi_sample",
    "neighbour_distance",
    "neighbour_powers",
    "neighbour_ratio",
    "neighbour_ratio_ensemble",
    "variational",
    "variational_bounds",
]
